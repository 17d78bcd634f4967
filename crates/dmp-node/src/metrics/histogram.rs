//! Histograms over whole numbers: nanoseconds, octets, counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A histogram that any thread may add to.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds: [u64; N],
    cells: Cells<N>,
}

/// The counts of a histogram; the bounds are kept elsewhere.
#[derive(Debug)]
pub(crate) struct Cells<const N: usize> {
    /// Observations up to each bound and above the one before it.
    pub(crate) buckets: [AtomicU64; N],
    /// Observations above the last bound.
    pub(crate) above: AtomicU64,
    pub(crate) sum: AtomicU64,
}

/// What a histogram holds at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Each bound with the number of observations up to it.
    pub(crate) cumulative: Vec<(u64, u64)>,
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Cells<N> {
    /// Where a value is counted.
    pub(crate) fn cell(&self, bounds: &[u64; N], value: u64) -> &AtomicU64 {
        let index = bounds.partition_point(|bound| *bound < value);
        self.buckets.get(index).unwrap_or(&self.above)
    }

    /// The sum over several threads' cells.
    pub(crate) fn read<'a>(bounds: &[u64; N], all: impl Iterator<Item = &'a Self>) -> Snapshot {
        let mut counts = [0; N];
        let (mut above, mut sum) = (0, 0);
        for cells in all {
            for (count, cell) in counts.iter_mut().zip(&cells.buckets) {
                *count += cell.load(Ordering::Relaxed);
            }
            above += cells.above.load(Ordering::Relaxed);
            sum += cells.sum.load(Ordering::Relaxed);
        }
        let mut so_far = 0;
        let cumulative = bounds.iter().zip(counts).map(|(bound, count)| {
            so_far += count;
            (*bound, so_far)
        });
        Snapshot {
            cumulative: cumulative.collect(),
            count: so_far + above,
            sum,
        }
    }
}

impl<const N: usize> Histogram<N> {
    pub(crate) fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            cells: Cells::default(),
        }
    }

    pub(crate) fn observe(&self, value: u64) {
        let cell = self.cells.cell(&self.bounds, value);
        cell.fetch_add(1, Ordering::Relaxed);
        self.cells.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Snapshot {
        Cells::read(&self.bounds, std::iter::once(&self.cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_bound_belongs_to_it_and_buckets_are_cumulative() {
        let histogram = Histogram::new([10, 100]);
        for value in [0, 10, 11, 100, 101, 5_000] {
            histogram.observe(value);
        }
        let Snapshot {
            cumulative,
            count,
            sum,
        } = histogram.read();
        assert_eq!(cumulative, [(10, 2), (100, 4)]);
        assert_eq!((count, sum), (6, 5_222));
    }
}

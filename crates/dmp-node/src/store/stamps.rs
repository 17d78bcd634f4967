//! The milliseconds under which rows become known to other nodes: they fall back only where a wrong clock had run ahead of
//! what any node reads ([`Stamps::rewind`]), few rows share one, and what a reader has been shown is never added to.
//!
//! Row ids and stamps rise together, so the digest finds its place by row id and needs no index.

use crate::limits::ROWS_PER_STAMP;

/// Where stamps have got to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    last: u64,
    /// Rows that bear the last one.
    rows: usize,
}

impl Run {
    /// Every later stamp is above `last`.
    pub(super) fn after(last: u64) -> Self {
        Self {
            last,
            rows: ROWS_PER_STAMP,
        }
    }

    /// The stamp of one more row, written at `millis`: ahead of the clock where that stands still or has gone back.
    pub(super) fn take(&mut self, millis: u64) -> u64 {
        if millis > self.last {
            *self = Self {
                last: millis,
                rows: 0,
            };
        } else if self.rows >= ROWS_PER_STAMP {
            *self = Self {
                last: self.last + 1,
                rows: 0,
            };
        }
        self.rows += 1;
        self.last
    }

    /// The last stamp given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

/// The stamps of the running node, shared by the writer and the readers of the digest.
#[derive(Debug)]
pub(super) struct Stamps {
    run: Run,
    /// Up to here readers may have read: no new row goes there.
    shown: u64,
    /// First stamp of the commit in progress.
    in_flight: Option<u64>,
}

impl Stamps {
    /// Those after the last one in the file.
    pub(super) fn after(last: u64) -> Self {
        Self {
            run: Run::after(last),
            shown: last,
            in_flight: None,
        }
    }

    /// Begins a commit of `rows` rows at `millis`; the run to take their stamps from.
    pub(super) fn begin(&mut self, millis: u64, rows: usize) -> Run {
        if self.run.last <= self.shown {
            self.run = Run::after(self.shown);
        }
        let taken_from = self.run;
        for _ in 0..rows {
            let stamp = self.run.take(millis);
            self.in_flight.get_or_insert(stamp);
        }
        taken_from
    }

    /// Goes back to `run`, because the commit in progress gives every row above `base` another stamp above `base`.
    pub(super) fn rewind(&mut self, base: u64, run: Run) {
        self.run = run;
        self.shown = base;
        self.in_flight = Some(base + 1);
    }

    /// The commit is over, well or not; `in_file` is the last stamp in the file.
    pub(super) fn end(&mut self, in_file: u64) {
        self.in_flight = None;
        if self.run.last < in_file {
            self.run = Run::after(in_file); // what was to go back has not
        }
    }

    /// The last stamp given.
    pub(super) fn last(&self) -> u64 {
        self.run.last
    }

    /// The last stamp that a reader who looks from now on may show: every row up to it is committed, and no other will
    /// ever come.
    pub(super) fn show(&mut self) -> u64 {
        let until = self.in_flight.map_or(self.run.last, |first| first - 1);
        self.shown = self.shown.max(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_follow_the_clock_and_never_fall_back() {
        let mut run = Run::after(100);
        assert_eq!(run.take(90), 101, "the clock stands behind the file");
        assert_eq!(run.take(500), 500);
        assert_eq!(run.take(500), 500);
        assert_eq!(run.take(400), 500);
        assert_eq!(run.last(), 500);
    }

    #[test]
    fn a_stamp_is_shared_by_a_bounded_number_of_rows() {
        let mut run = Run::after(0);
        for _ in 0..ROWS_PER_STAMP {
            assert_eq!(run.take(7), 7);
        }
        assert_eq!(run.take(7), 8);
        assert_eq!(run.take(8), 8);
        assert_eq!(run.take(9), 9);
    }

    #[test]
    fn what_was_shown_gets_no_further_row() {
        let mut stamps = Stamps::after(0);
        let take = |stamps: &mut Stamps| {
            let mut run = stamps.begin(50, 1);
            stamps.end(0);
            run.take(50)
        };
        assert_eq!((take(&mut stamps), take(&mut stamps)), (50, 50));
        assert_eq!(stamps.show(), 50);
        assert_eq!((take(&mut stamps), take(&mut stamps)), (51, 51));
        stamps.begin(50, 2 * ROWS_PER_STAMP);
        assert_eq!(stamps.show(), 50, "the commit in progress is not shown");
        stamps.end(0);
        assert_eq!(stamps.show(), 53);
        assert_eq!(take(&mut stamps), 54);
    }

    #[test]
    fn what_goes_back_is_shown_when_it_has_and_stays_where_it_was_if_it_fails() {
        let mut stamps = Stamps::after(1_000);
        assert_eq!(stamps.show(), 1_000);
        let mut run = Run::after(60);
        run.take(0);
        stamps.rewind(60, run);
        assert_eq!(stamps.show(), 60);
        stamps.end(61);
        assert_eq!((stamps.show(), stamps.last()), (61, 61));
        stamps.rewind(20, Run::after(20));
        stamps.end(61);
        assert_eq!(stamps.begin(50, 1).take(50), 62);
    }
}

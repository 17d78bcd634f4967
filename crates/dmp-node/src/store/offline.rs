//! The file in the hands of a program that is not a running node: one connection, under the node's lock, no index.
//!
//! It loads nothing and starts no thread; who uses it writes rows itself and keeps to the layout of [`super::schema`].

use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior, params};

use super::OpenError;
use super::schema::{self, Opened};
use super::stamps::Run;

/// An open file that no node can open meanwhile.
pub(crate) struct Offline(Opened);

impl Offline {
    /// Opens or creates the file at the time `millis`; [`OpenError::InUse`] while a node runs on it.
    pub(crate) fn open(path: &Path, schema: &[&str], millis: u64) -> Result<Self, OpenError> {
        schema::open(path, schema, millis).map(Self)
    }

    /// Where new rows begin; [`finish`] stores where they end.
    pub(crate) fn position(&self) -> Position {
        Position {
            next_row: self.0.state.next_row,
            run: Run::after(self.0.state.stamp),
        }
    }

    /// SOA serial of the content.
    pub(crate) fn serial(&self) -> u32 {
        self.0.state.serial
    }

    /// [`Offline::transaction`] for more rows than the write-ahead log should hold: new rows go straight into the file,
    /// and what it had before can be put back until the commit.
    pub(crate) fn bulk_transaction(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.0
            .connection
            .pragma_update(None, "journal_mode", "DELETE")?;
        self.transaction()
    }

    /// Begins the one transaction in which everything happens.
    pub(crate) fn transaction(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.0
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

/// What the next new row gets; it rises from row to row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    next_row: i64,
    run: Run,
}

impl Position {
    /// Row id and `stored_ms` of a row that is written at `millis`.
    pub(super) fn take(&mut self, millis: u64) -> (i64, i64) {
        let row = self.next_row;
        self.next_row += 1;
        (row, self.run.take(millis) as i64)
    }
}

/// Stores where serial, row ids and stamps have got to.
pub(crate) fn finish(
    sql: &Transaction<'_>,
    serial: u32,
    position: &Position,
) -> rusqlite::Result<()> {
    sql.execute(
        "UPDATE state SET serial = ?1, next_row = ?2, stamp = ?3",
        params![serial, position.next_row, position.run.last() as i64],
    )
    .map(drop)
}

/// Notes how many values there are now, for the next start.
pub(crate) fn count_rows(sql: &Transaction<'_>) -> rusqlite::Result<()> {
    sql.execute("UPDATE state SET live = (SELECT count(*) FROM record)", [])
        .map(drop)
}

/// The serial after a change that `from` must not be behind: the step from `serial`, or `from` where that is ahead
/// (RFC 1982 3.2).
pub(crate) fn serial_after(serial: u32, from: u32) -> u32 {
    let next = serial.wrapping_add(1);
    // Ahead by less than half the circle.
    if from.wrapping_sub(next) < 1 << 31 {
        from
    } else {
        next
    }
}

#[cfg(test)]
mod tests {
    use super::serial_after;

    #[test]
    fn a_serial_moves_forward_on_the_circle() {
        assert_eq!(serial_after(100, 2_000), 2_000);
        assert_eq!(serial_after(2_000, 100), 2_001);
        assert_eq!(serial_after(u32::MAX, 100), 100);
        assert_eq!(serial_after(u32::MAX, 0), 0);
        assert_eq!(serial_after(5, u32::MAX), 6, "behind on the circle");
    }
}

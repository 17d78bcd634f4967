//! Bringing back what a wrong clock has dated ahead: other nodes take no row from a time to come (federation.md 4.10), so
//! without it they would take nothing of this node until that time.

use super::Draft;
use crate::limits::STAMP_LEAD;
use crate::store::digest::first_at;
use crate::store::stamps::Run;
use crate::store::tombstones::Tombstone;

impl Draft<'_> {
    /// Gives the rows that are stamped further ahead of the clock than others take them the earliest stamps that no other
    /// node can have read up to, in the same order. Writes and deletes among them happened now at the latest.
    pub(in crate::store) fn restamp(&mut self) -> rusqlite::Result<()> {
        self.begin()?;
        let (now, base) = (self.millis, self.millis + STAMP_LEAD);
        let mut run = Run::after(base);
        let mut rows = 0;
        for (table, time) in [("record", "written_at"), ("tombstone", "deleted_at")] {
            let first = first_at(self.connection, table, base + 1)?;
            let select = format!("SELECT id FROM {table} WHERE id >= ?1 ORDER BY id");
            let mut select = self.connection.prepare_cached(&select)?;
            let ids = select.query_map([first], |row| row.get(0))?;
            let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
            let update = format!(
                "UPDATE {table} SET stored_ms = ?2, {time} = iif(coalesce({time}, stored_ms) > ?3, ?4, {time})
                 WHERE id = ?1"
            );
            let mut update = self.connection.prepare_cached(&update)?;
            for id in ids {
                update.execute([id, run.take(0) as i64, base as i64, now as i64])?;
                rows += 1;
            }
        }
        for (mark, tombstone) in self.shared.tombstones().deleted_after(base) {
            let now_at_the_latest = Tombstone {
                deleted_at: now,
                ..tombstone
            };
            self.graves.entry(mark).or_insert(Some(now_at_the_latest));
        }
        self.shared.stamps().rewind(base, run);
        self.state.stamp = run.last();
        tracing::info!(
            rows,
            "rows that a wrong clock has dated ahead are dated anew"
        );
        self.write_state()
    }
}

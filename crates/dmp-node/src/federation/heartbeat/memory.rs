//! The table of nodes that were heard of: what outlives a restart (federation.md 2.9).

use dmp_core::id::UnixTime;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Change, Seen};
use crate::context::Context;

/// One row a node: an operator's key at an endpoint.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS seen_heartbeat (
    operator TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    wire TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (operator, endpoint)
) WITHOUT ROWID;";

/// Everybody who is remembered, at most `most`.
pub(super) fn recall(context: &Context, most: usize) -> rusqlite::Result<Seen> {
    let now = context.clock().seconds();
    let mut seen = Seen::new(most);
    context.store().read(|sql: &Connection| {
        let mut statement =
            sql.prepare("SELECT wire, received_at FROM seen_heartbeat ORDER BY received_at")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (wire, received_at) = (row.get::<_, String>(0)?, row.get::<_, i64>(1)?);
            seen.restore(&wire, received_at.try_into().unwrap_or(0), now);
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Writes down what has changed.
pub(super) async fn remember(context: &Context, changes: Vec<Change>) -> Result<(), String> {
    if changes.is_empty() {
        return Ok(());
    }
    let written = context.store().transact(move |draft| {
        let sql = draft.sql()?;
        changes.iter().try_for_each(|change| match change {
            Change::Heard(peer) => {
                let received_at = i64::try_from(peer.received_at).unwrap_or(i64::MAX);
                store(sql, &peer.heartbeat, &peer.wire, received_at)
            }
            Change::Gone((operator, endpoint)) => sql
                .prepare_cached("DELETE FROM seen_heartbeat WHERE operator = ?1 AND endpoint = ?2")?
                .execute([operator.to_string().as_str(), endpoint])
                .map(drop),
        })
    });
    written.await.map_err(|error| error.to_string())
}

/// Puts a heartbeat in the place of what is remembered of its node.
pub(crate) fn store(
    sql: &Connection,
    heartbeat: &Heartbeat,
    wire: &str,
    received_at: i64,
) -> rusqlite::Result<()> {
    let operator = heartbeat.operator.to_string();
    sql.prepare_cached("INSERT OR REPLACE INTO seen_heartbeat VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            operator,
            heartbeat.endpoint.as_str(),
            wire,
            received_at
        ])?;
    Ok(())
}

/// When the live heartbeat was signed that is remembered of the node of this one.
pub(crate) fn newest(
    sql: &Connection,
    heartbeat: &Heartbeat,
    now: UnixTime,
) -> rusqlite::Result<Option<UnixTime>> {
    let wire: Option<String> = sql
        .prepare_cached("SELECT wire FROM seen_heartbeat WHERE operator = ?1 AND endpoint = ?2")?
        .query_row(
            [
                heartbeat.operator.to_string().as_str(),
                heartbeat.endpoint.as_str(),
            ],
            |row| row.get(0),
        )
        .optional()?;
    let known = wire.and_then(|wire| Heartbeat::parse(&wire, Skew::Unlimited, now).ok());
    Ok(known.map(|known| known.ts))
}

//! The table of nodes that were heard of: what outlives a restart (federation.md 2.9).

use dmp_core::id::UnixTime;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Change, Origin, Seen};
use crate::context::Context;
use crate::zone::Owner;

/// One row a node: an operator's key at an endpoint. How it came to be known stands beside it, where that is known.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS seen_heartbeat (
    operator TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    wire TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (operator, endpoint)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen_origin (
    operator TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    told_by TEXT,
    confirmed_at INTEGER,
    PRIMARY KEY (operator, endpoint)
) WITHOUT ROWID;";

/// Everybody who is remembered, at most `most`.
pub(super) fn recall(context: &Context, most: usize) -> rusqlite::Result<Seen> {
    let now = context.clock().seconds();
    let mut seen = Seen::new(most);
    context.store().read(|sql: &Connection| {
        let mut statement = sql.prepare(
            "SELECT wire, received_at, told_by, confirmed_at
             FROM seen_heartbeat LEFT JOIN seen_origin USING (operator, endpoint) ORDER BY received_at",
        )?;
        let mut rows = statement.query([])?;
        let seconds = |stamp: i64| u64::try_from(stamp).unwrap_or(0);
        while let Some(row) = rows.next()? {
            let (wire, received_at) = (row.get::<_, String>(0)?, row.get(1)?);
            let told_by: Option<String> = row.get(2)?;
            let origin = Origin {
                told_by: told_by.and_then(|zone| Owner::parse(&zone).ok()),
                confirmed_at: row.get::<_, Option<i64>>(3)?.map(seconds),
            };
            seen.restore(&wire, seconds(received_at), origin, now);
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
                store(sql, &peer.heartbeat, &peer.wire, stamp(peer.received_at))?;
                sql.prepare_cached("INSERT OR REPLACE INTO seen_origin VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![
                        peer.heartbeat.operator.to_string(),
                        peer.heartbeat.endpoint.as_str(),
                        peer.origin.told_by.as_ref().map(Owner::to_string),
                        peer.origin.confirmed_at.map(stamp),
                    ])
                    .map(drop)
            }
            Change::Gone((operator, endpoint)) => {
                let key = [&operator.to_string(), endpoint];
                for table in ["seen_heartbeat", "seen_origin"] {
                    let delete =
                        format!("DELETE FROM {table} WHERE operator = ?1 AND endpoint = ?2");
                    sql.prepare_cached(&delete)?.execute(key)?;
                }
                Ok(())
            }
        })
    });
    written.await.map_err(|error| error.to_string())
}

/// Seconds as SQLite keeps them.
fn stamp(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
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

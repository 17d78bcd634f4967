//! How far each peer has been read: what outlives a restart (W6).

use rusqlite::{OptionalExtension, params};

use super::members::Member;
use crate::context::Context;
use crate::store::{Cursor, Failure};

/// One row a peer.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sync_mark (
    endpoint TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    ts INTEGER NOT NULL,
    name TEXT NOT NULL,
    hash BLOB
) WITHOUT ROWID;";

/// Where to go on with a peer; the beginning if it is new, or another one at its place.
pub(super) fn recall(context: &Context, member: &Member) -> rusqlite::Result<Cursor> {
    let row = context.store().read(|sql| {
        sql.prepare_cached("SELECT id, ts, name, hash FROM sync_mark WHERE endpoint = ?1")?
            .query_row([key(member)], |row| {
                let id: String = row.get(0)?;
                let ts = row.get::<_, i64>(1)?.unsigned_abs();
                Ok((id, ts, row.get(2)?, row.get(3)?))
            })
            .optional()
    })?;
    let Some((id, ts, name, hash)) = row else {
        return Ok(Cursor::default());
    };
    let known = Member {
        id,
        url: member.url.clone(),
    };
    Ok(match known.is_continued_by(member) {
        true => Cursor { ts, name, hash },
        false => Cursor::default(),
    })
}

/// Writes down where to go on.
pub(super) async fn remember(
    context: &Context,
    member: &Member,
    mark: &Cursor,
) -> Result<(), Failure<rusqlite::Error>> {
    let (endpoint, id, mark) = (key(member), member.id.clone(), mark.clone());
    let ts = i64::try_from(mark.ts).unwrap_or(i64::MAX);
    let written = context.store().transact(move |draft| {
        draft
            .sql()?
            .prepare_cached("INSERT OR REPLACE INTO sync_mark VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![endpoint, id, ts, mark.name, mark.hash])
            .map(drop)
    });
    written.await
}

/// Forgets a peer that has left.
pub(super) async fn forget(
    context: &Context,
    member: &Member,
) -> Result<(), Failure<rusqlite::Error>> {
    let endpoint = key(member);
    let written = context.store().transact(move |draft| {
        draft
            .sql()?
            .prepare_cached("DELETE FROM sync_mark WHERE endpoint = ?1")?
            .execute([endpoint])
            .map(drop)
    });
    written.await
}

fn key(member: &Member) -> String {
    member.url.as_str().to_ascii_lowercase()
}

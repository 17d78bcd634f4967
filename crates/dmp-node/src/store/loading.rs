//! Reading every live value into the index at start: one thread reads the file, another fills the index.
//!
//! A row is copied once, into a batch; no row costs an allocation on the reading side.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::OpenError;
use super::schema::Opened;
use crate::zone::{Owner, Value, ZoneIndex};

/// Rows handed over at once.
const BATCH_ROWS: usize = 1_024;
/// Batches on their way at most.
const BATCHES: usize = 4;
/// Octets of the file that a value takes at least: more values than fit are a wrong hint.
const ROW_OCTETS: u64 = 32;

/// Rows with their texts one after the other.
#[derive(Default)]
struct Batch {
    rows: Vec<Record>,
    octets: Vec<u8>,
}

struct Record {
    id: i64,
    owner_octets: usize,
    value_octets: usize,
    expires_at: u64,
    writer: u64,
}

/// Fills `zone` with what is not dead, and gives the rows that are. While the clock is in doubt (`trusted` is `None`) only
/// what was dead at the last write is dead: the rest goes into the index, where nobody sees it as long as the clock says
/// that it has expired.
pub(super) fn load(
    opened: &Opened,
    path: &Path,
    zone: &ZoneIndex,
    now: u64,
    trusted: Option<u64>,
) -> Result<Vec<i64>, OpenError> {
    let file_octets = path.metadata().map_or(0, |file| file.len());
    let most = usize::try_from(file_octets / ROW_OCTETS).unwrap_or(usize::MAX);
    zone.reserve(usize::try_from(opened.state.live).map_or(most, |live| live.min(most)));
    let (sender, batches) = sync_channel(BATCHES);
    let (dead, filled) = thread::scope(|scope| {
        let filling = scope.spawn(move || fill(&batches, path, zone, now));
        let dead = read(opened, path, trusted, &sender);
        drop(sender);
        // The index does not panic; if it did, so would the start.
        let filled = filling
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (dead, filled)
    });
    filled?;
    zone.set_serial(opened.state.serial);
    dead
}

fn read(
    opened: &Opened,
    path: &Path,
    trusted: Option<u64>,
    batches: &SyncSender<Batch>,
) -> Result<Vec<i64>, OpenError> {
    let sqlite = |error| OpenError::Sqlite {
        path: path.into(),
        error,
    };
    let (mut dead, mut batch) = (Vec::new(), Batch::default());
    let connection: &Connection = &opened.connection;
    let mut statement = connection
        .prepare("SELECT id, owner, value, expires_at, writer FROM record ORDER BY id")
        .map_err(sqlite)?;
    let mut rows = statement.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let (id, expires_at): (i64, i64) =
            (row.get(0).map_err(sqlite)?, row.get(3).map_err(sqlite)?);
        let (mark, expires_at) = (opened.state.clock, expires_at as u64);
        let was_dead = id < mark.row && expires_at <= mark.at;
        if was_dead || trusted.is_some_and(|now| expires_at <= now) {
            dead.push(id);
            continue;
        }
        let owner_octets = batch.take(row, 1).map_err(sqlite)?;
        let value_octets = batch.take(row, 2).map_err(sqlite)?;
        batch.rows.push(Record {
            id,
            owner_octets,
            value_octets,
            expires_at,
            writer: row.get::<_, i64>(4).map_err(sqlite)? as u64, // the bits of the tag; SQLite knows signed integers only
        });
        if batch.rows.len() == BATCH_ROWS && batches.send(std::mem::take(&mut batch)).is_err() {
            break; // the other side has found damage and says so
        }
    }
    // As above.
    let _ = batches.send(batch);
    Ok(dead)
}

fn fill(
    batches: &Receiver<Batch>,
    path: &Path,
    zone: &ZoneIndex,
    now: u64,
) -> Result<(), OpenError> {
    let mut wrong = None;
    for batch in batches {
        let mut rest = &*batch.octets;
        let values = batch.rows.iter().map_while(|record| {
            let (owner, text);
            (owner, rest) = rest.split_at_checked(record.owner_octets)?;
            (text, rest) = rest.split_at_checked(record.value_octets)?;
            let owner = Owner::parse_octets(owner).map_err(|reason| reason.to_string());
            let text = std::str::from_utf8(text).map_err(|reason| reason.to_string());
            match owner.and_then(|owner| Ok((owner, text?))) {
                Ok((owner, text)) => Some((
                    owner,
                    Value {
                        text: text.into(),
                        expires_at: record.expires_at,
                        row: record.id,
                        writer: record.writer,
                    },
                )),
                Err(reason) => {
                    wrong = Some((record.id, reason));
                    None
                }
            }
        });
        zone.append(values, now);
        if let Some((row, reason)) = wrong {
            return Err(OpenError::Damaged {
                path: path.into(),
                row,
                reason,
            });
        }
    }
    Ok(())
}

impl Batch {
    /// Copies the text in `column`; how long it is.
    fn take(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
        match row.get_ref(column)? {
            ValueRef::Text(text) => {
                self.octets.extend_from_slice(text);
                Ok(text.len())
            }
            other => Err(rusqlite::Error::InvalidColumnType(
                column,
                "record".into(),
                other.data_type(),
            )),
        }
    }
}

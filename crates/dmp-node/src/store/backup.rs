//! Copies of the database while a node works on it, and putting one in its place while none does.
//!
//! A copy is one moment of the database: SQLite writes it from a read transaction, writers go on meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::offline::serial_after;
use super::schema::{self, VERSION, is_ours, lock, sync_directory, with_suffix};
use super::{OpenError, Store};
use crate::clock::Clock;
use crate::zone::Owner;

/// Why there is no copy, or none was put in place. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place of the copy is taken.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file is no backup of this program.
    #[error("{} is no backup of this node", .0.display())]
    Foreign(PathBuf),
    /// The file is damaged.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong.
        reason: String,
    },
    /// The system refused.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The database cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite refused.
    #[error("the copy could not be written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl Store {
    /// Writes a copy to `to`, which must not be there yet, and returns when it is durable; how many octets it has.
    /// Blocks the calling thread.
    pub fn backup(&self, to: &Path) -> Result<u64, BackupError> {
        copy(&schema::open_reader(self.path())?, to)
    }
}

fn copy(from: &Connection, to: &Path) -> Result<u64, BackupError> {
    let failed = |error| BackupError::File {
        path: to.into(),
        error,
    };
    if to.exists() {
        return Err(BackupError::Exists(to.into()));
    }
    let partial = with_suffix(to, ".partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Made before SQLite would make it: the copy holds the secrets of keys.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed)?;
    let target = partial
        .to_str()
        .ok_or_else(|| failed(ErrorKind::InvalidFilename.into()))?;
    let written = from
        .execute("VACUUM INTO ?1", [target])
        .map_err(BackupError::from)
        .and_then(|_| file.sync_all().map_err(failed))
        // Unlike a rename, a link never takes the place of a file that came meanwhile.
        .and_then(|()| fs::hard_link(&partial, to).map_err(failed));
    let removed = fs::remove_file(&partial).map_err(failed);
    written.and(removed)?;
    sync_directory(to).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok(metadata.len())
}

/// Puts the backup `from` in the place of `database`, which no node may have open. What was there stays beside it with
/// the suffix `.before-restore`. The SOA serial moves on, so that nobody sees it fall behind.
pub fn restore(from: &Path, database: &Path, clock: &Clock) -> Result<(), BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| BackupError::File { path, error }
    };
    if let Some(directory) = database
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
    {
        fs::create_dir_all(directory).map_err(failed(directory))?;
    }
    let _lock = lock(database)?;
    let new = with_suffix(database, ".restore");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&new)(error)),
        _ => {}
    }
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed(&new))?;
    let mut source = File::open(from).map_err(failed(from))?;
    io::copy(&mut source, &mut target).map_err(failed(&new))?;
    let prepared =
        prepare(from, &new, database, clock).and_then(|()| target.sync_all().map_err(failed(&new)));
    if let Err(error) = prepared {
        // The reason why it is not wanted matters more than whether it could be removed.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    if database.exists() {
        set_aside(database)?;
    }
    fs::rename(&new, database).map_err(failed(database))?;
    sync_directory(database).map_err(failed(database))
}

/// Checks the copy in full, and moves its serial past that of the database which it replaces.
fn prepare(from: &Path, copy: &Path, database: &Path, clock: &Clock) -> Result<(), BackupError> {
    let mut header = [0; 100];
    let read = File::open(copy).and_then(|mut file| io::Read::read_exact(&mut file, &mut header));
    if read.is_err() || !is_ours(&header) {
        return Err(BackupError::Foreign(from.into()));
    }
    let damaged = |reason: String| BackupError::Damaged {
        path: from.into(),
        reason,
    };
    let mut sql = Connection::open_with_flags(
        copy,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let found: u32 = sql
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if found > VERSION {
        return Err(OpenError::Newer {
            path: from.into(),
            found,
            known: VERSION,
        }
        .into());
    }
    let verdict: String = sql
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    check_owners(&sql)
        .map_err(|error| damaged(error.to_string()))?
        .map_err(damaged)?;
    let now = clock.seconds() as u32; // RFC 1982 serials wrap
    let before = serial(database).unwrap_or(now);
    let transaction = sql.transaction()?;
    let own: i64 = transaction.query_row("SELECT serial FROM state", [], |row| row.get(0))?;
    let next = serial_after(serial_after(own as u32, before), now);
    transaction.execute("UPDATE state SET serial = ?1", [next])?;
    transaction.commit()?;
    sql.close().map_err(|(_, error)| error.into())
}

/// The first stored name that the node would not take, if there is one.
fn check_owners(sql: &Connection) -> rusqlite::Result<Result<(), String>> {
    let mut statement = sql.prepare("SELECT id, owner FROM record")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, owner): (i64, String) = (row.get(0)?, row.get(1)?);
        if let Err(reason) = Owner::parse(&owner) {
            return Ok(Err(format!("row {id}: {reason}")));
        }
    }
    Ok(Ok(()))
}

/// The serial of the database that is replaced, as far as that can still be read. Closing it again empties its log, so
/// that the file alone is whole.
fn serial(database: &Path) -> Option<u32> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags(database, flags).ok()?;
    let serial: i64 = sql
        .query_row("SELECT serial FROM state", [], |row| row.get(0))
        .ok()?;
    Some(serial as u32)
}

/// Keeps the old database under another name, in one step per file: a log must never meet a database it does not belong to.
fn set_aside(database: &Path) -> Result<(), BackupError> {
    let kept = with_suffix(database, ".before-restore");
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (with_suffix(database, suffix), with_suffix(&kept, suffix));
        let moved = match fs::remove_file(&to) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            // The database itself stays reachable under both names until the new one takes its place.
            _ if suffix.is_empty() => fs::hard_link(&from, &to),
            _ => fs::rename(&from, &to),
        };
        match moved {
            Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(error) => return Err(BackupError::File { path: from, error }),
            Ok(()) => {}
        }
    }
    Ok(())
}

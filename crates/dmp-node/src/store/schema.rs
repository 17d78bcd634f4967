//! The file: how it is recognised, created, checked and read at start.
//!
//! Layout: `record` and `tombstone` grow at their end (integer row id, no second index), which is what makes a durable
//! commit of many small writes one short sequential write; the index in memory knows the row of every value. Row ids and
//! `stored_ms` rise together ([`super::stamps`]). `written_at` is the millisecond of the last client write where that is
//! not `stored_ms`, 0 if it is unknown (federation.md 4.9).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::stamps::Run;
use crate::limits;

/// "dmpn": marks a database as this node's, in the file header where it is read before SQLite touches the file.
const APPLICATION_ID: u32 = 0x646d_706e;
/// Newest layout this program reads and the one it writes.
pub(super) const VERSION: u32 = 3;
/// What the first sixteen octets of every SQLite database are.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

const TABLES: &str = "
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    written_at INTEGER
);
CREATE TABLE tombstone (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    hash BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    serial INTEGER NOT NULL,
    next_row INTEGER NOT NULL,
    live INTEGER NOT NULL DEFAULT 0,
    clock_at INTEGER NOT NULL DEFAULT 0,
    clock_row INTEGER NOT NULL DEFAULT 0,
    stamp INTEGER NOT NULL DEFAULT 0
);";

/// From version 1: a hint how many values there are, and the clock that expiry trusts.
const TO_VERSION_2: &str = "
BEGIN;
ALTER TABLE state ADD COLUMN live INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN clock_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN clock_row INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 2;
COMMIT;";

/// From version 2: what replication needs.
const TO_VERSION_3: &str = "
ALTER TABLE record ADD COLUMN written_at INTEGER;
ALTER TABLE state ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;
CREATE TABLE tombstone (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    hash BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
PRAGMA user_version = 3;";

/// The writer's view of an open file.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) state: State,
    /// Held while the store is open: a second node on the same file would break row ids and serial.
    pub(super) _lock: File,
}

/// The one row of `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// SOA serial of the content.
    pub(super) serial: u32,
    /// Id of the next new row; every later one is higher.
    pub(super) next_row: i64,
    /// The last `stored_ms` given to a row; every later one is at least as high.
    pub(super) stamp: u64,
    /// How many values the last commit left; a hint.
    pub(super) live: u64,
    pub(super) clock: ClockMark,
}

/// Where the node's time had got to: rows below `row` that expire at or before second `at` are dead, whatever the clock
/// says later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockMark {
    pub(super) at: u64,
    pub(super) row: i64,
}

/// Opens or creates the file; `millis` is the time.
pub(super) fn open(path: &Path, schema: &[&str], millis: u64) -> Result<Opened, OpenError> {
    let file = |error| OpenError::File {
        path: path.into(),
        error,
    };
    let sqlite = |error| OpenError::Sqlite {
        path: path.into(),
        error,
    };
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        // Only a directory made here gets its mode from us: an existing one may be shared (W-18).
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(file)?;
    }
    let fresh = recognise(path)?;
    let lock = lock(path)?;
    // Made before SQLite would make it, so that at no moment anybody else may read it; -wal and -shm take this mode.
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(file)?;
    for suffix in ["", "-wal", "-shm"] {
        heal_mode(&with_suffix(path, suffix)).map_err(file)?;
    }
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE,
    )
    .map_err(sqlite)?;
    connection.set_prepared_statement_cache_capacity(64);
    if fresh {
        connection
            .execute_batch(&format!(
                "PRAGMA auto_vacuum = INCREMENTAL; BEGIN;
                 PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES}
                 INSERT INTO state (one, serial, next_row) VALUES (1, {}, 1); COMMIT;",
                (millis / 1000) as u32 // RFC 1982 serials wrap
            ))
            .map_err(sqlite)?;
    }
    let found: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Newer {
            path: path.into(),
            found,
            known: VERSION,
        });
    }
    // FULL flushes the log at every commit: what was answered survives power loss (D14).
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )
        .map_err(sqlite)?;
    for (pragma, value) in [
        ("wal_autocheckpoint", limits::LOG_PAGES),
        ("journal_size_limit", limits::LOG_KEPT_OCTETS),
    ] {
        connection
            .pragma_update_and_check(None, pragma, value, |_| Ok(()))
            .map_err(sqlite)?;
    }
    if found < VERSION {
        tracing::info!("the database is brought to schema version {VERSION}");
    }
    if found == 1 {
        // The whole file is written anew once, so that later it can give back what mass expiry leaves empty.
        connection
            .execute_batch(TO_VERSION_2)
            .and_then(|()| connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM;"))
            .map_err(sqlite)?;
    }
    if found < 3 {
        to_version_3(&mut connection, millis).map_err(sqlite)?;
    }
    for tables in schema {
        connection.execute_batch(tables).map_err(sqlite)?;
    }
    sync_directory(path).map_err(file)?;
    let opened = connection.query_row(
        "SELECT serial, next_row, live, clock_at, clock_row, stamp FROM state",
        [],
        |row| {
            Ok(State {
                serial: row.get::<_, i64>(0)? as u32,
                next_row: row.get(1)?,
                live: row.get::<_, i64>(2)?.unsigned_abs(),
                clock: ClockMark {
                    at: row.get::<_, i64>(3)?.unsigned_abs(),
                    row: row.get(4)?,
                },
                stamp: row.get::<_, i64>(5)?.unsigned_abs(),
            })
        },
    );
    let state = opened.map_err(sqlite)?;
    Ok(Opened {
        connection,
        state,
        _lock: lock,
    })
}

/// Adds what replication needs, and puts `stored_ms` in the order of the row ids, with the times at which the values were
/// written beside it where that changes it.
fn to_version_3(sql: &mut Connection, millis: u64) -> rusqlite::Result<()> {
    let transaction = sql.transaction()?;
    transaction.execute_batch(TO_VERSION_3)?;
    let (mut run, mut moved) = (Run::after(0), Vec::new());
    let mut statement = transaction.prepare("SELECT id, stored_ms FROM record ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, stored): (i64, i64) = (row.get(0)?, row.get(1)?);
        // A time to come was a wrong clock: it must not put off what is written from now on.
        let written = u64::try_from(stored).unwrap_or(0).clamp(1, millis.max(1));
        let stamp = run.take(written);
        if i64::try_from(stamp) != Ok(stored) {
            moved.push((id, stamp as i64, written as i64));
        }
    }
    drop(rows);
    drop(statement);
    let update = "UPDATE record SET stored_ms = ?2, written_at = nullif(?3, ?2) WHERE id = ?1";
    for row in moved {
        transaction.prepare_cached(update)?.execute(row)?;
    }
    transaction.execute("UPDATE state SET stamp = ?1", [run.last() as i64])?;
    transaction.commit()
}

/// [`reader`], with the file in the error.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    reader(path).map_err(|error| OpenError::Sqlite {
        path: path.into(),
        error,
    })
}

/// A second connection for reading what is committed.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

/// Whether the file is new; an error when it is somebody else's. Reads the header only and changes nothing.
fn recognise(path: &Path) -> Result<bool, OpenError> {
    let mut header = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => Err(error),
    }
    .map_err(|error| OpenError::File {
        path: path.into(),
        error,
    })?;
    if header.is_empty() {
        return Ok(true);
    }
    if is_ours(&header) {
        Ok(false)
    } else {
        Err(OpenError::Foreign(path.into()))
    }
}

/// Whether a file that begins so was made by this program.
pub(crate) fn is_ours(header: &[u8]) -> bool {
    // The application id is the big-endian word at offset 68 of the database header.
    header.starts_with(MAGIC) && header.get(68..72) == Some(&APPLICATION_ID.to_be_bytes())
}

/// An error while a node has the file open; changes nothing.
pub(crate) fn refuse_if_in_use(path: &Path) -> Result<(), OpenError> {
    let path_of_lock = with_suffix(path, "-lock");
    let taken = match File::open(&path_of_lock) {
        Ok(lock) => lock.try_lock(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fs::TryLockError::Error(error)),
    };
    match taken {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => Err(in_use(path, &path_of_lock)),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::File {
            path: path_of_lock,
            error,
        }),
    }
}

pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let path_of_lock = with_suffix(path, "-lock");
    let file = |error| OpenError::File {
        path: path_of_lock.clone(),
        error,
    };
    let mut lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path_of_lock)
        .map_err(file)?;
    match lock.try_lock() {
        Ok(()) => {
            // Who has it, for whoever comes next; a lock that cannot be written is a lock all the same.
            let _ = lock
                .set_len(0)
                .and_then(|()| writeln!(lock, "{}", std::process::id()));
            Ok(lock)
        }
        Err(fs::TryLockError::WouldBlock) => Err(in_use(path, &path_of_lock)),
        Err(fs::TryLockError::Error(error)) => Err(file(error)),
    }
}

fn in_use(path: &Path, lock: &Path) -> OpenError {
    let holder = fs::read_to_string(lock).ok();
    OpenError::InUse {
        path: path.into(),
        holder: holder.and_then(|text| text.trim().parse().ok()),
    }
}

fn heal_mode(path: &Path) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the file's name itself durable.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

//! One database file of the reference: copied aside, checked, recognised by its tables, and read row by row.
//!
//! The copy is what makes reading harmless: SQLite recovers a write-ahead log that the reference left behind, and does so
//! in the copy. The directory of the copy is private and goes away with this value.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use tempfile::TempDir;

use super::ImportError;

/// The tables of the reference and the newest `user_version` of the file each stands in (node.md 4.1, 5.1, 6.6, 9).
const TABLES: [(&str, i64); 5] = [
    ("records", 0),
    ("tsig_keys", 4),
    ("tokens", 2),
    ("token_audit", 2),
    ("heartbeats_seen", 1),
];

/// A row of `heartbeats_seen`.
pub(super) struct HeartbeatRow {
    pub(super) endpoint: String,
    pub(super) wire: String,
    pub(super) received_at: i64,
}

/// An open copy of one file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) tables: Vec<(&'static str, u64)>,
    connection: Connection,
    _copy: TempDir,
}

/// A row of `records`.
pub(super) struct RecordRow {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) ttl: i64,
    pub(super) expires_at: i64,
}

/// A row of `tsig_keys`.
pub(super) struct TsigRow {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) secret: zeroize::Zeroizing<Vec<u8>>,
    pub(super) allowed_suffixes: String,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) revoked: bool,
    pub(super) subject: String,
    pub(super) registered_spk: String,
    pub(super) registered_x25519_pub: String,
}

/// A row of `tokens`.
pub(super) struct TokenRow {
    pub(super) token_hash: String,
    pub(super) subject: String,
    pub(super) subject_type: i64,
    pub(super) subject_hash12: String,
    pub(super) rate_per_sec: f64,
    pub(super) rate_burst: f64,
    pub(super) issued_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) revoked_at: Option<i64>,
    pub(super) issuer: String,
    pub(super) note: String,
    pub(super) registered_spk: String,
}

impl Source {
    /// Copies, checks and recognises the file.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |error| ImportError::File {
            path: path.into(),
            error,
        };
        recognise(path)?;
        let copy = tempfile::tempdir().map_err(failed)?;
        let file = copy.path().join("source.db");
        self::copy(path, &file)?;
        let damaged = |error: rusqlite::Error| ImportError::Damaged {
            path: path.into(),
            reason: error.to_string(),
        };
        let connection = Connection::open_with_flags(
            &file,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(damaged)?;
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(damaged)?;
        if verdict != "ok" {
            return Err(ImportError::Damaged {
                path: path.into(),
                reason: verdict,
            });
        }
        let tables = tables(&connection, path).map_err(damaged)??;
        Ok(Self {
            path: path.into(),
            tables,
            connection,
            _copy: copy,
        })
    }

    /// Rows of one table; 0 without it.
    pub(super) fn count(&self, table: &str) -> u64 {
        let found = self.tables.iter().find(|(name, _)| *name == table);
        found.map_or(0, |(_, rows)| *rows)
    }

    /// Hands over every record, oldest first. A row of the wrong types is an `Err` with its name as far as it has one.
    pub(super) fn records(
        &self,
        each: &mut dyn FnMut(Result<RecordRow, String>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if self.columns("records")?.is_none() {
            return Ok(());
        }
        self.each(
            "SELECT name, value, ttl, expires_at FROM records ORDER BY created_at, rowid",
            |row| {
                let name = text(row, 0)?;
                let read = || {
                    Ok(RecordRow {
                        name: name.clone(),
                        value: text(row, 1)?,
                        ttl: whole(row, 2)?,
                        expires_at: whole(row, 3)?,
                    })
                };
                read().map_err(|_: Unreadable| Unreadable(name.clone()))
            },
            each,
        )
    }

    /// Hands over every TSIG key, oldest first; errors as in [`Source::records`].
    pub(super) fn keys(
        &self,
        each: &mut dyn FnMut(Result<TsigRow, String>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let Some(has) = self.columns("tsig_keys")? else {
            return Ok(());
        };
        let sql = format!(
            "SELECT name, algorithm, secret, allowed_suffixes, created_at, {}, {}, {}, {}, {}
             FROM tsig_keys ORDER BY created_at, rowid",
            has.or("expires_at", "0"),
            has.or("revoked", "0"),
            has.or("subject", "''"),
            has.or("registered_spk", "''"),
            has.or("registered_x25519_pub", "''"),
        );
        self.each(
            &sql,
            |row| {
                let name = text(row, 0)?;
                let read = || {
                    Ok(TsigRow {
                        name: name.clone(),
                        algorithm: text(row, 1)?,
                        secret: zeroize::Zeroizing::new(octets(row, 2)?),
                        allowed_suffixes: text(row, 3)?,
                        created_at: whole(row, 4)?,
                        expires_at: whole(row, 5)?,
                        revoked: whole(row, 6)? != 0,
                        subject: optional_text(row, 7)?,
                        registered_spk: optional_text(row, 8)?,
                        registered_x25519_pub: optional_text(row, 9)?,
                    })
                };
                read().map_err(|_: Unreadable| Unreadable(name.clone()))
            },
            each,
        )
    }

    /// Hands over every bearer token, oldest first; errors as in [`Source::records`], with the subject as name.
    pub(super) fn tokens(
        &self,
        each: &mut dyn FnMut(Result<TokenRow, String>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let Some(has) = self.columns("tokens")? else {
            return Ok(());
        };
        let sql = format!(
            "SELECT token_hash, subject, {}, {}, {}, {}, issued_at, {}, {}, {}, {}, {}
             FROM tokens ORDER BY issued_at, rowid",
            has.or("subject_type", "1"),
            has.or("subject_hash12", "''"),
            has.or("rate_per_sec", "10.0"),
            has.or("rate_burst", "50"),
            has.or("expires_at", "NULL"),
            has.or("revoked_at", "NULL"),
            has.or("issuer", "''"),
            has.or("note", "''"),
            has.or("registered_spk", "''"),
        );
        self.each(
            &sql,
            |row| {
                let subject = text(row, 1)?;
                let read = || {
                    Ok(TokenRow {
                        token_hash: text(row, 0)?,
                        subject: subject.clone(),
                        subject_type: whole(row, 2)?,
                        subject_hash12: optional_text(row, 3)?,
                        rate_per_sec: number(row, 4)?,
                        rate_burst: number(row, 5)?,
                        issued_at: whole(row, 6)?,
                        expires_at: optional_whole(row, 7)?,
                        revoked_at: optional_whole(row, 8)?,
                        issuer: optional_text(row, 9)?,
                        note: optional_text(row, 10)?,
                        registered_spk: optional_text(row, 11)?,
                    })
                };
                read().map_err(|_: Unreadable| Unreadable(subject.clone()))
            },
            each,
        )
    }

    /// Hands over every heartbeat with the second of its reception, oldest first; errors as in [`Source::records`], with the
    /// endpoint as name.
    pub(super) fn heartbeats(
        &self,
        each: &mut dyn FnMut(Result<HeartbeatRow, String>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if self.columns("heartbeats_seen")?.is_none() {
            return Ok(());
        }
        let sql =
            "SELECT endpoint, wire, received_at FROM heartbeats_seen ORDER BY received_at, rowid";
        self.each(
            sql,
            |row| {
                let endpoint = text(row, 0)?;
                let read = || {
                    Ok(HeartbeatRow {
                        endpoint: endpoint.clone(),
                        wire: text(row, 1)?,
                        received_at: whole(row, 2)?,
                    })
                };
                read().map_err(|_: Unreadable| Unreadable(endpoint.clone()))
            },
            each,
        )
    }

    fn each<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Result<T, Unreadable>,
        each: &mut dyn FnMut(Result<T, String>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(read(row).map_err(|Unreadable(name)| name))?;
        }
        Ok(())
    }

    fn columns(&self, table: &str) -> rusqlite::Result<Option<Columns>> {
        if !self.tables.iter().any(|(name, _)| *name == table) {
            return Ok(None);
        }
        let mut statement = self
            .connection
            .prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        names
            .collect::<Result<_, _>>()
            .map(|names| Some(Columns(names)))
    }
}

/// Column names that a table has: older versions of the reference lack some.
struct Columns(Vec<String>);

impl Columns {
    fn or<'a>(&self, column: &'a str, missing: &'a str) -> &'a str {
        if self.0.iter().any(|name| name == column) {
            column
        } else {
            missing
        }
    }
}

/// A row of the wrong types, with its name as far as it could be read.
struct Unreadable(String);

/// Copies a database with what SQLite left beside it, and makes sure that it is one moment of it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), ImportError> {
    let failed = |error| ImportError::File {
        path: from.into(),
        error,
    };
    let stamp = || {
        ["", "-wal", "-journal"].map(|suffix| {
            let metadata = fs::metadata(beside(from, suffix)).ok()?;
            Some((metadata.len(), metadata.modified().ok()))
        })
    };
    let before = stamp();
    for suffix in ["", "-wal", "-journal"] {
        match fs::copy(beside(from, suffix), beside(to, suffix)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if stamp() == before {
        Ok(())
    } else {
        Err(ImportError::Changed(from.into()))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Refuses what is no SQLite database, and our own.
fn recognise(path: &Path) -> Result<(), ImportError> {
    let mut header = Vec::new();
    File::open(path)
        .and_then(|file| file.take(100).read_to_end(&mut header))
        .map_err(|error| ImportError::File {
            path: path.into(),
            error,
        })?;
    if crate::store::is_ours(&header) {
        Err(ImportError::Ours(path.into()))
    } else if header.starts_with(b"SQLite format 3\0") {
        Ok(())
    } else {
        Err(ImportError::Foreign(path.into()))
    }
}

/// The reference's tables in the file with their row counts.
fn tables(
    sql: &Connection,
    path: &Path,
) -> rusqlite::Result<Result<Vec<(&'static str, u64)>, ImportError>> {
    let found: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut tables = Vec::new();
    for (table, known) in TABLES {
        let exists = sql
            .prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1")?
            .exists([table])?;
        if !exists {
            continue;
        }
        if found > known {
            return Ok(Err(ImportError::Newer {
                path: path.into(),
                table,
                found,
                known,
            }));
        }
        let rows: i64 = sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })?;
        tables.push((table, rows.unsigned_abs()));
    }
    Ok(if tables.is_empty() {
        Err(ImportError::Foreign(path.into()))
    } else {
        Ok(tables)
    })
}

fn text(row: &Row<'_>, column: usize) -> Result<String, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(octets)) => match std::str::from_utf8(octets) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Unreadable(String::from_utf8_lossy(octets).into_owned())),
        },
        _ => Err(Unreadable("?".into())),
    }
}

fn optional_text(row: &Row<'_>, column: usize) -> Result<String, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(String::new()),
        _ => text(row, column),
    }
}

fn octets(row: &Row<'_>, column: usize) -> Result<Vec<u8>, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Blob(octets) | ValueRef::Text(octets)) => Ok(octets.to_vec()),
        _ => Err(Unreadable("?".into())),
    }
}

fn whole(row: &Row<'_>, column: usize) -> Result<i64, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(value)) => Ok(value),
        Ok(ValueRef::Real(value)) => Ok(value as i64), // saturates, and NaN is 0: long gone
        _ => Err(Unreadable("?".into())),
    }
}

fn optional_whole(row: &Row<'_>, column: usize) -> Result<Option<i64>, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        _ => whole(row, column).map(Some),
    }
}

fn number(row: &Row<'_>, column: usize) -> Result<f64, Unreadable> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(value)) => Ok(value as f64), // a rate, far below 2^53
        Ok(ValueRef::Real(value)) if value.is_finite() => Ok(value),
        _ => Err(Unreadable("?".into())),
    }
}

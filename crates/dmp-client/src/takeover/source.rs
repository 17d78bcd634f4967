//! One database of the reference, read from a private copy. Knows no table's meaning.
//!
//! The copy is what makes reading harmless: SQLite recovers a write-ahead log that the reference left behind, and does so in the
//! copy. It lies in the home itself, because it holds the same secrets as the original, and goes away with this value.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::TakeoverError;

/// An open copy of one file.
pub(super) struct Source {
    path: PathBuf,
    connection: Connection,
    /// Dropped after the connection.
    _copy: Copy,
}

impl Source {
    /// Copies the file and checks the copy; `None` if there is no such file. The caller holds the lock of the home's files.
    pub(super) fn open(path: &Path, known: i64) -> Result<Option<Self>, TakeoverError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = |source| TakeoverError::File {
            path: path.to_owned(),
            source,
        };
        let copy = Copy::in_directory_of(path).map_err(failed)?;
        let file = copy.0.join("copy.db");
        copy_database(path, &file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&file, flags)?;
            let verdict: String =
                connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
            let found: i64 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, verdict, found))
        };
        let damaged = |reason| TakeoverError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let (connection, verdict, found) =
            open().map_err(|error: rusqlite::Error| damaged(error.to_string()))?;
        if verdict != "ok" {
            return Err(damaged(verdict));
        }
        if found > known {
            return Err(TakeoverError::FutureSchema {
                path: path.to_owned(),
                found,
                known,
            });
        }
        Ok(Some(Self {
            path: path.to_owned(),
            connection,
            _copy: copy,
        }))
    }

    /// Hands over every row of a query; none if the table is missing.
    pub(super) fn each(
        &self,
        table: &str,
        sql: &str,
        mut each: impl FnMut(&Row<'_>),
    ) -> Result<(), TakeoverError> {
        let mut read = || {
            if !self.connection.table_exists(None, table)? {
                return Ok(());
            }
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                each(row);
            }
            Ok(())
        };
        read().map_err(|error| self.damaged(&error))
    }

    /// A column's name, or what stands for it in a table of an older version.
    pub(super) fn column_or(
        &self,
        table: &str,
        column: &'static str,
        missing: &'static str,
    ) -> Result<&'static str, TakeoverError> {
        let found = self.connection.column_exists(None, table, column);
        Ok(if found.map_err(|error| self.damaged(&error))? {
            column
        } else {
            missing
        })
    }

    /// The highest number that an AUTOINCREMENT table ever gave.
    pub(super) fn last_number(&self, table: &str) -> Result<i64, TakeoverError> {
        let read = || {
            if !self.connection.table_exists(None, "sqlite_sequence")? {
                return Ok(None);
            }
            self.connection
                .query_row(
                    "SELECT seq FROM sqlite_sequence WHERE name = ?1",
                    [table],
                    |row| row.get(0),
                )
                .optional()
        };
        Ok(read()
            .map_err(|error| self.damaged(&error))?
            .unwrap_or_default())
    }

    fn damaged(&self, error: &rusqlite::Error) -> TakeoverError {
        TakeoverError::Damaged {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }
}

/// A directory for one copy.
struct Copy(PathBuf);

impl Copy {
    /// Makes it beside the original; what a run that was killed left there goes.
    fn in_directory_of(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".takeover");
        let directory = PathBuf::from(name);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self(directory))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A copy that cannot be removed now is removed by the next reading.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies a database with what SQLite left beside it, and makes sure that it is one moment of it.
fn copy_database(from: &Path, to: &Path) -> Result<(), TakeoverError> {
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
            Err(source) => {
                return Err(TakeoverError::File {
                    path: from.to_owned(),
                    source,
                });
            }
        }
    }
    if stamp() == before {
        Ok(())
    } else {
        Err(TakeoverError::Changed(from.to_owned()))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

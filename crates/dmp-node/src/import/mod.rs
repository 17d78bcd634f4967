//! Takes over the databases of a reference node: records, bearer tokens, TSIG keys and heartbeats of other nodes, in one transaction (D4, node.md 5.4).
//!
//! The reference's files are only read, from a private copy, so that they stay byte for byte as they are. The node must
//! not run meanwhile; what was taken over is in force when it starts.

mod merge;
mod report;
mod source;

use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::credentials;
use crate::federation::heartbeat;
use crate::store::OpenError;
use crate::store::offline::{self, Offline};
use source::Source;

pub use report::{Counts, Refused, Report, SourceReport};

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The rows are taken over.
    Apply,
    /// The same is done to a copy that is thrown away: neither the database nor its directory changes.
    DryRun,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A source cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// The source.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A source is no database, or one without a table of the reference.
    #[error("{} is not a database of the reference node", .0.display())]
    Foreign(PathBuf),
    /// A source is a database of this program.
    #[error("{} is a database of this node, not of the reference; use `dnsmesh node ctl restore` for a backup", .0.display())]
    Ours(PathBuf),
    /// A source was written by a version of the reference that this program does not know.
    #[error("{}: table {table} has schema version {found}, this program knows up to {known}; upgrade the program", .path.display())]
    Newer {
        /// The source.
        path: PathBuf,
        /// The table it holds.
        table: &'static str,
        /// Version in the file.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// A source is damaged.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The source.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// A source changed while it was copied.
    #[error("{} changed while it was read; stop the reference node first", .0.display())]
    Changed(PathBuf),
    /// The own database does not open, for instance because a node runs on it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The own database did not take the rows; nothing of them is in it.
    #[error("the database was left as it was: {0}")]
    Write(#[from] rusqlite::Error),
}

/// Takes over what `files` hold. On any error nothing was changed.
///
/// Blocks the calling thread for the time of reading and writing.
pub fn import(
    files: &[PathBuf],
    database: &Path,
    clock: &Clock,
    mode: Mode,
) -> Result<Report, ImportError> {
    let sources = files
        .iter()
        .map(|path| Source::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let rehearsal = match mode {
        Mode::Apply => None,
        Mode::DryRun => Some(rehearse(database)?),
    };
    let path = rehearsal
        .as_ref()
        .map_or(database.to_owned(), |copy| copy.path().join("rehearsal.db"));
    let (millis, now) = (clock.millis(), clock.seconds());
    let mut target = Offline::open(&path, &[credentials::SCHEMA, heartbeat::SCHEMA], millis)?;
    let (serial, position) = (target.serial(), target.position());
    let sql = target.transaction()?;
    let mut merge = merge::Merge::new(&sql, millis, position)?;
    for source in &sources {
        merge.take(source)?;
    }
    let (mut report, position) = merge.finish()?;
    report.database = database.to_owned();
    report.dry_run = mode == Mode::DryRun;
    report.serial = serial;
    if report.records.added + report.records.extended > 0 {
        // The reference answers with the time of day, so a serial of now is never behind what it told anybody (D23).
        report.serial = offline::serial_after(serial, now as u32); // RFC 1982 serials wrap
        offline::finish(&sql, report.serial, &position)?;
        offline::count_rows(&sql)?;
    }
    sql.commit()?;
    Ok(report)
}

/// A copy of the own database to try the import on, or an empty directory if there is none yet.
fn rehearse(database: &Path) -> Result<tempfile::TempDir, ImportError> {
    let copy = tempfile::tempdir().map_err(|error| ImportError::File {
        path: std::env::temp_dir(),
        error,
    })?;
    if database.exists() {
        crate::store::refuse_if_in_use(database)?;
        source::copy(database, &copy.path().join("rehearsal.db"))?;
    }
    Ok(copy)
}

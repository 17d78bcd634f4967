//! Fills the database from a zone file (RFC 1035 5.1), all of it or nothing; what a zone dump wrote comes back with the
//! life that was left.
//!
//! The node must not run meanwhile. Only TXT is stored; the other records of a zone come from the node's settings.

mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::clock::Clock;
use crate::credentials;
use crate::import::{Counts, Mode};
use crate::store::OpenError;
use crate::store::intake::{Incoming, Intake, Taken, Written};
use crate::store::offline::{self, Offline};
use crate::zone::Owner;
use text::{Entries, Entry, TextError};

/// Octets read from the file at once.
const PIECE: usize = 1 << 20;

/// What is loaded, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The zone file.
    pub file: &'a Path,
    /// The database of a node that does not run; created if it is not there.
    pub database: &'a Path,
    /// The zone that the node serves: every record must be under it, and it is the first `$ORIGIN`. Without one the file
    /// may hold any name.
    pub zone: Option<&'a Owner>,
    /// Seconds that every value lives, whatever the file says.
    pub ttl: Option<u64>,
    /// Whether anything is written.
    pub mode: Mode,
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The zone file.
    pub file: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Values.
    pub records: Counts,
    /// Records of other types, which were left out, by type.
    pub left_out: BTreeMap<String, u64>,
    /// SOA serial of the content.
    pub serial: u32,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The zone file cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line of the zone file is wrong.
    #[error("{}:{line}: {what}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1 on; the last line of a record that has several.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The database does not open, for instance because a node runs on it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database did not take the values.
    #[error("the database was left as it was: {0}")]
    Write(#[from] rusqlite::Error),
}

/// Loads the file. On any error nothing was changed.
///
/// Blocks the calling thread for the time of reading and writing.
pub fn load(request: &Request<'_>, clock: &Clock) -> Result<Report, LoadError> {
    let failed = |path: &Path, error| LoadError::File {
        path: path.into(),
        error,
    };
    let source = File::open(request.file).map_err(|error| failed(request.file, error))?;
    // A rehearsal must not leave a database behind where there was none.
    let scratch = (request.mode == Mode::DryRun && !request.database.exists())
        .then(tempfile::tempdir)
        .transpose()
        .map_err(|error| failed(&std::env::temp_dir(), error))?;
    let path = scratch
        .as_ref()
        .map_or(request.database.to_owned(), |scratch| {
            scratch.path().join("rehearsal.db")
        });
    let millis = clock.millis();
    let mut target = Offline::open(&path, &[credentials::SCHEMA], millis)?;
    let (before, position) = (target.serial(), target.position());
    let sql = target.bulk_transaction()?;
    let mut loading = Loading {
        request,
        now: millis / 1000,
        intake: Intake::new(&sql, millis, position, Written::Now)?,
        report: Report {
            file: request.file.to_owned(),
            database: request.database.to_owned(),
            dry_run: request.mode == Mode::DryRun,
            serial: before,
            ..Report::default()
        },
        serial: None,
    };
    loading.read(BufReader::with_capacity(PIECE, source))?;
    let (mut report, serial, position) =
        (loading.report, loading.serial, loading.intake.position());
    if report.records.added + report.records.extended > 0 {
        // A dump carries the serial under which it was served: it must not fall back where it is restored (D23).
        report.serial = offline::serial_after(before, serial.unwrap_or(before));
        offline::finish(&sql, report.serial, &position)?;
        offline::count_rows(&sql)?;
    }
    if request.mode == Mode::Apply {
        sql.commit()?;
    }
    Ok(report)
}

/// A load in progress.
struct Loading<'a, 'c> {
    request: &'a Request<'a>,
    now: u64,
    intake: Intake<'c>,
    report: Report,
    /// Of the file's SOA record.
    serial: Option<u32>,
}

impl Loading<'_, '_> {
    fn read(&mut self, source: BufReader<File>) -> Result<(), LoadError> {
        let path = self.request.file;
        let wrong = |line, what| LoadError::Line {
            path: path.into(),
            line,
            what,
        };
        let mut entries = Entries::new(source, self.request.zone);
        loop {
            match entries.next() {
                Ok(Some(entry)) => match self.take(&entry)? {
                    Ok(()) => {}
                    Err(what) => return Err(wrong(entry.line, what)),
                },
                Ok(None) => return Ok(()),
                Err(TextError::Line { line, what }) => return Err(wrong(line, what)),
                Err(TextError::Io(error)) => {
                    return Err(LoadError::File {
                        path: path.into(),
                        error,
                    });
                }
            }
        }
    }

    /// The inner error is the file's fault.
    fn take(&mut self, entry: &Entry<'_>) -> rusqlite::Result<Result<(), String>> {
        let Request { zone, ttl, .. } = *self.request;
        if let Some(zone) = zone.filter(|zone| !entry.owner.is_under(zone)) {
            return Ok(Err(format!("{}. is outside the zone {zone}.", entry.owner)));
        }
        if entry.rtype != "TXT" {
            if entry.rtype == "SOA" {
                self.serial = entry.serial();
            }
            *self.report.left_out.entry(entry.rtype.clone()).or_default() += 1;
            return Ok(Ok(()));
        }
        let value = match entry.value() {
            Ok(value) => value,
            Err(what) => return Ok(Err(what)),
        };
        let lives_until = |ttl: u64| self.now.saturating_add(ttl);
        let expires_at = ttl
            .map(lives_until)
            .or_else(|| entry.expires_at())
            .or_else(|| entry.ttl.map(lives_until));
        let Some(expires_at) = expires_at else {
            return Ok(Err("the record has no TTL, and there is no $TTL".into()));
        };
        let signed = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX);
        let taken = self.intake.take(&Incoming {
            owner: entry.owner,
            value: &value,
            ttl: signed(expires_at.saturating_sub(self.now)),
            expires_at: signed(expires_at),
        })?;
        if let Taken::Refused(reason) = taken {
            return Ok(Err(reason.into()));
        }
        self.report.records.count(taken);
        Ok(Ok(()))
    }
}

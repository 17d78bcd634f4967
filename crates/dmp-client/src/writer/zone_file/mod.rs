//! Files from which a local name server reads its zone: a BIND zone file, or options of dnsmasq (client.md 14).
//!
//! The file is the only state: every change reads it under a lock, so that processes do not undo each other's change, and replaces it
//! in one step. Values that have outlived their TTL go at the next change.

mod dnsmasq;
mod entry;
mod master;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use dmp_core::name::Zone;
use tokio::process::Command;

use self::entry::Entries;
use super::check;
use crate::error::WriteError;
use crate::limits::{HTTP_REASON_MAX, LOCK_POLL, LOCK_WAIT, RELOAD_TIMEOUT};
use crate::mesh::{Applied, Clock, Operation, Pending, Writer};

/// Mode of a file that was not there: a name server under another user has to read it, and it holds nothing secret.
const MODE: u32 = 0o644;

/// How the file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileForm {
    /// A zone file (RFC 1035 5): one TXT line per value between two marks; the rest is the operator's, except the SOA serial.
    Master,
    /// `txt-record=` lines of dnsmasq; the whole file is ours.
    Dnsmasq,
}

/// Writes values into a file and tells the server.
#[derive(Clone)]
pub struct ZoneFileWriter {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    form: FileForm,
    zone: Zone,
    /// Program and arguments, run without a shell; empty = none.
    reload: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl ZoneFileWriter {
    /// A writer for a file; `reload` is the command that makes the server read it again, with its arguments.
    #[must_use]
    pub fn new(
        path: PathBuf,
        form: FileForm,
        zone: Zone,
        reload: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                path,
                form,
                zone,
                reload,
                clock,
            }),
        }
    }

    async fn change(&self, operations: &[Operation]) -> Result<(), WriteError> {
        for operation in operations {
            check(operation, &self.inner.zone)?;
        }
        let (inner, operations) = (Arc::clone(&self.inner), operations.to_vec());
        tokio::task::spawn_blocking(move || inner.rewrite(&operations))
            .await
            .unwrap_or_else(|error| Err(WriteError::ServerFailure(error.to_string())))?;
        // Also when nothing changed: the last run may have ended between the change and this.
        self.inner.reload().await
    }
}

impl Writer for ZoneFileWriter {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            if operations.is_empty() {
                return Applied::default();
            }
            Applied::whole(operations, self.change(operations).await)
        })
    }
}

impl Inner {
    /// The change as a whole, under the lock.
    fn rewrite(&self, operations: &[Operation]) -> Result<(), WriteError> {
        let path = self.target();
        let _lock = self.lock(&path)?;
        let old = self.read(&path)?;
        let mut entries = self.parse(&old)?;
        let now = self.clock.now();
        entries.expire(now);
        for operation in operations {
            entries.change(operation, now);
        }
        let new = self.render(&old, &entries)?;
        if new == old {
            return Ok(());
        }
        replace(&path, &new).map_err(|error| failed(&path, &error))
    }

    fn parse(&self, text: &str) -> Result<Entries, WriteError> {
        let entries = match self.form {
            FileForm::Master => master::parse(text),
            FileForm::Dnsmasq => dnsmasq::parse(text),
        };
        entries.map_err(|reason| self.unusable(&reason))
    }

    fn render(&self, old: &str, entries: &Entries) -> Result<String, WriteError> {
        match self.form {
            FileForm::Master => {
                master::render(old, entries).map_err(|reason| self.unusable(&reason))
            }
            FileForm::Dnsmasq => dnsmasq::render(entries),
        }
    }

    fn unusable(&self, reason: &str) -> WriteError {
        WriteError::Misconfigured(format!("{}: {reason}", self.path.display()))
    }

    /// The file itself, where the path is a symbolic link.
    fn target(&self) -> PathBuf {
        fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// The text; an absent file is empty, which a zone file must not be.
    fn read(&self, path: &Path) -> Result<String, WriteError> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            text => text.map_err(|error| failed(path, &error)),
        }
    }

    /// Waits for other processes that change the file.
    fn lock(&self, path: &Path) -> Result<File, WriteError> {
        let path = beside(path, ".lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, &error))?;
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    let busy = format!("another process holds {}", path.display());
                    return Err(WriteError::ServerFailure(busy));
                }
                Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
            }
        }
    }

    /// Runs the configured command and waits for its end.
    async fn reload(&self) -> Result<(), WriteError> {
        let Some((program, arguments)) = self.reload.split_first() else {
            return Ok(());
        };
        let trouble = |reason: &str| {
            Err(WriteError::ServerFailure(format!(
                "the file is written, but `{program}` {reason}"
            )))
        };
        let command = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(RELOAD_TIMEOUT, command).await {
            Err(_) => trouble("did not end in time"),
            Ok(Err(error)) => trouble(&format!("cannot be run: {error}")),
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let words = String::from_utf8_lossy(&output.stderr);
                let words: String = words.trim().chars().take(HTTP_REASON_MAX).collect();
                trouble(&format!("failed ({}): {words}", output.status))
            }
        }
    }
}

/// Writes the text so that a crash leaves the old file or the new one, with the old one's mode.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = fs::metadata(path).map_or(MODE, |metadata| metadata.mode() & 0o777);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    // The process mask may have taken what the server needs.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A place that is wrong stays wrong; a full disk does not.
fn failed(path: &Path, error: &io::Error) -> WriteError {
    let reason = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory => WriteError::Misconfigured(reason),
        _ => WriteError::ServerFailure(reason),
    }
}

//! The lock that lets one process at a time receive with a home (client.md 2). Protects no data by itself: transactions do.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::StoreError;
use crate::limits::LOCK_TEXT_MAX;

/// Held while a receive run lasts; dropping it lets the next one in.
#[derive(Debug)]
pub struct RunLock {
    /// `None` for a store in memory, which no other process can see.
    _file: Option<File>,
}

/// Who holds a lock, as far as the file says: anybody who may write in the home may have written it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holder {
    /// Its process.
    pub process: Option<u32>,
    /// What it does, printable characters only; empty if that is not known.
    pub work: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.process {
            Some(process) => write!(formatter, "process {process}")?,
            None => formatter.write_str("another process")?,
        }
        if self.work.is_empty() {
            Ok(())
        } else {
            write!(formatter, " ({})", self.work)
        }
    }
}

impl RunLock {
    /// The lock of a store that only this process has.
    pub(super) const fn private() -> Self {
        Self { _file: None }
    }

    /// Takes the lock of a home at once and writes down what for, or says who holds it.
    pub(super) fn take(path: &Path, work: &str) -> Result<Self, StoreError> {
        let failed = |error| StoreError::File {
            path: path.display().to_string(),
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&file);
                return Err(StoreError::Locked { holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| {
                file.write_all(format!("pid {}\n{work}\n", std::process::id()).as_bytes())
            })
            .map_err(failed)?;
        Ok(Self { _file: Some(file) })
    }
}

/// The holder may be writing its name at this moment; the lock itself does not depend on the text.
fn read_holder(file: &File) -> Holder {
    let mut text = Vec::new();
    if file.take(LOCK_TEXT_MAX).read_to_end(&mut text).is_err() {
        return Holder::default();
    }
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let process = lines.next().and_then(|line| line.strip_prefix("pid "));
    let work = lines.next().unwrap_or_default().trim();
    Holder {
        process: process.and_then(|number| number.trim().parse().ok()),
        work: work.chars().filter(|letter| !letter.is_control()).collect(),
    }
}

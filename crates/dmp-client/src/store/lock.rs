//! The lock that lets one process at a time receive with a home (client.md 2). Protects no data by itself: transactions do.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::StoreError;

/// Held while a receive run lasts; dropping it lets the next one in.
#[derive(Debug)]
pub struct RunLock {
    /// `None` for a store in memory, which no other process can see.
    _file: Option<File>,
}

impl RunLock {
    /// The lock of a store that only this process has.
    pub(super) const fn private() -> Self {
        Self { _file: None }
    }

    /// Takes the lock of a home at once, or says who holds it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
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
                let mut holder = String::new();
                // The holder may be writing its name at this moment; the lock itself does not depend on the text.
                let read = file.read_to_string(&mut holder);
                let holder = if read.is_ok() && !holder.trim().is_empty() {
                    holder.trim().to_owned()
                } else {
                    "unknown".to_owned()
                };
                return Err(StoreError::Locked { holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "pid {}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: Some(file) })
    }
}

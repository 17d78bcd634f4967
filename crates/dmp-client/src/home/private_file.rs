//! Files that only their owner may read, replaced in one step: temporary file, fsync, rename, fsync of the directory (client.md 2).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::HomeError;

/// Options that create files with mode 0600.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Writes `content` to `path` so that a crash leaves the old file or the new one, never a part.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let temporary = temporary(path);
    remove_stale(&temporary)?;
    let written = options()
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    written.map_err(HomeError::io(&temporary))?;
    fs::rename(&temporary, path).map_err(HomeError::io(path))?;
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(HomeError::io(dir))
}

/// Writes a page of nothing to a file of that name and deletes it again: what the system says to that is what it says to every change here.
pub(super) fn try_write(path: &Path) -> std::io::Result<()> {
    const PAGE: [u8; 4096] = [0; 4096];
    let written = options()
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(&PAGE)?;
            file.sync_all()
        });
    match fs::remove_file(path) {
        Err(error) if written.is_ok() => Err(error),
        _ => written,
    }
}

/// Proves that [`replace`] would find its directory writable.
pub(super) fn probe(path: &Path) -> Result<(), HomeError> {
    let temporary = temporary(path);
    remove_stale(&temporary)?;
    options()
        .create_new(true)
        .open(&temporary)
        .map_err(HomeError::io(&temporary))?;
    remove_stale(&temporary)
}

/// Makes `dir` with mode 0700, its parents with the usual mode; an existing directory is left alone.
pub(super) fn create_dir(dir: &Path) -> Result<(), HomeError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(HomeError::io(parent))?;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(HomeError::io(dir))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn remove_stale(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HomeError::Io {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

//! Where the control socket is, and how it is named to the system when its path is longer than a socket address.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Octets of a path in a socket address, the last of which is zero (unix(7)).
const ADDRESS_OCTETS: usize = 108;

/// The socket of the node that has this database: beside it, under its name.
pub fn socket_path(database: &Path) -> PathBuf {
    // Added to the name, so that it is never the name of the database itself.
    let mut path = database.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// A socket's path as a socket address takes it, for as long as this lives.
pub(super) struct Place {
    path: PathBuf,
    /// The directory that the path leads through.
    _directory: Option<File>,
}

impl Place {
    /// The path itself, or if it is too long a way through its opened directory, which `/proc` makes a short one.
    ///
    /// # Errors
    /// The directory does not open, or even the name alone is too long.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if fits(path.as_os_str()) {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let too_long = || io::Error::new(ErrorKind::InvalidInput, "the path is too long");
        let (above, name) = path.parent().zip(path.file_name()).ok_or_else(too_long)?;
        let directory = File::open(above)?;
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let path = short.join(name);
        if !fits(path.as_os_str()) {
            return Err(too_long());
        }
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn fits(path: &OsStr) -> bool {
    path.len() < ADDRESS_OCTETS
}

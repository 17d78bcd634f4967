//! The operator's end of the socket. It blocks; whoever has an executor calls it from a thread that may wait.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::place::Place;
use super::{Failed, Line, Request, socket_path};

/// A connection to a running node.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket could not be used.
    #[error("{}: {error}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The node answered that it was not done.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Connection {
    /// Connects to the node that runs on `database`; `None` if none does.
    pub fn open(database: &Path) -> Result<Option<Self>, ControlError> {
        let path = socket_path(database);
        let connected = Place::of(&path).and_then(|place| UnixStream::connect(place.path()));
        match connected {
            Ok(stream) => Ok(Some(Self {
                stream: BufReader::new(stream),
                path,
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    // The last: a path that no node could bind either.
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(ControlError::Socket { path, error }),
        }
    }

    /// Sends one request; pieces of a long text go to `data` as they come.
    pub fn request(
        &mut self,
        request: &Request,
        data: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Value, ControlError> {
        let outcome = self
            .exchange(request, data)
            .map_err(|error| ControlError::Socket {
                path: self.path.clone(),
                error,
            })?;
        Ok(outcome?)
    }

    fn exchange(
        &mut self,
        request: &Request,
        data: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> io::Result<Result<Value, Failed>> {
        // It may hold the secret of a key.
        let mut text = Zeroizing::new(serde_json::to_vec(request)?);
        text.push(b'\n');
        self.stream.get_mut().write_all(&text)?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match serde_json::from_str(&line)? {
                Line::Data(piece) => data(&piece)?,
                Line::Done(value) => return Ok(Ok(value)),
                Line::Failed(failed) => return Ok(Err(failed)),
            }
        }
    }
}

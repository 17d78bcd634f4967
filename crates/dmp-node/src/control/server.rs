//! The node's end of the socket: private to its user, one request after the other on each connection.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::place::Place;
use super::{Failed, FailedCode, Line, Operator, Request, socket_path};
use crate::limits::{CONTROL_CONNECTIONS, CONTROL_IDLE, CONTROL_REQUEST_OCTETS};

/// The bound socket, not yet answering.
#[derive(Debug)]
pub(crate) struct ControlListener {
    listener: UnixListener,
    path: PathBuf,
    /// Whose socket it is: the user of this process.
    uid: u32,
}

/// The answering socket; dropping it removes it.
#[derive(Debug)]
pub(crate) struct ControlServer {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl ControlListener {
    /// Binds the socket beside the database. The caller holds the database's lock, so an old socket there is a dead one.
    pub(crate) fn bind(database: &Path) -> io::Result<Self> {
        let path = socket_path(database);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(Place::of(&path)?.path())?;
        // Whoever connects before this is turned away by the check of the peer's user.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let uid = fs::metadata(&path)?.uid();
        Ok(Self {
            listener,
            path,
            uid,
        })
    }

    /// Answers from now on.
    pub(crate) fn serve(self, operator: Operator) -> ControlServer {
        let Self {
            listener,
            path,
            uid,
        } = self;
        ControlServer {
            task: tokio::spawn(accept(listener, uid, operator)),
            path,
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        // A socket that stays is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, uid: u32, operator: Operator) {
    let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return; // never closed
        };
        match listener.accept().await {
            Ok((stream, _)) if is_allowed(&stream, uid) => {
                let operator = operator.clone();
                tokio::spawn(async move {
                    // A peer that goes away is no event.
                    let _ = answer(stream, &operator).await;
                    drop(place);
                });
            }
            Ok(_) => {
                tracing::warn!("a connection of another user to the control socket was closed")
            }
            Err(error) => {
                tracing::error!(%error, "the control socket takes no connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The node's own user and root.
fn is_allowed(stream: &UnixStream, uid: u32) -> bool {
    let peer = stream.peer_cred().map(|credentials| credentials.uid());
    peer.is_ok_and(|peer| peer == uid || peer == 0)
}

async fn answer(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        // It may hold the secret of a key.
        let mut request = Zeroizing::new(Vec::new());
        let mut limited = (&mut reading).take(CONTROL_REQUEST_OCTETS);
        let read = limited.read_until(b'\n', &mut request);
        match timeout(CONTROL_IDLE, read).await {
            Ok(Ok(0)) | Err(_) => return Ok(()),
            Ok(read) => read?,
        };
        let last = match serde_json::from_slice::<Request>(&request) {
            Ok(request) => {
                let (sender, mut pieces) = mpsc::channel(4);
                let operator = operator.clone();
                let done = tokio::spawn(async move { operator.perform(request, sender).await });
                while let Some(piece) = pieces.recv().await {
                    send(&mut writing, &Line::Data(piece)).await?;
                }
                match done.await {
                    Ok(Ok(value)) => Line::Done(value),
                    Ok(Err(failed)) => Line::Failed(failed),
                    Err(error) => Line::Failed(Failed::new(FailedCode::Unavailable, error)),
                }
            }
            Err(error) => Line::Failed(Failed::new(FailedCode::Misuse, error)),
        };
        send(&mut writing, &last).await?;
        if !request.ends_with(b"\n") {
            return Ok(()); // cut short or too long: where the next request begins is not known
        }
    }
}

async fn send(writing: &mut (impl AsyncWriteExt + Unpin), line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    writing.write_all(&text).await
}

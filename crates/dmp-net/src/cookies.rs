//! The cookies by which servers know this client and it knows them (RFC 7873 5.1, client.md 4.1).
//!
//! They live in memory and as long as their owner; nothing of them is written down.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmp_dns::cookie::Cookie;

use crate::exchange::random;
use crate::limits;

/// Client cookies shown and server cookies learnt, for each server and each own address: a client that moves is not
/// recognised by its cookie (RFC 9018 3).
#[derive(Debug, Default)]
pub struct CookieJar {
    known: Mutex<HashMap<Path, Known>>,
}

/// A server and the own address that reaches it.
type Path = (SocketAddr, IpAddr);

#[derive(Debug)]
enum Known {
    /// What goes to the server.
    Pair(Own),
    /// It answers cookies with FORMERR.
    Refused,
}

/// What this client shows one server.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) client: [u8; 8],
    /// Empty until the server has given one.
    pub(crate) server: Vec<u8>,
}

impl Own {
    pub(crate) fn as_cookie(&self) -> Cookie<'_> {
        Cookie {
            client: self.client,
            server: &self.server,
        }
    }
}

impl CookieJar {
    /// What to show on this path; `None` where cookies are not understood.
    pub(crate) fn show(&self, path: Path) -> io::Result<Option<Own>> {
        let mut known = self.known();
        if known.len() >= limits::COOKIE_PATHS && !known.contains_key(&path) {
            known.clear();
        }
        let known = match known.entry(path) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Known::Pair(Own {
                client: random()?,
                server: Vec::new(),
            })),
        };
        Ok(match known {
            Known::Pair(own) => Some(own.clone()),
            Known::Refused => None,
        })
    }

    /// Keeps the server cookie that came with an answer.
    pub(crate) fn learn(&self, path: Path, cookie: Cookie<'_>) {
        if let Some(Known::Pair(own)) = self.known().get_mut(&path)
            && own.client == cookie.client
        {
            own.server = cookie.server.to_vec();
        }
    }

    /// Forgets the server cookie: the server does not seem to send any now.
    pub(crate) fn forget(&self, path: Path) {
        if let Some(Known::Pair(own)) = self.known().get_mut(&path) {
            own.server.clear();
        }
    }

    /// Shows no cookie on this path from now on.
    pub(crate) fn refuse(&self, path: Path) {
        self.known().insert(path, Known::Refused);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Path, Known>> {
        // Each entry is whole whoever panicked while holding them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

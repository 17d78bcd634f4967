//! What this client has learnt of the servers it asks: the cookies by which both know each other (RFC 7873 5.1), what their
//! parsers take, and whether they keep the case of a question.
//!
//! It lives in memory and as long as its owner; nothing of it is written down.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmp_dns::cookie::Cookie;

use crate::exchange::random;
use crate::limits;

/// All servers, each from each own address: a client that moves is not recognised by its cookie (RFC 9018 3).
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: Mutex<HashMap<Path, Peer>>,
}

/// A server and the own address that reaches it.
pub(crate) type Path = (SocketAddr, IpAddr);

/// One server, as it is known now.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What it takes.
    pub(crate) form: Form,
    /// Its answers repeat a question in letters of its own choice.
    pub(crate) folds_case: bool,
    own: Own,
}

/// How much beside the question a server takes without answering FORMERR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// An OPT record with a cookie.
    Cookie,
    /// An OPT record without options.
    Edns,
    /// The question alone.
    Plain,
}

impl Form {
    /// The next simpler form.
    pub(crate) fn simpler(self) -> Option<Self> {
        match self {
            Self::Cookie => Some(Self::Edns),
            Self::Edns => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// The cookies that one server is shown.
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

impl Peer {
    /// The cookies to show in a query of this form.
    pub(crate) fn cookies(&self, form: Form) -> Option<&Own> {
        (form == Form::Cookie).then_some(&self.own)
    }
}

impl Peers {
    /// What is known on this path; of a new server the best is assumed.
    pub(crate) fn at(&self, path: Path) -> io::Result<Peer> {
        let mut known = self.known();
        if known.len() >= limits::PEER_PATHS && !known.contains_key(&path) {
            known.clear();
        }
        let peer = match known.entry(path) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Peer {
                form: Form::Cookie,
                folds_case: false,
                own: Own {
                    client: random()?,
                    server: Vec::new(),
                },
            }),
        };
        Ok(peer.clone())
    }

    /// Keeps the server cookie that came with an answer.
    pub(crate) fn learn(&self, path: Path, cookie: Cookie<'_>) {
        self.change(path, |peer| {
            if peer.own.client == cookie.client {
                peer.own.server = cookie.server.to_vec();
            }
        });
    }

    /// Forgets the server cookie: the server does not seem to send any now.
    pub(crate) fn forget(&self, path: Path) {
        self.change(path, |peer| peer.own.server.clear());
    }

    /// Asks in this form from now on.
    pub(crate) fn settle(&self, path: Path, form: Form) {
        self.change(path, |peer| peer.form = form);
    }

    /// Expects questions to come back in other letters from now on.
    pub(crate) fn folds_case(&self, path: Path) {
        self.change(path, |peer| peer.folds_case = true);
    }

    fn change(&self, path: Path, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.known().get_mut(&path) {
            change(peer);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Path, Peer>> {
        // Each entry is whole whoever panicked while holding them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

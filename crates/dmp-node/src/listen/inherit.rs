//! Sockets that a service manager opened for the node (sd_listen_fds(3)): which there are, and whether they are what their
//! names say.
//!
//! Descriptors become owned in [`super::socket`]; nothing is served here.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use socket2::{Domain, SockRef, Type};

use super::{UDP_WAIT, socket};

/// Variables of the protocol; they are meant for this process and no other.
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// Most sockets that are looked at: more than there are names and families.
const MOST: usize = 64;

/// Sockets that were opened before the node started. They are used instead of the configured addresses.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(crate) dns_udp: Vec<UdpSocket>,
    pub(crate) dns_tcp: Option<TcpListener>,
    pub(crate) http: Option<TcpListener>,
    pub(crate) metrics: Option<TcpListener>,
}

/// Why passed sockets cannot be used. One line.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct InheritError {
    variable: &'static str,
    reason: String,
}

impl InheritError {
    fn new(variable: &'static str, reason: impl Into<String>) -> Self {
        Self {
            variable,
            reason: reason.into(),
        }
    }
}

impl Inherited {
    /// The sockets passed to this process, and removes the variables that tell of them. Called once, when the process begins.
    ///
    /// # Errors
    /// A name or a kind of socket is none that the node uses.
    pub fn of_process() -> Result<Self, InheritError> {
        let told = VARIABLES.map(|variable| env::var(variable).ok());
        if told.iter().all(Option::is_none) {
            return Ok(Self::default());
        }
        let [process, count, names] = told;
        if process != Some(std::process::id().to_string()) {
            return Ok(Self::default()); // meant for another process
        }
        let count = count.unwrap_or_default();
        let number = count.parse().ok().filter(|count| *count <= MOST);
        let number = number.ok_or_else(|| {
            let reason = format!("must be a number of at most {MOST}, not {count:?}");
            InheritError::new("LISTEN_FDS", reason)
        })?;
        let descriptors = socket::inherit(number, &VARIABLES)
            .map_err(|error| InheritError::new("LISTEN_FDS", error.to_string()))?;
        let names = names.unwrap_or_default();
        let mut names = names.split(':');
        let mut inherited = Self::default();
        for descriptor in descriptors {
            inherited.take(names.next().unwrap_or_default(), descriptor)?;
        }
        Ok(inherited)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Self {
            dns_udp,
            dns_tcp,
            http,
            metrics,
        } = self;
        dns_udp.is_empty() && [dns_tcp, http, metrics].into_iter().all(Option::is_none)
    }

    /// Takes one socket by its name; `dns` is either kind of DNS, as one unit of sockets has one name for all.
    fn take(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), InheritError> {
        let wrong =
            |reason: String| InheritError::new("LISTEN_FDNAMES", format!("{name:?}: {reason}"));
        let io = |error: io::Error| wrong(error.to_string());
        let socket = SockRef::from(&descriptor);
        let kind = socket.r#type().map_err(io)?;
        let domain = socket.domain().map_err(io)?;
        if ![Domain::IPV4, Domain::IPV6].contains(&domain) {
            return Err(wrong("is no socket of IPv4 or IPv6".to_owned()));
        }
        let place = match (name, kind) {
            ("dns" | "dns-udp", Type::DGRAM) => {
                let socket = socket::adopt(descriptor, UDP_WAIT).map_err(io)?;
                self.dns_udp.push(socket);
                return Ok(());
            }
            ("dns" | "dns-tcp", Type::STREAM) => &mut self.dns_tcp,
            ("http", Type::STREAM) => &mut self.http,
            ("metrics", Type::STREAM) => &mut self.metrics,
            ("dns" | "dns-udp" | "dns-tcp" | "http" | "metrics", _) => {
                return Err(wrong("is not of the kind that the name says".to_owned()));
            }
            _ => {
                let reason =
                    "is no name of a socket; those are dns-udp, dns-tcp, dns, http and metrics";
                return Err(wrong(reason.to_owned()));
            }
        };
        if !socket.is_listener().map_err(io)? {
            return Err(wrong("does not listen".to_owned()));
        }
        if place.is_some() {
            return Err(wrong("is there twice".to_owned()));
        }
        let listener = TcpListener::from(descriptor);
        if name == "metrics" && !listener.local_addr().map_err(io)?.ip().is_loopback() {
            return Err(wrong(
                "is not on loopback, and who reads metrics there needs no token".to_owned(),
            ));
        }
        listener.set_nonblocking(true).map_err(io)?;
        *place = Some(listener);
        Ok(())
    }

    /// Where DNS is asked, if a socket for it was passed.
    pub(crate) fn dns_address(&self) -> Option<io::Result<SocketAddr>> {
        let udp = self.dns_udp.first().map(UdpSocket::local_addr);
        udp.or_else(|| self.dns_tcp.as_ref().map(TcpListener::local_addr))
    }
}

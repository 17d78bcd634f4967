//! The DNS listeners: UDP threads with a socket each, and TCP on the runtime. Bind first, serve later.
//!
//! It holds sockets and nothing of the zone: requests go through [`pipeline`].

mod connections;
mod cookies;
mod entrance;
#[cfg(test)]
mod flood;
mod guard;
mod inherit;
mod pipeline;
mod prefix;
mod rate;
#[allow(unsafe_code)] // the one audited module; see there
mod socket;
mod tcp;
mod udp;

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::sync::watch;

use crate::context::Context;
pub(crate) use entrance::Entrance;
pub use inherit::{InheritError, Inherited};
use socket::Sharing;

/// How long a UDP thread waits for a datagram before it looks whether it is to stop.
const UDP_WAIT: Duration = Duration::from_millis(200);
/// Tries to find a port that is free for both UDP and TCP when the kernel chooses.
const PORT_TRIES: usize = 16;

/// Why the listeners cannot be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address}/{transport}: {error}")]
pub struct BindError {
    address: SocketAddr,
    transport: &'static str,
    error: io::Error,
}

/// Bound sockets that do not answer yet.
#[derive(Debug)]
pub struct Listeners {
    udp: Udp,
    tcp: TcpListener,
}

/// The UDP sockets of one port.
#[derive(Debug)]
struct Udp {
    sockets: Vec<Arc<UdpSocket>>,
    address: SocketAddr,
    /// Keeps others from the port and receives nothing.
    guard: Option<UdpSocket>,
}

/// Listeners that answer, until they are stopped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    entrance: Arc<Entrance>,
    _guard: Option<UdpSocket>,
    udp_stop: Arc<AtomicBool>,
    udp_threads: Vec<JoinHandle<()>>,
    tcp_stop: watch::Sender<bool>,
    tcp: tokio::task::JoinHandle<()>,
}

impl Listeners {
    /// Binds UDP and TCP on the address of the settings. With port 0 the kernel chooses for UDP and TCP takes the same
    /// number (node.md 2.1).
    ///
    /// # Errors
    /// Either cannot be bound. That covers a port on which any other process listens, even one that offers to share it.
    pub fn bind(context: &Context) -> Result<Self, BindError> {
        let settings = context.settings();
        let wanted = settings.dns;
        let mut tries = if wanted.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let fail = |transport, error| BindError {
                address: wanted,
                transport,
                error,
            };
            let udp = bind_udp(wanted, settings.udp_threads.max(1))
                .map_err(|error| fail("udp", error))?;
            match bind_tcp(udp.address) {
                Ok(tcp) => return Ok(Self { udp, tcp }),
                Err(_) if tries > 0 => {}
                Err(error) => return Err(fail("tcp", error)),
            }
        }
    }

    /// [`Listeners::bind`] for what was not passed: `udp` and `tcp` are used as they are. What is bound beside a passed socket
    /// gets that one's address.
    pub(crate) fn adopt(
        context: &Context,
        udp: Vec<UdpSocket>,
        tcp: Option<TcpListener>,
    ) -> Result<Self, BindError> {
        let settings = context.settings();
        let fail = |address, transport, error| BindError {
            address,
            transport,
            error,
        };
        let threads = settings.udp_threads.max(1);
        let udp = match (adopt_udp(udp, threads), &tcp) {
            (Some(udp), _) => udp,
            (None, Some(tcp)) => {
                let local = tcp.local_addr();
                let wanted = local.map_err(|error| fail(settings.dns, "tcp", error))?;
                Ok(bind_udp(wanted, threads).map_err(|error| fail(wanted, "udp", error))?)
            }
            (None, None) => return Self::bind(context),
        };
        let udp = udp.map_err(|error| fail(settings.dns, "udp", error))?;
        let tcp = match tcp {
            Some(tcp) => tcp,
            None => bind_tcp(udp.address).map_err(|error| fail(udp.address, "tcp", error))?,
        };
        Ok(Self { udp, tcp })
    }

    /// The address of both.
    pub fn address(&self) -> SocketAddr {
        self.udp.address
    }

    /// Begins to answer. Called inside a tokio runtime, which serves TCP; UDP has threads of its own.
    ///
    /// # Errors
    /// The system gives no randomness or no thread, or refuses to hand the TCP socket to the runtime.
    pub fn serve(self, context: &Arc<Context>) -> io::Result<Running> {
        let (tcp_stop, stop) = watch::channel(false);
        self.tcp.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.tcp)?;
        let entrance = Arc::new(Entrance::new(context)?);
        let udp_stop = Arc::new(AtomicBool::new(false));
        let mut udp_threads = Vec::new();
        for (index, socket) in self.udp.sockets.into_iter().enumerate() {
            let (entrance, stop) = (Arc::clone(&entrance), Arc::clone(&udp_stop));
            let thread = std::thread::Builder::new().name(format!("dmp-udp-{index}"));
            udp_threads.push(thread.spawn(move || udp::serve(&entrance, &socket, &stop))?);
        }
        let tcp = tokio::spawn(tcp::serve(Arc::clone(&entrance), listener, stop));
        tracing::info!("DMP DNS server listening on {}/udp+tcp", self.udp.address);
        Ok(Running {
            address: self.udp.address,
            entrance,
            _guard: self.udp.guard,
            udp_stop,
            udp_threads,
            tcp_stop,
            tcp,
        })
    }
}

impl Running {
    /// The address of both listeners.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where settings that the context holds by now are brought into force.
    pub(crate) fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Accepts nothing new, finishes what is in work and returns when that is done.
    pub async fn stop(self) {
        self.udp_stop.store(true, Ordering::Relaxed);
        let _ = self.tcp_stop.send(true);
        let threads = self.udp_threads;
        let _ = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()))
        })
        .await;
        let _ = self.tcp.await;
    }
}

/// The passed sockets, read by as many threads as the settings say, each by one at least.
fn adopt_udp(sockets: Vec<UdpSocket>, threads: usize) -> Option<io::Result<Udp>> {
    let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
    let address = sockets.first()?.local_addr();
    let threads = threads.max(sockets.len());
    Some(address.map(|address| Udp {
        sockets: sockets.iter().cycle().take(threads).cloned().collect(),
        address,
        guard: None,
    }))
}

/// One socket a thread, which share the port among themselves and with nobody else: the first is bound exclusively, so
/// nobody had the port before, and a guard keeps others from joining later.
///
/// For IPv6 the kernel has no place for such a guard, so there all threads read from one exclusive socket.
fn bind_udp(wanted: SocketAddr, threads: usize) -> io::Result<Udp> {
    let first = Arc::new(socket::bind(wanted, Sharing::Exclusive, UDP_WAIT)?);
    let address = first.local_addr()?;
    let exclusive = |first: Arc<UdpSocket>| Udp {
        sockets: vec![first; threads],
        address,
        guard: None,
    };
    let SocketAddr::V4(ipv4) = address else {
        return Ok(exclusive(first));
    };
    if threads == 1 {
        return Ok(exclusive(first));
    }
    socket::share(&first, Sharing::Shared)?;
    let mut sockets = vec![Arc::clone(&first)];
    for _ in 1..threads {
        sockets.push(Arc::new(socket::bind(address, Sharing::Shared, UDP_WAIT)?));
    }
    match bind_guard(ipv4, &sockets) {
        Ok(guard) => Ok(Udp {
            sockets,
            address,
            guard: Some(guard),
        }),
        Err(error) => {
            // A kernel without IPv6.
            tracing::warn!(%error, "the UDP port cannot be guarded, so all threads share one socket");
            drop(sockets);
            socket::share(&first, Sharing::Exclusive)?;
            Ok(exclusive(first))
        }
    }
}

/// A socket bound last and not shared, which makes later binds fail. It has the port by an IPv6 socket for IPv4
/// addresses: for IPv4 datagrams the kernel prefers any IPv4 socket to that, so none ever arrives here.
fn bind_guard(address: SocketAddrV4, sockets: &[Arc<UdpSocket>]) -> io::Result<UdpSocket> {
    let guard = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    guard.set_only_v6(false)?;
    let reuse = |on| {
        sockets
            .iter()
            .try_for_each(|socket| SockRef::from(socket).set_reuse_address(on))
    };
    // The one way past the sockets that have the port, for as long as this bind takes.
    guard.set_reuse_address(true)?;
    let mapped = SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0);
    let bound = reuse(true).and_then(|()| guard.bind(&mapped.into()));
    reuse(false)
        .and(guard.set_reuse_address(false))
        .and(bound)?;
    Ok(guard.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let SocketAddr::V6(address) = address {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?; // a restart need not wait for old connections to be forgotten
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use dmp_dns::message::QueryBuilder;
    use dmp_dns::{Rcode, Rtype};

    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Part;
    use crate::settings::Settings;

    fn query(name: &str) -> Vec<u8> {
        QueryBuilder::new(name.parse().unwrap(), Rtype::TXT).build(7)
    }

    fn rcode(answer: &[u8]) -> Rcode {
        Rcode(u16::from(answer[3] & 15))
    }

    #[test]
    fn a_bug_in_one_request_is_servfail_there_and_harms_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            database: directory.path().join("dmp.db"),
            udp_threads: 1,
            ..Settings::default()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let context = Context::open(settings, Clock::system()).unwrap();
        let listeners = Listeners::bind(&context).unwrap();
        let address = listeners.address();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // All of it waits when the thread begins to read: one round.
        for name in ["a.example", "panic.example", "b.example"] {
            socket.send_to(&query(name), address).unwrap();
        }
        let running = runtime
            .block_on(async { listeners.serve(&context) })
            .unwrap();
        let mut answers = [(); 3].map(|()| {
            let mut answer = vec![0; 512];
            let length = socket.recv(&mut answer).unwrap();
            answer.truncate(length);
            (answer[13], rcode(&answer))
        });
        answers.sort();
        let expected = [
            (b'a', Rcode::NXDOMAIN),
            (b'b', Rcode::NXDOMAIN),
            (b'p', Rcode::SERVFAIL),
        ];
        assert_eq!(answers, expected);

        let mut stream = TcpStream::connect(address).unwrap();
        for name in ["panic.example", "c.example"] {
            let request = query(name);
            let length = u16::try_from(request.len()).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream.write_all(&request).unwrap();
        }
        let answers = [(); 2].map(|()| {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            rcode(&answer)
        });
        assert_eq!(answers, [Rcode::SERVFAIL, Rcode::NXDOMAIN]);
        runtime.block_on(running.stop());
        let counted = context.metrics().panics.read();
        assert_eq!(counted.collect::<Vec<_>>()[Part::Dns as usize].1, 2);
    }

    #[test]
    fn settings_that_change_hold_for_the_next_request() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            database: directory.path().join("dmp.db"),
            zone: Some(crate::zone::Owner::parse("mesh.example").unwrap()),
            udp_threads: 2,
            ..Settings::default()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let context = Context::open(settings, Clock::system()).unwrap();
        let listeners = Listeners::bind(&context).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket.connect(listeners.address()).unwrap();
        let running = runtime
            .block_on(async { listeners.serve(&context) })
            .unwrap();
        let address = || {
            let query = QueryBuilder::new("mesh.example".parse().unwrap(), Rtype::A).build(7);
            socket.send(&query).unwrap();
            let mut answer = vec![0; 512];
            let length = socket.recv(&mut answer).unwrap();
            answer.truncate(length);
            answer.windows(4).any(|octets| octets == [192, 0, 2, 1])
        };
        assert!(!address());
        let mut settings = Settings::clone(&context.settings());
        settings.apex.a = Some([192, 0, 2, 1].into());
        // As few as one answer in a long time, the one above included.
        (settings.dns_rate, settings.dns_burst) = (0.001, 2.0);
        context.configure(settings);
        running.entrance().configure();
        assert!(address());
        let counted = || {
            context
                .metrics()
                .limited
                .read()
                .map(|(_, count)| count)
                .sum::<u64>()
        };
        assert_eq!(counted(), 0);
        for _ in 0..3 {
            let query = QueryBuilder::new("mesh.example".parse().unwrap(), Rtype::A).build(7);
            socket.send(&query).unwrap();
        }
        let mut answer = [0; 512];
        socket.recv(&mut answer).unwrap();
        assert!(counted() > 0, "limited by the new numbers");
        runtime.block_on(running.stop());
    }
}

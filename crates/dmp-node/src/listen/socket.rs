//! Batched datagram system calls (`recvmmsg`, `sendmmsg`) and the socket options that no safe crate offers together.
//!
//! The only module of this project with `unsafe` code. It knows sockets, buffers and addresses, and nothing about DNS.
//!
//! Soundness, in one place: every pointer handed to the kernel points into heap memory that a [`Batch`] allocates once,
//! never moves and frees when it is dropped, and that is only ever reached through pointers derived from those same
//! allocations; every length handed over is the length of that memory; lengths that come back are cut to it.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, iovec, mmsghdr, msghdr, sockaddr_storage, socklen_t};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits::{BATCH, MESSAGE_OCTETS, SOCKET_BUFFER, UDP_ANSWER_OCTETS};

/// Octets of the buffer of a request: one more than the longest, so that what was cut can be told.
const REQUEST_OCTETS: usize = MESSAGE_OCTETS + 1;
/// Octets from one request buffer to the next. An odd number of cache lines, so that the beginnings of the buffers, which
/// are all that most requests touch, fall into different sets of the cache.
const REQUEST_STRIDE: usize = 1027 * 64;
/// Octets from one answer buffer to the next: 21 cache lines, for the same reason.
const ANSWER_STRIDE: usize = 21 * 64;
/// Words for control data: one `in6_pktinfo` with its header takes 40 octets.
const CONTROL_WORDS: usize = 8;

const _: () = assert!(ANSWER_STRIDE >= UDP_ANSWER_OCTETS);
const _: () = assert!(REQUEST_STRIDE >= REQUEST_OCTETS);

/// How a thread's socket is bound beside the others on its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Fails if anybody has the port.
    Exclusive,
    /// Fails if anybody has the port who does not share it.
    Shared,
}

/// Opens a bound UDP socket that blocks for `timeout` at most in each receive.
pub(super) fn bind(
    address: SocketAddr,
    sharing: Sharing,
    timeout: std::time::Duration,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if sharing == Sharing::Shared {
        share(&socket, Sharing::Shared)?;
    }
    if let IpAddr::V6(ip) = address.ip() {
        socket.set_only_v6(!ip.is_unspecified())?; // `::` serves both families
    }
    set_up(&socket, address, timeout)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// A bound UDP socket that somebody else opened, with everything that [`bind`] gives it.
pub(super) fn adopt(descriptor: OwnedFd, timeout: std::time::Duration) -> io::Result<UdpSocket> {
    let socket = Socket::from(descriptor);
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or(io::ErrorKind::InvalidInput)?;
    set_up(&socket, address, timeout)?;
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// The first `count` descriptors that a service manager passed, from number 3 on, and removes the `variables` that told of
/// them (sd_listen_fds(3)).
///
/// # Errors
/// They were taken before, or one is not open.
pub(super) fn inherit(count: usize, variables: &[&str]) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(io::Error::other("the sockets were taken before"));
    }
    for variable in variables {
        // SAFETY: this happens once, when the process begins: its only other threads are idle workers of the runtime,
        // and no code reads the environment around the lock of the standard library then.
        unsafe { std::env::remove_var(variable) };
    }
    let first = 3;
    let numbers = (first..).take(count);
    let descriptors = numbers.map(|number| {
        // SAFETY: the call takes a number and changes no memory; for a number that is not open it fails.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the number is open, as the call before has shown. By the protocol it is passed for us to own; nothing in
        // this process has opened it, for it was there when the process began, and it is taken once (`TAKEN`).
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    });
    descriptors.collect()
}

/// What holds for every UDP socket at `address`, bound or about to be.
fn set_up(socket: &Socket, address: SocketAddr, timeout: std::time::Duration) -> io::Result<()> {
    let (level, discover, omit) = match address.ip() {
        IpAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        ),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        ),
    };
    // A forged "fragmentation needed" must not make us split answers that fit everywhere anyway.
    set_option(socket, level, discover, omit)?;
    if address.ip().is_unspecified() {
        // The answer must come from the address that was asked (node.md 2.1), so ask which one that was.
        match address.ip() {
            IpAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
            IpAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
        }
    }
    // Best effort: the system may allow less.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_read_timeout(Some(timeout))
}

/// Lets other sockets of this user bind the same port from now on, or no longer.
pub(super) fn share(socket: &impl AsFd, sharing: Sharing) -> io::Result<()> {
    set_option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_REUSEPORT,
        c_int::from(sharing == Sharing::Shared),
    )
}

fn set_option(socket: &impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads exactly the octets of `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Where a datagram came from and to which of our addresses: what an answer needs to go back.
#[derive(Clone)]
pub(super) struct Origin {
    name: sockaddr_storage,
    name_length: socklen_t,
    control: [u64; CONTROL_WORDS],
    control_length: usize,
}

impl Origin {
    /// Sends one answer without waiting; a full send buffer is an error like any other lost datagram.
    pub(super) fn send(&self, socket: &UdpSocket, answer: &[u8]) -> io::Result<()> {
        let mut part = iovec {
            iov_base: answer.as_ptr().cast_mut().cast(),
            iov_len: answer.len(),
        };
        // SAFETY: all zeros is a valid msghdr: null pointers with zero lengths.
        let mut header: msghdr = unsafe { zeroed() };
        header.msg_name = ptr::from_ref(&self.name).cast_mut().cast();
        header.msg_namelen = self.name_length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if self.control_length > 0 {
            header.msg_control = self.control.as_ptr().cast_mut().cast();
            header.msg_controllen = self.control_length as _;
        }
        // SAFETY: every pointer in `header` is to memory that lives through the call, with its true length; sendmsg
        // only reads from them.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Buffers for one round of receiving, answering and sending.
pub(super) struct Batch {
    requests: Region<u8>,
    answers: Region<u8>,
    names: Region<sockaddr_storage>,
    controls: Region<[u64; CONTROL_WORDS]>,
    receive_parts: Region<iovec>,
    send_parts: Region<iovec>,
    receive: Region<mmsghdr>,
    send: Region<mmsghdr>,
    /// Requests of the present round.
    received: usize,
    /// Answers queued in the present round.
    queued: usize,
}

impl Batch {
    /// Allocates the buffers; of those for requests only what requests have touched takes memory.
    pub(super) fn new() -> Self {
        let mut batch = Self {
            requests: Region::new(BATCH * REQUEST_STRIDE),
            answers: Region::new(BATCH * ANSWER_STRIDE),
            names: Region::new(BATCH),
            controls: Region::new(BATCH),
            receive_parts: Region::new(BATCH),
            send_parts: Region::new(BATCH),
            receive: Region::new(BATCH),
            send: Region::new(BATCH),
            received: 0,
            queued: 0,
        };
        for index in 0..BATCH {
            let parts = batch.receive_parts.at(index);
            let request = batch.requests.at(index * REQUEST_STRIDE).cast::<c_void>();
            // SAFETY: `at` gives pointers into live allocations, index by index disjoint; the lengths end where the next
            // index begins.
            unsafe {
                *parts = iovec {
                    iov_base: request,
                    iov_len: REQUEST_OCTETS,
                };
                let header = &mut (*batch.receive.at(index)).msg_hdr;
                header.msg_name = batch.names.at(index).cast();
                header.msg_iov = parts;
                header.msg_iovlen = 1;
                header.msg_control = batch.controls.at(index).cast();
                let header = &mut (*batch.send.at(index)).msg_hdr;
                header.msg_iov = batch.send_parts.at(index);
                header.msg_iovlen = 1;
            }
        }
        batch.received = BATCH; // so that the first round prepares every header
        batch
    }

    /// Waits for at least one datagram, within the socket's timeout, and takes what is there, up to a batch. 0 when the
    /// timeout or a signal came first. Forgets the round before.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for index in 0..self.received {
            // SAFETY: a pointer into a live allocation; nothing else refers to it now.
            let header = unsafe { &mut (*self.receive.at(index)).msg_hdr };
            header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
            header.msg_flags = 0;
        }
        (self.received, self.queued) = (0, 0);
        // SAFETY: BATCH headers, whose pointers and lengths describe memory of this batch (see `new`).
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.receive.at(0),
                BATCH as _,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::TimedOut => Ok(0),
                _ => Err(error),
            };
        }
        self.received = (count as usize).min(BATCH);
        Ok(self.received)
    }

    /// The requests of this round and the buffers for their answers, to be used side by side.
    pub(super) fn split(&mut self) -> (Requests<'_>, Answers<'_>) {
        let batch: *mut Self = self;
        // SAFETY: Requests reads requests, names, controls and receive; Answers writes answers, send_parts, send and
        // `queued`, and of the others only copies pointers. No memory is written by one and reached by the other, and both
        // end before the batch is used otherwise, since they borrow it mutably.
        (
            Requests {
                batch,
                _life: std::marker::PhantomData,
            },
            Answers {
                batch,
                _life: std::marker::PhantomData,
            },
        )
    }

    /// Sends what was queued. A datagram that the system refuses is left out and counted in the result.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut next, mut lost) = (0, 0);
        while next < self.queued {
            // SAFETY: `queued - next` headers beginning at `next`, filled in by `Answers::queue`.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.send.at(next),
                    (self.queued - next) as _,
                    0,
                )
            };
            if sent > 0 {
                next += sent as usize;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                next += 1;
                lost += 1;
            }
        }
        lost
    }
}

/// The requests of a round.
#[derive(Clone, Copy)]
pub(super) struct Requests<'b> {
    batch: *mut Batch,
    _life: std::marker::PhantomData<&'b Batch>,
}

impl<'b> Requests<'b> {
    /// The octets of request `index`, which is below what `receive` returned.
    #[inline]
    pub(super) fn datagram(self, index: usize) -> &'b [u8] {
        // SAFETY: the batch outlives 'b and nothing writes these parts of it meanwhile (see `Batch::split`).
        let batch = unsafe { &*self.batch };
        assert!(index < batch.received, "no such request in this round");
        // SAFETY: `index` is in bounds; the kernel has initialised what it says it has received, the rest is zero from
        // the beginning; the length is cut to the buffer.
        unsafe {
            let length = (*batch.receive.at(index)).msg_len as usize;
            std::slice::from_raw_parts(
                batch.requests.at(index * REQUEST_STRIDE),
                length.min(REQUEST_OCTETS),
            )
        }
    }

    /// Who sent request `index`; an IPv4 address mapped into IPv6 on a socket of either family.
    #[inline]
    pub(super) fn peer(self, index: usize) -> Ipv6Addr {
        // SAFETY: as in `datagram`; the kernel has written an address of the family it names, which fits the storage.
        unsafe {
            let batch = &*self.batch;
            assert!(index < batch.received, "no such request in this round");
            let name = batch.names.at(index);
            if c_int::from((*name).ss_family) == libc::AF_INET6 {
                let address = (*name.cast::<libc::sockaddr_in6>()).sin6_addr;
                Ipv6Addr::from(address.s6_addr)
            } else {
                let address = (*name.cast::<libc::sockaddr_in>()).sin_addr;
                Ipv6Addr::from(0xffff_0000_0000 | u128::from(u32::from_be(address.s_addr)))
            }
        }
    }

    /// The way back to the sender of request `index`.
    pub(super) fn origin(self, index: usize) -> Origin {
        // SAFETY: as in `datagram`; addresses and control data are plain octets, any of which are valid.
        unsafe {
            let batch = &*self.batch;
            assert!(index < batch.received, "no such request in this round");
            let header = &(*batch.receive.at(index)).msg_hdr;
            route_freely(header);
            let control_length: usize = header.msg_controllen as _; // 32 bits with some C libraries
            Origin {
                name: *batch.names.at(index),
                name_length: header
                    .msg_namelen
                    .min(size_of::<sockaddr_storage>() as socklen_t),
                control: *batch.controls.at(index),
                control_length: control_length.min(size_of::<[u64; CONTROL_WORDS]>()),
            }
        }
    }
}

/// The buffers for the answers of a round.
pub(super) struct Answers<'b> {
    batch: *mut Batch,
    _life: std::marker::PhantomData<&'b mut Batch>,
}

impl Answers<'_> {
    /// The buffer for the next answer to be queued.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        // SAFETY: `queued` is below BATCH, for each request is answered once (see `queue`); this memory is reached through
        // `Answers` alone while it is borrowed.
        unsafe {
            let batch = &*self.batch;
            let index = batch.queued.min(BATCH - 1);
            std::slice::from_raw_parts_mut(
                batch.answers.at(index * ANSWER_STRIDE),
                UDP_ANSWER_OCTETS,
            )
        }
    }

    /// Queues the first `length` octets of the buffer as the answer to request `index`.
    #[inline]
    pub(super) fn queue(&mut self, index: usize, length: usize) {
        // SAFETY: both indices are checked; the send header gets the addresses and lengths of memory of this batch, which
        // the kernel reads in `send` before any of it is used again.
        unsafe {
            let batch = self.batch;
            let queued = (*batch).queued;
            assert!(
                index < (*batch).received && queued < BATCH,
                "an answer without a request"
            );
            let request = &(*(*batch).receive.at(index)).msg_hdr;
            route_freely(request);
            *(*batch).send_parts.at(queued) = iovec {
                iov_base: (*batch).answers.at(queued * ANSWER_STRIDE).cast(),
                iov_len: length.min(UDP_ANSWER_OCTETS),
            };
            let header = &mut (*(*batch).send.at(queued)).msg_hdr;
            header.msg_name = request.msg_name;
            header.msg_namelen = request.msg_namelen;
            header.msg_control = if request.msg_controllen > 0 {
                request.msg_control
            } else {
                ptr::null_mut()
            };
            header.msg_controllen = request.msg_controllen;
            (*batch).queued = queued + 1;
        }
    }
}

/// Takes the interface out of the packet information, so that it names our address only and the answer is routed as
/// any other; a link-local IPv6 address needs its interface.
///
/// # Safety
/// `header` describes control data that the kernel has written, in memory that may be written.
unsafe fn route_freely(header: &msghdr) {
    // SAFETY: the CMSG functions stay within `msg_controllen` octets; a message of this level and type holds this
    // structure, and reads and writes of it need no alignment here.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let place = data.cast::<libc::in_pktinfo>();
                    let mut info = ptr::read_unaligned(place);
                    info.ipi_ifindex = 0;
                    ptr::write_unaligned(place, info);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let place = data.cast::<libc::in6_pktinfo>();
                    let mut info = ptr::read_unaligned(place);
                    let is_link_local = info.ipi6_addr.s6_addr[0] == 0xfe
                        && info.ipi6_addr.s6_addr[1] & 0xc0 == 0x80;
                    if !is_link_local {
                        info.ipi6_ifindex = 0;
                        ptr::write_unaligned(place, info);
                    }
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

/// Zeroed heap memory for `T`s that is only reached through the pointer from its allocation.
struct Region<T> {
    start: *mut T,
    length: usize,
}

impl<T> Region<T> {
    /// `T` must be a plain C type for which all zeros is a value: addresses, headers, octets.
    fn new(length: usize) -> Self {
        let layout =
            std::alloc::Layout::array::<T>(length).unwrap_or(std::alloc::Layout::new::<T>());
        assert!(layout.size() > 0, "an empty region");
        // SAFETY: the layout is not of size zero.
        let start = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<T>();
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Self { start, length }
    }

    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.length, "outside the region");
        // SAFETY: in bounds of the allocation.
        unsafe { self.start.add(index) }
    }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        if let Ok(layout) = std::alloc::Layout::array::<T>(self.length) {
            // SAFETY: allocated in `new` with this layout, and freed once.
            unsafe { std::alloc::dealloc(self.start.cast(), layout) };
        }
    }
}

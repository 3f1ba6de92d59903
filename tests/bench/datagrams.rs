//! What responder and forwarder share: a socket like DnsProxy's, and many datagrams in one system call.
#![allow(
    unsafe_code,
    reason = "recvmmsg and sendmmsg on headers that are written once: a wrapper that fills them for every call would be \
              measured with the kernel"
)]
#![allow(clippy::cast_possible_truncation, reason = "lengths of a few structures")]

use std::{
    io, mem,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
    },
};

/// As many as DnsProxy takes in one turn.
pub(super) const BATCH: usize = 64;

/// What the proxy asks for; the kernel caps it.
const SOCKET_BUFFER: usize = 4 << 20;

/// Room for a query, and for the reply that is written over it.
pub(super) const ROOM: usize = 1024;

/// Room for the kernel's note about the address that was asked: a header and an `in_pktinfo`, aligned.
const CONTROL: usize = 4;

pub(super) const HEADER: usize = 12;

/// As DnsProxy binds its own: SO_REUSEPORT, buffers, and the packet info of a wildcard.
pub(super) fn open(address: SocketAddrV4) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    if address.ip().is_unspecified() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER)?;
    setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address)).context("bind")?;
    Ok(socket)
}

/// The datagrams of one call. The headers point into the other four, none of which is ever resized.
pub(super) struct Batch {
    pub(super) buffers: Vec<[u8; ROOM]>,
    slices: Vec<libc::iovec>,
    clients: Vec<libc::sockaddr_in>,
    notes: Vec<[u64; CONTROL]>,
    headers: Vec<libc::mmsghdr>,
}

/// Whose datagram it is, and which address it was sent to.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "the responder's replies are where their queries were")]
pub(super) struct Origin {
    client: libc::sockaddr_in,
    note: [u64; CONTROL],
    note_len: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: plain data of C, of which all zeroes is a value.
        let (client, header) = unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut batch = Self {
            buffers: vec![[0; ROOM]; BATCH],
            slices: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: ROOM }; BATCH],
            clients: vec![client; BATCH],
            notes: vec![[0; CONTROL]; BATCH],
            headers: vec![header; BATCH],
        };
        for number in 0..BATCH {
            batch.slices[number].iov_base = batch.buffers[number].as_mut_ptr().cast();
            let header = &mut batch.headers[number].msg_hdr;
            header.msg_iov = &raw mut batch.slices[number];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut batch.clients[number]).cast();
            header.msg_control = batch.notes[number].as_mut_ptr().cast();
        }
        batch
    }

    /// Takes what has arrived; says how many that are.
    pub(super) fn receive(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        for (header, slice) in self.headers.iter_mut().zip(&mut self.slices) {
            slice.iov_len = ROOM;
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL]>();
        }
        // SAFETY: BATCH headers, whose pointers and lengths are those of memory that `self` owns and nobody else uses now.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                0,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => Ok(received),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// Each goes to where its query came from, and from the address that was asked: the kernel's notes are still there.
    pub(super) fn send(&mut self, socket: &OwnedFd, count: usize) {
        let mut next = 0;
        while next < count {
            let headers = &mut self.headers[next..count];
            // SAFETY: as above; the kernel wrote lengths that are not greater than what it was given.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    0,
                )
            };
            // What the kernel does not take is lost.
            next += usize::try_from(sent).unwrap_or(0).max(1);
        }
    }

    /// A datagram that was received.
    pub(super) fn get(&self, number: usize) -> &[u8] {
        &self.buffers[number][..self.headers[number].msg_len as usize]
    }

    /// How much of a buffer is to be sent.
    pub(super) fn set_len(&mut self, number: usize, len: usize) {
        self.slices[number].iov_len = len;
    }

    #[allow(dead_code, reason = "as above")]
    pub(super) fn origin(&self, number: usize) -> Origin {
        let note_len = self.headers[number].msg_hdr.msg_controllen;
        Origin { client: self.clients[number], note: self.notes[number], note_len }
    }

    #[allow(dead_code, reason = "as above")]
    pub(super) fn address(&mut self, number: usize, to: &Origin) {
        (self.clients[number], self.notes[number]) = (to.client, to.note);
        let header = &mut self.headers[number].msg_hdr;
        header.msg_controllen = to.note_len;
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    }
}

/// Where the question of a query ends; `None` for what is none.
pub(super) fn end_of_question(query: &[u8]) -> Option<usize> {
    let is_query = *query.get(2)? & 0x80 == 0 && query.get(4..6)? == [0, 1];
    let mut at = HEADER;
    loop {
        match *query.get(at)? {
            0 => break,
            label @ 1..64 => at += usize::from(label) + 1,
            _ => return None,
        }
    }
    let end = at + 5;
    (is_query && end <= query.len()).then_some(end)
}

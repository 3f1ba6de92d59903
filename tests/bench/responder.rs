//! The floor that the kernel sets under every DNS server: datagrams in, datagrams out, and as good as nothing between.
//!
//! `responder ADDRESS:PORT` gives every question the same answer, [`ANSWER`], of the size that a server's would have: the question, one
//! A record, and an OPT record where the query had one. It waits by epoll, takes and sends up to [`BATCH`] datagrams in a system call,
//! and binds its socket as DnsProxy does: SO_REUSEPORT, buffers, and the packet info of a wildcard. It ends when it is killed.

#![allow(
    unsafe_code,
    reason = "recvmmsg and sendmmsg on headers that are written once: a wrapper that fills them for every call would be \
              measured with the kernel"
)]
#![allow(clippy::cast_possible_truncation, reason = "lengths of a few structures")]

use std::{
    env, io, mem,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    libc,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
        },
    },
};

/// As many as DnsProxy takes in one turn.
const BATCH: usize = 64;

/// What the proxy asks for; the kernel caps it.
const SOCKET_BUFFER: usize = 4 << 20;

/// Room for a query, and for the reply that is written over it.
const ROOM: usize = 1024;

/// Room for the kernel's note about the address that was asked: a header and an `in_pktinfo`, aligned.
const CONTROL: usize = 4;

const HEADER: usize = 12;

/// The owner is the name at offset 12; A, IN, an hour, 192.0.2.1.
const ANSWER: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1];

/// The root, OPT, 1232 octets, and nothing set.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address] = arguments.as_slice() else { bail!("responder ADDRESS:PORT") };
    let socket = open(address.parse().context("ADDRESS:PORT")?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut batch = Batch::new();
    loop {
        epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE)?;
        // What fills a batch has left more behind.
        while batch.turn(&socket)? == BATCH {}
    }
}

fn open(address: SocketAddrV4) -> Result<OwnedFd> {
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

/// The datagrams of one turn. The headers point into the other four, none of which is ever resized.
struct Batch {
    buffers: Vec<[u8; ROOM]>,
    slices: Vec<libc::iovec>,
    clients: Vec<libc::sockaddr_in>,
    notes: Vec<[u64; CONTROL]>,
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new() -> Self {
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

    /// Answers what has arrived; says how much that was.
    fn turn(&mut self, socket: &OwnedFd) -> Result<usize> {
        let received = self.receive(socket).context("recvmmsg")?;
        for number in 0..received {
            let length = self.headers[number].msg_len as usize;
            // An empty datagram for what is no query: nobody sends any here.
            self.slices[number].iov_len = reply(&mut self.buffers[number], length).unwrap_or(0);
        }
        self.send(socket, received);
        Ok(received)
    }

    fn receive(&mut self, socket: &OwnedFd) -> io::Result<usize> {
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
    fn send(&mut self, socket: &OwnedFd, count: usize) {
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
}

/// Makes a reply of the query in the buffer. Its length; `None` if it is none.
fn reply(buffer: &mut [u8; ROOM], length: usize) -> Option<usize> {
    let end = end_of_question(buffer.get(..length)?)?;
    let has_opt = buffer[10..HEADER] != [0, 0];
    buffer[2] |= 0x80;
    buffer[3] = 0x80;
    buffer[6..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, u8::from(has_opt)]);
    let mut at = end;
    let mut append = |record: &[u8]| {
        buffer.get_mut(at..at + record.len())?.copy_from_slice(record);
        at += record.len();
        Some(())
    };
    append(&ANSWER)?;
    if has_opt {
        append(&OPT)?;
    }
    Some(at)
}

fn end_of_question(query: &[u8]) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use dnsproxy_tests::wire::{Query, Reply, types};

    use super::*;

    fn answered(query: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = [0xff; ROOM];
        buffer[..query.len()].copy_from_slice(query);
        let length = reply(&mut buffer, query.len())?;
        Some(buffer[..length].to_vec())
    }

    #[test]
    fn a_reply_is_as_large_as_a_server_s() {
        let query = Query::new("name.bench.example.", types::A);
        let cases = [
            ("without EDNS", query.clone(), 16),
            ("with EDNS", query.clone().edns(4096), 16),
            ("with an option, which is not echoed", query.option(10, b"12345678"), 16 - 12),
        ];

        for (why, query, more) in cases {
            let asked = query.encode();
            let reply = answered(&asked).unwrap();
            assert_eq!(reply.len(), asked.len() + more, "{why}");
            let reply = Reply::parse(&reply).unwrap();
            assert_eq!(reply.id, query.id, "{why}");
            assert_eq!(reply.addresses(), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
            assert_eq!(reply.edns.is_some(), query.edns.is_some(), "{why}");
        }
    }

    #[test]
    fn what_is_no_query_gets_no_reply() {
        let query = Query::new("name.bench.example.", types::A);
        let whole = query.encode();
        let cases = [
            ("nothing", Vec::new()),
            ("a header", whole[..HEADER].to_vec()),
            ("half of a question", whole[..whole.len() - 1].to_vec()),
            ("a reply: two of these would answer each other for ever", query.with(0x8000).encode()),
        ];

        for (why, query) in cases {
            assert_eq!(answered(&query), None, "{why}");
        }
    }
}

//! Several datagrams in one system call: recvmmsg and sendmmsg, each with the address that was asked.
//!
//! The kernel reads and writes through pointers in headers; every header is
//! written anew before each call, from buffers that this module owns or borrows until the call has returned. What
//! the kernel wrote is read only as far as its own counts and lengths go.
#![allow(
    unsafe_code,
    reason = "no library hands over addresses and packet information of a batch soundly"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    reason = "the lengths of the kernel's structures, which differ from one C library to the other"
)]

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use nix::libc;

use super::{Asked, BATCH, MAX_QUERY, Origin};

/// Room for the headers of one call, and for what arrives with it.
pub(super) struct Batch {
    headers: Box<[libc::mmsghdr; BATCH]>,
    slices: Box<[libc::iovec; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    notes: Box<[Note; BATCH]>,
    buffers: Box<[Buffer]>,
}

/// How many datagrams the next call for a socket has room for, at most [`BATCH`]: headers cost something, whether a datagram
/// comes or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(LITTLE_ROOM)
    }
}

/// Room for one datagram, and a line of the processor's cache: with a power of two between them, the beginnings of all
/// datagrams would have to share a few lines.
#[derive(Clone, Copy)]
struct Buffer([u8; MAX_QUERY + 64]);

/// The room when few arrive at a time.
pub(super) const LITTLE_ROOM: usize = 16;

/// Room for one control message with packet information of either family.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Note([u8; NOTE_LEN]);

/// Header and data of the longer of the two, rounded up.
const NOTE_LEN: usize = 64;

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: these are plain structures of integers and pointers, for which zeros are valid values.
        let (header, slice, address) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            headers: Box::new([header; BATCH]),
            slices: Box::new([slice; BATCH]),
            addresses: Box::new([address; BATCH]),
            notes: Box::new([Note([0; NOTE_LEN]); BATCH]),
            buffers: vec![Buffer([0; _]); BATCH].into_boxed_slice(),
        }
    }

    /// Receives what is there, as far as there is room.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        Room(room): &mut Room,
    ) -> io::Result<Received<'_>> {
        let Self { headers, slices, addresses, notes, buffers } = self;
        let rows = headers.iter_mut().zip(&mut **slices).zip(&mut **addresses).zip(&mut **notes);
        let rows = rows.zip(&mut **buffers).take(*room);
        for ((((header, slice), address), note), buffer) in rows {
            slice.iov_base = buffer.0.as_mut_ptr().cast();
            slice.iov_len = MAX_QUERY;
            fill(header, slice, ptr::from_mut(address).cast(), size_of_val(address));
            header.msg_hdr.msg_control = note.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = NOTE_LEN as _;
        }
        // SAFETY: `room` is at most BATCH, so many headers were written above, and all that they point to was borrowed
        // from `self` and lives until the call returns. The lengths are those of the buffers.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                *room as _,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let is_full = count >= *room;
        *room = if is_full { BATCH } else { LITTLE_ROOM };
        Ok(Received { batch: self, count, is_full })
    }

    /// Sends the first of these messages, up to a batch, and tells how many it were.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: &[(Vec<u8>, Origin)],
    ) -> io::Result<usize> {
        let Self { headers, slices, addresses, notes, .. } = self;
        let rows = headers.iter_mut().zip(&mut **slices).zip(&mut **addresses).zip(&mut **notes);
        for ((((header, slice), address), note), (message, origin)) in rows.zip(messages) {
            slice.iov_base = message.as_ptr().cast_mut().cast();
            slice.iov_len = message.len();
            let len = write_address(address, origin.client);
            fill(header, slice, ptr::from_mut(address).cast(), len);
            write_note(&mut header.msg_hdr, note, origin.asked);
        }
        let count = messages.len().min(BATCH);
        // SAFETY: the first `count` headers were written above; what they point to is borrowed from `self` and
        // `messages` and lives until the call returns. The kernel only reads the messages.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as _, libc::MSG_DONTWAIT)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// What one call has brought.
pub(super) struct Received<'b> {
    batch: &'b Batch,
    count: usize,
    /// There was no room for more, of which there may be some.
    pub(super) is_full: bool,
}

impl<'b> Received<'b> {
    /// The datagrams that are whole and can be replied to.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&'b [u8], Origin)> {
        let Batch { headers, addresses, buffers, .. } = self.batch;
        let rows = headers.iter().zip(&**addresses).zip(&**buffers).take(self.count);
        rows.filter_map(|((header, address), buffer)| {
            let octets = buffer.0.get(..header.msg_len as usize).unwrap_or_default();
            Some((octets, origin(header, address)?))
        })
    }
}

/// Writes everything of a header but the control message, which it leaves out.
fn fill(
    header: &mut libc::mmsghdr,
    slice: &mut libc::iovec,
    address: *mut libc::c_void,
    address_len: usize,
) {
    header.msg_len = 0;
    header.msg_hdr.msg_name = address;
    header.msg_hdr.msg_namelen = address_len as _;
    header.msg_hdr.msg_iov = slice;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = ptr::null_mut();
    header.msg_hdr.msg_controllen = 0;
    header.msg_hdr.msg_flags = 0;
}

/// Writes an address as the kernel wants it, and tells its length.
fn write_address(out: &mut libc::sockaddr_storage, address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage has room and alignment for every kind of address.
            unsafe { ptr::from_mut(out).cast::<libc::sockaddr_in>().write(raw) };
            size_of_val(&raw)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { ptr::from_mut(out).cast::<libc::sockaddr_in6>().write(raw) };
            size_of_val(&raw)
        }
    }
}

/// Has a message leave from the address that was asked.
fn write_note(header: &mut libc::msghdr, note: &mut Note, asked: Asked) {
    match asked {
        Asked::Unknown => {}
        Asked::V4(info) => write_control(header, note, libc::IPPROTO_IP, libc::IP_PKTINFO, info),
        Asked::V6(info) => {
            write_control(header, note, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

fn write_control<T: Copy>(
    header: &mut libc::msghdr,
    note: &mut Note,
    level: libc::c_int,
    kind: libc::c_int,
    data: T,
) {
    const { assert!(size_of::<T>() + size_of::<libc::cmsghdr>() + 16 <= NOTE_LEN) };
    // SAFETY: a Note is aligned for a control message and, by the assertion, has room for this one, so the header
    // that the macros find is inside of it.
    unsafe {
        header.msg_control = note.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<T>() as _) as _;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = level;
        (*control).cmsg_type = kind;
        (*control).cmsg_len = libc::CMSG_LEN(size_of::<T>() as _) as _;
        libc::CMSG_DATA(control).cast::<T>().write_unaligned(data);
    }
}

/// Where a datagram came from; `None` for one that was cut, or that cannot be replied to.
fn origin(header: &libc::mmsghdr, address: &libc::sockaddr_storage) -> Option<Origin> {
    if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
        return None;
    }
    let client = read_address(address)?;
    // A reply to port 0 leads nowhere.
    (client.port() != 0).then(|| Origin { client, asked: read_note(&header.msg_hdr) })
}

fn read_address(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what the kernel wrote, and the storage is initialised and long enough.
            let raw = unsafe { ptr::from_ref(address).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let raw = unsafe { ptr::from_ref(address).cast::<libc::sockaddr_in6>().read() };
            let (ip, port) = (Ipv6Addr::from(raw.sin6_addr.s6_addr), u16::from_be(raw.sin6_port));
            Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn read_note(header: &libc::msghdr) -> Asked {
    // SAFETY: the header describes a Note and how much of it the kernel has filled.
    let found: *const libc::cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
    if found.is_null() {
        return Asked::Unknown;
    }
    // SAFETY: it points to a control message inside of the Note.
    match unsafe { ((*found).cmsg_level, (*found).cmsg_type) } {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let Some(mut info) = read_data::<libc::in_pktinfo>(found) else {
                return Asked::Unknown;
            };
            // The kernel routes the reply by itself; the interface must not be pinned.
            info.ipi_ifindex = 0;
            Asked::V4(info)
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let Some(mut info) = read_data::<libc::in6_pktinfo>(found) else {
                return Asked::Unknown;
            };
            // Only a link-local address means nothing without its interface.
            if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
            Asked::V6(info)
        }
        _ => Asked::Unknown,
    }
}

/// The data of a control message; `None` when there is less of it than there should be.
fn read_data<T: Copy>(control: *const libc::cmsghdr) -> Option<T> {
    // SAFETY: the caller has found it inside of a Note; the other one computes a length only.
    let (len, needed) = unsafe { ((*control).cmsg_len, libc::CMSG_LEN(size_of::<T>() as _)) };
    if (len as usize) < needed as usize {
        return None;
    }
    let mut data = MaybeUninit::<T>::uninit();
    // SAFETY: by its length the control message has so many octets of data, and T is plain data of the kernel's.
    unsafe {
        let from = libc::CMSG_DATA(control);
        ptr::copy_nonoverlapping(from, data.as_mut_ptr().cast::<u8>(), size_of::<T>());
        Some(data.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    fn received(batch: &mut Batch, socket: &UdpSocket) -> Vec<(Vec<u8>, Origin)> {
        let received = batch.receive(socket.as_fd(), &mut Room::default()).unwrap();
        received.datagrams().map(|(octets, origin)| (octets.to_vec(), origin)).collect()
    }

    #[test]
    fn a_batch_serves_sockets_of_both_families_in_turn() {
        let mut batch = Batch::new();
        for round in 0..3 {
            for text in ["127.0.0.1:0", "[::1]:0"] {
                let (server, client) =
                    (UdpSocket::bind(text).unwrap(), UdpSocket::bind(text).unwrap());
                for number in 0..3 {
                    client.send_to(&[round, number], server.local_addr().unwrap()).unwrap();
                }

                let all = received(&mut batch, &server);

                let octets: Vec<_> = all.iter().map(|(octets, _)| octets.clone()).collect();
                assert_eq!(octets, [[round, 0], [round, 1], [round, 2]]);
                let from = client.local_addr().unwrap();
                assert!(all.iter().all(|(_, origin)| origin.client == from), "{text}");

                assert_eq!(batch.send(server.as_fd(), &all).unwrap(), 3);
                let mut reply = [0; 9];
                for (expected, _) in all {
                    let (len, server_seen) = client.recv_from(&mut reply).unwrap();
                    assert_eq!(
                        (&reply[..len], server_seen),
                        (&*expected, server.local_addr().unwrap())
                    );
                }
            }
        }
    }

    #[test]
    fn no_more_than_a_batch_is_taken_and_a_cut_datagram_is_no_query() {
        let mut batch = Batch::new();
        let (server, client) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = server.local_addr().unwrap();
        client.send_to(&vec![7; MAX_QUERY + 1], to).unwrap();
        client.send_to(&vec![7; MAX_QUERY], to).unwrap();
        for _ in 0..LITTLE_ROOM + BATCH - 1 {
            client.send_to(&[7], to).unwrap();
        }

        let mut room = Room::default();
        let mut take = || {
            let received = batch.receive(server.as_fd(), &mut room).unwrap();
            let lens: Vec<_> = received.datagrams().map(|(octets, _)| octets.len()).collect();
            (lens, received.is_full)
        };
        let (lens, is_full) = take();
        assert_eq!((lens.len(), is_full), (LITTLE_ROOM - 1, true), "the first one was cut");
        assert_eq!(lens.first(), Some(&MAX_QUERY));
        let (lens, is_full) = take();
        assert_eq!((lens.len(), is_full), (BATCH, true), "there is more room when it was needed");
        let (lens, is_full) = take();
        assert_eq!((lens.len(), is_full), (1, false));
        let error = batch.receive(server.as_fd(), &mut room).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

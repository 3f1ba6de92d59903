//! Waiting for datagrams.
#![allow(unsafe_code, reason = "the runtime cannot know that a descriptor stays what it is")]

use std::{io, net::UdpSocket};

use tokio::io::{Interest, unix::AsyncFd};

/// Has the worker's runtime watch a socket for what arrives, and not for room, as the runtime's own socket would: to be told
/// of room the kernel wakes the worker after every reply.
pub(super) fn watch(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: a `UdpSocket` has one descriptor, and closes it when it is dropped; here that is after it is watched no more.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(watched?)
}

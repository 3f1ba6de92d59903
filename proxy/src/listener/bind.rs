//! Opening the sockets of one address: per worker one for UDP and one for TCP.
//!
//! SO_REUSEPORT lets any process of the same user share the port, so a second proxy would silently take
//! half of the queries. Therefore the address is first bound without it: that fails when somebody has it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one address, one of each kind per worker.
#[derive(Debug)]
pub struct Sockets {
    /// The address that was bound, with the port that the kernel chose when it was 0.
    pub address: SocketAddr,
    /// One per worker.
    pub udp: Vec<UdpSocket>,
    /// One per worker.
    pub tcp: Vec<TcpListener>,
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {transport} {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// What the kernel says.
    pub source: io::Error,
}

/// How many free ports are tried until one is free for both UDP and TCP.
const PORT_ATTEMPTS: usize = 16;

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;

/// Room for a burst of datagrams while a worker is busy; the kernel caps it at net.core.rmem_max.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Opens the sockets of `address` for so many workers.
///
/// An IPv6 wildcard takes IPv4 clients, too, unless `is_only_v6`. Where the host has no IPv6 at all, it
/// becomes the IPv4 wildcard.
pub fn bind(address: SocketAddr, workers: usize, is_only_v6: bool) -> Result<Sockets, BindError> {
    match bind_as_asked(address, workers, is_only_v6) {
        Err(error)
            if is_wildcard_v6(address)
                && error.source.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            bind_as_asked((Ipv4Addr::UNSPECIFIED, address.port()).into(), workers, is_only_v6)
        }
        result => result,
    }
}

fn is_wildcard_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn bind_as_asked(
    address: SocketAddr,
    workers: usize,
    is_only_v6: bool,
) -> Result<Sockets, BindError> {
    let mut result = bind_both(address, workers, is_only_v6);
    for _ in 1..PORT_ATTEMPTS {
        match &result {
            Err(error)
                if address.port() == 0 && error.source.kind() == io::ErrorKind::AddrInUse =>
            {
                result = bind_both(address, workers, is_only_v6);
            }
            _ => break,
        }
    }
    result
}

fn bind_both(address: SocketAddr, workers: usize, is_only_v6: bool) -> Result<Sockets, BindError> {
    let fail = |transport| move |source| BindError { address, transport, source };
    let open = |address, kind, shared| open(address, kind, shared, is_only_v6);
    open(address, Type::DGRAM, false).map_err(fail("udp"))?;
    open(address, Type::STREAM, false).map_err(fail("tcp"))?;

    let first = open(address, Type::DGRAM, true).map_err(fail("udp"))?;
    let bound = first.local_addr().map_err(fail("udp"))?.as_socket().unwrap_or(address);
    let mut udp = vec![UdpSocket::from(first)];
    let mut tcp = Vec::with_capacity(workers);
    for worker in 0..workers.max(1) {
        if worker > 0 {
            udp.push(open(bound, Type::DGRAM, true).map_err(fail("udp"))?.into());
        }
        let listener = open(bound, Type::STREAM, true).map_err(fail("tcp"))?;
        listener.listen(BACKLOG).map_err(fail("tcp"))?;
        tcp.push(listener.into());
    }
    Ok(Sockets { address: bound, udp, tcp })
}

fn open(address: SocketAddr, kind: Type, is_shared: bool, is_only_v6: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::DGRAM { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(is_only_v6 || !address.ip().is_unspecified())?;
    }
    if kind == Type::STREAM {
        // A restart must not wait for connections of the last run that linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
    }
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    if kind == Type::DGRAM {
        ask_for_packet_info(&socket, address)?;
        // Best effort: without it a burst is lost somewhat earlier.
        socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A reply must come from the address that was asked; a wildcard socket has to be told which one that was.
fn ask_for_packet_info(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};

    match address {
        _ if !address.ip().is_unspecified() => Ok(()),
        SocketAddr::V4(_) => Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?),
        SocketAddr::V6(_) => Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_and_tcp_get_the_same_port_on_every_worker() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3, false).unwrap();

        assert_ne!(sockets.address.port(), 0);
        assert!(sockets.udp.iter().all(|socket| socket.local_addr().unwrap() == sockets.address));
        assert!(sockets.tcp.iter().all(|socket| socket.local_addr().unwrap() == sockets.address));
        assert_eq!((sockets.udp.len(), sockets.tcp.len()), (3, 3));
    }

    #[test]
    fn an_address_that_another_proxy_has_is_refused() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();

        let error = bind(first.address, 1, false).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.address.to_string()), "{error}");
    }
}

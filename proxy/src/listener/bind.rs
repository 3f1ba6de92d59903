//! Opening the sockets of addresses: for each, per worker one for UDP and one for TCP.
//!
//! SO_REUSEPORT lets any process of the same user share the port, so a second proxy would silently take
//! half of the queries. Therefore an address is first bound without it: that fails when somebody has it. Only
//! where sockets of our own would be in the way it cannot be asked; with them the port is shared, and the
//! kernel gives what comes to the most specific socket.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Weak},
};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// An address as it is to be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The address; with port 0 the kernel chooses one.
    pub address: SocketAddr,
    /// An IPv6 wildcard takes no IPv4 clients.
    pub is_only_v6: bool,
}

impl Endpoint {
    /// How these addresses are served, each once. An IPv6 wildcard takes IPv4 clients, too, unless there is
    /// an IPv4 wildcard to take them.
    pub fn all(addresses: &[SocketAddr]) -> Vec<Self> {
        let mut endpoints: Vec<Self> = Vec::new();
        for &address in addresses {
            let v4 = (Ipv4Addr::UNSPECIFIED, address.port()).into();
            let has_port = address.port() != 0;
            let is_only_v6 = is_wildcard_v6(address) && has_port && addresses.contains(&v4);
            let endpoint = Self { address, is_only_v6 };
            if !has_port || !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        endpoints
    }
}

/// The sockets of one address, one of each kind per worker.
#[derive(Debug)]
pub struct Sockets {
    /// What was wanted.
    pub endpoint: Endpoint,
    /// The address that was bound, with the port that the kernel chose when it was 0.
    pub address: SocketAddr,
    /// One per worker.
    pub udp: Vec<UdpSocket>,
    /// One per worker.
    pub tcp: Vec<TcpListener>,
    /// Goes along with each of the sockets.
    pub hold: Hold,
}

/// Says that a socket is still open, be it only to send its last replies. Dropped after the socket.
pub type Hold = Arc<()>;

/// The addresses that sockets of this process have.
#[derive(Debug, Default)]
pub struct Held {
    addresses: Vec<(SocketAddr, Weak<()>)>,
}

impl Held {
    /// Remembers an address for as long as its sockets are open.
    pub fn remember(&mut self, sockets: &Sockets) {
        self.addresses.retain(|(_, hold)| hold.strong_count() > 0);
        self.addresses.push((sockets.address, Arc::downgrade(&sockets.hold)));
    }

    /// Whether sockets of our own may be in the way of this address.
    fn overlaps(&self, address: SocketAddr) -> bool {
        self.addresses.iter().any(|(held, hold)| {
            hold.strong_count() > 0
                && held.port() == address.port()
                && (held.ip() == address.ip()
                    || held.ip().is_unspecified()
                    || address.ip().is_unspecified())
        })
    }
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

/// Room for a burst of datagrams while a worker, or the network, is busy; the kernel caps it at
/// net.core.rmem_max and wmem_max.
const SOCKET_BUFFER: usize = 4 << 20;

/// For each way of a connection; the kernel doubles it for what it needs itself. Hundreds of replies of usual size on their way,
/// or, where a round trip takes a millisecond, 30 MB/s: our guess.
const STREAM_BUFFER: usize = 32 << 10;

/// Opens the sockets of all endpoints for so many workers, or of none.
///
/// Where the host has no IPv6 at all, an IPv6 wildcard becomes the IPv4 wildcard.
pub fn bind(
    endpoints: &[Endpoint],
    workers: usize,
    held: &Held,
) -> Result<Vec<Sockets>, BindError> {
    let usable: Vec<Endpoint> = endpoints.iter().map(|&endpoint| usable(endpoint)).collect();
    // All of them before the first is opened: afterwards they would be in each other's way.
    for endpoint in usable.iter().filter(|endpoint| !held.overlaps(endpoint.address)) {
        for kind in KINDS {
            open(*endpoint, kind, false).map_err(|source| fail(*endpoint, kind, source))?;
        }
    }
    let sockets = usable.iter().zip(endpoints).map(|(&usable, &endpoint)| {
        let sockets = open_both(usable, workers)?;
        Ok(Sockets { endpoint, ..sockets })
    });
    sockets.collect()
}

const KINDS: [Type; 2] = [Type::DGRAM, Type::STREAM];

fn fail(endpoint: Endpoint, kind: Type, source: io::Error) -> BindError {
    let transport = if kind == Type::DGRAM { "udp" } else { "tcp" };
    BindError { address: endpoint.address, transport, source }
}

fn usable(endpoint: Endpoint) -> Endpoint {
    let lacks_v6 = || {
        Socket::new(Domain::IPV6, Type::DGRAM, None)
            .is_err_and(|error| error.raw_os_error() == Some(libc::EAFNOSUPPORT))
    };
    if is_wildcard_v6(endpoint.address) && lacks_v6() {
        let address = (Ipv4Addr::UNSPECIFIED, endpoint.address.port()).into();
        return Endpoint { address, ..endpoint };
    }
    endpoint
}

fn is_wildcard_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// A port that the kernel chose for UDP may be somebody's for TCP: then it chooses another one.
fn open_both(endpoint: Endpoint, workers: usize) -> Result<Sockets, BindError> {
    let mut attempts = if endpoint.address.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        let result = try_open_both(endpoint, workers);
        attempts -= 1;
        match result {
            Err(error) if attempts > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn try_open_both(endpoint: Endpoint, workers: usize) -> Result<Sockets, BindError> {
    let open = |endpoint, kind, is_shared| {
        open(endpoint, kind, is_shared).map_err(|source| fail(endpoint, kind, source))
    };
    let first = open(endpoint, Type::DGRAM, true)?;
    let bound = first.local_addr().map_err(|source| fail(endpoint, Type::DGRAM, source))?;
    let address = bound.as_socket().unwrap_or(endpoint.address);
    let bound = Endpoint { address, ..endpoint };
    if endpoint.address.port() == 0 {
        open(bound, Type::STREAM, false)?;
    }

    let mut udp = vec![UdpSocket::from(first)];
    let mut tcp = Vec::with_capacity(workers);
    for worker in 0..workers.max(1) {
        if worker > 0 {
            udp.push(open(bound, Type::DGRAM, true)?.into());
        }
        let listener = open(bound, Type::STREAM, true)?;
        bound_buffers(&listener).map_err(|source| fail(bound, Type::STREAM, source))?;
        listener.listen(BACKLOG).map_err(|source| fail(bound, Type::STREAM, source))?;
        tcp.push(listener.into());
    }
    Ok(Sockets { endpoint, address, udp, tcp, hold: Hold::default() })
}

fn open(endpoint: Endpoint, kind: Type, is_shared: bool) -> io::Result<Socket> {
    let Endpoint { address, is_only_v6 } = endpoint;
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
        socket.set_recv_buffer_size(SOCKET_BUFFER).ok();
        socket.set_send_buffer_size(SOCKET_BUFFER).ok();
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What clients do not take, and what is not read of them, is memory of this process's group, too: by itself the kernel
/// would let it grow to megabytes for each connection. The connections inherit it.
fn bound_buffers(listener: &Socket) -> io::Result<()> {
    listener.set_recv_buffer_size(STREAM_BUFFER)?;
    listener.set_send_buffer_size(STREAM_BUFFER)
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

    fn endpoint(address: &str) -> Endpoint {
        Endpoint { address: address.parse().unwrap(), is_only_v6: false }
    }

    fn bind_one(endpoint: Endpoint, workers: usize, held: &Held) -> Result<Sockets, BindError> {
        bind(&[endpoint], workers, held).map(|mut sockets| sockets.remove(0))
    }

    #[test]
    fn udp_and_tcp_get_the_same_port_on_every_worker() {
        let sockets = bind_one(endpoint("127.0.0.1:0"), 3, &Held::default()).unwrap();

        assert_ne!(sockets.address.port(), 0);
        assert!(sockets.udp.iter().all(|socket| socket.local_addr().unwrap() == sockets.address));
        assert!(sockets.tcp.iter().all(|socket| socket.local_addr().unwrap() == sockets.address));
        assert_eq!((sockets.udp.len(), sockets.tcp.len()), (3, 3));
    }

    #[test]
    fn an_address_that_another_proxy_has_is_refused() {
        let first = bind_one(endpoint("127.0.0.1:0"), 1, &Held::default()).unwrap();
        let port = first.address.port();
        let cases = [
            ("the same address", format!("127.0.0.1:{port}")),
            ("a wildcard around it", format!("0.0.0.0:{port}")),
        ];

        for (why, address) in cases {
            let error = bind_one(endpoint(&address), 1, &Held::default()).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse, "{why}");
            assert!(error.to_string().contains(&address), "{error}");
        }
    }

    #[test]
    fn our_own_sockets_are_never_in_the_way() {
        let first = bind_one(endpoint("127.0.0.1:0"), 1, &Held::default()).unwrap();
        let mut held = Held::default();
        held.remember(&first);
        let port = first.address.port();

        let wider = bind_one(endpoint(&format!("0.0.0.0:{port}")), 2, &held).unwrap();
        held.remember(&wider);
        bind_one(endpoint(&format!("127.0.0.2:{port}")), 1, &held).unwrap();
        drop((first, wider));
        let foreign = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        let error = bind_one(endpoint(&format!("127.0.0.1:{port}")), 1, &held).unwrap_err();
        assert_eq!(
            error.source.kind(),
            io::ErrorKind::AddrInUse,
            "ours are gone, {foreign:?} is not"
        );
    }

    #[test]
    fn an_ipv6_wildcard_leaves_ipv4_to_an_ipv4_wildcard_only() {
        let cases: [(&str, &[&str], &[bool]); 6] = [
            ("alone", &["[::]:53"], &[false]),
            ("with all of IPv4", &["0.0.0.0:53", "[::]:53"], &[false, true]),
            ("with all of IPv4 on another port", &["0.0.0.0:54", "[::]:53"], &[false, false]),
            (
                "with one IPv4 address: others are to be served",
                &["[::]:53", "127.0.0.1:53"],
                &[false; 2],
            ),
            ("twice the same", &["[::]:53", "[::]:53"], &[false]),
            ("on ports that the kernel chooses", &["0.0.0.0:0", "[::]:0"], &[false; 2]),
        ];

        for (why, addresses, expected) in cases {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            let only_v6: Vec<bool> =
                Endpoint::all(&addresses).iter().map(|endpoint| endpoint.is_only_v6).collect();
            assert_eq!(only_v6, expected, "{why}");
        }
    }
}

//! What the kernel knows of this machine: the queues of its TCP connections, and its addresses.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The octets of one end of a connection that wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queues {
    /// Written here, and not yet acknowledged by the other end's kernel.
    pub unacknowledged: usize,
    /// Arrived here, and not yet read.
    pub unread: usize,
}

/// The queues of the end at `local`, of the IPv4 connection with `peer`.
///
/// # Panics
/// When there is no such connection.
pub fn queues(local: SocketAddr, peer: SocketAddr) -> Queues {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let ends = format!(" {} {} ", end(local), end(peer));
    let line = table.lines().find(|line| line.contains(&ends)).expect("this connection");
    let (sent, received) = line.split(' ').find_map(pair).expect("its queues");
    Queues { unacknowledged: sent, unread: received }
}

/// The octets that have arrived at this IPv4 address, on all connections, and were not read.
///
/// # Panics
/// When the kernel does not say.
pub fn unread(local: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let end = format!(": {} ", end(local));
    let lines = table.lines().filter(|line| line.contains(&end) && !line.contains(LISTEN));
    lines.filter_map(|line| Some(line.split(' ').find_map(pair)?.1)).sum()
}

/// The other end and the state of a listening socket, of which the queue holds connections.
const LISTEN: &str = " 00000000:0000 0A ";

/// The addresses, at most one of each family, from which this machine would speak to others. Nothing is sent.
pub fn other_addresses() -> Vec<IpAddr> {
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let sources = ways.into_iter().filter_map(|(any, far)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(far).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    sources.filter(|address| !address.is_loopback()).collect()
}

/// An address as the table has it: the octets backwards, since they are a number of the machine.
fn end(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    let [a, b, c, d] = address.ip().octets();
    format!("{d:02X}{c:02X}{b:02X}{a:02X}:{:04X}", address.port())
}

/// `tx_queue:rx_queue`, eight digits each: the only cell that looks so.
fn pair(cell: &str) -> Option<(usize, usize)> {
    let (sent, received) =
        cell.split_once(':').filter(|(sent, received)| sent.len() == 8 && received.len() == 8)?;
    Some((usize::from_str_radix(sent, 16).ok()?, usize::from_str_radix(received, 16).ok()?))
}

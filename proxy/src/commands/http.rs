//! A request to the admin endpoints of a proxy on this host: HTTP/1.1 with one request a connection, as
//! [`crate::admin`] serves it.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// What is asked for.
pub(super) struct Request<'a> {
    /// `GET` or `POST`.
    pub(super) method: &'a str,
    /// The path with its query string.
    pub(super) target: &'a str,
    /// A header that says that something is to be changed.
    pub(super) header: Option<&'a str>,
    /// How long a connection, and the next octet, may take.
    pub(super) patience: Duration,
    /// How much is read, in octets.
    pub(super) max_response: u64,
}

/// What came back.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Page {
    /// The status of HTTP.
    pub(super) status: u16,
    /// What stands below the head.
    pub(super) body: String,
}

impl Request<'_> {
    /// Sends it to a proxy. One that listens on all addresses is asked on loopback, of IPv4 as well: where the
    /// host has no IPv6, `[::]` has become `0.0.0.0`.
    pub(super) fn send(&self, admin: SocketAddr) -> io::Result<Page> {
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for address in reachable(admin) {
            result = self.send_to(address);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn send_to(&self, address: SocketAddr) -> io::Result<Page> {
        let mut stream = TcpStream::connect_timeout(&address, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        let Self { method, target, .. } = self;
        let header = self.header.map(|name| format!("{name}: 1\r\n")).unwrap_or_default();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut response = String::new();
        stream.take(self.max_response).read_to_string(&mut response)?;
        page(&response).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn reachable(admin: SocketAddr) -> Vec<SocketAddr> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, admin.port()));
    match admin.ip() {
        ip if !ip.is_unspecified() => vec![admin],
        IpAddr::V4(_) => vec![v4],
        IpAddr::V6(_) => vec![(Ipv6Addr::LOCALHOST, admin.port()).into(), v4],
    }
}

/// Reads a whole response; one that was cut off is none.
fn page(response: &str) -> Option<Page> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse::<usize>().ok());
    let is_whole = length.is_none_or(|length| length == body.len());
    is_whole.then(|| Page { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_counts_when_it_is_whole() {
        let cases = [
            // (why, response, status and body)
            (
                "with its length",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
                Some((200, "ok\n")),
            ),
            ("until the end", "HTTP/1.1 503 Service Unavailable\r\n\r\nno", Some((503, "no"))),
            ("cut off", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok\n", None),
            ("half a head", "HTTP/1.1 200 OK\r\ncontent-le", None),
            ("another protocol", "SSH-2.0-x\r\n\r\n", None),
            ("nothing", "", None),
        ];

        for (why, response, expected) in cases {
            let expected = expected.map(|(status, body)| Page { status, body: body.to_owned() });
            assert_eq!(page(response), expected, "{why}");
        }
    }
}

//! Addresses: where a server is reached, and where a listener takes queries.
//!
//! Both are numeric. A host name would need another resolver before this one works, and would hand the
//! choice of the upstream to it; so a name is refused, with the way out. IPv6 with a port stands in
//! brackets (RFC 3986 §3.2.2).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Where a server is reached: an address, and a port if it is not the protocol's own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerAddress {
    ip: IpAddr,
    port: Option<u16>,
}

/// Where a listener takes queries: an address and a port, 0 for one of the kernel's choice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListenerAddress(SocketAddr);

/// Why a text is no address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Nothing stands there.
    #[error("empty")]
    Empty,
    /// A name instead of an address.
    #[error(
        "a host name: an upstream is reached by its addresses, since no other resolver is asked; \
             look them up once and write the name into tls.serverName"
    )]
    HostName,
    /// A name where only own addresses make sense.
    #[error("a host name: write an address of this machine, for example `127.0.0.1:5300`")]
    ListenerName,
    /// A URL, as dnsproxy programs of other makers take it.
    #[error("a URL: write the address alone, and what stands before it as `protocol`")]
    Url,
    /// unbound's and systemd-resolved's `address@port#name`.
    #[error("write `IP:port`, and the name behind `#` as tls.serverName")]
    Annotated,
    /// An IPv6 address with a zone index.
    #[error("has a zone index (`%...`): link-local addresses are not supported")]
    ZoneIndex,
    /// An address that is another one on each link: without a zone index the kernel does not know which is meant.
    #[error("{0} is one of a link: link-local addresses are not supported")]
    LinkLocal(Ipv6Addr),
    /// An IPv4 address in the clothes of IPv6: as a listener the kernel refuses it, and a certificate never names it so.
    #[error("write the IPv4 address instead of its IPv6-mapped form: {0}")]
    Mapped(Ipv4Addr),
    /// IPv6 and a port, without brackets between them.
    #[error("not an address: IPv6 with a port is written `[2001:db8::1]:853`")]
    Brackets,
    /// A port alone.
    #[error("no address before the port: write `[::]{0}` for all addresses")]
    PortOnly(String),
    /// No port where one is needed.
    #[error("no port: write for example `{0}`")]
    NoPort(SocketAddr),
    /// A port that no server has.
    #[error("not a port: 1 to 65535")]
    Port,
    /// An address that no server has.
    #[error("{0} is not the address of a server")]
    NotUnicast(IpAddr),
    /// Anything else.
    #[error("not an address: write `IP` or `IP:port`")]
    Form,
}

impl ServerAddress {
    /// The address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port, where one was written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address with its port, or with the protocol's.
    pub fn socket_address(&self, default_port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(default_port))
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (ip, port) = ip_and_port(text)?;
        refuse_other_forms(ip)?;
        if ip.is_unspecified() || ip.is_multicast() || ip == BROADCAST {
            return Err(AddressError::NotUnicast(ip));
        }
        if port == Some(0) {
            return Err(AddressError::Port);
        }
        Ok(Self { ip, port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.ip, port)),
            None => write!(f, "{}", self.ip),
        }
    }
}

impl ListenerAddress {
    /// The address and the port.
    pub const fn socket_address(&self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match ip_and_port(text) {
            Ok((ip, Some(port))) => {
                refuse_other_forms(ip)?;
                Ok(Self(SocketAddr::new(ip, port)))
            }
            Ok((ip, None)) => Err(AddressError::NoPort(SocketAddr::new(ip, 53))),
            Err(AddressError::HostName) => Err(AddressError::ListenerName),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Link-local ones of IPv4 are known without a zone index (RFC 4007 is about IPv6 alone), and some clusters have their DNS
/// there.
fn refuse_other_forms(ip: IpAddr) -> Result<(), AddressError> {
    let IpAddr::V6(v6) = ip else { return Ok(()) };
    match v6.to_ipv4_mapped() {
        Some(v4) => Err(AddressError::Mapped(v4)),
        None if v6.is_unicast_link_local() => Err(AddressError::LinkLocal(v6)),
        None => Ok(()),
    }
}

fn ip_and_port(text: &str) -> Result<(IpAddr, Option<u16>), AddressError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip, None));
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (ip, port) = match bracketed {
        Some((inside, "")) => (inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6), None),
        Some((inside, tail)) => {
            (inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6), tail.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host.parse().ok().filter(IpAddr::is_ipv4), Some(port)),
            None => (None, None),
        },
    };
    match (ip, port) {
        (Some(ip), Some(port)) => Ok((ip, Some(parse_port(port)?))),
        (Some(ip), None) if text.ends_with(']') => Ok((ip, None)),
        _ => Err(mistake(text)),
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(AddressError::Port)
}

/// What was probably meant by a text that is no address.
fn mistake(text: &str) -> AddressError {
    if text.is_empty() {
        AddressError::Empty
    } else if text.contains("//") {
        AddressError::Url
    } else if text.contains(['@', '#']) {
        AddressError::Annotated
    } else if text.contains('%') {
        AddressError::ZoneIndex
    } else if text.starts_with(':') && !text.starts_with("::") {
        AddressError::PortOnly(text.to_owned())
    } else if text.matches(':').count() > 1 {
        AddressError::Brackets
    } else if is_host(text) {
        AddressError::HostName
    } else {
        AddressError::Form
    }
}

/// Whether the text, a port aside, looks like a name: its last label is no number (RFC 1123 §2.1).
fn is_host(text: &str) -> bool {
    let host = text.split(':').next().unwrap_or(text);
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or(host);
    last.starts_with(char::is_alphabetic)
        && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

const BROADCAST: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link_local(text: &str) -> AddressError {
        AddressError::LinkLocal(text.parse().unwrap())
    }

    #[test]
    fn server_addresses_have_a_port_or_the_protocols() {
        let cases = [
            // (why, text, socket address with the default port 853, canonical text)
            ("IPv4", "1.1.1.1", "1.1.1.1:853", "1.1.1.1"),
            ("IPv4 with a port", "1.0.0.1:8853", "1.0.0.1:8853", "1.0.0.1:8853"),
            ("IPv6", "2606:4700:4700::1111", "[2606:4700:4700::1111]:853", "2606:4700:4700::1111"),
            ("IPv6 with a port", "[2620:fe::9]:53", "[2620:fe::9]:53", "[2620:fe::9]:53"),
            ("brackets without a port", "[2620:fe::9]", "[2620:fe::9]:853", "2620:fe::9"),
            ("upper case", "2620:FE::9", "[2620:fe::9]:853", "2620:fe::9"),
            ("a link's of IPv4", "169.254.20.10", "169.254.20.10:853", "169.254.20.10"),
            ("the first one that is no link's", "fec0::1", "[fec0::1]:853", "fec0::1"),
        ];

        for (why, text, expected, canonical) in cases {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.socket_address(853), expected.parse().unwrap(), "{why}");
            assert_eq!(address.to_string(), canonical, "{why}");
        }
    }

    #[test]
    fn what_is_no_server_address_is_refused_with_the_way_out() {
        let cases = [
            // (why, text, error)
            ("nothing", "", AddressError::Empty),
            ("a host name", "dns.quad9.net", AddressError::HostName),
            ("a host name with a port", "dns.quad9.net:853", AddressError::HostName),
            ("a single label", "localhost", AddressError::HostName),
            ("a Unicode name", "dns.bücher.example", AddressError::HostName),
            ("a URL", "tls://1.1.1.1:853", AddressError::Url),
            ("unbound's form", "1.1.1.1@853#cloudflare-dns.com", AddressError::Annotated),
            ("systemd-resolved's form", "1.1.1.1#cloudflare-dns.com", AddressError::Annotated),
            ("link-local", "fe80::1%eth0", AddressError::ZoneIndex),
            ("link-local with a port", "[fe80::1%2]:53", AddressError::ZoneIndex),
            ("link-local without a zone index", "fe80::1", link_local("fe80::1")),
            ("the last of these, with a port", "[febf::1]:53", link_local("febf::1")),
            (
                "IPv6 and a port that could be a group",
                "2606:4700:4700::1111:853:1:2:3:4",
                AddressError::Brackets,
            ),
            ("brackets around IPv4", "[1.1.1.1]:53", AddressError::Form),
            ("a port alone", ":853", AddressError::PortOnly(":853".to_owned())),
            ("port 0", "1.1.1.1:0", AddressError::Port),
            ("a port beyond 65535", "1.1.1.1:65536", AddressError::Port),
            ("no port after the colon", "1.1.1.1:", AddressError::Port),
            ("a signed port", "1.1.1.1:+53", AddressError::Port),
            ("an open bracket", "[::1", AddressError::Brackets),
            ("text behind the bracket", "[::1]853", AddressError::Brackets),
            ("three numbers", "1.1.1", AddressError::Form),
            ("a network", "1.1.1.0/24", AddressError::Form),
            ("IPv4 in IPv6", "::ffff:9.9.9.9", AddressError::Mapped([9, 9, 9, 9].into())),
            (
                "the same with a port",
                "[::ffff:909:909]:53",
                AddressError::Mapped([9, 9, 9, 9].into()),
            ),
            ("all addresses", "0.0.0.0", AddressError::NotUnicast([0, 0, 0, 0].into())),
            ("everybody", "255.255.255.255", AddressError::NotUnicast([255; 4].into())),
            ("a group", "224.0.0.251:5353", AddressError::NotUnicast([224, 0, 0, 251].into())),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<ServerAddress>(), Err(error), "{why}");
        }
    }

    #[test]
    fn listener_addresses_have_a_port() {
        let cases = [
            // (why, text, result)
            ("loopback", "127.0.0.1:5300", Ok("127.0.0.1:5300".parse().unwrap())),
            ("both families", "[::]:53", Ok("[::]:53".parse().unwrap())),
            ("the kernel's choice", "127.0.0.1:0", Ok("127.0.0.1:0".parse().unwrap())),
            ("no port", "::1", Err(AddressError::NoPort("[::1]:53".parse().unwrap()))),
            ("no address", ":53", Err(AddressError::PortOnly(":53".to_owned()))),
            ("a name", "localhost:53", Err(AddressError::ListenerName)),
            ("link-local", "[fe80::1]:53", Err(link_local("fe80::1"))),
            (
                "IPv4 in IPv6",
                "[::ffff:127.0.0.1]:53",
                Err(AddressError::Mapped([127, 0, 0, 1].into())),
            ),
        ];

        for (why, text, result) in cases {
            let parsed = text.parse().map(|address: ListenerAddress| address.socket_address());
            assert_eq!(parsed, result, "{why}");
        }
    }

    proptest! {
        #[test]
        fn displayed_addresses_read_back(ip: IpAddr, port in proptest::option::of(1..=u16::MAX)) {
            let address = ServerAddress { ip, port };
            prop_assume!(!ip.is_unspecified() && !ip.is_multicast() && refuse_other_forms(ip).is_ok());
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn no_text_panics(text in r"[0-9a-f:.\[\]%@#/]{0,24}|.{0,16}") {
            let _ = text.parse::<ServerAddress>();
            let _ = text.parse::<ListenerAddress>();
        }
    }
}

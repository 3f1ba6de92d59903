//! The part of an address that stands for one client.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or an IPv6 /64, which one host can fill by itself (RFC 4291 section 2.5.4). Not so a link-local one: all
/// hosts of a link have theirs from the same /64 (section 2.5.6); nor a private one (RFC 4193): all pods of a node do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// The one that an address belongs to.
    pub fn of(client: IpAddr) -> Self {
        match client {
            IpAddr::V4(_) => Self(client),
            IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_unique_local() => Self(client),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into()),
        }
    }
}

/// The first half of an IPv6 address.
const NETWORK: u128 = !(u64::MAX as u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_cannot_multiply_itself() {
        let of = |address: &str| Prefix::of(address.parse().unwrap());

        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"), "the same /64");
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"), "another /64");
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"), "each IPv4 address");
        assert_ne!(of("fe80::1"), of("fe80::2"), "neighbours");
        assert_ne!(of("fd00:10:244:1::1"), of("fd00:10:244:1::2"), "pods of a node");
    }
}

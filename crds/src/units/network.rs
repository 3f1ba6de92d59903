//! Networks: an address with a prefix length, or a single address.
//!
//! Bits behind the prefix must be zero, since `10.1.2.3/8` is more often a mistake for `10.1.2.3` than for
//! `10.0.0.0/8`. An IPv4 client of a dual-stack socket comes as `::ffff:10.1.2.3`; it counts as IPv4.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network of IPv4 or IPv6 addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// Neither address nor network.
    #[error("not a network: write `10.0.0.0/8`, `fd00::/8` or a single address")]
    Form,
    /// The prefix is longer than the address.
    #[error("a prefix of this family has at most {0} bits")]
    Prefix(u8),
    /// There are bits behind the prefix.
    #[error("has bits behind its prefix; the network is {0}")]
    HostBits(Network),
    /// An IPv4 network in IPv6's clothes.
    #[error("write the IPv4 network instead of its IPv6-mapped form")]
    Mapped,
}

impl Network {
    /// The network of `prefix` bits that has `address`; a prefix beyond the family's is the whole address.
    pub fn containing(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(bits(address));
        Self { address: masked(address, prefix), prefix }
    }

    /// The first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all its addresses share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address is one of the network's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether every address of `other` is one of this network's.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        if address.to_canonical() != address {
            return Err(NetworkError::Mapped);
        }
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Form)?
            }
            Some(_) => return Err(NetworkError::Form),
            None => bits(address),
        };
        if prefix > bits(address) {
            return Err(NetworkError::Prefix(bits(address)));
        }
        let network = Self::containing(address, prefix);
        if network.address == address { Ok(network) } else { Err(NetworkError::HostBits(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_and_single_addresses_are_read() {
        let cases = [
            // (why, text, canonical text)
            ("IPv4", "10.0.0.0/8", "10.0.0.0/8"),
            ("everything", "0.0.0.0/0", "0.0.0.0/0"),
            ("one address", "192.0.2.1", "192.0.2.1/32"),
            ("IPv6", "2001:DB8::/32", "2001:db8::/32"),
            ("one IPv6 address", "::1", "::1/128"),
        ];

        for (why, text, canonical) in cases {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), canonical, "{why}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_way_out() {
        let ten = Network::containing([10, 0, 0, 0].into(), 8);
        let cases = [
            // (why, text, error)
            ("nothing", "", NetworkError::Form),
            ("a name", "example.com", NetworkError::Form),
            ("no prefix after the slash", "10.0.0.0/", NetworkError::Form),
            ("a netmask", "10.0.0.0/255.0.0.0", NetworkError::Form),
            ("a sign", "10.0.0.0/+8", NetworkError::Form),
            ("a short address", "10/8", NetworkError::Form),
            ("an octal-looking address", "010.0.0.0/8", NetworkError::Form),
            ("33 bits of 32", "10.0.0.0/33", NetworkError::Prefix(32)),
            ("bits behind the prefix", "10.1.2.3/8", NetworkError::HostBits(ten)),
            ("IPv4 in IPv6", "::ffff:10.0.0.0/104", NetworkError::Mapped),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<Network>(), Err(error), "{why}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let cases = [
            // (why, network, address, expected)
            ("inside", "10.0.0.0/8", "10.255.255.255", true),
            ("outside", "10.0.0.0/8", "11.0.0.0", false),
            (
                "mapped: an IPv4 client of a dual-stack socket",
                "10.0.0.0/8",
                "::ffff:10.1.1.1",
                true,
            ),
            ("the other family", "0.0.0.0/0", "::1", false),
            ("everything", "::/0", "2001:db8::1", true),
            ("only itself", "::1/128", "::2", false),
        ];

        for (why, network, address, expected) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{why}");
        }
    }

    #[test]
    fn a_network_covers_the_smaller_ones_inside() {
        let cover =
            |a: &str, b: &str| a.parse::<Network>().unwrap().covers(&b.parse::<Network>().unwrap());

        assert!(cover("10.0.0.0/8", "10.0.0.0/8"), "itself");
        assert!(cover("10.0.0.0/8", "10.9.0.0/16"), "a part");
        assert!(!cover("10.9.0.0/16", "10.0.0.0/8"), "not the whole");
        assert!(!cover("::/0", "10.0.0.0/8"), "not the other family");
    }

    proptest! {
        #[test]
        fn displayed_networks_read_back(address: IpAddr, prefix: u8) {
            let network = Network::containing(address.to_canonical(), prefix);
            // A short prefix of an IPv6 address may leave the mapped form; all others read back.
            prop_assume!(network.address.to_canonical() == network.address);
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(address));
        }
    }
}

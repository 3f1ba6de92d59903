//! A set of networks: thousands of them cost an address hardly more than one.

use std::net::IpAddr;

use dnsproxy_api::units::Network;

/// Networks none of which is a part of another one, in the order of their addresses. Two networks have all addresses of the
/// smaller one in common or none, so an address can only be in the last one that does not begin behind it.
#[derive(Debug, Default)]
pub struct Networks(Box<[Network]>);

impl Networks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.find(address).is_some()
    }

    /// The one that an address is in; where the set was made of several that it is in, the largest.
    pub fn find(&self, address: IpAddr) -> Option<&Network> {
        let address = address.to_canonical();
        let behind = self.0.partition_point(|network| network.address() <= address);
        self.0.get(behind.checked_sub(1)?).filter(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut networks: Vec<_> = networks.into_iter().collect();
        // The larger one first of two that begin alike.
        networks.sort_unstable_by_key(|network| (network.address(), network.prefix()));
        networks.dedup_by(|later, kept| kept.covers(later));
        Self(networks.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_in_the_set_when_it_is_in_one_of_the_networks(
            v4 in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32), 0..8),
            v6 in prop::collection::vec((any::<[u8; 16]>(), 0_u8..=128), 0..8),
            probes in prop::collection::vec(
                (any::<prop::sample::Index>(), any::<[u8; 16]>(), 0_u8..=128), 1..8
            ),
        ) {
            let v4 = v4.into_iter().map(|(address, prefix)| (IpAddr::from(address), prefix));
            let v6 = v6.into_iter().map(|(address, prefix)| (IpAddr::from(address), prefix));
            let networks: Vec<_> =
                v4.chain(v6).map(|(address, prefix)| Network::containing(address, prefix)).collect();
            let set: Networks = networks.iter().copied().collect();

            for (index, octets, bit) in probes {
                // Near one of them, since hardly any other address would be in one.
                let near = (!networks.is_empty()).then(|| flip(index.get(&networks).address(), bit));
                for address in near.into_iter().chain([IpAddr::from(octets)]) {
                    let expected = networks.iter().any(|network| network.contains(address));
                    prop_assert_eq!(set.contain(address), expected, "{} in {:?}", address, networks);
                }
            }
        }
    }

    /// The address with another bit; itself beyond its last one.
    fn flip(address: IpAddr, bit: u8) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                IpAddr::V4((v4.to_bits() ^ 1_u32.checked_shl(bit.into()).unwrap_or(0)).into())
            }
            IpAddr::V6(v6) => {
                IpAddr::V6((v6.to_bits() ^ 1_u128.checked_shl(bit.into()).unwrap_or(0)).into())
            }
        }
    }

    #[test]
    fn the_largest_network_is_named() {
        let networks = ["10.1.0.0/16", "10.0.0.0/8", "fd00::/8", "10.1.2.0/24", "10.0.0.0/8"];
        let set: Networks = networks.iter().map(|text| text.parse::<Network>().unwrap()).collect();
        let found = |address: &str| set.find(address.parse().unwrap()).map(ToString::to_string);

        assert_eq!(found("10.1.2.3").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(
            found("::ffff:10.1.2.3").as_deref(),
            Some("10.0.0.0/8"),
            "IPv4 in IPv6's clothes"
        );
        assert_eq!(found("fd12::1").as_deref(), Some("fd00::/8"));
        assert_eq!(found("11.0.0.0"), None);
        assert_eq!(found("fc00::"), None);
    }
}

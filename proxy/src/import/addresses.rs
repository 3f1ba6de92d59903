//! Addresses and networks as manifests write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dnsproxy_api::units::{Network, NetworkError, Zone};

/// An address or a network, as a network.
pub(in crate::import) fn network(text: &str) -> Result<String, String> {
    let text = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => format!("{v4}/32"),
        Ok(IpAddr::V6(v6)) => format!("{v6}/128"),
        Err(_) => text.to_owned(),
    };
    match text.parse::<Network>() {
        // Bits of a host say nothing about the network.
        Ok(network) | Err(NetworkError::HostBits(network)) => Ok(network.to_string()),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

/// What is left of networks without another one.
pub(in crate::import) fn without(networks: Vec<Network>, taken: Network) -> Vec<Network> {
    let mut left = Vec::new();
    for mut network in networks {
        if taken.covers(&network) {
            continue;
        }
        // Halves of it, until that is left which is taken.
        while network.covers(&taken) && network != taken {
            let prefix = network.prefix() + 1;
            let first = Network::containing(network.address(), prefix);
            let second = Network::containing(with_bit(network.address(), prefix), prefix);
            let (other, same) =
                if first.covers(&taken) { (second, first) } else { (first, second) };
            left.push(other);
            network = same;
        }
        if network != taken {
            left.push(network);
        }
    }
    left
}

/// An address with one more bit, counted from one.
fn with_bit(address: IpAddr, bit: u8) -> IpAddr {
    let shift = |bits: u32| bits.saturating_sub(u32::from(bit));
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | 1u32 << shift(32)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | 1u128 << shift(128)).into(),
    }
}

/// The name that leads from an address back to names (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(in crate::import) fn reverse_name(address: IpAddr) -> String {
    let network: Result<Network, _> = match address {
        IpAddr::V4(v4) => format!("{v4}/32").parse(),
        IpAddr::V6(v6) => format!("{v6}/128").parse(),
    };
    network.map(|network| Zone::reverse(network).to_string()).unwrap_or_default()
}

/// The reverse zones of a network; several where it does not end at an octet.
pub(in crate::import) fn reverse_zones(text: &str) -> Result<Vec<String>, String> {
    let network: Network = network(text.trim())?.parse().map_err(|_| "not a network")?;
    let unit = if network.address().is_ipv4() { 8 } else { 4 };
    let missing = (unit - network.prefix() % unit) % unit;
    let prefix = network.prefix() + missing;
    let parts = (0..1u32 << missing).map(|part| subnet(network.address(), prefix, part));
    let zones = parts.map(|part| part.map(|part| Zone::reverse(part).to_string()));
    zones.collect()
}

fn subnet(base: IpAddr, prefix: u8, part: u32) -> Result<Network, String> {
    let address: IpAddr = match base {
        IpAddr::V4(v4) => {
            let shift = 32 - u32::from(prefix);
            Ipv4Addr::from_bits(v4.to_bits() | part.checked_shl(shift).unwrap_or_default()).into()
        }
        IpAddr::V6(v6) => {
            let shift = 128 - u32::from(prefix);
            let bits = u128::from(part).checked_shl(shift).unwrap_or_default();
            Ipv6Addr::from_bits(v6.to_bits() | bits).into()
        }
    };
    format!("{address}/{prefix}").parse().map_err(|_| "not a network".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_taken_out_of_networks() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        for (from, taken, left) in [
            ("10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.0.0.0/8", ""),
            ("10.0.0.0/8", "0.0.0.0/0", ""),
            ("10.0.0.0/8", "::/0", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.128.0.0/10", "10.0.0.0/9 10.192.0.0/10"),
            ("192.0.2.4/30", "192.0.2.6", "192.0.2.4/31 192.0.2.7"),
            ("::/0", "8000::/1", "::/1"),
        ] {
            let found: Vec<_> = without(vec![network(from)], network(taken));
            let expected: Vec<_> = left.split_whitespace().map(network).collect();
            assert_eq!(found, expected, "{from} without {taken}");
        }
    }
}

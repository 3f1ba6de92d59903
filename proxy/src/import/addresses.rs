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

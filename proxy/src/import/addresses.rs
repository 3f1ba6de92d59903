//! Addresses and networks as manifests write them.

use std::net::IpAddr;

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

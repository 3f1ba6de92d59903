//! `spec.listeners`: addresses that can be bound together and that no upstream has.

use std::net::{IpAddr, SocketAddr};

use super::{Place, Report, upstreams::servers};
use crate::{
    units::{ListenerAddress, ServerAddress},
    v1alpha1::{DnsProxySpec, Listeners, Protocol},
};

pub(super) fn check(
    listeners: Option<&Listeners>,
    spec: &DnsProxySpec,
    place: Place,
    report: &mut Report,
) {
    let Some(Listeners { dns }) = listeners else { return };
    if place == Place::Cluster {
        report.add("spec.listeners", "in a cluster the Service has the ports, leave it out");
    }
    let Some(dns) = dns else { return };
    let path = "spec.listeners.dns.addresses";
    report.require(!dns.addresses.is_empty(), path, "empty: nobody could ask");
    let addresses = report.parse_all::<ListenerAddress>(path, &dns.addresses);
    let servers: Vec<_> =
        spec.upstreams.iter().flat_map(servers).chain(cluster_dns(spec)).collect();
    for (index, address) in addresses {
        if let Some(server) =
            servers.iter().find(|server| takes(address.socket_address(), **server))
        {
            let message =
                format!("{server} is an upstream's address: queries would go around in circles");
            report.add(format!("{path}[{index}]"), message);
        }
    }
}

/// Where the cluster's DNS is asked.
fn cluster_dns(spec: &DnsProxySpec) -> impl Iterator<Item = SocketAddr> {
    let addresses = spec.cluster_dns.iter().flat_map(|dns| dns.addresses.iter().flatten());
    let addresses = addresses.filter_map(|text| text.parse::<ServerAddress>().ok());
    addresses.map(|address| address.socket_address(Protocol::TCP.default_port()))
}

/// Whether a query to `server` surely comes in at this listener.
fn takes(listener: SocketAddr, server: SocketAddr) -> bool {
    let is_everywhere =
        |ip: IpAddr| ip == server.ip() || (ip.is_unspecified() && server.ip().is_loopback());
    listener.port() == server.port() && is_everywhere(listener.ip())
}

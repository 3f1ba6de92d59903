//! The cluster's networks, and the reverse zones and access that follow from them.
//!
//! Reverse zones are as narrow as zones can be: whoever sends the whole of in-addr.arpa to the
//! cluster's DNS takes the names of every other network away (RFC 6303 is about those).

use std::{borrow::Borrow, collections::BTreeSet, net::IpAddr};

use dnsproxy_api::bounds;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use k8s_openapi::api::{core::v1::Node, networking::v1::ServiceCIDR};

use super::dns;

/// Keeps of a node what [`of_pods`] and [`of_nodes`] read; the rest (images, conditions) is large.
pub fn trim_node(node: &mut Node) {
    super::trim(node);
    node.metadata.annotations = None;
    node.metadata.labels = None;
    if let Some(status) = &mut node.status {
        let addresses = status.addresses.take();
        *status = k8s_openapi::api::core::v1::NodeStatus { addresses, ..Default::default() };
    }
}

/// Where Services have their addresses.
///
/// A cluster without ServiceCIDR objects (before 1.33) does not say it: then it is taken to be the
/// smallest network that clusters are set up with around the address of its DNS.
pub fn of_services<C: Borrow<ServiceCIDR>>(cidrs: &[C], dns: Option<&dns::Server>) -> Vec<IpNet> {
    let said = cidrs
        .iter()
        .filter_map(|cidr| cidr.borrow().spec.as_ref())
        .flat_map(|spec| spec.cidrs.iter().flatten())
        .filter_map(|cidr| cidr.parse().ok());
    let said = IpNet::aggregate(&said.collect());
    if !said.is_empty() {
        return said;
    }
    let addresses = dns.iter().flat_map(|server| &server.addresses);
    IpNet::aggregate(&addresses.filter_map(|address| around(address)).collect())
}

fn around(address: &str) -> Option<IpNet> {
    let parsed = address.parse::<IpAddr>().ok();
    let address =
        parsed.or_else(|| address.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))?;
    Some(widened(address.into(), SERVICE_PREFIX_V4, SERVICE_PREFIX_V6))
}

/// Where pods have their addresses, as far as nodes say it.
pub fn of_pods<N: Borrow<Node>>(nodes: &[N]) -> Vec<IpNet> {
    let networks: Vec<IpNet> = nodes
        .iter()
        .filter_map(|node| node.borrow().spec.as_ref())
        .flat_map(|spec| spec.pod_cidrs.iter().flatten())
        .filter_map(|cidr| cidr.parse().ok())
        .collect();
    IpNet::aggregate(&networks)
}

/// The addresses by which nodes know each other.
pub fn of_nodes<N: Borrow<Node>>(nodes: &[N]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = nodes
        .iter()
        .filter_map(|node| node.borrow().status.as_ref())
        .flat_map(|status| status.addresses.iter().flatten())
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn widened(network: IpNet, v4: u8, v6: u8) -> IpNet {
    let prefix = network.prefix_len().min(if network.addr().is_ipv4() { v4 } else { v6 });
    IpNet::new(network.addr(), prefix).map_or(network, |wide| wide.trunc())
}

/// The reverse zones of Services and pods (RFC 1035 section 3.5, RFC 3596 section 2.5), at most [`MAX_ZONES`]: where there
/// are more, some of pods are left out.
pub fn reverse_zones(services: &[IpNet], pods: &[IpNet]) -> Vec<String> {
    let services: BTreeSet<_> = services.iter().copied().flat_map(zones_of).collect();
    let pods: BTreeSet<_> = joined(pods).into_iter().flat_map(zones_of).collect();
    let fitting: BTreeSet<_> =
        services.iter().chain(pods.difference(&services)).take(MAX_ZONES).collect();
    fitting.into_iter().cloned().collect()
}

/// Where nodes have many networks, those of the private ones that they are probably parts of: zones that do not change with
/// every node. Whatever else is near them is private, too; the neighbours of public networks are strangers.
fn joined(pods: &[IpNet]) -> Vec<IpNet> {
    if pods.len() <= MAX_POD_NETWORKS {
        return pods.to_vec();
    }
    let wide = pods.iter().map(|network| match is_private(network) {
        true => widened(*network, POD_PREFIX_V4, POD_PREFIX_V6),
        false => *network,
    });
    IpNet::aggregate(&wide.collect())
}

fn is_private(network: &IpNet) -> bool {
    match network.addr() {
        IpAddr::V4(address) => {
            // RFC 6598: 100.64.0.0/10.
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_private() || is_shared
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn zones_of(network: IpNet) -> Vec<String> {
    match network {
        IpNet::V4(network) => zones_of_v4(network.trunc()),
        IpNet::V6(network) => zones_of_v6(network.trunc()),
    }
}

fn zones_of_v4(network: Ipv4Net) -> Vec<String> {
    let Some(prefix) = cut(network.prefix_len(), 8, SHORTEST_V4) else { return Vec::new() };
    // A prefix that was cut shorter is one zone; a longer one is as many as it takes.
    let wide = Ipv4Net::new(network.addr(), prefix.min(network.prefix_len())).unwrap_or(network);
    let Ok(subnets) = wide.trunc().subnets(prefix) else { return Vec::new() };
    let labels = usize::from(prefix / 8);
    subnets
        .map(|subnet| {
            let octets = subnet.addr().octets();
            let reversed = octets.iter().take(labels).rev().map(ToString::to_string);
            reversed.chain(["in-addr.arpa".to_owned()]).collect::<Vec<_>>().join(".")
        })
        .collect()
}

fn zones_of_v6(network: Ipv6Net) -> Vec<String> {
    let Some(prefix) = cut(network.prefix_len(), 4, SHORTEST_V6) else { return Vec::new() };
    let wide = Ipv6Net::new(network.addr(), prefix.min(network.prefix_len())).unwrap_or(network);
    let Ok(subnets) = wide.trunc().subnets(prefix) else { return Vec::new() };
    let labels = usize::from(prefix / 4);
    subnets
        .map(|subnet| {
            let nibbles =
                subnet.addr().octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            let nibbles: Vec<_> = nibbles.take(labels).collect();
            let reversed = nibbles.iter().rev().map(|nibble| format!("{nibble:x}"));
            reversed.chain(["ip6.arpa".to_owned()]).collect::<Vec<_>>().join(".")
        })
        .collect()
}

/// Where zones are cut: at the next label boundary below the network, or above it when that would be
/// too many zones. Nothing for a network that no cluster has.
fn cut(prefix: u8, bits: u8, shortest: u8) -> Option<u8> {
    if prefix < shortest {
        return None;
    }
    let below = prefix.div_ceil(bits) * bits;
    let is_few = below - prefix <= MAX_BITS || below - bits < NARROW;
    Some(if is_few { below } else { below - bits })
}

/// What the default access does not cover of the cluster's own networks.
pub fn beyond(defaults: &[IpNet], pods: &[IpNet], nodes: &[IpAddr]) -> Vec<IpNet> {
    let hosts = nodes.iter().map(|address| IpNet::from(*address));
    let uncovered = pods
        .iter()
        .copied()
        .chain(hosts)
        .filter(|network| !defaults.iter().any(|default| default.contains(network)));
    IpNet::aggregate(&uncovered.collect())
}

/// As many networks as there is room for, and how many are left out.
///
/// Each family has half of the room and what the other one leaves of its half: by width alone, the /64s of pods would leave
/// none to IPv4. Of a family the widest stay, pods before single nodes. None is widened to make room: what the defaults do
/// not cover is not private, and its neighbours are strangers.
pub fn fitting(networks: Vec<IpNet>, room: usize) -> (Vec<IpNet>, usize) {
    let left_out = networks.len().saturating_sub(room);
    if left_out == 0 {
        return (networks, left_out);
    }
    let (v4, v6): (Vec<_>, Vec<_>) =
        networks.into_iter().partition(|network| network.addr().is_ipv4());
    let room_of_v4 = v4.len().min((room / 2).max(room.saturating_sub(v6.len())));
    let mut fitting = widest(v4, room_of_v4);
    fitting.extend(widest(v6, room - room_of_v4));
    (fitting, left_out)
}

/// Of one family.
fn widest(mut networks: Vec<IpNet>, room: usize) -> Vec<IpNet> {
    networks.sort_by_key(IpNet::prefix_len);
    networks.truncate(room);
    networks.sort_unstable();
    networks
}

/// kubeadm's default is a /12, managed clusters have /16 to /20: our guess between them.
const SERVICE_PREFIX_V4: u8 = 16;
/// The API server's own limit: no more than 20 bits of addresses, of which /112 are the custom.
const SERVICE_PREFIX_V6: u8 = 112;

/// Up to so many pod networks have zones of their own; of more the private ones are widened. Our guess.
const MAX_POD_NETWORKS: usize = 8;
/// The custom for the pods of a whole cluster: flannel, Calico, k3s.
const POD_PREFIX_V4: u8 = 16;
/// A site's network (RFC 6177).
const POD_PREFIX_V6: u8 = 48;

/// A network becomes at most 2^4 zones, what kubeadm's default 10.96.0.0/12 needs.
const MAX_BITS: u8 = 4;
/// What is wider than this is not cut wider still: 10.in-addr.arpa belongs to more than the cluster.
const NARROW: u8 = 16;
/// 10.0.0.0/8 is the largest private network (RFC 1918).
const SHORTEST_V4: u8 = 8;
/// No cluster has more than a provider's /16. Our guess.
const SHORTEST_V6: u8 = 16;

/// The manifest's own bound for `clusterDNS.reverseZones`.
const MAX_ZONES: usize = bounds::ZONES as usize;

#[cfg(test)]
mod tests;

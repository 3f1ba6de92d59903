//! `clusterDNS`, as an upstream and a route like any other.

use std::sync::Arc;

use dnsproxy_api::{
    defaults,
    v1alpha1::{ClusterDns, ClusterDnsMode, Protocol},
};

use super::{Unparsable, parse, upstreams::servers};
use crate::{
    cluster_dns::ROUTE,
    upstream::{ConnectionLimits, HealthCheck, Policy, RouteSettings, Transport, UpstreamSettings},
};

/// The upstream and the route of the cluster's DNS; `None` when names of the cluster are names like any
/// other, or nobody knows where its DNS is.
///
/// TCP, since a datagram through a Service's address can be lost to a race in the kernel's connection
/// tracking, and one connection is enough as long as nothing is slow: CoreDNS takes the questions of a connection in order.
pub(super) fn cluster(
    cluster_dns: Option<&ClusterDns>,
    udp_payload: u16,
) -> Result<Option<(UpstreamSettings, RouteSettings)>, Unparsable> {
    let Some(ClusterDns {
        mode: ClusterDnsMode::Forward,
        addresses,
        domain,
        reverse_zones,
        endpoints: _,
    }) = cluster_dns
    else {
        return Ok(None);
    };
    let addresses = addresses.as_deref().unwrap_or_default();
    if addresses.is_empty() {
        return Ok(None);
    }
    let upstream = UpstreamSettings {
        name: ROUTE.into(),
        servers: servers(addresses, Protocol::TCP)?,
        transport: Transport::Tcp,
        connect_timeout: defaults::CONNECT_TIMEOUT.to_std(),
        query_timeout: defaults::QUERY_TIMEOUT.to_std(),
        connections: ConnectionLimits { max: CONNECTIONS, ..ConnectionLimits::default() },
        health_check: HealthCheck::default(),
        udp_payload,
    };
    let domain = domain.as_deref().unwrap_or(defaults::CLUSTER_DOMAIN);
    let zones = std::iter::once(domain).chain(reverse_zones.iter().flatten().map(String::as_str));
    let route = RouteSettings {
        name: ROUTE.into(),
        zones: zones.map(parse).collect::<Result<_, _>>()?,
        upstreams: vec![Arc::from(ROUTE)],
        policy: Policy::Sequential,
        fallback: Vec::new(),
        max_in_flight: defaults::ROUTE_IN_FLIGHT as usize,
    };
    Ok(Some((upstream, route)))
}

/// One more for each slow name, as for reverse names that CoreDNS asks others for. Our guess at how many there are at a time.
const CONNECTIONS: usize = 8;

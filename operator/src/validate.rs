//! Validation: from an object and what is known beyond it to a [`ValidatedDnsProxy`], the only thing
//! that rendering may read. Pure. What the check came to is remembered ([`memory`]).
//!
//! What a manifest may say is decided by the code of `dnsproxy check`; here is only what takes a
//! cluster to know: that nothing asks itself.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use dnsproxy_api::{
    DnsProxy, DnsProxySpec, bounds, defaults,
    units::{self, Network},
    v1alpha1::{ClusterDns, ClusterDnsMode},
    validate::{Place, Problem},
};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};

use crate::{
    cluster::{Facts, networks},
    render::{self, config_map::MAX_OCTETS},
    resolve::{Reference, Resolved},
};

pub mod memory;

/// A `DnsProxy` that can be rendered: every value is there, every reference has its place.
#[derive(Clone, Debug)]
pub struct ValidatedDnsProxy {
    /// The object's name, and that of most of what is made for it.
    pub name: String,
    /// The namespace of the object and of all that is made for it.
    pub namespace: String,
    /// What makes the garbage collector remove all of it with the object.
    pub owner: OwnerReference,
    /// As it was written.
    pub spec: DnsProxySpec,
    /// The cluster's DNS with every value filled in; none when it is disabled or there is none.
    pub cluster_dns: Option<ClusterDns>,
    /// Who may ask, when that is more than the default and was not written.
    pub allow: Option<Vec<String>>,
    /// What pods need at hand.
    pub references: BTreeSet<Reference>,
    /// The pods' image.
    pub image: String,
    /// How many pods.
    pub replicas: i32,
    /// How long a pod may take to end, in seconds.
    pub grace_period: i64,
}

/// Checks everything that can be checked without changing anything. What depends on other objects than the cluster's
/// own is in `loops`, of [`loops`]. This may take long: a manifest may have thousands of patterns and tests.
///
/// # Errors
/// All problems at once, each with its path. Otherwise what is allowed and probably not meant.
pub fn check(
    proxy: &DnsProxy,
    loops: Vec<Problem>,
    facts: &Facts,
    default_image: &str,
) -> Result<Vec<Problem>, Vec<Problem>> {
    let mut problems = dnsproxy_api::validate::problems(proxy, Place::Cluster);
    problems.extend(loops);
    if proxy.controller_owner_ref(&()).is_none() {
        problems
            .push(Problem::new("metadata.uid", "missing: the object was not read from a cluster"));
    }
    if problems.is_empty() {
        problems = failed_tests(proxy, facts);
    }
    if problems.is_empty() {
        problems.extend(oversize(render::text_size(&filled_in(proxy, facts, default_image))));
    }
    match &*problems {
        [] => Ok(dnsproxy_api::validate::warnings(proxy, Place::Cluster)),
        _ => Err(problems),
    }
}

/// Fills in what a manifest that was checked leaves to the cluster and to defaults.
#[must_use]
pub fn filled_in(proxy: &DnsProxy, facts: &Facts, default_image: &str) -> ValidatedDnsProxy {
    let spec = &proxy.spec;
    let workload = spec.workload.clone().unwrap_or_default();
    let owner = proxy.controller_owner_ref(&()).unwrap_or_default();
    ValidatedDnsProxy {
        name: proxy.name_any(),
        namespace: proxy.namespace().unwrap_or_default(),
        // A deletion in the foreground waits until what was made for the object is gone.
        owner: OwnerReference { block_owner_deletion: Some(true), ..owner },
        cluster_dns: cluster_dns(spec, facts),
        allow: allow(spec, facts),
        references: Reference::all(spec),
        image: workload.image.unwrap_or_else(|| default_image.to_owned()),
        replicas: workload.replicas.unwrap_or(defaults::REPLICAS),
        grace_period: grace_period(spec),
        spec: spec.clone(),
    }
}

/// The pods read the manifest from one ConfigMap; what it refers to has its own.
fn oversize(size: usize) -> Option<Problem> {
    let message = || {
        format!(
            "too large for a ConfigMap: what pods read of it takes {size} octets, {MAX_OCTETS} at most; give names by lists and \
             hosts with ConfigMaps of their own (spec.lists[].sources[].configMap)"
        )
    };
    (size > MAX_OCTETS).then(|| Problem::new("spec", message()))
}

/// What of `spec.tests` does not come out, with the cluster's DNS and networks as the pods will know them.
fn failed_tests(proxy: &DnsProxy, facts: &Facts) -> Vec<Problem> {
    if proxy.spec.tests.is_none() {
        return Vec::new();
    }
    let mut proxy = proxy.clone();
    proxy.spec.cluster_dns = cluster_dns(&proxy.spec, facts);
    if let Some(allow) = allow(&proxy.spec, facts) {
        proxy.spec.access.get_or_insert_default().allow = Some(allow);
    }
    dnsproxy::expectations::problems_without_files(&proxy)
}

/// Whether names of the cluster go to its own DNS.
#[must_use]
pub fn forwards_to_cluster(spec: &DnsProxySpec) -> bool {
    let mode = spec.cluster_dns.as_ref().map(|block| block.mode).unwrap_or_default();
    mode == ClusterDnsMode::Forward
}

/// Whether the cluster's DNS has to be discovered, and was not.
#[must_use]
pub fn lacks_cluster_dns(spec: &DnsProxySpec, facts: &Facts) -> bool {
    forwards_to_cluster(spec)
        && written(spec, |block| &block.addresses).is_none()
        && facts.dns.is_none()
}

/// What was written of the cluster's DNS wins, value by value; an empty list means the discovered one.
fn cluster_dns(spec: &DnsProxySpec, facts: &Facts) -> Option<ClusterDns> {
    if !forwards_to_cluster(spec) {
        return None;
    }
    let server = facts.dns.as_ref();
    let addresses = written(spec, |block| &block.addresses)
        .or_else(|| server.map(|server| server.addresses.clone()))?;
    let zones = || networks::reverse_zones(&facts.service_networks, &facts.pod_networks);
    let endpoints = || {
        let addresses = server.iter().flat_map(|server| &server.endpoints);
        // More than a manifest may have, a guard can do without.
        addresses.map(ToString::to_string).take(bounds::ENDPOINTS as usize).collect()
    };
    Some(ClusterDns {
        mode: ClusterDnsMode::Forward,
        addresses: Some(addresses),
        domain: Some(domain(spec, facts)),
        reverse_zones: Some(written(spec, |block| &block.reverse_zones).unwrap_or_else(zones)),
        endpoints: Some(written(spec, |block| &block.endpoints).unwrap_or_else(endpoints)),
    })
}

/// The cluster's domain, written or discovered.
#[must_use]
pub fn domain(spec: &DnsProxySpec, facts: &Facts) -> String {
    let block = spec.cluster_dns.as_ref();
    let domain = block.and_then(|block| block.domain.clone()).filter(|domain| !domain.is_empty());
    domain.unwrap_or_else(|| facts.domain.clone())
}

fn written(
    spec: &DnsProxySpec,
    list: impl Fn(&ClusterDns) -> &Option<Vec<String>>,
) -> Option<Vec<String>> {
    let block = spec.cluster_dns.as_ref()?;
    list(block).clone().filter(|list| !list.is_empty())
}

/// How many of the cluster's own networks may not ask, because a manifest has no room for them.
#[must_use]
pub fn left_out(spec: &DnsProxySpec, facts: &Facts) -> usize {
    fitting(spec, facts).map_or(0, |(_, left_out)| left_out)
}

fn allow(spec: &DnsProxySpec, facts: &Facts) -> Option<Vec<String>> {
    fitting(spec, facts).map(|(networks, _)| networks)
}

/// The defaults and the cluster's own networks, unless it was written who may ask, and how many are left out. Those that are
/// denied as a whole would be none: pods would refuse the manifest.
fn fitting(spec: &DnsProxySpec, facts: &Facts) -> Option<(Vec<String>, usize)> {
    let access = spec.access.as_ref();
    if access.is_some_and(|access| access.allow.is_some()) {
        return None;
    }
    let denied = access.and_then(|access| access.deny.as_deref()).unwrap_or_default();
    let denied: Vec<Network> = denied.iter().filter_map(|network| network.parse().ok()).collect();
    let is_denied = |network: &IpNet| {
        let network = network.to_string().parse::<Network>();
        network.is_ok_and(|network| denied.iter().any(|denied| denied.covers(&network)))
    };
    let mut defaults: Vec<IpNet> =
        defaults::ACCESS_ALLOW.iter().filter_map(|network| network.parse().ok()).collect();
    let mut beyond = networks::beyond(&defaults, &facts.pod_networks, &facts.node_addresses);
    if beyond.is_empty() {
        return None;
    }
    defaults.retain(|network| !is_denied(network));
    beyond.retain(|network| !is_denied(network));
    let room = (bounds::NETWORKS as usize).saturating_sub(defaults.len());
    let (beyond, left_out) = networks::fitting(beyond, room);
    let networks: Vec<_> = defaults.iter().chain(&beyond).map(ToString::to_string).collect();
    (!networks.is_empty()).then_some((networks, left_out))
}

/// What the proxy needs after SIGTERM, and a little more before the kubelet kills it.
fn grace_period(spec: &DnsProxySpec) -> i64 {
    let shutdown = spec.shutdown.clone().unwrap_or_default();
    let delay = duration(shutdown.delay.as_deref(), defaults::SHUTDOWN_DELAY);
    let drain = duration(shutdown.drain.as_deref(), defaults::SHUTDOWN_DRAIN);
    let needed = delay + drain + GRACE_MARGIN;
    i64::try_from(needed.as_secs()).unwrap_or(i64::MAX)
}

fn duration(text: Option<&str>, default: units::Duration) -> Duration {
    text.and_then(|text| text.parse().ok()).unwrap_or(default).to_std()
}

/// Nothing may ask itself: neither as the cluster's DNS nor as an upstream.
#[must_use]
pub fn loops(proxy: &DnsProxy, resolved: &Resolved) -> Vec<Problem> {
    let own = format!("{}/{}", proxy.namespace().unwrap_or_default(), proxy.name_any());
    let cluster = proxy.spec.cluster_dns.iter().flat_map(|block| block.addresses.iter().flatten());
    let cluster = cluster.enumerate().filter_map(|(index, address)| {
        let service = service_at(resolved, address)?;
        let message =
            format!("{address} is the address of DnsProxy {service}: it would ask itself");
        Some(Problem::new(format!("spec.clusterDNS.addresses[{index}]"), message))
    });
    let upstreams = proxy.spec.upstreams.iter().enumerate().flat_map(|(upstream, block)| {
        block.addresses.iter().enumerate().map(move |(index, address)| (upstream, index, address))
    });
    let upstreams = upstreams.filter_map(|(upstream, index, address)| {
        service_at(resolved, address).filter(|service| **service == own)?;
        let message = format!("{address} is the address of this DnsProxy: it would ask itself");
        Some(Problem::new(format!("spec.upstreams[{upstream}].addresses[{index}]"), message))
    });
    cluster.chain(upstreams).collect()
}

fn service_at<'a>(resolved: &'a Resolved, address: &str) -> Option<&'a String> {
    let socket = address.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let address: IpAddr = socket.or_else(|| address.trim_matches(['[', ']']).parse().ok())?;
    resolved.own_services.iter().find(|(own, _)| *own == address).map(|(_, service)| service)
}

/// For what a process does before it takes the signal and after it has finished. Our guess.
const GRACE_MARGIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

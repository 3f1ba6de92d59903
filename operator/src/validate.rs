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
mod tests {
    use dnsproxy_api::v1alpha1::Access;

    use super::*;
    use crate::fixtures;

    fn problems(proxy: &DnsProxy, resolved: &Resolved) -> Vec<String> {
        let outcome = check(proxy, loops(proxy, resolved), &resolved.facts, fixtures::IMAGE);
        outcome.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn problems_are_those_of_check_with_their_paths() {
        let problems = problems(&fixtures::proxy("invalid"), &fixtures::resolved());

        for path in [
            "spec.upstreams[0].tls.pins[0]: ",
            "spec.upstreams[1].name: ",
            "spec.routes[0].upstreams[0]: ",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(path)),
                "{path} in {problems:#?}"
            );
        }
    }

    #[test]
    fn a_manifest_that_its_pods_could_not_be_given_is_refused_with_the_way_out() {
        let with_names = |count: usize| {
            let names: Vec<_> = (0..count).map(|it| format!("ads{it}.example.com")).collect();
            let rule = serde_json::json!({"name": "ads", "match": {"names": {"exact": names}}, "block": {}});
            let mut proxy = fixtures::proxy("minimal");
            proxy.spec.rules = Some(vec![serde_json::from_value(rule).unwrap()]);
            proxy
        };
        let fitting = with_names(40_000);
        assert_eq!(problems(&fitting, &fixtures::resolved()), Vec::<String>::new());
        let fitting = filled_in(&fitting, &fixtures::facts(), fixtures::IMAGE);
        let data = render::render(&fitting).config_map.data.unwrap();
        let size: usize = data.values().map(String::len).sum();
        assert!((900_000..MAX_OCTETS).contains(&size), "{size}");

        let problems = problems(&with_names(60_000), &fixtures::resolved());
        let [problem] = &*problems else { panic!("{problems:?}") };
        assert!(problem.starts_with("spec: too large for a ConfigMap: "), "{problem}");
        assert!(problem.contains("spec.lists[].sources[].configMap"), "{problem}");
    }

    #[test]
    fn nothing_may_ask_itself() {
        let mut proxy = fixtures::proxy("minimal");
        proxy.spec.cluster_dns = Some(ClusterDns {
            addresses: Some(vec!["10.96.0.54:53".into()]),
            ..ClusterDns::default()
        });
        proxy.spec.upstreams[0].addresses.push("10.96.0.53".into());
        let own_services = vec![
            ("10.96.0.53".parse().unwrap(), "resolvers/edge".to_owned()),
            ("10.96.0.54".parse().unwrap(), "resolvers/other".to_owned()),
        ];
        let resolved = Resolved { own_services, ..fixtures::resolved() };

        assert_eq!(
            problems(&proxy, &resolved),
            [
                "spec.clusterDNS.addresses[0]: 10.96.0.54:53 is the address of DnsProxy resolvers/other: it would ask itself",
                "spec.upstreams[0].addresses[1]: 10.96.0.53 is the address of this DnsProxy: it would ask itself",
            ]
        );
    }

    #[test]
    fn what_is_written_of_the_cluster_dns_wins_value_by_value() {
        let mut spec = fixtures::proxy("minimal").spec;
        spec.cluster_dns = Some(ClusterDns {
            domain: Some("corp.example".into()),
            reverse_zones: Some(vec!["10.in-addr.arpa".into()]),
            endpoints: Some(vec![]),
            ..ClusterDns::default()
        });

        let rendered = cluster_dns(&spec, &fixtures::facts()).unwrap();
        assert_eq!(rendered.addresses.unwrap(), ["10.96.0.10"], "discovered");
        assert_eq!(rendered.domain.unwrap(), "corp.example", "written");
        assert_eq!(rendered.reverse_zones.unwrap(), ["10.in-addr.arpa"], "written");
        assert_eq!(
            rendered.endpoints.unwrap(),
            ["10.244.0.2", "10.244.0.3"],
            "an empty list says nothing"
        );
    }

    #[test]
    fn tests_of_a_manifest_know_who_may_ask_as_its_pods_do() {
        let mut proxy = fixtures::proxy("minimal");
        let test = serde_json::json!({
            "name": "www.example.com", "client": "203.0.113.7", "expect": {"route": "default"},
        });
        proxy.spec.tests = Some(vec![serde_json::from_value(test).unwrap()]);
        let mut resolved = fixtures::resolved();
        assert_ne!(problems(&proxy, &resolved), Vec::<String>::new(), "a foreigner");

        let facts = std::sync::Arc::make_mut(&mut resolved.facts);
        facts.node_addresses.push("203.0.113.7".parse().unwrap());
        assert_eq!(problems(&proxy, &resolved), Vec::<String>::new(), "a node");
    }

    #[test]
    fn no_more_endpoints_are_rendered_than_a_manifest_may_have() {
        let mut facts = fixtures::facts();
        let server = facts.dns.as_mut().unwrap();
        server.endpoints =
            (0..2000_u32).map(|it| std::net::Ipv4Addr::from_bits(it).into()).collect();

        let rendered = cluster_dns(&fixtures::proxy("minimal").spec, &facts).unwrap();
        assert_eq!(rendered.endpoints.unwrap().len(), bounds::ENDPOINTS as usize);
    }

    #[test]
    fn a_cluster_with_more_networks_than_a_manifest_may_have_is_allowed_in_part() {
        let mut facts = fixtures::facts();
        let node = |it: u32| std::net::Ipv4Addr::from_bits(0xc633_6400 + 2 * it);
        facts.node_addresses = (0..300).map(|it| node(it).into()).collect();
        let mut spec = fixtures::proxy("minimal").spec;

        assert_eq!(allow(&spec, &facts).unwrap().len(), bounds::NETWORKS as usize);
        assert_eq!(left_out(&spec, &facts), 300 + 9 - 256);

        spec.access =
            Some(Access { deny: Some(vec!["198.51.101.0/24".into()]), ..Access::default() });
        assert_eq!(left_out(&spec, &facts), 0, "who is denied needs no room");
        spec.access =
            Some(Access { allow: Some(vec!["198.51.0.0/16".into()]), ..Access::default() });
        assert_eq!(left_out(&spec, &facts), 0, "it was written who may ask");
    }

    #[test]
    fn neighbours_of_many_public_pod_networks_may_not_ask() {
        let mut facts = fixtures::facts();
        let of_node = |it: u8| format!("2600:1900:4000:{:x}::/112", 16 + 2 * it);
        let pods: Vec<_> = (0..9).map(of_node).collect();
        facts.pod_networks = pods.iter().map(|network| network.parse().unwrap()).collect();

        let allowed = allow(&fixtures::proxy("minimal").spec, &facts).unwrap();
        let added = allowed.iter().filter(|network| network.starts_with("2600:"));
        assert_eq!(added.cloned().collect::<Vec<_>>(), pods);
    }

    #[test]
    fn the_cluster_may_ask_wherever_its_addresses_are() {
        let mut facts = fixtures::facts();
        let spec = fixtures::proxy("minimal").spec;
        assert_eq!(allow(&spec, &facts), None, "the defaults cover it");

        facts.node_addresses.push("203.0.113.7".parse().unwrap());
        let allowed = allow(&spec, &facts).unwrap();
        assert!(allowed.contains(&"203.0.113.7/32".to_owned()), "{allowed:?}");
        assert!(allowed.contains(&"10.0.0.0/8".to_owned()), "the defaults stay: {allowed:?}");

        let mut spec = spec;
        let deny = vec!["192.168.0.0/16".to_owned(), "203.0.113.0/24".to_owned()];
        spec.access = Some(Access { deny: Some(deny), ..Access::default() });
        let allowed = allow(&spec, &facts).unwrap();
        let is_denied = |network: &&String| {
            network.starts_with("192.168.") || network.starts_with("203.0.113.")
        };
        assert_eq!(allowed.iter().find(is_denied), None, "pods refuse a manifest with both");
        assert!(allowed.contains(&"10.0.0.0/8".to_owned()), "{allowed:?}");

        let written = fixtures::proxy("without_cluster_dns").spec;
        assert_eq!(allow(&written, &facts), None, "what was written is what holds");
    }
}

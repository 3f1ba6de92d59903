//! The cluster's own DNS: which Service it is, and who asks on its behalf.
//!
//! Looked for where clusters have it, in this order: `kube-system/kube-dns` (kubeadm, and nearly
//! everybody), `openshift-dns/dns-default`, then any Service of `kube-system` that says it is
//! `k8s-app: kube-dns`. A Service in front of our own proxies is never it: a proxy would ask itself.

use std::{borrow::Borrow, net::IpAddr};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::ResourceExt as _;

use crate::render::labels;

/// The namespaces that a cluster's DNS lives in.
pub const NAMESPACES: [&str; 2] = ["kube-system", "openshift-dns"];

/// The cluster's own DNS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// `namespace/name` of its Service.
    pub service: String,
    /// Where it is asked, as a manifest writes it.
    pub addresses: Vec<String>,
    /// The addresses that it asks from when it forwards a question.
    pub endpoints: Vec<IpAddr>,
}

/// Finds the cluster's DNS.
pub fn find<S, E>(services: &[S], endpoint_slices: &[E]) -> Option<Server>
where
    S: Borrow<Service>,
    E: Borrow<EndpointSlice>,
{
    let mut candidates: Vec<_> = services
        .iter()
        .map(Borrow::borrow)
        .filter(|service| !is_ours(service))
        .filter_map(|service| Some((rank(service)?, service.name_any(), service)))
        .collect();
    candidates.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    candidates.into_iter().find_map(|(_, _, service)| server(service, endpoint_slices))
}

/// The place in the order of [`find`], lowest first.
fn rank(service: &Service) -> Option<u8> {
    match (service.namespace()?.as_str(), service.name_any().as_str()) {
        ("kube-system", "kube-dns") => Some(0),
        ("openshift-dns", "dns-default") => Some(1),
        ("kube-system", _) if service.labels().get("k8s-app")? == "kube-dns" => Some(2),
        _ => None,
    }
}

/// Whether it stands in front of proxies: the operator made it, or it selects their pods.
fn is_ours(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    service.labels().get(labels::MANAGED_BY).is_some_and(|manager| manager == crate::NAME)
        || selector
            .and_then(|selector| selector.get(labels::NAME))
            .is_some_and(|name| name == labels::PROXY)
}

fn server<E: Borrow<EndpointSlice>>(service: &Service, endpoint_slices: &[E]) -> Option<Server> {
    let port = tcp_port(service)?;
    let addresses: Vec<_> =
        cluster_ips(service).into_iter().map(|address| written(address, port)).collect();
    if addresses.is_empty() {
        return None;
    }
    let namespace = service.namespace()?;
    Some(Server {
        addresses,
        endpoints: endpoints(&namespace, &service.name_any(), endpoint_slices),
        service: format!("{namespace}/{}", service.name_any()),
    })
}

/// The addresses of a Service; a headless one has none that last.
pub fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let several = spec.cluster_ips.iter().flatten();
    let mut addresses: Vec<IpAddr> =
        several.chain(&spec.cluster_ip).filter_map(|address| address.parse().ok()).collect();
    addresses.dedup();
    let mut seen = Vec::with_capacity(addresses.len());
    addresses.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    addresses
}

/// The port for DNS over TCP, which is how the cluster's DNS is asked.
fn tcp_port(service: &Service) -> Option<i32> {
    let mut ports = service.spec.as_ref()?.ports.iter().flatten();
    ports
        .find(|port| {
            port.protocol.as_deref() == Some("TCP")
                && (port.port == 53
                    || port.name.as_deref().is_some_and(|name| name.starts_with("dns")))
        })
        .map(|port| port.port)
}

fn written(address: IpAddr, port: i32) -> String {
    match (address, port) {
        (_, 53) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

/// Those that are not ready included: they may ask before they are asked.
fn endpoints<E: Borrow<EndpointSlice>>(
    namespace: &str,
    service: &str,
    slices: &[E],
) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = slices
        .iter()
        .map(Borrow::borrow)
        .filter(|slice| slice.namespace().as_deref() == Some(namespace))
        .filter(|slice| slice.labels().get(SERVICE_NAME).is_some_and(|name| name == service))
        .flat_map(|slice| &slice.endpoints)
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The cluster's domain, from the search list that the kubelet gave this process.
///
/// A pod's list has `<namespace>.svc.<domain>`, `svc.<domain>` and `<domain>`, and a namespace may be called `svc`: it is the
/// entry of which the rest is one, too, and of several the first: what a node adds, which may be a pod of another cluster, comes
/// last. Anywhere else there is no such list, and the domain is taken to be the one that
/// nearly every cluster has.
#[must_use]
pub fn domain(resolv_conf: &str) -> String {
    let searches = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("search"));
    let searches: Vec<_> = searches
        .flat_map(str::split_whitespace)
        .map(|search| search.trim_end_matches('.'))
        .collect();
    let of_services = || searches.iter().filter_map(|search| search.strip_prefix("svc."));
    let is_entry = |domain: &&str| searches.contains(domain);
    let mut found = of_services().find(is_entry);
    // In such a namespace `svc.<domain>` is a rest that is an entry, too.
    while let Some(domain) = found.and_then(|it| it.strip_prefix("svc.")).filter(is_entry) {
        found = Some(domain);
    }
    // A list that was cut or edited.
    let found = found.or_else(|| of_services().next());
    found.map_or_else(|| "cluster.local".to_owned(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::Endpoint;
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, name: &str, address: &str) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "labels": {"k8s-app": "kube-dns"}},
            "spec": {
                "clusterIP": address, "clusterIPs": [address],
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        }))
        .unwrap()
    }

    fn found(services: &[Service]) -> Option<String> {
        find::<_, EndpointSlice>(services, &[]).map(|server| server.service)
    }

    #[test]
    fn is_looked_for_in_the_order_of_how_common_it_is() {
        let kube_dns = service("kube-system", "kube-dns", "10.96.0.10");
        let openshift = service("openshift-dns", "dns-default", "172.30.0.10");
        let labelled = service("kube-system", "coredns", "10.96.0.11");
        let elsewhere = service("dns", "kube-dns", "10.96.0.12");

        let all = [elsewhere.clone(), labelled.clone(), openshift.clone(), kube_dns];
        assert_eq!(found(&all).as_deref(), Some("kube-system/kube-dns"));
        assert_eq!(found(&all[..3]).as_deref(), Some("openshift-dns/dns-default"));
        assert_eq!(found(&all[..2]).as_deref(), Some("kube-system/coredns"));
        assert_eq!(found(&all[..1]), None, "a Service of any other namespace is anybody's");
    }

    #[test]
    fn is_never_one_of_our_own_proxies() {
        let mut made = service("kube-system", "kube-dns", "10.96.0.10");
        made.labels_mut().insert(labels::MANAGED_BY.into(), crate::NAME.into());
        let mut selecting = service("kube-system", "kube-dns", "10.96.0.10");
        selecting.spec.as_mut().unwrap().selector =
            Some([(labels::NAME.to_owned(), labels::PROXY.to_owned())].into());

        assert_eq!(found(&[made]), None, "the operator made it");
        assert_eq!(found(&[selecting]), None, "it selects pods of a proxy");
    }

    #[test]
    fn a_service_without_an_address_is_passed_over() {
        let headless = service("kube-system", "kube-dns", "None");
        let other = service("kube-system", "coredns", "10.96.0.11");

        assert_eq!(found(&[headless, other]).as_deref(), Some("kube-system/coredns"));
    }

    #[test]
    fn has_both_families_and_an_uncommon_port() {
        let mut dual = service("kube-system", "kube-dns", "10.96.0.10");
        let spec = dual.spec.as_mut().unwrap();
        spec.cluster_ips = Some(vec!["10.96.0.10".into(), "fd00::a".into()]);
        spec.ports.as_mut().unwrap()[1].port = 5353;

        let server = find::<_, EndpointSlice>(&[dual], &[]).unwrap();
        assert_eq!(server.addresses, ["10.96.0.10:5353", "[fd00::a]:5353"]);
    }

    #[test]
    fn asks_from_all_its_endpoints_even_if_they_are_not_ready() {
        let mut slice = EndpointSlice { address_type: "IPv4".into(), ..EndpointSlice::default() };
        slice.metadata.namespace = Some("kube-system".into());
        slice.labels_mut().insert(SERVICE_NAME.into(), "kube-dns".into());
        slice.endpoints = ["10.244.0.3", "10.244.0.2"]
            .map(|address| Endpoint { addresses: vec![address.into()], ..Endpoint::default() })
            .into();
        let mut other = slice.clone();
        other.labels_mut().insert(SERVICE_NAME.into(), "metrics-server".into());
        other.endpoints[0].addresses = vec!["10.244.0.9".into()];

        let service = service("kube-system", "kube-dns", "10.96.0.10");
        let server = find(&[service], &[slice, other]).unwrap();
        assert_eq!(
            server.endpoints,
            ["10.244.0.2", "10.244.0.3"].map(|a| a.parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn the_domain_is_read_from_the_search_list() {
        let cases = [
            (
                "a pod's list",
                "search dns.svc.corp.example svc.corp.example corp.example\n",
                "corp.example",
            ),
            (
                "a pod in a namespace called svc",
                "search svc.svc.corp.example svc.corp.example corp.example\n",
                "corp.example",
            ),
            (
                "the same, in another order, with what a node adds",
                "search lan corp.example svc.corp.example. svc.svc.corp.example\n",
                "corp.example",
            ),
            (
                "a pod of a cluster in a pod of another one",
                "search dns.svc.cluster.local svc.cluster.local cluster.local ci.svc.outer svc.outer outer\n",
                "cluster.local",
            ),
            (
                "the same, in namespaces called svc",
                "search svc.svc.cluster.local svc.cluster.local cluster.local svc.svc.outer svc.outer outer\n",
                "cluster.local",
            ),
            ("a final dot", "nameserver 10.96.0.10\nsearch svc.corp.example.\n", "corp.example"),
            ("not in a pod", "search lan\n", "cluster.local"),
            ("nothing", "", "cluster.local"),
        ];

        for (why, text, expected) in cases {
            assert_eq!(domain(text), expected, "{why}");
        }
    }
}

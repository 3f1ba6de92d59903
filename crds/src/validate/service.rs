//! `spec.service`: addresses, families and policies that fit together, before the API server says so
//! about a Service that nobody wrote.

use std::net::IpAddr;

use super::Report;
use crate::{
    units::Network,
    v1alpha1::{Service, ServiceType},
};

pub(super) fn check(service: Option<&Service>, report: &mut Report) {
    let Some(service) = service else { return };
    check_addresses(service, report);
    check_families(service, report);
    check_type(service, report);
    let path = "spec.service.loadBalancerSourceRanges";
    report.parse_all::<Network>(
        path,
        service.load_balancer_source_ranges.as_deref().unwrap_or_default(),
    );
}

fn check_addresses(service: &Service, report: &mut Report) {
    let path = "spec.service";
    let first = service.cluster_ip.as_deref();
    if let Some(text) = first {
        report.parse::<ClusterIp>(&format!("{path}.clusterIP"), text);
    }
    let Some(all) = service.cluster_ips.as_deref() else { return };
    let list = format!("{path}.clusterIPs");
    let parsed = report.parse_all::<ClusterIp>(&list, all);
    if let [(_, one), (index, other)] = &*parsed {
        let message = "a second address must be of the other family";
        report.require(one.0.is_ipv4() != other.0.is_ipv4(), format!("{list}[{index}]"), message);
    }
    report.require(
        all.len() <= 1 || is_dual_stack(service),
        &*list,
        "two addresses need ipFamilyPolicy PreferDualStack or RequireDualStack",
    );
    let is_same = first.is_none_or(|first| all.first().is_some_and(|other| other == first));
    report.require(is_same, list, "the first one must be clusterIP");
}

/// Kubernetes does not take two of either for less.
fn is_dual_stack(service: &Service) -> bool {
    service.ip_family_policy.as_deref().is_some_and(|policy| policy != "SingleStack")
}

fn check_families(service: &Service, report: &mut Report) {
    let Some(families) = service.ip_families.as_deref() else { return };
    let path = "spec.service.ipFamilies";
    for (index, family) in families.iter().enumerate() {
        let is_family = matches!(&**family, "IPv4" | "IPv6");
        report.require(is_family, format!("{path}[{index}]"), "neither IPv4 nor IPv6");
        let is_new = families.iter().take(index).all(|known| known != family);
        report.require(is_new, format!("{path}[{index}]"), format!("{family} stands here twice"));
    }
    report.require(
        families.len() <= 1 || is_dual_stack(service),
        path,
        "two families need ipFamilyPolicy PreferDualStack or RequireDualStack",
    );
    for (index, address) in addresses(service).enumerate() {
        let Ok(parsed) = address.parse::<IpAddr>() else { continue };
        let family = if parsed.is_ipv4() { "IPv4" } else { "IPv6" };
        let wrong = match families.iter().position(|listed| listed == family) {
            Some(place) if place == index => continue,
            Some(_) => "which stands at another place in it",
            None => "which is not in it",
        };
        report.add(path, format!("{address} is of family {family}, {wrong}"));
    }
}

/// The first one may stand in either field, and in both.
fn addresses(service: &Service) -> impl Iterator<Item = &String> {
    let all = service.cluster_ips.as_deref().filter(|all| !all.is_empty());
    all.unwrap_or(service.cluster_ip.as_slice()).iter()
}

fn check_type(service: &Service, report: &mut Report) {
    let path = "spec.service";
    let is_balanced = service.type_ == ServiceType::LoadBalancer;
    let message = "needs type LoadBalancer";
    report.require(
        is_balanced || service.load_balancer_class.is_none(),
        format!("{path}.loadBalancerClass"),
        message,
    );
    let has_ranges = service.load_balancer_source_ranges.is_some();
    report.require(is_balanced || !has_ranges, format!("{path}.loadBalancerSourceRanges"), message);
    let is_inside = service.type_ == ServiceType::ClusterIP;
    let message = "needs type NodePort or LoadBalancer";
    report.require(
        !is_inside || service.external_traffic_policy.is_none(),
        format!("{path}.externalTrafficPolicy"),
        message,
    );
}

/// Warns where access and rate limits cannot tell clients apart.
pub(super) fn warn(service: Option<&Service>, report: &mut Report) {
    let policy = service.and_then(|service| service.external_traffic_policy.as_deref());
    report.require(
        policy != Some("Cluster"),
        "spec.service.externalTrafficPolicy",
        "Cluster: clients outside may come with addresses of nodes, which may ask, and share one rate limit; Local keeps theirs",
    );
}

/// An address of a Service.
#[derive(PartialEq)]
struct ClusterIp(IpAddr);

/// Why a text is no address of a Service.
#[derive(Debug, thiserror::Error)]
enum ClusterIpError {
    #[error("a headless Service has no address that a pod's dnsConfig could have")]
    Headless,
    #[error("not an IP address")]
    Form,
}

impl std::str::FromStr for ClusterIp {
    type Err = ClusterIpError;

    fn from_str(text: &str) -> Result<Self, ClusterIpError> {
        if text == "None" {
            return Err(ClusterIpError::Headless);
        }
        text.parse().map(Self).map_err(|_| ClusterIpError::Form)
    }
}

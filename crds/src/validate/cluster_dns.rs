//! `spec.clusterDNS`: addresses, zones and what belongs to a mode.

use std::net::IpAddr;

use super::Report;
use crate::{
    units::{ServerAddress, Zone},
    v1alpha1::{ClusterDns, ClusterDnsMode},
};

pub(super) fn check(cluster_dns: Option<&ClusterDns>, report: &mut Report) {
    let Some(ClusterDns { mode, addresses, domain, reverse_zones, endpoints }) = cluster_dns else {
        return;
    };
    let path = "spec.clusterDNS";
    let given =
        [addresses.is_some(), domain.is_some(), reverse_zones.is_some(), endpoints.is_some()];
    report.require(
        *mode == ClusterDnsMode::Forward || !given.contains(&true),
        format!("{path}.mode"),
        "Disabled has no use for the other fields: leave them out",
    );
    report.parse_all::<ServerAddress>(
        &format!("{path}.addresses"),
        addresses.as_deref().unwrap_or_default(),
    );
    report.parse_all::<IpAddr>(
        &format!("{path}.endpoints"),
        endpoints.as_deref().unwrap_or_default(),
    );
    let domain =
        domain.as_ref().and_then(|text| report.parse::<Zone>(&format!("{path}.domain"), text));
    let is_narrow = domain.is_none_or(|domain| !domain.is_root());
    report.require(
        is_narrow,
        format!("{path}.domain"),
        "every name would go to the cluster's DNS: write its domain",
    );
    check_reverse_zones(
        &format!("{path}.reverseZones"),
        reverse_zones.as_deref().unwrap_or_default(),
        report,
    );
}

/// The whole reverse tree would send the cluster's DNS every reverse lookup, and it would send them back.
fn check_reverse_zones(path: &str, texts: &[String], report: &mut Report) {
    for (index, zone) in report.parse_all::<Zone>(path, texts) {
        let labels: Vec<_> = zone.labels().collect();
        let is_reverse = matches!(&*labels, [.., b"in-addr" | b"ip6", b"arpa"]);
        let is_narrow = is_reverse && labels.len() > 2;
        let message = "not a reverse zone of some network: write for example `96.10.in-addr.arpa`";
        report.require(is_narrow, format!("{path}[{index}]"), message);
    }
}

//! What a valid manifest says and this program does not do, since it is for the operator.

use std::fmt;

use dnsproxy_api::v1alpha1 as api;

/// What a valid manifest says and this program does not do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Some parts are for the operator: nothing to be changed.
    PartsOfTheOperator,
    /// Names of the cluster go the way of all others, which is hardly meant.
    NoClusterDns,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartsOfTheOperator => {
                "spec.workload and spec.service are for the operator: not used here"
            }
            Self::NoClusterDns => {
                "spec.clusterDNS has no addresses, which only the operator can discover: not used here"
            }
        })
    }
}

pub(super) fn notices(spec: &api::DnsProxySpec) -> Vec<Notice> {
    let has_parts_of_the_operator = spec.workload.is_some() || spec.service.is_some();
    let forwards_nowhere = |dns: &api::ClusterDns| {
        dns.mode == api::ClusterDnsMode::Forward && dns.addresses.as_ref().is_none_or(Vec::is_empty)
    };
    let has_no_cluster_dns = spec.cluster_dns.as_ref().is_some_and(forwards_nowhere);
    let parts = has_parts_of_the_operator.then_some(Notice::PartsOfTheOperator);
    parts.into_iter().chain(has_no_cluster_dns.then_some(Notice::NoClusterDns)).collect()
}

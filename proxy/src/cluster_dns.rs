//! The guard against loops between the proxy and the cluster's own DNS.
//!
//! The cluster's DNS may forward to this proxy what it does not know, and this proxy forwards names of the
//! cluster to it. A question that it asks must therefore never go back to it.

use std::{collections::HashSet, net::IpAddr};

/// The name of the route and of the upstream that `clusterDNS` makes.
pub const ROUTE: &str = "cluster-dns";

/// Knows from which addresses the cluster's DNS asks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LoopGuard {
    endpoints: HashSet<IpAddr>,
}

impl LoopGuard {
    /// A guard for questions from these addresses.
    pub fn new(endpoints: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { endpoints: endpoints.into_iter().collect() }
    }

    /// Whether a question from `client` on this route would go back to where it came from.
    pub fn stops(&self, client: IpAddr, route: &str) -> bool {
        route == ROUTE && self.endpoints.contains(&client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_of_the_clusters_dns_to_itself_is_stopped() {
        let dns: IpAddr = [10, 0, 0, 10].into();
        let pod: IpAddr = [10, 0, 0, 11].into();
        let guard = LoopGuard::new([dns]);

        assert!(guard.stops(dns, ROUTE));
        assert!(!guard.stops(dns, "default"), "other names may go anywhere else");
        assert!(!guard.stops(pod, ROUTE), "others may ask for names of the cluster");
    }
}

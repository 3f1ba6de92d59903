//! Who may ask, and how much.

use std::{net::IpAddr, sync::Arc};

use dnsproxy_api::units::Network;
use tokio::time::Instant;

use crate::networks::Networks;

pub use prefix::Prefix;
pub use rate_limit::RateLimit;

mod prefix;
mod rate_limit;

/// Decides whether a client's query is taken.
#[derive(Debug, Default)]
pub struct Access {
    allow: Networks,
    deny: Networks,
    rate_limit: Option<Arc<RateLimit>>,
}

/// What a client may do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Its query is taken.
    Allowed,
    /// It may not ask at all.
    Denied,
    /// It has asked too much.
    TooMany,
}

impl Access {
    /// Clients in `allow` and not in `deny` may ask, as often as `rate_limit` lets them.
    pub fn new(
        allow: Vec<Network>,
        deny: Vec<Network>,
        rate_limit: Option<Arc<RateLimit>>,
    ) -> Self {
        let [allow, deny] = [allow, deny].map(Networks::from_iter);
        Self { allow, deny, rate_limit }
    }

    /// The rate limit with these numbers and with what clients have asked by now, if this is the one.
    pub fn rate_limit(&self, per_second: u32, burst: u32) -> Option<Arc<RateLimit>> {
        self.rate_limit.clone().filter(|limit| limit.is(per_second, burst))
    }

    /// Whether a client may ask, and by which network; how much it asks aside.
    pub fn of(&self, client: IpAddr) -> (bool, Option<&Network>) {
        let denied = self.deny.find(client);
        let network = denied.or_else(|| self.allow.find(client));
        (denied.is_none() && network.is_some(), network)
    }

    /// Decides about one query of a client, and counts it.
    pub fn check(&self, client: IpAddr, now: Instant) -> Verdict {
        if self.deny.contain(client) || !self.allow.contain(client) {
            return Verdict::Denied;
        }
        match &self.rate_limit {
            Some(limit) if !limit.takes(client, now) => Verdict::TooMany,
            _ => Verdict::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn deny_wins_over_allow_and_others_are_denied() {
        let access =
            Access::new(networks(&["10.0.0.0/8", "fd00::/8"]), networks(&["10.9.0.0/16"]), None);
        let cases = [
            ("in an allowed network", "10.1.2.3", Verdict::Allowed),
            ("in an allowed IPv6 network", "fd00::1", Verdict::Allowed),
            ("in a denied part of it", "10.9.0.1", Verdict::Denied),
            ("nowhere", "192.0.2.1", Verdict::Denied),
            ("nowhere in IPv6", "2001:db8::1", Verdict::Denied),
        ];

        for (why, client, expected) in cases {
            assert_eq!(access.check(client.parse().unwrap(), Instant::now()), expected, "{why}");
        }
    }
}

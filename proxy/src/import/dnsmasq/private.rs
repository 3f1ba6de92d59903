//! `bogus-priv`: reverse names of private addresses are known here or nowhere.
//!
//! dnsmasq looks into hosts files first. Rules here come before them, so where there are any the names are kept by
//! `responses.privateNames`, which comes behind them. That is for other names as well: to these the route for every name
//! gets zones of its own.

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{Block, BlockWith, Match, NameMatch, PrivateNames, rule::Rule},
};

use super::draft;
use crate::import::Draft;

/// How such names are kept.
#[derive(Debug)]
pub(super) struct Private {
    /// Zones that a rule keeps.
    ruled: Vec<String>,
    /// Whether `responses.privateNames` keeps the others.
    is_local: bool,
}

impl Private {
    pub(super) fn of(is_given: bool, has_hosts: bool) -> Self {
        let ruled = match (is_given, has_hosts) {
            (false, _) => Vec::new(),
            (true, false) => local_zones().chain(SITE_LOCAL.map(str::to_owned)).collect(),
            (true, true) => SITE_LOCAL.map(str::to_owned).into(),
        };
        Self { ruled, is_local: is_given && has_hosts }
    }

    /// Whether a rule decides about names in this zone.
    pub(super) fn rules_over(&self, zone: &str) -> bool {
        let Ok(zone) = zone.parse::<Zone>() else { return false };
        let mut ruled = self.ruled.iter().filter_map(|text| text.parse::<Zone>().ok());
        ruled.any(|private| zone.is_within(&private) || private.is_within(&zone))
    }

    /// Whether all names of a zone are kept without a rule.
    pub(super) fn keeps(&self, zone: &str) -> bool {
        let Ok(zone) = zone.parse::<Zone>() else { return false };
        let mut private = local_zones().filter_map(|text| text.parse::<Zone>().ok());
        self.is_local && private.any(|private| zone.is_within(&private))
    }

    pub(super) fn emit(self, draft: &mut Draft) {
        let Self { ruled, is_local } = self;
        if !ruled.is_empty() {
            let names = NameMatch { zone: Some(ruled), ..NameMatch::default() };
            let matches = Match { types: Some(vec!["PTR".into()]), ..draft::names(names) };
            let block = Some(Block { with: BlockWith::NXDOMAIN, ttl: None });
            draft.rule("bogus-priv", Rule { matches, block, ..Rule::default() });
        }
        if is_local {
            draft.responses().private_names = PrivateNames::Local;
            let others = OTHERS.map(str::to_owned);
            let has = |draft: &Draft, zone: &String| {
                draft.spec.routes.iter().flatten().any(|route| route.zones.contains(zone))
            };
            let others = others.into_iter().filter(|zone| !has(draft, zone)).collect::<Vec<_>>();
            // Without one nobody is asked for these either.
            let mut routes = draft.spec.routes.iter_mut().flatten();
            if let Some(default) = routes.find(|route| route.name == draft::DEFAULT) {
                default.zones.extend(others);
            }
            let reason = "by `responses.privateNames: Local`, which comes behind hosts files; it keeps addresses of plain names here, too";
            draft.note(0, "bogus-priv", reason);
        }
    }
}

/// The reverse zones that both keep (RFC 6303).
fn local_zones() -> impl Iterator<Item = String> {
    let fixed = LOCAL.into_iter().map(str::to_owned);
    let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa"));
    fixed.chain((16..32).map(|octet| format!("{octet}.172.in-addr.arpa"))).chain(shared)
}

const LOCAL: [&str; 18] = [
    "10.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "168.192.in-addr.arpa",
    "254.169.in-addr.arpa",
    "127.in-addr.arpa",
    "0.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

/// Site-local addresses, which are no more (RFC 3879): only dnsmasq keeps these.
const SITE_LOCAL: [&str; 4] =
    ["c.e.f.ip6.arpa", "d.e.f.ip6.arpa", "e.e.f.ip6.arpa", "f.e.f.ip6.arpa"];

/// What `responses.privateNames` keeps and dnsmasq does not.
const OTHERS: [&str; 7] =
    ["local", "onion", "invalid", "test", "home.arpa", "service.arpa", "resolver.arpa"];

//! `spec.routes`: zones of one route only, upstreams that exist, and no fallback that weakens unasked.

use std::collections::BTreeMap;

use super::Report;
use crate::{
    bounds,
    units::Zone,
    v1alpha1::{Authentication, ClusterDns, DnsProxySpec, Protocol, Route, Upstream},
};

pub(super) fn check(routes: Option<&[Route]>, upstreams: &[Upstream], report: &mut Report) {
    let Some(routes) = routes else { return };
    report.require(
        !routes.is_empty(),
        "spec.routes",
        "empty: leave it out for one route to all upstreams",
    );
    report.names("spec.routes", routes.iter().map(|route| &*route.name));
    let mut zones = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let path = format!("spec.routes[{index}]");
        check_zones(&path, route, &mut zones, report);
        check_upstreams(&path, route, upstreams, report);
        check_strength(&path, route, upstreams, report);
        report.count(&format!("{path}.maxInFlight"), route.max_in_flight, bounds::IN_FLIGHT);
    }
}

/// A zone belongs to one route: there is no order that could decide between two.
fn check_zones<'r>(
    path: &str,
    route: &'r Route,
    known: &mut BTreeMap<Zone, &'r str>,
    report: &mut Report,
) {
    for (index, zone) in report.parse_all::<Zone>(&format!("{path}.zones"), &route.zones) {
        match known.get(&zone) {
            Some(other) => report.add(
                format!("{path}.zones[{index}]"),
                format!("{zone} is a zone of route {other}, too"),
            ),
            None => {
                known.insert(zone, &route.name);
            }
        }
    }
}

fn check_upstreams(path: &str, route: &Route, upstreams: &[Upstream], report: &mut Report) {
    report.require(
        !route.upstreams.is_empty(),
        format!("{path}.upstreams"),
        "empty: nobody could be asked",
    );
    let fallback = route.fallback.as_deref().unwrap_or_default();
    let references = [("upstreams", &*route.upstreams), ("fallback", fallback)]
        .into_iter()
        .flat_map(|(field, names)| {
            names.iter().enumerate().map(move |(index, name)| (field, index, name))
        });
    let mut known: Vec<&str> = Vec::new();
    for (field, index, name) in references {
        let path = format!("{path}.{field}[{index}]");
        if !upstreams.iter().any(|upstream| upstream.name == *name) {
            report.add(path, format!("no upstream is called {name}"));
        } else if known.contains(&&**name) {
            report.add(path, format!("{name} is asked by this route already"));
        } else {
            known.push(name);
        }
    }
}

/// A fallback must not give away what the route promises, unless its author says so.
fn check_strength(path: &str, route: &Route, upstreams: &[Upstream], report: &mut Report) {
    if route.allow_weaker {
        return;
    }
    for (index, name, weaker, promised) in weaker_of(route, upstreams) {
        let message = format!(
            "{name} is {}, weaker than the route's upstreams ({}): set allowWeaker: true if that is meant",
            weaker.text(),
            promised.text()
        );
        report.add(format!("{path}.fallback[{index}]"), message);
    }
}

/// The upstreams of a route's fallback that are weaker than what the route promises: each with its index, its name,
/// its strength and the promised one.
fn weaker_of<'r>(
    route: &'r Route,
    upstreams: &[Upstream],
) -> Vec<(usize, &'r str, Strength, Strength)> {
    let find = |name: &String| upstreams.iter().find(|upstream| upstream.name == *name);
    let promised = route.upstreams.iter().filter_map(find).map(strength).max();
    let Some(promised) = promised else { return Vec::new() };
    let fallback = route.fallback.iter().flatten().enumerate();
    fallback
        .filter_map(|(index, name)| Some((index, &**name, find(name).map(strength)?, promised)))
        .filter(|(_, _, strength, promised)| strength < promised)
        .collect()
}

/// The routes of which the fallback is weaker than their own upstreams, as `allowWeaker` allows.
pub fn weaker_fallbacks(spec: &DnsProxySpec) -> impl Iterator<Item = &str> {
    let routes = spec.routes.iter().flatten();
    routes.filter(|route| !weaker_of(route, &spec.upstreams).is_empty()).map(|route| &*route.name)
}

/// What an upstream proves before it learns a query, weakest first.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Strength {
    Plain,
    PinsOnly,
    Pkix,
}

impl Strength {
    const fn text(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::PinsOnly => "PinsOnly",
            Self::Pkix => "PKIX",
        }
    }
}

fn strength(upstream: &Upstream) -> Strength {
    let authentication = upstream.tls.as_ref().map(|tls| tls.authentication).unwrap_or_default();
    match (upstream.protocol, authentication) {
        (Protocol::UDP | Protocol::TCP, _) => Strength::Plain,
        (Protocol::TLS, Authentication::PinsOnly) => Strength::PinsOnly,
        (Protocol::TLS, Authentication::PKIX) => Strength::Pkix,
    }
}

/// Warns where queries for any name leave in clear, or have no way to go, or another one than clusterDNS has.
pub(super) fn warn(spec: &DnsProxySpec, report: &mut Report) {
    let routes = spec.routes.as_deref();
    let default =
        routes.map(|routes| routes.iter().find(|route| route.zones.iter().any(|zone| zone == ".")));
    if default == Some(None) {
        report.add(
            "spec.routes",
            "no route has the zone `.`: names outside of all zones are refused",
        );
    }
    for (index, upstream) in spec.upstreams.iter().enumerate() {
        let is_asked = default.is_none_or(|route| {
            route.is_some_and(|route| route.upstreams.contains(&upstream.name))
        });
        if is_asked && strength(upstream) == Strength::Plain {
            let message = format!(
                "{} is asked for any name in clear: everybody on the way can read and forge",
                upstream.name
            );
            report.add(format!("spec.upstreams[{index}].protocol"), message);
        }
    }
    warn_of_cluster_zones(routes.unwrap_or_default(), spec.cluster_dns.as_ref(), report);
}

fn warn_of_cluster_zones(routes: &[Route], cluster_dns: Option<&ClusterDns>, report: &mut Report) {
    let zones = cluster_dns
        .into_iter()
        .flat_map(|dns| dns.domain.iter().chain(dns.reverse_zones.iter().flatten()));
    let zones: Vec<Zone> = zones.filter_map(|text| text.parse().ok()).collect();
    for (index, route) in routes.iter().enumerate() {
        for (item, text) in route.zones.iter().enumerate() {
            let is_taken = text.parse().is_ok_and(|zone: Zone| zones.contains(&zone));
            let message = "a zone of clusterDNS, too: this route wins";
            report.require(!is_taken, format!("spec.routes[{index}].zones[{item}]"), message);
        }
    }
}

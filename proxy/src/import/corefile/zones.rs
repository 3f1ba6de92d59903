//! Zones as CoreDNS writes them: with a scheme, with a port, or as a network.

use dnsproxy_api::units::Zone;

use super::super::addresses::reverse_zones;

/// The zones of a text: one, or the reverse zones of a network. A scheme and a port say nothing about it.
pub(super) fn of(text: &str) -> Vec<String> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = match text.rsplit_once(':') {
        Some((zone, port)) if port.parse::<u16>().is_ok() => zone,
        _ => text,
    };
    let networks = text.contains('/').then(|| reverse_zones(text).ok()).flatten();
    networks.unwrap_or_else(|| vec![without_dot(text)])
}

/// Of several texts, each zone once.
pub(super) fn of_all<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<String> {
    let mut zones = Vec::new();
    for zone in texts.into_iter().flat_map(|text| of(text)) {
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    zones
}

/// A name as it is compared: in lower case, without the dot at its end.
pub(super) fn without_dot(text: &str) -> String {
    match text.trim_end_matches('.') {
        "" => ".".to_owned(),
        name => name.to_ascii_lowercase(),
    }
}

/// How many labels a zone has; none that is none.
pub(super) fn depth(zone: &str) -> usize {
    zone.parse::<Zone>().map_or(0, |zone| zone.labels().count())
}

/// Whether a zone is another one or below it.
pub(super) fn is_within(zone: &str, other: &str) -> bool {
    let parsed = zone.parse::<Zone>().ok().zip(other.parse::<Zone>().ok());
    parsed.is_some_and(|(zone, other)| zone.is_within(&other))
}

/// Whether a name is in one of some zones.
pub(super) fn hold(zones: &[String], name: &str) -> bool {
    zones.iter().any(|zone| is_within(name, zone))
}

/// What is in one of some zones and in one of others as well.
pub(super) fn common(zones: &[String], others: &[String]) -> Vec<String> {
    let within = |inner: &[String], outer: &[String]| {
        inner.iter().filter(|it| hold(outer, it)).cloned().collect::<Vec<_>>()
    };
    let mut common = within(zones, others);
    let more = within(others, zones);
    common.extend(more.into_iter().filter(|it| !zones.contains(it)));
    common
}

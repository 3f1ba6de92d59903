//! Zones as CoreDNS writes them: with a scheme, with a port, or as a network.

use std::collections::{BTreeSet, HashSet};

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
    let mut known = HashSet::new();
    let zones = texts.into_iter().flat_map(|text| of(text));
    zones.filter(|zone| known.insert(zone.clone())).collect()
}

/// A name as it is compared: in lower case, without the dot at its end.
pub(super) fn without_dot(text: &str) -> String {
    match text.trim_end_matches('.') {
        "" => ".".to_owned(),
        name => name.to_ascii_lowercase(),
    }
}

/// A zone and those that it is in, the longest first. There may be many thousands of zones, so they are looked up.
pub(super) fn upwards(zone: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(zone).filter(|zone| *zone != ".");
    let mut has_root = true;
    std::iter::from_fn(move || {
        let Some(zone) = rest else { return std::mem::take(&mut has_root).then_some(".") };
        rest = behind_first_label(zone);
        Some(zone)
    })
}

/// A dot behind a backslash is one of the label.
fn behind_first_label(zone: &str) -> Option<&str> {
    let mut is_escaped = false;
    let dot = zone.bytes().position(|octet| {
        let is_dot = octet == b'.' && !is_escaped;
        is_escaped = octet == b'\\' && !is_escaped;
        is_dot
    });
    zone.get(dot? + 1..)
}

/// Some zones as a text; of many the first.
pub(super) fn listed(zones: &[impl AsRef<str>]) -> String {
    const MANY: usize = 5;
    let first = zones.iter().take(MANY).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match zones.len() {
        0..=MANY => first,
        all => format!("{first} and {} more", all - MANY),
    }
}

/// How many labels a zone has; none that is none.
pub(super) fn depth(zone: &str) -> usize {
    zone.parse::<Zone>().map_or(0, |zone| zone.labels().count())
}

/// Whether a zone is another one or below it.
pub(super) fn is_within(zone: &str, other: &str) -> bool {
    upwards(zone).any(|above| above == other)
}

/// Whether a name is in one of some zones.
pub(super) fn hold(zones: &[String], name: &str) -> bool {
    zones.iter().any(|zone| is_within(name, zone))
}

/// The same for many.
pub(super) fn have(zones: &BTreeSet<String>, name: &str) -> bool {
    upwards(name).any(|zone| zones.contains(zone))
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

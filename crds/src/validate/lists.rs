//! `spec.lists` and `spec.hosts`: names that differ, sources that can be read.

use std::collections::BTreeSet;

use super::{
    Place, Report,
    source::{self, Use},
};
use crate::{
    bounds,
    v1alpha1::{DnsProxySpec, Hosts, NameList, Source},
};

pub(super) fn check(lists: Option<&[NameList]>, place: Place, report: &mut Report) {
    let Some(lists) = lists else { return };
    report.require(!lists.is_empty(), "spec.lists", "empty: leave it out");
    report.names("spec.lists", lists.iter().map(|list| &*list.name));
    for (index, NameList { name: _, format: _, sources }) in lists.iter().enumerate() {
        check_sources(&format!("spec.lists[{index}].sources"), sources, place, report);
    }
}

pub(super) fn check_hosts(hosts: Option<&Hosts>, place: Place, report: &mut Report) {
    let Some(Hosts { sources, ttl }) = hosts else { return };
    check_sources("spec.hosts.sources", sources, place, report);
    super::cache::seconds("spec.hosts.ttl", ttl.as_deref(), bounds::RULE_TTL, report);
}

fn check_sources(path: &str, sources: &[Source], place: Place, report: &mut Report) {
    report.require(!sources.is_empty(), path, "empty: give at least one source");
    for (index, source) in sources.iter().enumerate() {
        source::check(&format!("{path}[{index}]"), source, Use::List, place, report);
    }
}

/// Warns of lists that no rule uses.
pub(super) fn warn(spec: &DnsProxySpec, report: &mut Report) {
    let used: BTreeSet<&str> = (spec.rules.iter().flatten())
        .filter_map(|rule| rule.matches.names.as_ref()?.lists.as_deref())
        .flatten()
        .map(String::as_str)
        .collect();
    for (index, NameList { name, .. }) in spec.lists.iter().flatten().enumerate() {
        report.require(
            used.contains(&**name),
            format!("spec.lists[{index}]"),
            format!("no rule uses it: write `match: {{names: {{lists: [{name}]}}}}`"),
        );
    }
}

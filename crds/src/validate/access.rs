//! `spec.access`: networks that are networks, and rules that can take effect.

use super::Report;
use crate::{
    units::Network,
    v1alpha1::{Access, RateLimit},
};

pub(super) fn check(access: Option<&Access>, report: &mut Report) {
    let Some(Access { allow, deny, rate_limit }) = access else { return };
    let allow = allow.as_ref().map(|allow| networks("spec.access.allow", allow, report));
    let denied = networks("spec.access.deny", deny.as_deref().unwrap_or_default(), report);
    for (index, allowed) in allow.iter().flatten() {
        if let Some((_, denying)) = denied.iter().find(|(_, denying)| denying.covers(allowed)) {
            let message = format!("{allowed} is denied as a whole by {denying}");
            report.add(format!("spec.access.allow[{index}]"), message);
        }
    }
    if let Some(RateLimit { queries_per_second, burst }) = rate_limit {
        let path = "spec.access.rateLimit";
        report.require(
            *queries_per_second > 0,
            format!("{path}.queriesPerSecond"),
            "nobody could ask: leave rateLimit out for no limit",
        );
        report.require(
            *burst != Some(0),
            format!("{path}.burst"),
            "nobody could ask: leave it out for two seconds' worth",
        );
    }
}

/// Warns of a proxy that nobody may ask.
pub(super) fn warn(access: Option<&Access>, report: &mut Report) {
    let allow = access.and_then(|access| access.allow.as_deref());
    let message = "empty: every query is refused; leave it out for the default networks";
    report.require(allow != Some(&[]), "spec.access.allow", message);
}

fn networks(path: &str, texts: &[String], report: &mut Report) -> Vec<(usize, Network)> {
    report.parse_all(path, texts)
}

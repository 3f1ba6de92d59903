//! `spec.workload`: quantities, and what only an operator uses.

use std::collections::BTreeSet;

use super::Report;
use crate::v1alpha1::{DnsProxySpec, PodSpecTemplate, Resources, Workload};

pub(super) fn check(workload: Option<&Workload>, report: &mut Report) {
    let Some(Workload { replicas, image, resources, template }) = workload else { return };
    report.require(
        replicas.is_none_or(|replicas| replicas >= 0),
        "spec.workload.replicas",
        "less than none",
    );
    let is_image = image
        .as_deref()
        .is_none_or(|image| !image.is_empty() && !image.contains(char::is_whitespace));
    report.require(is_image, "spec.workload.image", "not the reference of an image");
    if let Some(pod) = template.as_ref().and_then(|template| template.spec.as_ref()) {
        check_pod(pod, report);
    }
    let Some(resources) = resources else { return };
    let Resources { limits, requests } = resources;
    for (field, quantities) in [("limits", limits), ("requests", requests)] {
        for (name, quantity) in quantities.iter().flatten() {
            let path = format!("spec.workload.resources.{field}.{name}");
            report.require(
                is_quantity(&quantity.0),
                path,
                "not a quantity: write for example `100m`, `0.5` or `64Mi`",
            );
        }
    }
}

fn check_pod(pod: &PodSpecTemplate, report: &mut Report) {
    let path = "spec.workload.template.spec";
    let secrets = pod.image_pull_secrets.iter().flatten().map(|secret| &secret.name);
    check_keys(&format!("{path}.imagePullSecrets"), secrets, report);
    let constraints = pod.topology_spread_constraints.iter().flatten();
    let constraints =
        constraints.map(|constraint| (&constraint.topology_key, &constraint.when_unsatisfiable));
    check_keys(&format!("{path}.topologySpreadConstraints"), constraints, report);
}

/// A Deployment has these lists by key, and none with two items of one key.
fn check_keys<K: Ord>(path: &str, keys: impl Iterator<Item = K>, report: &mut Report) {
    let mut known = BTreeSet::new();
    for (index, key) in keys.enumerate() {
        report.require(known.insert(key), format!("{path}[{index}]"), "it stands here twice");
    }
}

/// A number with one of Kubernetes' suffixes, and nothing negative.
fn is_quantity(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_number =
        number.contains(|c: char| c.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_exponent =
        suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i8>().is_ok());
    is_number && (SUFFIXES.contains(&suffix) || is_exponent)
}

const SUFFIXES: [&str; 16] =
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Warns once of what a single process does not use.
pub(super) fn warn(spec: &DnsProxySpec, report: &mut Report) {
    for (field, is_given) in
        [("workload", spec.workload.is_some()), ("service", spec.service.is_some())]
    {
        report.require(
            !is_given,
            format!("spec.{field}"),
            "for the operator: a single process does not use it",
        );
    }
}

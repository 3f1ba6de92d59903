//! `spec.workload`: quantities, and what only an operator uses.

use std::collections::BTreeSet;

use super::Report;
use crate::{
    units::ByteSize,
    v1alpha1::{DnsProxySpec, PodSpecTemplate, Resources, Workload},
};

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
    amount(text).is_some()
}

/// How many octets a quantity is; what is no whole octet is rounded up, and what is beyond all memory is as much as can be
/// (Kubernetes, `resource.ParseQuantity`).
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither negative nor no number; what is too large ends at the largest"
)]
pub(super) fn octets(text: &str) -> Option<ByteSize> {
    amount(text).map(|amount| ByteSize::from_octets(amount.ceil() as u64))
}

/// Floats have 53 bits for it: enough for every octet of 8 PiB.
fn amount(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let unit = SUFFIXES.iter().find(|(known, _)| *known == suffix).map(|(_, unit)| *unit);
    let power = || suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok();
    Some(number * unit.or_else(|| power().map(|power| 10_f64.powi(power.into())))?)
}

const SUFFIXES: [(&str, f64); 16] = [
    ("", 1.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        let cases = [
            // (why, text, octets)
            ("powers of 1024", "64Mi", Some(64 << 20)),
            ("powers of 1000", "134217728k", Some(134_217_728_000)),
            ("no digits before the dot", ".1Gi", Some(107_374_183)),
            ("no digits behind it", "1.Gi", Some(1 << 30)),
            ("an exponent", "100e6", Some(100_000_000)),
            ("a negative exponent", "1E-1", Some(1)),
            ("a suffix that is no exponent", "2E", Some(2_000_000_000_000_000_000)),
            ("thousandths", "128000m", Some(128)),
            ("nothing", "0", Some(0)),
            ("beyond all memory", "1e100", Some(u64::MAX)),
            ("less than nothing", "-1", None),
            ("a unit that is none", "64MB", None),
            ("no digits", ".", None),
            ("two dots", "1.2.3", None),
            ("words of floats", "inf", None),
        ];

        for (why, text, expected) in cases {
            assert_eq!(octets(text).map(ByteSize::octets), expected, "{why}");
        }
    }
}

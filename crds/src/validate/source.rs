//! Sources: exactly one place, and one that the author of the manifest may read.

use super::{Place, Report};
use crate::{
    bounds,
    v1alpha1::{KeyReference, Source},
};

/// What a source is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// A certificate of an authority.
    Certificate,
    /// Names.
    List,
}

impl Use {
    fn instead(self) -> &'static str {
        match self {
            Self::Certificate => "configMap or secret",
            Self::List => "configMap",
        }
    }
}

pub(super) fn check(path: &str, source: &Source, use_for: Use, place: Place, report: &mut Report) {
    let Source { inline, file, config_map, secret } = source;
    let given = [inline.is_some(), file.is_some(), config_map.is_some(), secret.is_some()];
    let count = given.into_iter().filter(|is_given| *is_given).count();
    report.require(
        count == 1,
        path,
        "exactly one of inline, file, configMap and secret must be given",
    );
    refuse_file(place, &format!("{path}.file"), file.is_some(), use_for.instead(), report);
    refuse_reference(place, &format!("{path}.configMap"), config_map.is_some(), "file", report);
    match use_for {
        Use::Certificate => {
            refuse_reference(place, &format!("{path}.secret"), secret.is_some(), "file", report);
        }
        Use::List => report.require(
            secret.is_none(),
            format!("{path}.secret"),
            "secret is for certificates: use configMap",
        ),
    }
    for (field, reference) in [("configMap", config_map), ("secret", secret)] {
        if let Some(KeyReference { name, key }) = reference {
            check_object_name(&format!("{path}.{field}.name"), name, report);
            report.require(
                is_key(key),
                format!("{path}.{field}.key"),
                "not a key: letters, digits, `-`, `_` and `.`, but for `.` alone and `..` in the beginning",
            );
        }
    }
}

/// In a cluster a path would be one of the operator's or the pods', which the author may not read.
pub(super) fn refuse_file(
    place: Place,
    path: &str,
    is_given: bool,
    instead: &str,
    report: &mut Report,
) {
    let is_refused = is_given && place == Place::Cluster;
    report.require(!is_refused, path, format!("a cluster has no files for this: use {instead}"));
}

pub(super) fn refuse_reference(
    place: Place,
    path: &str,
    is_given: bool,
    instead: &str,
    report: &mut Report,
) {
    let is_refused = is_given && place == Place::File;
    report.require(!is_refused, path, format!("only in a cluster: use {instead}"));
}

/// Whether a ConfigMap or Secret can have this key (Kubernetes' `IsConfigMapKey`). It becomes part of a path.
pub fn is_key(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=bounds::REFERENCE as usize).contains(&text.len())
        && text.chars().all(is_part)
        && text != "."
        && !text.starts_with("..")
}

/// Subdomains of RFC 1123, as Kubernetes names objects: 253 characters at most, whatever their labels have.
pub(super) fn check_object_name(path: &str, name: &str, report: &mut Report) {
    let is_name = name.len() <= bounds::REFERENCE as usize && name.split('.').all(is_label);
    report.require(
        is_name,
        path,
        "not the name of an object: lower-case letters, digits, `-` and `.`",
    );
}

/// Kubernetes does not hold it to the 63 characters of a label in DNS (`IsDNS1123Subdomain`).
fn is_label(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(is_part) && !text.starts_with('-') && !text.ends_with('-')
}

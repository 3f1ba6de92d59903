//! The labels by which objects and pods are found again.

use std::collections::BTreeMap;

/// What runs: the proxy.
pub const NAME: &str = "app.kubernetes.io/name";
/// For which `DnsProxy`.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Who made it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The value of [`NAME`] on everything of a proxy.
pub const PROXY: &str = "dnsproxy";

/// Selects what the operator made, of whichever `DnsProxy`.
pub const OURS: &str = "app.kubernetes.io/managed-by=dnsproxy-operator";

/// What a Deployment selects its pods by. It can never change: the API server refuses that.
#[must_use]
pub fn selector(instance: &str) -> BTreeMap<String, String> {
    [(NAME, PROXY), (INSTANCE, instance)]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
}

/// What every object and pod carries.
#[must_use]
pub fn all(instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(instance);
    labels.insert(MANAGED_BY.to_owned(), crate::NAME.to_owned());
    labels
}

/// The pods' selector as text, for the scale subresource.
#[must_use]
pub fn selector_text(instance: &str) -> String {
    let pairs = selector(instance).into_iter().map(|(label, value)| format!("{label}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

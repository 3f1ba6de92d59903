//! The object's own name, which Services and pods take over.

use super::Report;
use crate::{DnsProxy, bounds};

pub(super) fn check(proxy: &DnsProxy, report: &mut Report) {
    let path = "metadata.name";
    let Some(name) = proxy.metadata.name.as_deref() else { return report.add(path, "missing") };
    let is_label = name.parse::<crate::units::Name>().is_ok();
    let is_service_name = is_label && name.starts_with(|c: char| c.is_ascii_lowercase());
    report.require(
        is_service_name && name.len() <= bounds::OBJECT_NAME,
        path,
        format!(
            "a letter, then at most {} lower-case letters, digits and inner hyphens, since a Service is called so",
            bounds::OBJECT_NAME - 1
        ),
    );
}

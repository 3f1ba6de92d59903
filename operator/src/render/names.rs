//! Names of objects, ports and paths.

use dnsproxy_api::{DnsProxySpec, defaults};

use crate::{digest, resolve::Reference, validate::ValidatedDnsProxy};

/// The name of the ConfigMap: another one for each set of things that pods have to be replaced for.
///
/// A changed text is delivered into running pods; a changed image or a reference more is not, nor a limit of memory that a
/// larger cache needs, nor the time that a longer shutdown takes. With a name of their own, old pods keep the old text
/// until they are gone. All of it changes the pods' template, too: nothing is replaced for the name alone.
#[must_use]
pub fn config_map(proxy: &ValidatedDnsProxy) -> String {
    let references = proxy.references.iter().map(Reference::to_string);
    let limits = [memory_limit(&proxy.spec).to_owned(), proxy.grace_period.to_string()];
    let needs = std::iter::once(proxy.image.clone()).chain(limits).chain(references);
    let needs = needs.collect::<Vec<_>>().join("\n");
    format!("{}-{}", proxy.name, digest::sha256(needs.as_bytes(), GENERATION_DIGITS))
}

/// As it is written; nothing where pods may have all that there is.
fn memory_limit(spec: &DnsProxySpec) -> &str {
    let resources = spec.workload.as_ref().and_then(|workload| workload.resources.as_ref());
    let Some(resources) = resources else { return defaults::MEMORY_LIMIT };
    let limit = resources.limits.as_ref().and_then(|limits| limits.get("memory"));
    limit.map_or("", |limit| &limit.0)
}

/// The name of the ServiceAccount: not the object's, since every namespace has one called `default`, and
/// so is many a `DnsProxy`.
#[must_use]
pub fn service_account(proxy: &ValidatedDnsProxy) -> String {
    format!("{}-dnsproxy", proxy.name)
}

/// Enough that two of one object never meet, short enough to be read aloud.
const GENERATION_DIGITS: usize = 8;

/// The container's name.
pub const CONTAINER: &str = "dnsproxy";
/// The volume with the configuration and everything it refers to.
pub const VOLUME: &str = "config";
/// Where that volume is.
pub const DIRECTORY: &str = "/etc/dnsproxy";
/// The configuration in it.
pub const FILE: &str = "dnsproxy.yaml";

/// The port for DNS over UDP.
pub const DNS_UDP: &str = "dns-udp";
/// The port for DNS over TCP.
pub const DNS_TCP: &str = "dns-tcp";
/// The port for probes, metrics and reports.
pub const ADMIN: &str = "admin";

/// Where a pod takes queries: above 1024, since it has no capabilities.
pub const DNS_PORT: u16 = 5353;
/// Where a pod is probed and asked.
pub const ADMIN_PORT: u16 = 8053;
/// Where the Service takes queries.
pub const SERVICE_PORT: i32 = 53;

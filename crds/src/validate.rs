//! What a schema cannot say: texts that are no addresses, references that lead nowhere, choices that weaken.
//!
//! Every problem is reported at once, with its path. Nothing here asks a network or a file: whether a
//! referenced file or Secret exists is found out where it is used. The rules for a file and for a
//! cluster differ in what may be referred to, since a manifest must not read what its author cannot.
//!
//! Warnings are about what is allowed and probably not meant.

use std::fmt;

use crate::{
    DnsProxy,
    v1alpha1::{DnsProxySpec, Shutdown},
};
use report::Report;

pub(crate) use report::excerpt;
pub use routes::weaker_fallbacks;
pub use source::is_key;

mod access;
mod cache;
mod circles;
mod cluster_dns;
mod comments;
mod expressions;
mod families;
mod limits;
mod listeners;
mod lists;
mod metadata;
mod report;
mod responses;
mod routes;
mod rules;
mod service;
mod source;
mod tests_of_spec;
mod tls;
mod upstreams;
mod workload;

/// Where a manifest stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a file, for one process.
    File,
    /// In a cluster, for the operator.
    Cluster,
}

/// One thing that is wrong with a manifest, or one warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Which part it is about: `spec.upstreams[0].tls.pins[1]`; empty for the whole text.
    pub path: String,
    /// The line in the text, where there is one.
    pub line: Option<usize>,
    /// What is wrong, and the way out.
    pub message: String,
}

impl Problem {
    /// A problem without a line.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with a manifest, in the order of its fields.
pub fn problems(proxy: &DnsProxy, place: Place) -> Vec<Problem> {
    let mut report = Report::default();
    if place == Place::Cluster {
        metadata::check(proxy, &mut report);
    }
    // Destructured without `..`: a field that nobody checks is one that nobody thought about.
    let DnsProxySpec {
        upstreams,
        routes,
        cluster_dns,
        rules,
        tests: _,
        lists,
        hosts,
        responses,
        cache,
        access,
        limits,
        listeners,
        logging: _,
        shutdown,
        workload,
        service,
    } = &proxy.spec;
    upstreams::check(upstreams, place, &mut report);
    routes::check(routes.as_deref(), upstreams, &mut report);
    cluster_dns::check(cluster_dns.as_ref(), &mut report);
    rules::check(rules.as_deref(), &proxy.spec, &mut report);
    tests_of_spec::check(&proxy.spec, &mut report);
    lists::check(lists.as_deref(), place, &mut report);
    lists::check_hosts(hosts.as_ref(), place, &mut report);
    responses::check(responses.as_ref(), &mut report);
    cache::check(cache.as_ref(), workload.as_ref(), place, &mut report);
    access::check(access.as_ref(), &mut report);
    limits::check(limits.as_ref(), &mut report);
    listeners::check(listeners.as_ref(), &proxy.spec, place, &mut report);
    self::shutdown(shutdown.as_ref(), &mut report);
    workload::check(workload.as_ref(), &mut report);
    service::check(service.as_ref(), &mut report);
    report.problems
}

/// What is allowed and probably not meant.
pub fn warnings(proxy: &DnsProxy, place: Place) -> Vec<Problem> {
    let mut report = Report::default();
    upstreams::warn(&proxy.spec.upstreams, &mut report);
    tls::warn(&proxy.spec.upstreams, &mut report);
    routes::warn(&proxy.spec, &mut report);
    rules::warn(&proxy.spec, &mut report);
    let rules = proxy.spec.rules.as_deref().unwrap_or_default();
    expressions::warn(rules, &mut report);
    comments::warn(rules, &mut report);
    lists::warn(&proxy.spec, &mut report);
    access::warn(proxy.spec.access.as_ref(), &mut report);
    limits::warn(proxy, &mut report);
    service::warn(proxy.spec.service.as_ref(), &mut report);
    if place == Place::File {
        workload::warn(&proxy.spec, &mut report);
        rules::warn_outside_of_clusters(&proxy.spec, &mut report);
    }
    report.problems
}

fn shutdown(shutdown: Option<&Shutdown>, report: &mut Report) {
    let Some(Shutdown { delay, drain }) = shutdown else { return };
    report.duration("spec.shutdown.delay", delay.as_deref(), crate::bounds::SHUTDOWN);
    report.duration("spec.shutdown.drain", drain.as_deref(), crate::bounds::SHUTDOWN);
}

/// The upstream and the route that stand for `spec.clusterDNS` in logs and metrics.
pub const CLUSTER_DNS: &str = "cluster-dns";

#[cfg(test)]
mod tests;

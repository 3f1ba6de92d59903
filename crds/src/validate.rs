//! What a schema cannot say: texts that are no addresses, references that lead nowhere, choices that weaken.
//!
//! Every problem is reported at once, with its path. Nothing here asks a network or a file: whether a
//! referenced file or Secret exists is found out where it is used. The rules for a file and for a
//! cluster differ in what may be referred to, since a manifest must not read what its author cannot.
//!
//! Warnings are about what is allowed and probably not meant.

use std::{borrow::Cow, fmt, str::FromStr};

use crate::{
    DnsProxy,
    v1alpha1::{DnsProxySpec, Shutdown},
};

mod access;
mod cluster_dns;
mod limits;
mod listeners;
mod metadata;
mod routes;
mod service;
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
    access::check(access.as_ref(), &mut report);
    limits::check(limits.as_ref(), &mut report);
    listeners::check(listeners.as_ref(), upstreams, place, &mut report);
    self::shutdown(shutdown.as_ref(), &mut report);
    workload::check(workload.as_ref(), &mut report);
    service::check(service.as_ref(), &mut report);
    report.problems
}

/// What is allowed and probably not meant.
pub fn warnings(proxy: &DnsProxy, place: Place) -> Vec<Problem> {
    let mut report = Report::default();
    tls::warn(&proxy.spec.upstreams, &mut report);
    routes::warn(proxy.spec.routes.as_deref(), &proxy.spec.upstreams, &mut report);
    limits::warn(proxy, &mut report);
    if place == Place::File {
        workload::warn(&proxy.spec, &mut report);
    }
    report.problems
}

fn shutdown(shutdown: Option<&Shutdown>, report: &mut Report) {
    let Some(Shutdown { delay, drain }) = shutdown else { return };
    report.duration("spec.shutdown.delay", delay.as_deref(), crate::bounds::SHUTDOWN);
    report.duration("spec.shutdown.drain", drain.as_deref(), crate::bounds::SHUTDOWN);
}

/// Collects problems.
#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
}

impl Report {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    /// Adds a problem unless the condition holds.
    fn require(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.add(path, message);
        }
    }

    /// Parses a text; what is no such thing is a problem.
    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.add(path, quoted(text, &error))).ok()
    }

    /// Parses a list of texts that must all differ by what they mean, each with its index.
    fn parse_all<T>(&mut self, path: &str, texts: &[String]) -> Vec<(usize, T)>
    where
        T: FromStr<Err: fmt::Display> + PartialEq,
    {
        let mut parsed: Vec<(usize, T)> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(value) = self.parse::<T>(&path, text) else { continue };
            match parsed.iter().find(|(_, known)| *known == value) {
                Some((first, _)) => {
                    self.add(path, format!("{text} stands here twice, first as item {first}"))
                }
                None => parsed.push((index, value)),
            }
        }
        parsed
    }

    /// Checks a duration and its bounds.
    fn duration(
        &mut self,
        path: &str,
        text: Option<&str>,
        [least, most]: [crate::units::Duration; 2],
    ) {
        let Some(duration) = text.and_then(|text| self.parse::<crate::units::Duration>(path, text))
        else {
            return;
        };
        let is_within = (least..=most).contains(&duration);
        self.require(is_within, path, format!("{duration} is out of range, {least} to {most}"));
    }

    /// Checks that names are there, are names, and are there once.
    fn names<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut known: Vec<&str> = Vec::new();
        for (index, name) in names.enumerate() {
            let path = format!("{list}[{index}].name");
            if known.contains(&name) {
                self.add(path, format!("{name} is the name of another one, too"));
            } else if self.parse::<crate::units::Name>(&path, name).is_some() {
                let is_free = name != CLUSTER_DNS;
                self.require(
                    is_free,
                    path,
                    format!("{CLUSTER_DNS} is what clusterDNS is called: take another name"),
                );
                known.push(name);
            }
        }
    }
}

/// The error, with the text where it is short enough to help.
fn quoted(text: &str, error: &impl fmt::Display) -> String {
    let text = match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => Cow::from(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::from(text),
    };
    if text.is_empty() { error.to_string() } else { format!("{error} (`{text}`)") }
}

/// The upstream and the route that stand for `spec.clusterDNS` in logs and metrics.
pub const CLUSTER_DNS: &str = "cluster-dns";

/// Enough to find it; our guess.
const LONGEST_QUOTE: usize = 80;

#[cfg(test)]
mod tests;

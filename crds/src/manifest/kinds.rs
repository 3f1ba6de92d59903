//! Which documents of a text are ours.
//!
//! A file that `kubectl apply` takes may have a Namespace beside the DnsProxy: it is passed over with a
//! warning. Something of our own group that we do not know is a problem, and so is a text without any
//! DnsProxy, or with two of the same name, of which `kubectl apply` would keep the second one.

use std::collections::HashSet;

use kube::Resource;

use super::{suggest::did_you_mean, yaml::Node};
use crate::{DnsProxy, GROUP, VERSION, validate::Problem};

/// The documents that are a DnsProxy, and what is said about the others.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) proxies: Vec<Node>,
    pub(super) warnings: Vec<Problem>,
}

pub(super) fn sort(documents: Vec<Node>, problems: &mut Vec<Problem>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut others = Vec::new();
    for document in documents {
        match kind(&document) {
            Ok(Kind::DnsProxy) => sorted.proxies.push(document),
            Ok(Kind::Other(problem)) => others.push(problem),
            Err(problem) => problems.push(problem),
        }
    }
    if sorted.proxies.is_empty() && problems.is_empty() {
        let why = if others.is_empty() { "empty" } else { "nothing in it is a DnsProxy" };
        problems.push(Problem::new(
            "",
            format!("{why}: it needs apiVersion: {}, kind: DnsProxy", api_version()),
        ));
    }
    problems.extend(repeated(&sorted.proxies));
    sorted.warnings.extend(others);
    sorted
}

fn repeated(proxies: &[Node]) -> impl Iterator<Item = Problem> {
    let mut known = HashSet::new();
    proxies.iter().filter_map(move |proxy| {
        let metadata = proxy.get("metadata")?;
        let name = metadata.get("name")?;
        let namespace = metadata.get("namespace").and_then(Node::text);
        let is_new = known.insert((namespace, name.text()?));
        (!is_new).then(|| {
            at(name, "metadata.name", "another object of this text has the same name".to_owned())
        })
    })
}

enum Kind {
    DnsProxy,
    Other(Problem),
}

fn kind(document: &Node) -> Result<Kind, Problem> {
    let text = |key: &'static str, wanted: &str| {
        let node = document.get(key);
        let missing = || at(document, key, format!("missing: write {key}: {wanted}"));
        let (node, text) = node.and_then(|node| Some((node, node.text()?))).ok_or_else(missing)?;
        Ok((node, text))
    };
    let our_kind = DnsProxy::kind(&());
    let (version_node, version) = text("apiVersion", &api_version())?;
    let (kind_node, kind) = text("kind", &our_kind)?;
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if version == api_version() && kind == our_kind {
        Ok(Kind::DnsProxy)
    } else if group == GROUP && version != api_version() {
        Err(at(version_node, "apiVersion", format!("no such version, there is {}", api_version())))
    } else if group == GROUP {
        let hint = did_you_mean(kind, [&*our_kind].into_iter());
        Err(at(kind_node, "kind", format!("no such kind in {GROUP}{hint}")))
    } else if kind == our_kind {
        Err(at(version_node, "apiVersion", format!("a DnsProxy has {}", api_version())))
    } else {
        Ok(Kind::Other(at(kind_node, "kind", format!("a {kind} is not looked at"))))
    }
}

fn at(node: &Node, path: &str, message: String) -> Problem {
    Problem { line: Some(node.line), ..Problem::new(path, message) }
}

fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

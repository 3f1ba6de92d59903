//! CoreDNS's `acl`: who may ask for what.
//!
//! There it looks at the name that a rewrite made, and so do rules that stand behind those that rewrite.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dnsproxy_api::{
    bounds,
    defaults::ACCESS_ALLOW,
    units::{Network, QueryType},
    v1alpha1::{Allow, Block as BlockRule, BlockWith, Match, NameMatch, rule::Rule},
};

use super::{
    super::addresses::{network, without},
    place::Place,
    syntax::{Block, Directive, Line},
    zones,
};
use crate::import::Draft;

/// One line of an `acl`.
#[derive(Clone)]
struct Entry<'b> {
    line: &'b Line,
    action: Action,
    zones: Vec<String>,
    types: Option<Vec<String>>,
    clients: Option<Vec<String>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Action {
    Allow,
    With(BlockWith),
}

/// All addresses.
fn everybody() -> Vec<Network> {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.map(|address| Network::containing(address, 0)).into()
}

/// All `acl ZONES... { ACTION [type QTYPE...] [net SOURCE...] }` of a block; the first line that matches decides. Who is
/// allowed is not asked further there, and by no rule at all here: so where rules stand behind, they are left out of those
/// who are blocked.
pub(super) fn read(block: &Block, place: &Place<'_, '_>, is_alone: bool, draft: &mut Draft) {
    let mut entries = Vec::new();
    for directive in block.directives.iter().filter(|it| it.name == "acl") {
        match lines(directive, place) {
            Ok(lines) => {
                tell_of_mail(directive, draft);
                entries.extend(lines);
                draft.carry();
            }
            Err(reason) => {
                let reason = format!(
                    "{reason}: NOTHING of this `acl` holds here, all whom `access` lets in are answered"
                );
                draft.note(directive.line, directive.text(), reason);
            }
        }
    }
    // Behind the last one everybody is allowed anyway.
    while entries.last().is_some_and(|entry| entry.action == Action::Allow) {
        entries.pop();
    }
    let is_allow = |entry: &Entry<'_>| entry.action == Action::Allow;
    if !entries.iter().any(is_allow) {
        return rules(entries, draft);
    }
    if is_alone && is_allow_list(&entries) {
        return allow_list(&entries, draft);
    }
    tell_of_strangers(&entries, draft);
    if ends_here(block, place) {
        return rules(entries, draft);
    }
    rules(without_allowed(entries, draft), draft);
}

/// The types for mail of old, that no rule can be for, go on to the upstreams, which do not know them either.
fn tell_of_mail(directive: &Directive, draft: &mut Draft) {
    let is_mail = |word: &String| ["MAILA", "MAILB"].iter().any(|it| it.eq_ignore_ascii_case(word));
    for line in directive.lines.iter().filter(|line| line.words.iter().any(is_mail)) {
        let text = format!("acl {}", line.words.join(" "));
        draft.note(line.number, text, "MAILA and MAILB are what no record has: left out");
    }
}

/// CoreDNS answers whoever is not shut out; here those must be let in whose addresses are of no network at home.
fn tell_of_strangers(entries: &[Entry<'_>], draft: &mut Draft) {
    let known: Vec<Network> = ACCESS_ALLOW.iter().filter_map(|it| it.parse().ok()).collect();
    let is_known = |network: &Network| known.iter().any(|known| known.covers(network));
    for entry in entries.iter().filter(|entry| entry.action == Action::Allow) {
        if entry.clients.is_some() && !entry.networks().iter().all(is_known) {
            let reason = "clients of other networks than private ones are refused here: write all that may ask into `access.allow`";
            draft.note(entry.line.number, format!("acl {}", entry.line.words.join(" ")), reason);
        }
    }
}

/// Those that block, without those whom an entry above lets pass. Where that cannot be said, they stay shut out.
fn without_allowed<'b>(entries: Vec<Entry<'b>>, draft: &mut Draft) -> Vec<Entry<'b>> {
    let (mut allowed, mut blocking) = (Vec::<Entry<'_>>::new(), Vec::new());
    for entry in entries {
        if entry.action == Action::Allow {
            allowed.push(entry);
            continue;
        }
        let text = format!("acl {}", entry.line.words.join(" "));
        let mut clients = entry.networks();
        for allow in &allowed {
            match allow.cover(&entry) {
                Cover::None => {}
                Cover::All => clients = allow.networks().into_iter().fold(clients, without),
                Cover::Some => {
                    let line = allow.line.number;
                    let reason =
                        format!("it shuts out those as well whom line {line} lets pass: {OF_SOME}");
                    draft.note(entry.line.number, &*text, reason);
                }
            }
        }
        if clients.len() > bounds::NETWORKS as usize {
            let reason = format!("it shuts out those as well whom lines above let pass: {OF_SOME}");
            draft.note(entry.line.number, text, reason);
            clients = entry.networks();
        }
        if clients == entry.networks() {
            blocking.push(entry);
        } else if !clients.is_empty() {
            let clients = Some(clients.iter().map(ToString::to_string).collect());
            blocking.push(Entry { clients, ..entry });
        }
    }
    blocking
}

const OF_SOME: &str =
    "a rule cannot except them; write rules with `clients`, `types` and `allow` in its place";

/// Of which queries that one entry is for another one is as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cover {
    None,
    Some,
    All,
}

impl Entry<'_> {
    /// Whom it is for.
    fn networks(&self) -> Vec<Network> {
        let parsed = |texts: &Vec<String>| texts.iter().filter_map(|it| it.parse().ok()).collect();
        self.clients.as_ref().map_or_else(everybody, parsed)
    }

    /// By zones and types.
    fn cover(&self, other: &Self) -> Cover {
        let is_in = |zone: &String| zones::hold(&self.zones, zone);
        let by_zones = match other.zones.iter().all(is_in) {
            true => Cover::All,
            false if zones::common(&self.zones, &other.zones).is_empty() => Cover::None,
            false => Cover::Some,
        };
        let by_types = match (&self.types, &other.types) {
            (None, _) => Cover::All,
            (Some(_), None) => Cover::Some,
            (Some(own), Some(other)) if other.iter().all(|it| own.contains(it)) => Cover::All,
            (Some(own), Some(other)) if other.iter().any(|it| own.contains(it)) => Cover::Some,
            (Some(_), Some(_)) => Cover::None,
        };
        match (by_zones, by_types) {
            (Cover::None, _) | (_, Cover::None) => Cover::None,
            (Cover::All, Cover::All) => Cover::All,
            (Cover::All | Cover::Some, Cover::All | Cover::Some) => Cover::Some,
        }
    }
}

fn lines<'b>(directive: &'b Directive, place: &Place<'_, '_>) -> Result<Vec<Entry<'b>>, String> {
    let own = zones::of_all(&directive.args);
    let zones = match &*own {
        [] => place.zones().to_vec(),
        own => zones::common(own, place.zones()),
    };
    let lines = directive.lines.iter().filter(|line| !line.words.is_empty());
    let entries = lines.map(|line| entry(line, &zones));
    // Without zones no query of this block is meant, and without types none at all.
    let is_for_some = |it: &Entry<'_>| {
        !it.zones.is_empty() && it.types.as_ref().is_none_or(|types| !types.is_empty())
    };
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().filter(is_for_some).collect())
}

fn entry<'b>(line: &'b Line, zones: &[String]) -> Result<Entry<'b>, String> {
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let (action, rest) = words.split_first().ok_or("an action is missing")?;
    let action = match &*action.to_ascii_lowercase() {
        "allow" => Action::Allow,
        "block" => Action::With(BlockWith::REFUSED),
        "filter" => Action::With(BlockWith::NODATA),
        "drop" => Action::With(BlockWith::Drop),
        other => return Err(format!("`{other}` is not known here")),
    };
    let (types, clients) = selection(rest)?;
    Ok(Entry { line, action, zones: zones.to_vec(), types, clients })
}

type Selection = (Option<Vec<String>>, Option<Vec<String>>);

fn selection(words: &[&str]) -> Result<Selection, String> {
    let (mut types, mut clients) = (None::<Vec<String>>, None::<Vec<String>>);
    let (mut has_all_types, mut has_all_clients) = (false, false);
    let mut list = None;
    for word in words {
        match (*word, list) {
            ("type" | "net", _) => list = Some(*word),
            ("*", Some("type")) => has_all_types = true,
            ("*", Some("net")) => has_all_clients = true,
            (text, Some("type")) => {
                let (types, rtype) = (types.get_or_insert_default(), rtype(text)?);
                types.extend(rtype.filter(|rtype| !types.contains(rtype)));
            }
            (text, Some("net")) => {
                let network = network(text)?;
                network.parse::<Network>().map_err(|error| error.to_string())?;
                let clients = clients.get_or_insert_default();
                if !clients.contains(&network) {
                    clients.push(network);
                }
            }
            (other, _) => return Err(format!("`{other}` is not known here")),
        }
    }
    // A star stands for all, whatever stands beside it. `ANY` does not: it is a type that can be asked for.
    Ok((types.filter(|_| !has_all_types), clients.filter(|_| !has_all_clients)))
}

/// A type; none for those that no record has and nobody is answered.
fn rtype(text: &str) -> Result<Option<String>, String> {
    let text = text.to_ascii_uppercase();
    match text.parse::<QueryType>() {
        Ok(_) => Ok(Some(text)),
        Err(_) if NEVER_ANSWERED.contains(&&*text) => Ok(None),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

/// Transfers and the types for mail of old (RFC 1035 §3.2.3).
const NEVER_ANSWERED: [&str; 4] = ["AXFR", "IXFR", "MAILA", "MAILB"];

fn is_for_all(entry: &Entry<'_>) -> bool {
    entry.zones.iter().any(|zone| zone == ".")
}

/// Whether it is `allow` for networks, and `block` for everybody else: that is what `access.allow` is.
fn is_allow_list(entries: &[Entry<'_>]) -> bool {
    let Some((last, allowed)) = entries.split_last() else { return false };
    let is_rest = last.action == Action::With(BlockWith::REFUSED)
        && last.types.is_none()
        && last.clients.is_none();
    let is_network = |entry: &Entry<'_>| {
        entry.action == Action::Allow && entry.types.is_none() && entry.clients.is_some()
    };
    is_rest && entries.iter().all(is_for_all) && allowed.iter().all(is_network)
}

fn allow_list(entries: &[Entry<'_>], draft: &mut Draft) {
    let networks = entries.iter().flat_map(|entry| entry.clients.clone().unwrap_or_default());
    draft.spec.access.get_or_insert_default().allow.get_or_insert_default().extend(networks);
}

/// Whether no rule of the block stands behind these, so that who is allowed may be at the end of all of them.
fn ends_here(block: &Block, place: &Place<'_, '_>) -> bool {
    let is_asked = |zone: &String| place.shares(zone).iter().all(|(it, _)| place.is_routed(it));
    ["template", "hosts"].iter().all(|plugin| block.has(plugin).is_none())
        && place.leads().next().is_none()
        && place.zones().iter().all(is_asked)
}

fn rules(entries: Vec<Entry<'_>>, draft: &mut Draft) {
    for entry in entries {
        let is_bare = entry.types.is_none() && entry.clients.is_none();
        let is_named = is_bare || !is_for_all(&entry);
        let Entry { line, action, zones, types, clients } = entry;
        let names = is_named.then(|| NameMatch { zone: Some(zones), ..NameMatch::default() });
        let matches = Match { names, types, clients, ..Match::default() };
        draft.at(line.number);
        match action {
            Action::Allow => {
                let allow = Some(Allow {});
                draft.rule("acl allow", Rule { matches, allow, ..Rule::default() });
            }
            Action::With(with) => {
                let block = Some(BlockRule { with, ttl: None });
                let word = match with {
                    BlockWith::NODATA => "filter",
                    BlockWith::Drop => "drop",
                    BlockWith::REFUSED | BlockWith::NXDOMAIN | BlockWith::NullAddress => "block",
                };
                draft.needed_rule(
                    &format!("acl {word}"),
                    Rule { matches, block, ..Rule::default() },
                );
            }
        }
    }
}

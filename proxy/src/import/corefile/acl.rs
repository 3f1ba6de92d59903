//! CoreDNS's `acl`: who may ask for what.
//!
//! There it looks at the name that a rewrite made, and so do rules that stand behind those that rewrite.

use dnsproxy_api::{
    units::Network,
    v1alpha1::{Allow, Block as BlockRule, BlockWith, Match, NameMatch, rule::Rule},
};

use super::{
    super::addresses::network,
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

/// All `acl ZONES... { ACTION [type QTYPE...] [net SOURCE...] }` of a block; the first line that matches decides. Who is
/// allowed is not asked further there, and by no rule at all here: so that is carried over only where it is the same.
pub(super) fn read(block: &Block, place: &Place<'_, '_>, is_alone: bool, draft: &mut Draft) {
    let mut entries = Vec::new();
    for directive in block.directives.iter().filter(|it| it.name == "acl") {
        match lines(directive, place) {
            Ok(lines) => {
                entries.extend(lines);
                draft.carry();
            }
            Err(reason) => draft.note(directive.line, directive.text(), reason),
        }
    }
    // Behind the last one everybody is allowed anyway.
    while entries.last().is_some_and(|entry| entry.action == Action::Allow) {
        entries.pop();
    }
    let is_allow = |entry: &Entry<'_>| entry.action == Action::Allow;
    let Some(first) = entries.iter().position(is_allow) else {
        return rules(entries, draft);
    };
    if is_alone && is_allow_list(&entries) {
        return allow_list(&entries, draft);
    }
    if ends_here(block, place) {
        return rules(entries, draft);
    }
    for entry in entries.drain(first..) {
        draft.note(entry.line.number, format!("acl {}", entry.line.words.join(" ")), OF_ALLOW);
    }
    rules(entries, draft);
}

const OF_ALLOW: &str = "left out, as all from the first `allow` on: a rule that allows would end those that stand behind it, too; \
                        write rules with `clients`, `types` and `block`";

fn lines<'b>(directive: &'b Directive, place: &Place<'_, '_>) -> Result<Vec<Entry<'b>>, String> {
    let own = zones::of_all(&directive.args);
    let zones = match &*own {
        [] => place.zones().to_vec(),
        own => zones::common(own, place.zones()),
    };
    let lines = directive.lines.iter().filter(|line| !line.words.is_empty());
    let entries = lines.map(|line| entry(line, &zones));
    // Without zones no query of this block is meant.
    Ok(entries
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter(|it| !it.zones.is_empty())
        .collect())
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
            (rtype, Some("type")) => types.get_or_insert_default().push(rtype.to_ascii_uppercase()),
            (text, Some("net")) => {
                let network = network(text)?;
                network.parse::<Network>().map_err(|error| error.to_string())?;
                clients.get_or_insert_default().push(network);
            }
            (other, _) => return Err(format!("`{other}` is not known here")),
        }
    }
    // A star stands for all, whatever stands beside it. `ANY` does not: it is a type that can be asked for.
    Ok((types.filter(|_| !has_all_types), clients.filter(|_| !has_all_clients)))
}

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
                draft.rule(&format!("acl {word}"), Rule { matches, block, ..Rule::default() });
            }
        }
    }
}

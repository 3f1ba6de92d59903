//! CoreDNS's `acl`: who may ask for what.

use dnsproxy_api::{
    units::Network,
    v1alpha1::{Block, BlockWith, Match, NameMatch, rule::Rule},
};

use super::{super::addresses::network, syntax::Directive, zones};
use crate::import::Draft;

/// `acl ZONES... { ACTION [type QTYPE...] [net SOURCE...] }`, the first that matches. Who is allowed is not asked further
/// there; a rule that allows would end all rules here, so it is carried over only where that is the same.
pub(super) fn read(
    directive: &Directive,
    zones: &[String],
    is_alone: bool,
    draft: &mut Draft,
) -> Result<(), String> {
    let mut entries = Vec::new();
    for line in &directive.lines {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        let Some((action, rest)) = words.split_first() else { continue };
        let (types, clients) = selection(rest)?;
        entries.push(Entry { action: (*action).to_owned(), types, clients });
    }
    let own = directive.args.iter().flat_map(|zone| zones::of(zone));
    let own: Vec<_> = if directive.args.is_empty() { zones.to_vec() } else { own.collect() };
    let zones = if own.iter().any(|zone| zone == ".") { Vec::new() } else { own };
    // Behind the last one everybody is allowed anyway.
    while entries.last().is_some_and(|entry| entry.action == "allow") {
        entries.pop();
    }
    let allowed: Vec<_> = entries.iter().filter(|entry| entry.action == "allow").cloned().collect();
    if !allowed.is_empty() {
        let is_for_all = is_alone && zones.is_empty();
        return allow_list(&entries, &allowed, is_for_all, draft);
    }
    for Entry { action, types, clients } in entries {
        let with = match &*action {
            "block" => BlockWith::REFUSED,
            "filter" => BlockWith::NODATA,
            "drop" => BlockWith::Drop,
            other => return Err(format!("`{other}` is not known here")),
        };
        let zones = if zones.is_empty() && types.is_none() && clients.is_none() {
            vec![".".into()]
        } else {
            zones.clone()
        };
        let names =
            (!zones.is_empty()).then(|| NameMatch { zone: Some(zones), ..NameMatch::default() });
        let matches = Match { names, types, clients, ..Match::default() };
        let block = Some(Block { with, ttl: None });
        draft.rule(&format!("acl {action}"), Rule { matches, block, ..Rule::default() });
    }
    Ok(())
}

/// One line of an `acl`.
#[derive(Clone)]
struct Entry {
    action: String,
    types: Option<Vec<String>>,
    clients: Option<Vec<String>>,
}

/// `allow` for networks, and `block` for everybody else: that is what `access.allow` is.
fn allow_list(
    entries: &[Entry],
    allowed: &[Entry],
    is_for_all: bool,
    draft: &mut Draft,
) -> Result<(), String> {
    let is_rest =
        |entry: &Entry| entry.action == "block" && entry.types.is_none() && entry.clients.is_none();
    let is_list = is_for_all
        && entries.len() == allowed.len() + 1
        && entries.last().is_some_and(is_rest)
        && allowed.iter().all(|entry| entry.types.is_none() && entry.clients.is_some());
    if !is_list {
        return Err("left out as a whole: an `allow` before other lines is carried over only where all else is blocked, for all names; \
                    write rules with `clients`, `types` and `block`".into());
    }
    let networks = allowed.iter().flat_map(|entry| entry.clients.clone().unwrap_or_default());
    draft.spec.access.get_or_insert_default().allow.get_or_insert_default().extend(networks);
    Ok(())
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

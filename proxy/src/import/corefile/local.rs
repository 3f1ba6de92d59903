//! Plugins that answer by themselves: `hosts`, `template` and `acl`.

use std::{collections::BTreeMap, net::IpAddr};

use dnsproxy_api::{
    units::{Network, Zone},
    v1alpha1::{Block, BlockWith, Match, NameMatch, OtherTypes, ResponseCode, rule::Rule},
};

use super::{
    super::{
        addresses::{network, reverse_name},
        draft,
    },
    rewrite::rcode,
    syntax::Directive,
};
use crate::import::Draft;

/// Lines of /etc/hosts; a name that is there has no records of other types.
pub(super) fn hosts(directive: &Directive, draft: &mut Draft) -> Result<(), String> {
    let (mut ttl, mut has_reverse, mut falls_through) = (3600, true, false);
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut reverse: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(file) = directive.args.first() {
        draft.hosts_file(file);
        if directive.args.len() > 1 {
            let reason = "its names are answered in every zone";
            draft.note(directive.line, directive.text(), reason);
        }
    } else {
        draft.note(
            directive.line,
            directive.text(),
            "/etc/hosts is not read: for its names, write `hosts: {sources: [{file: /etc/hosts}]}`",
        );
    }
    for line in &directive.lines {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match &*words {
            ["ttl", seconds] => ttl = seconds.parse().map_err(|_| "not a number of seconds")?,
            ["no_reverse"] => has_reverse = false,
            ["fallthrough", ..] => falls_through = true,
            ["reload", _] => {}
            [address, hosts @ ..] => match address.parse::<IpAddr>() {
                Ok(address) => {
                    for host in hosts {
                        let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                        names
                            .entry(host.to_ascii_lowercase())
                            .or_default()
                            .push(format!("{rtype} {address}"));
                    }
                    let whole = hosts.iter().filter(|host| !host.starts_with('*'));
                    reverse
                        .entry(reverse_name(address))
                        .or_default()
                        .extend(whole.map(|host| (*host).to_owned()));
                }
                Err(_) => draft.note(line.number, words.join(" "), "there is nothing like it here"),
            },
            [] => {}
        }
    }
    if let Some(hosts) = &mut draft.spec.hosts {
        hosts.ttl = Some(format!("{ttl}s"));
        if !has_reverse {
            let reason = "addresses of the file have names (PTR)";
            draft.note(directive.line, "no_reverse", reason);
        }
    }
    if !falls_through && (!names.is_empty() || !directive.args.is_empty()) {
        let reason =
            "names that are not there would get SERVFAIL; here they go on to the upstreams";
        draft.note(directive.line, directive.text(), reason);
    }
    for (name, records) in names {
        let (matches, name) = match name.strip_prefix("*.") {
            // One label, as CoreDNS has it.
            Some(below) => {
                let regex = format!("^[^.]+\\.{}\\.$", below.replace('.', "\\."));
                let names = NameMatch { regex: Some(vec![regex]), ..NameMatch::default() };
                (draft::names(names), below.to_owned())
            }
            None => (draft::exact(&name), name),
        };
        name.parse::<Zone>().map_err(|error| format!("`{name}`: {error}"))?;
        let records = records.iter().map(|record| format!("{ttl} {record}")).collect();
        let answer = Some(draft::records(records, OtherTypes::NODATA));
        draft.rule(&name, Rule { matches, answer, ..Rule::default() });
    }
    for (name, hosts) in reverse.into_iter().filter(|(_, hosts)| has_reverse && !hosts.is_empty()) {
        let records =
            hosts.iter().map(|host| format!("{ttl} PTR {}.", host.trim_end_matches('.'))).collect();
        let answer = Some(draft::records(records, OtherTypes::Forward));
        draft.rule(&name, Rule { matches: draft::exact(&name), answer, ..Rule::default() });
    }
    Ok(())
}

/// `acl ZONES... { ACTION [type QTYPE...] [net SOURCE...] }`, the first that matches. Who is allowed is not asked further
/// there; a rule that allows would end all rules here, so it is carried over only where that is the same.
pub(super) fn acl(
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
    let own = directive.args.iter().flat_map(|zone| super::zones_of(zone));
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

/// `template CLASS TYPE [ZONE...] { match REGEX; answer RR; rcode CODE; fallthrough }`, as far as it is without Go's
/// language of templates; the name and groups are understood.
pub(super) fn template(
    directive: &Directive,
    zones: &[String],
    draft: &mut Draft,
) -> Result<(), String> {
    let [class, qtype, own_zones @ ..] = &*directive.args else {
        return Err("a class and a type".into());
    };
    if !matches!(&*class.to_ascii_uppercase(), "IN" | "ANY") {
        return Err("only class IN is answered here".into());
    }
    let own_zones: Vec<_> = own_zones.iter().flat_map(|zone| super::zones_of(zone)).collect();
    let zones = if own_zones.is_empty() { zones } else { &*own_zones };
    let (mut regexes, mut records, mut code) = (Vec::new(), Vec::new(), None);
    for line in &directive.lines {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match &*words {
            ["match", patterns @ ..] => regexes.extend(patterns.iter().map(|it| (*it).to_owned())),
            ["answer", rest @ ..] => records.push(rest.join(" ")),
            ["rcode", text] => code = Some(rcode(text)?),
            ["fallthrough", ..] => {}
            other => draft.note(line.number, other.join(" "), "there is nothing like it here"),
        }
    }
    let types = match &*qtype.to_ascii_uppercase() {
        "ANY" => None,
        other => Some(vec![other.to_owned()]),
    };
    let names = if regexes.is_empty() {
        NameMatch { zone: Some(zones.to_vec()), ..NameMatch::default() }
    } else {
        if zones.iter().any(|zone| zone != ".") {
            draft.note(
                directive.line,
                directive.text(),
                "the regular expression alone decides here, not the zone",
            );
        }
        NameMatch { regex: Some(regexes.clone()), ..NameMatch::default() }
    };
    let matches = Match { types, ..draft::names(names) };
    let records =
        records.iter().map(|record| filled(record, &regexes)).collect::<Result<Vec<_>, _>>()?;
    let rule = match (records.is_empty(), code.unwrap_or_default()) {
        (false, ResponseCode::NOERROR) => {
            let answer = Some(draft::records(records, OtherTypes::Forward));
            Rule { matches, answer, ..Rule::default() }
        }
        (true, code) => {
            let with = match code {
                ResponseCode::NXDOMAIN => BlockWith::NXDOMAIN,
                ResponseCode::REFUSED => BlockWith::REFUSED,
                ResponseCode::NOERROR => BlockWith::NODATA,
                other => return Err(format!("{other:?} is never answered here by a rule")),
            };
            Rule { matches, block: Some(Block { with, ttl: None }), ..Rule::default() }
        }
        (false, code) => return Err(format!("records together with {code:?}")),
    };
    super::check(&rule)?;
    draft.rule(
        &format!("template {qtype} {}", zones.first().map(String::as_str).unwrap_or_default()),
        rule,
    );
    Ok(())
}

/// A record, in which `{{ .Name }}` is the name and `{{ .Group.x }}` a group.
fn filled(record: &str, regexes: &[String]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = record;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (inner, behind) = behind.split_once("}}").ok_or("a `}}` is missing")?;
        text.push_str(before);
        text.push_str(&place(inner.trim(), regexes)?);
        rest = behind;
    }
    text.push_str(rest);
    // The owner is always the name that was asked for.
    let (owner, record) = text.split_once(char::is_whitespace).ok_or("a record without data")?;
    if owner != "{name}" {
        return Err(format!(
            "a record of `{owner}`: here a rule has records of the name that is asked for"
        ));
    }
    Ok(record.trim().to_owned())
}

fn place(inner: &str, regexes: &[String]) -> Result<String, String> {
    let unknown = || format!("`{{{{ {inner} }}}}` is Go's language of templates");
    if inner == ".Name" {
        return Ok("{name}".into());
    }
    if let Some(index) = inner.strip_prefix("index .Match ") {
        return index
            .trim()
            .parse::<usize>()
            .map(|index| format!("{{{index}}}"))
            .map_err(|_| unknown());
    }
    let group = inner
        .strip_prefix(".Group.")
        .or_else(|| inner.strip_prefix("index .Group \"").and_then(|rest| rest.strip_suffix('"')));
    let group = group.ok_or_else(unknown)?;
    if let Ok(index) = group.parse::<usize>() {
        return Ok(format!("{{{index}}}"));
    }
    let numbers: Vec<_> = regexes.iter().map(|regex| group_number(regex, group)).collect();
    match &*numbers {
        [Some(first), rest @ ..] if rest.iter().all(|other| *other == Some(*first)) => {
            Ok(format!("{{{first}}}"))
        }
        _ => Err(format!("no group is called `{group}` in every expression")),
    }
}

/// The number of a group with a name.
fn group_number(regex: &str, name: &str) -> Option<usize> {
    let mut number = 0;
    let mut is_escaped = false;
    for (at, c) in regex.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' => {
                let behind = regex.get(at + 1..).unwrap_or_default();
                let named = behind.strip_prefix("?P<").or_else(|| behind.strip_prefix("?<"));
                if named.is_some() || !behind.starts_with('?') {
                    number += 1;
                }
                if named.is_some_and(|named| named.split('>').next() == Some(name)) {
                    return Some(number);
                }
            }
            _ => {}
        }
    }
    None
}

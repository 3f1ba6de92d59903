//! CoreDNS's `template`: answers made of the name that is asked for.

use dnsproxy_api::v1alpha1::{
    Block, BlockWith, Match, NameMatch, OtherTypes, ResponseCode, rule::Rule,
};

use super::{super::draft, rewrite::rcode, syntax::Directive, zones};
use crate::import::Draft;

/// `template CLASS TYPE [ZONE...] { match REGEX; answer RR; rcode CODE; fallthrough }`, as far as it is without Go's
/// language of templates; the name and groups are understood.
pub(super) fn read(
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
    let own_zones: Vec<_> = own_zones.iter().flat_map(|zone| zones::of(zone)).collect();
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

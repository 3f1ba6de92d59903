//! CoreDNS's `template`: answers made of the name that is asked for.

use dnsproxy_api::v1alpha1::{
    Block, BlockWith, Class, Match, NameMatch, OtherTypes, ResponseCode, rule::Rule,
};

use super::{super::draft, Place, rewrite::rcode, syntax::Directive, zones};
use crate::import::Draft;

/// `template CLASS TYPE [ZONE...] { match REGEX; answer RR; rcode CODE; fallthrough }`, as far as it is without Go's
/// language of templates; the name and groups are understood.
pub(super) fn read(
    directive: &Directive,
    place: &Place<'_, '_>,
    draft: &mut Draft,
) -> Result<(), String> {
    let [class, qtype, own_zones @ ..] = &*directive.args else {
        return Err("a class and a type".into());
    };
    let classes = match &*class.to_ascii_uppercase() {
        "IN" => Some(vec![Class::IN]),
        "ANY" => None,
        _ => return Err("only class IN is answered here".into()),
    };
    let zones = match own_zones {
        [] => place.zones().to_vec(),
        own => zones::common(&zones::of_all(own), place.zones()),
    };
    if zones.is_empty() {
        return Err("left out: it is for no name of its block".into());
    }
    let lines = Lines::read(directive, draft)?;
    let qtype = qtype.to_ascii_uppercase();
    lines.tell(directive, &qtype, &zones, draft);
    let matches = Match { types: types(&qtype, place), classes, ..lines.matches(&zones) };
    // There a question for any type gets the records, whatever their types are, and goes no further.
    let other_types = if qtype == "ANY" { OtherTypes::NODATA } else { OtherTypes::Forward };
    let rule = lines.rule(matches, other_types, place)?;
    super::check(&rule)?;
    let first = zones.first().map(String::as_str).unwrap_or_default();
    draft.rule(&format!("template {qtype} {first}"), rule);
    Ok(())
}

/// What is asked for: a question for ANY is one for each type, unless it was answered before.
fn types(qtype: &str, place: &Place<'_, '_>) -> Option<Vec<String>> {
    let is_answered = place.read.block.has("any").is_some();
    let any = (!is_answered).then(|| "ANY".to_owned());
    (qtype != "ANY").then(|| std::iter::once(qtype.to_owned()).chain(any).collect())
}

/// What stands in the braces.
#[derive(Default)]
struct Lines {
    regexes: Vec<String>,
    records: Vec<String>,
    code: ResponseCode,
    /// The zones whose names go on when no expression matches; none, when they get SERVFAIL.
    falls_through: Option<Vec<String>>,
}

impl Lines {
    fn read(directive: &Directive, draft: &mut Draft) -> Result<Self, String> {
        let mut lines = Self::default();
        for line in &directive.lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            match &*words {
                ["match", patterns @ ..] => {
                    lines.regexes.extend(patterns.iter().map(|it| (*it).to_owned()));
                }
                ["answer", rest @ ..] => lines.records.push(rest.join(" ")),
                ["rcode", text] => lines.code = rcode(text)?,
                ["fallthrough", zones @ ..] => {
                    let zones = zones.iter().flat_map(|zone| zones::of(zone)).collect();
                    lines.falls_through = Some(zones);
                }
                other => draft.note(line.number, other.join(" "), "there is nothing like it here"),
            }
        }
        Ok(lines)
    }

    fn matches(&self, zones: &[String]) -> Match {
        draft::names(if self.regexes.is_empty() {
            NameMatch { zone: Some(zones.to_vec()), ..NameMatch::default() }
        } else {
            NameMatch { regex: Some(self.regexes.clone()), ..NameMatch::default() }
        })
    }

    fn rule(
        &self,
        matches: Match,
        other_types: OtherTypes,
        place: &Place<'_, '_>,
    ) -> Result<Rule, String> {
        let records = self.records.iter().map(|record| filled(record, &self.regexes));
        let records = records.map(|record| Ok(with_ttl(&record?, place)));
        let records = records.collect::<Result<Vec<_>, String>>()?;
        match (records.is_empty(), self.code) {
            (false, ResponseCode::NOERROR) => {
                let answer = Some(draft::records(records, other_types));
                Ok(Rule { matches, answer, ..Rule::default() })
            }
            (true, code) => {
                let with = match code {
                    ResponseCode::NXDOMAIN => BlockWith::NXDOMAIN,
                    ResponseCode::REFUSED => BlockWith::REFUSED,
                    ResponseCode::NOERROR => BlockWith::NODATA,
                    other => return Err(format!("{other:?} is never answered here by a rule")),
                };
                Ok(Rule { matches, block: Some(Block { with, ttl: None }), ..Rule::default() })
            }
            (false, code) => Err(format!("records together with {code:?}")),
        }
    }

    fn tell(&self, directive: &Directive, qtype: &str, zones: &[String], draft: &mut Draft) {
        let mut tell = |reason: &str| draft.note(directive.line, directive.text(), reason);
        let is_of_zones = |regex: &String| zones.iter().any(|zone| ends_with(regex, zone));
        if !self.regexes.iter().all(is_of_zones) {
            tell("the regular expression alone decides here, not the zone");
        }
        let goes_on = self
            .falls_through
            .as_ref()
            .is_some_and(|own| own.is_empty() || zones.iter().all(|zone| zones::hold(own, zone)));
        if !self.regexes.is_empty() && !goes_on {
            tell("names that do not match would get SERVFAIL; here they go on");
        }
        let is_alias = |record: &String| rtype(record).is_some_and(|it| it == "CNAME");
        if !matches!(qtype, "A" | "AAAA" | "CNAME") && self.records.iter().any(is_alias) {
            tell("the target of a CNAME is looked up for every type, not for addresses alone");
        }
        if directive.args.first().is_some_and(|class| class.eq_ignore_ascii_case("ANY"))
            && !self.records.is_empty()
        {
            tell("records are for class IN alone");
        }
        let is_other =
            |record: &&String| !matches!(rtype(record), Some(it) if it == qtype || it == "CNAME");
        let other = self.records.iter().find(is_other);
        if other.is_some() && qtype == "ANY" {
            tell(
                "questions for other types than those of its records get NODATA here, and the records there",
            );
        } else if let Some(record) = other {
            tell(&format!(
                "`{record}` is no answer to a question for another type here: that one goes on"
            ));
        }
    }
}

/// Whether an expression matches names of a zone alone, as far as that can be seen.
fn ends_with(regex: &str, zone: &str) -> bool {
    let text = regex.replace("\\.", ".").replace("[.]", ".");
    let Some(text) = text.strip_suffix(".$") else { return zone == "." };
    let start = text.strip_suffix(zone);
    zone == "." || !text.contains('|') && start.is_some_and(|it| it == "^" || it.ends_with('.'))
}

/// The type of a record.
fn rtype(record: &str) -> Option<String> {
    let owner = record.split_once("}}").or_else(|| record.split_once(char::is_whitespace));
    let behind = owner.map_or(record, |(_, behind)| behind);
    let mut words = behind.split_whitespace().map(str::to_ascii_uppercase);
    words.find(|word| word.parse::<u32>().is_err() && !matches!(&**word, "IN" | "CH" | "HS"))
}

/// A record with the TTL that it has there: an hour where none stands, and what the cache and the rewrites of the block make of it.
fn with_ttl(record: &str, place: &Place<'_, '_>) -> String {
    let (mut own, mut class, mut rest) = (None, None, record.trim_start());
    // Before the type stand a TTL and a class, or one of them, in any order (RFC 1035 section 5.1). Numbers behind it are data.
    loop {
        let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match word.parse::<u32>() {
            Ok(seconds) if own.is_none() => own = Some(seconds),
            Err(_) if class.is_none() && is_class(word) => class = Some(word),
            _ => break,
        }
        rest = behind.trim_start();
    }
    let ttl = place.ttl(None, own.unwrap_or(3600)).to_string();
    [Some(&*ttl), class, Some(rest)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn is_class(word: &str) -> bool {
    ["IN", "CH", "HS"].iter().any(|class| class.eq_ignore_ascii_case(word))
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
    let only_name = format!("^{}\\.$", owner.trim_end_matches('.').replace('.', "\\."));
    let is_asked_for = !regexes.is_empty() && regexes.iter().all(|regex| *regex == only_name);
    if owner != "{name}" && !is_asked_for {
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

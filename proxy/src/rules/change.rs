//! What a rule changes in an answer: TTLs, response codes, the types of its records, and where its aliases lead.
//!
//! An answer with another code or fewer records than the upstream gave is not the authentic one, and loses AD; one that is
//! changed in any way is no authority's, and loses AA; and one that denies by now has an SOA record, as denials have
//! (RFC 2308 section 2).

use std::fmt;

use dnsproxy_api::units::{DEFAULT_TTL, Regex, Template};

use super::{answer, hints, rewrite::parse};
use crate::message::{
    Header, Name, Qtype, Question, Rcode,
    response::{Record, Response},
    u16_at,
};

/// What a name that matches becomes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) regex: Regex,
    pub(super) to: Template,
}

/// What a rule changes in an upstream's answer.
#[derive(Debug, Default)]
pub struct Changes {
    /// The least and the largest TTL, in seconds.
    pub(super) ttl: Option<(u32, u32)>,
    pub(super) rcodes: Vec<(Rcode, Rcode)>,
    /// Types of which the records are taken out.
    pub(super) removed: Vec<Qtype>,
    pub(super) cname_target: Option<Change>,
}

/// A text that a rule made and that is no name.
pub(super) type NoName = String;

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ttl, rcodes, removed, cname_target } = self;
        let mut parts = Vec::new();
        match ttl {
            Some((least, u32::MAX)) => parts.push(format!("TTLs are at least {least} s")),
            Some((0, most)) => parts.push(format!("TTLs are at most {most} s")),
            Some((least, most)) => parts.push(format!("TTLs are {least} to {most} s")),
            None => {}
        }
        parts.extend(rcodes.iter().map(|(from, to)| format!("{from} becomes {to}")));
        parts.extend(removed.iter().map(|rtype| format!("{rtype} records are taken out")));
        parts.extend(
            cname_target
                .iter()
                .map(|it| format!("a CNAME to {} goes to {}", it.regex.as_str(), it.to)),
        );
        f.write_str(&parts.join(", "))
    }
}

impl Change {
    /// What a name becomes, if it matches.
    pub(super) fn apply(&self, text: &str) -> Option<Result<Name<'static>, NoName>> {
        let captures = self.regex.captures(text)?;
        let group = |index| captures.get(index);
        Some(parse(self.to.fill(text, group)))
    }
}

impl Changes {
    /// Whether it leads CNAME records to other targets.
    pub(super) fn has_target(&self) -> bool {
        self.cname_target.is_some()
    }

    /// Does it, but for the targets of CNAME records: what they lead to has to be looked up, see [`super::answer::redirect`].
    pub(super) fn apply(&self, response: &mut Response, rcode: &mut Rcode) {
        let Self { ttl, rcodes, removed, cname_target: _ } = self;
        if !removed.is_empty() {
            remove(removed, response);
        }
        let new = rcodes.iter().find(|(from, _)| from == rcode).map(|(_, to)| *to);
        if let Some(to) = new {
            *rcode = to;
            response.header.disown();
        }
        let is_emptied = *rcode == Rcode::NOERROR && removed.contains(&response.question.qtype);
        if is_emptied || new.is_some() {
            deny(response, *rcode);
        }
        if let Some((least, most)) = *ttl {
            bound_ttls(response, least, most);
        }
    }
}

/// The data stays authentic with any TTL, but no authority has given this one.
fn bound_ttls(response: &mut Response, least: u32, most: u32) {
    let mut is_changed = false;
    for record in response.records_mut() {
        let bounded = record.ttl.clamp(least, most);
        is_changed |= bounded != record.ttl;
        record.ttl = bounded;
    }
    if is_changed {
        response.header.flags &= !Header::AA;
    }
}

/// Whether a record is the signature of one of these types.
pub(super) fn signs(record: &Record, types: &[Qtype]) -> bool {
    let covered = u16_at(&record.data.head, 0).map(Qtype);
    record.rtype == Qtype::RRSIG && covered.is_some_and(|covered| types.contains(&covered))
}

/// Takes the records of some types out, and what other records say of them.
fn remove(types: &[Qtype], response: &mut Response) {
    let [answers, _, additionals] = &mut response.sections;
    for section in [answers, additionals] {
        section.retain(|record| !types.contains(&record.rtype) && !signs(record, types));
    }
    hints::remove(types, response);
    response.header.disown();
}

/// Where nothing is left of what was asked for, or the code says so by now, the answer says so for a while: of the name at
/// the end of the aliases (RFC 2308 section 2).
pub(super) fn deny(response: &mut Response, rcode: Rcode) {
    let denied = answer::denied(response);
    let asked = &response.question;
    let name = match rcode {
        Rcode::NOERROR => denied,
        Rcode::NXDOMAIN => Some(denied.unwrap_or_else(|| asked.name.clone())),
        _ => None,
    };
    let denial = name.map(|name| super::denial(&Question { name, ..asked.clone() }, DEFAULT_TTL));
    let [_, authorities, _] = &mut response.sections;
    if !authorities.iter().any(|record| record.rtype == Qtype::SOA) {
        authorities.extend(denial);
    }
}

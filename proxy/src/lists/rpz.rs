//! Response policy zones (draft-vixie-dnsop-dns-rpz): zone files in which a name says what is done about it.
//!
//! | records of a name | what is done in a `block` rule |
//! |---|---|
//! | `CNAME .` | NXDOMAIN |
//! | `CNAME *.` | NODATA |
//! | `CNAME rpz-passthru.` | it passes |
//! | `CNAME rpz-drop.` | no reply |
//! | `CNAME rpz-tcp-only.` | over UDP an empty reply that sends the client to TCP, where it passes |
//! | any other | these records are the answer; other types have none |
//!
//! `*.name` is what is below a name. The name itself comes first, then the longest one that it is below.

use std::borrow::Cow;

use dnsproxy_api::units::{Record, RecordType, depth, unquoted};

use super::{
    builder::Builder,
    domains::{self, excerpt},
};
use crate::message::name::MAX_NAME_LEN;

/// What is done about a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Action {
    /// There is no such name.
    Nxdomain = 1,
    /// There is nothing of this type.
    Nodata,
    /// Nothing is done.
    Pass,
    /// There is no reply.
    Drop,
    /// Only TCP passes.
    TcpOnly,
    /// Records of the list are the answer.
    Records,
}

impl Action {
    const ALL: [Self; 6] =
        [Self::Nxdomain, Self::Nodata, Self::Pass, Self::Drop, Self::TcpOnly, Self::Records];

    /// What an octet of the set says about the name itself, or about what is below it.
    pub(super) fn of(octet: u8, is_whole: bool) -> Option<Self> {
        let code = if is_whole { octet & 15 } else { octet >> 4 };
        Self::ALL.into_iter().find(|action| *action as u8 == code)
    }

    /// The target of a CNAME record that has a meaning of its own, in wire form.
    fn of_target(target: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 5] = [
            (b"\0", Self::Nxdomain),
            (b"\x01*\0", Self::Nodata),
            (b"\x0crpz-passthru\0", Self::Pass),
            (b"\x08rpz-drop\0", Self::Drop),
            (b"\x0crpz-tcp-only\0", Self::TcpOnly),
        ];
        let mut known = known.into_iter();
        known.find(|(name, _)| name.eq_ignore_ascii_case(target)).map(|(_, action)| action)
    }
}

/// The TTL of records that have none, until `$TTL` gives one; our guess, as in rules.
const DEFAULT_TTL: u32 = dnsproxy_api::units::DEFAULT_TTL;
/// Octets and lines of one record; our guess at what no record of a policy has.
const MAX_RECORD: usize = 4096;
const MAX_LINES: usize = 64;

const CNAME: u16 = 5;
const SOA: u16 = 6;

/// Types that are about the zone itself, or about its signatures: SOA, NS, RRSIG, NSEC, NSEC3, NSEC3PARAM, DNSKEY, DS,
/// CDS and CDNSKEY.
const PASSED_OVER: [u16; 10] = [SOA, 2, 46, 47, 50, 51, 48, 43, 59, 60];

/// Reads the lines of one zone.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What owners are relative to; it may change from line to line.
    origin: Option<String>,
    /// The zone itself: what is cut off from owners.
    zone: Option<String>,
    /// The owner of the last record, for lines without one.
    owner: Option<String>,
    ttl: Option<u32>,
    open: Option<Open>,
}

/// A record that goes on behind the end of a line.
#[derive(Debug, Default)]
struct Open {
    /// The number of its first line.
    first: usize,
    lines: Vec<String>,
    len: usize,
    /// Parentheses that are open.
    depth: i32,
}

impl Reader {
    /// One line of the file.
    pub(super) fn line(
        &mut self,
        number: usize,
        line: &str,
        builder: &mut Builder,
        bad: &mut dyn FnMut(usize, String),
    ) {
        let (text, depth) = if is_plain(line) {
            (line, 0)
        } else {
            let text = uncommented(line);
            (text, unquoted(text).fold(0, depth))
        };
        if self.open.is_none() && depth <= 0 {
            return self.record(text, builder).unwrap_or_else(|reason| bad(number, reason));
        }
        let open = self.open.get_or_insert_with(|| Open { first: number, ..Open::default() });
        open.lines.push(text.to_owned());
        open.len += text.len();
        open.depth += depth;
        if open.depth > 0 && open.len <= MAX_RECORD && open.lines.len() <= MAX_LINES {
            return;
        }
        let Some(Open { first, lines, depth, .. }) = self.open.take() else { return };
        if depth <= 0 {
            let whole = lines.join(" ");
            return self.record(&whole, builder).unwrap_or_else(|reason| bad(first, reason));
        }
        bad(first, UNCLOSED.into());
        // What stands behind it is likely to be sound.
        for (number, line) in (first..).zip(&lines).skip(1) {
            self.line(number, line, builder, bad);
        }
    }

    /// The end of the file.
    pub(super) fn end(&mut self, builder: &mut Builder, bad: &mut dyn FnMut(usize, String)) {
        while let Some(Open { first, lines, .. }) = self.open.take() {
            bad(first, UNCLOSED.into());
            for (number, line) in (first..).zip(&lines).skip(1) {
                self.line(number, line, builder, bad);
            }
        }
        *self = Self::default();
    }

    fn record(&mut self, text: &str, builder: &mut Builder) -> Result<(), String> {
        let has_owner = !text.starts_with([' ', '\t']);
        let text = without_parentheses(text);
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix('$') {
            return self.directive(rest);
        }
        let rest = match (has_owner, text.split_once([' ', '\t'])) {
            (true, Some((owner, rest))) => {
                self.owner = Some(self.absolute(owner.to_ascii_lowercase()));
                rest.trim_start()
            }
            (true, None) => return Err("no record behind the name".into()),
            (false, _) => text,
        };
        let owner = self.owner.as_deref().ok_or("no name in front of the record")?;
        let (fields, data) = Fields::read(rest);
        let rtype = fields.number();
        if rtype.is_some_and(|rtype| PASSED_OVER.contains(&rtype)) {
            if rtype == Some(SOA) && owner.ends_with('.') {
                self.zone = Some(owner.to_owned());
            }
            return Ok(());
        }
        let Some((trigger, is_below)) = self.trigger(owner)? else { return Ok(()) };
        let mut buffer = [0; MAX_NAME_LEN];
        let wire = domains::wire_of(trigger, &mut buffer)?;
        let (action, record) = self.action(&fields, data, wire, is_below, builder)?;
        let mut known = None;
        let set = |octet: u8| {
            known = Action::of(octet, !is_below);
            match known {
                Some(_) => octet,
                None if is_below => octet | (action as u8) << 4,
                None => octet | action as u8,
            }
        };
        let position = builder.names.change(wire, set).map_err(|full| full.to_string())?;
        match (known, record) {
            (None, None) => Ok(()),
            (None | Some(Action::Records), Some(record)) => {
                builder.records.add(position, is_below, record)
            }
            (Some(before), None) if before == action => Ok(()),
            (Some(_), _) => Err("the name has another action already".into()),
        }
    }

    /// What a record says that is done, and the record itself when it is to be the answer.
    fn action(
        &self,
        fields: &Fields<'_>,
        data: &str,
        trigger: &[u8],
        is_below: bool,
        builder: &mut Builder,
    ) -> Result<(Action, Option<Record>), String> {
        let record = self.read(fields, data, builder)?;
        let is_alias = record.rtype == CNAME;
        if is_alias && data.starts_with("rpz-") && !data.ends_with('.') {
            return Err(format!("`{}.` has a dot at its end", excerpt(data)));
        }
        if let Some(action) = Action::of_target(&record.data).filter(|_| is_alias) {
            return Ok((action, None));
        }
        // How names were let pass before there was a word for it.
        let is_itself = is_alias && !is_below && record.data.eq_ignore_ascii_case(trigger);
        Ok(if is_itself { (Action::Pass, None) } else { (Action::Records, Some(record)) })
    }

    fn directive(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split_ascii_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        match (name.to_ascii_uppercase().as_str(), value) {
            ("ORIGIN", Some(origin)) => {
                let origin = self.absolute(origin.to_ascii_lowercase());
                let origin = if origin.ends_with('.') { origin } else { origin + "." };
                // The first one is the zone's, unless an SOA record says another thing.
                self.zone.get_or_insert_with(|| origin.clone());
                self.origin = Some(origin);
                Ok(())
            }
            ("TTL", Some(ttl)) => {
                self.ttl =
                    Some(ttl_of(ttl).ok_or_else(|| format!("`{}` is no TTL", excerpt(ttl)))?);
                Ok(())
            }
            ("INCLUDE", _) => Err("other files are not read: give each as a source".into()),
            _ => Err(format!("${} is not known", excerpt(name))),
        }
    }

    /// A name with the dot at its end; without one, when there is no origin.
    fn absolute(&self, mut name: String) -> String {
        match self.origin.as_deref() {
            Some(origin) if name == "@" => origin.clone_into(&mut name),
            Some(origin) if !name.ends_with('.') => {
                name.push('.');
                name.push_str(if origin == "." { "" } else { origin });
            }
            _ => {}
        }
        name
    }

    /// The name that an owner is about, and whether it is about what is below that; nothing for the zone itself.
    fn trigger<'o>(&self, owner: &'o str) -> Result<Option<(&'o str, bool)>, String> {
        let relative = match (owner.strip_suffix('.'), self.zone.as_deref()) {
            _ if owner == "@" || self.zone.as_deref() == Some(owner) => return Ok(None),
            (Some(_), Some(zone)) if zone != "." => owner
                .strip_suffix(zone)
                .and_then(|rest| rest.strip_suffix('.'))
                .ok_or_else(|| format!("`{}` is outside of the zone {zone}", excerpt(owner)))?,
            (Some(name), _) => name,
            (None, _) => owner,
        };
        let last = relative.rsplit('.').next().unwrap_or_default();
        if matches!(last, "rpz-ip" | "rpz-client-ip" | "rpz-nsip" | "rpz-nsdname") {
            return Err(format!("{last} triggers are not known: names (QNAME) only"));
        }
        Ok(Some(match relative.strip_prefix("*.") {
            Some(below) => (below, true),
            None if relative == "*" => (".", true),
            None => (relative, false),
        }))
    }

    /// A record of the zone. Many names have the same one.
    fn read(
        &self,
        fields: &Fields<'_>,
        data: &str,
        builder: &mut Builder,
    ) -> Result<Record, String> {
        let Fields { ttl, rtype } = fields;
        let ttl = ttl.or(self.ttl).unwrap_or(DEFAULT_TTL);
        let origin = self.origin.as_deref().unwrap_or(".");
        builder.records.read(format!("{ttl} {rtype} {data}"), origin)
    }
}

const UNCLOSED: &str = "a parenthesis is not closed";

/// What may stand in front of the data of a record.
struct Fields<'l> {
    ttl: Option<u32>,
    rtype: &'l str,
}

impl<'l> Fields<'l> {
    /// TTL and class in either order, and the type. Returns the data as well.
    fn read(text: &'l str) -> (Self, &'l str) {
        let (mut ttl, mut rest) = (None, text);
        for _ in 0..2 {
            let Some((word, behind)) = rest.split_once([' ', '\t']) else { break };
            let number = ttl_of(word).filter(|_| ttl.is_none());
            let is_class = word.eq_ignore_ascii_case("IN") || word.eq_ignore_ascii_case("CLASS1");
            if number.is_none() && !is_class {
                break;
            }
            ttl = ttl.or(number);
            rest = behind.trim_start();
        }
        let (rtype, data) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        (Self { ttl, rtype }, data.trim())
    }

    /// That of the type.
    fn number(&self) -> Option<u16> {
        let rtype: RecordType = self.rtype.to_ascii_uppercase().parse().ok()?;
        Some(rtype.number())
    }
}

/// Seconds, or numbers with units, as zone files have them: `3600`, `1h30m`.
fn ttl_of(text: &str) -> Option<u32> {
    let (mut seconds, mut number) = (0_u32, None::<u32>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match (number, text) {
        (None, "") => None,
        (number, _) => {
            seconds.checked_add(number.unwrap_or(0)).filter(|it| i32::try_from(*it).is_ok())
        }
    }
}

/// Whether there is neither a comment nor anything else that may go on behind the end of the line.
fn is_plain(line: &str) -> bool {
    !line.bytes().any(|octet| matches!(octet, b'"' | b'(' | b')' | b';' | b'\\'))
}

/// Without a comment, which begins at a semicolon outside of quotes.
fn uncommented(line: &str) -> &str {
    let end = unquoted(line).find(|(_, c)| *c == ';').map(|(at, _)| at);
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

/// Parentheses only join lines (RFC 1035 section 5.1), which are joined already.
fn without_parentheses(text: &str) -> Cow<'_, str> {
    if !text.contains(['(', ')']) {
        return text.into();
    }
    let mut out = text.to_owned();
    for (at, c) in unquoted(text) {
        if matches!(c, '(' | ')') {
            out.replace_range(at..=at, " ");
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;

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

use dnsproxy_api::units::Record;

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

    /// The target of a CNAME record that has a meaning of its own.
    fn of_target(target: &str) -> Option<Self> {
        Some(match target {
            "." => Self::Nxdomain,
            "*." => Self::Nodata,
            "rpz-passthru." => Self::Pass,
            "rpz-drop." => Self::Drop,
            "rpz-tcp-only." => Self::TcpOnly,
            _ => return None,
        })
    }
}

/// The TTL of records that have none, until `$TTL` gives one; our guess, as in rules.
const DEFAULT_TTL: u32 = dnsproxy_api::units::DEFAULT_TTL;
/// Octets of one record over several lines; our guess at what no record of a policy has.
const MAX_RECORD: usize = 65_536;

/// Reads the lines of one zone.
#[derive(Debug, Default)]
pub(super) struct Reader {
    origin: Option<String>,
    /// The owner of the last record, for lines without one.
    owner: Option<String>,
    ttl: Option<u32>,
    /// The beginning of a record that goes on behind the end of the line, and its line.
    open: Option<(usize, String)>,
}

impl Reader {
    /// One line of the file. Returns the line that a problem is about, and the problem.
    pub(super) fn line(
        &mut self,
        number: usize,
        line: &str,
        builder: &mut Builder,
    ) -> Result<(), (usize, String)> {
        let text = uncommented(line);
        let (first, whole) = match self.open.take() {
            Some((first, before)) => (first, format!("{before} {text}")),
            None => (number, text.to_owned()),
        };
        if depth(&whole) > 0 {
            if whole.len() > MAX_RECORD {
                return Err((first, "a parenthesis is not closed".into()));
            }
            self.open = Some((first, whole));
            return Ok(());
        }
        self.record(&whole, builder).map_err(|reason| (first, reason))
    }

    /// The end of the file.
    pub(super) fn end(&mut self) -> Result<(), (usize, String)> {
        let open = self.open.take();
        open.map_or(Ok(()), |(line, _)| Err((line, "a parenthesis is not closed".into())))
    }

    fn record(&mut self, text: &str, builder: &mut Builder) -> Result<(), String> {
        let has_owner = !text.starts_with([' ', '\t']);
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix('$') {
            return self.directive(rest);
        }
        let (owner, rest) = match (has_owner, text.split_once([' ', '\t'])) {
            (true, Some((owner, rest))) => (owner.to_ascii_lowercase(), rest.trim_start()),
            (true, None) => return Err("no record behind the name".into()),
            (false, _) => (self.owner.clone().ok_or("no name in front of the record")?, text),
        };
        self.owner = Some(owner.clone());
        let (fields, rest) = Fields::read(rest);
        let is_of = |rtype: &str| fields.rtype.eq_ignore_ascii_case(rtype);
        if is_of("SOA") {
            // It names the zone when nothing else does.
            if self.origin.is_none() && owner.ends_with('.') && owner.len() > 1 {
                self.origin = Some(owner);
            }
            return Ok(());
        }
        let Some((trigger, is_below)) = self.trigger(&owner)? else { return Ok(()) };
        let own = if is_of("CNAME") { Action::of_target(&rest.to_ascii_lowercase()) } else { None };
        let record = match own {
            Some(_) => None,
            None => Some(self.read(&fields, rest)?),
        };
        let mut buffer = [0; MAX_NAME_LEN];
        let wire = domains::wire_of(&trigger, &mut buffer)?;
        let action = own.unwrap_or(Action::Records);
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
                add(builder.records.entry((position, is_below)).or_default(), record)
            }
            (Some(before), None) if before == action => Ok(()),
            (Some(_), _) => Err("the name has another action already".into()),
        }
    }

    fn directive(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split_ascii_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        match (name.to_ascii_uppercase().as_str(), value) {
            ("ORIGIN", Some(origin)) => {
                let origin = origin.to_ascii_lowercase();
                self.origin =
                    Some(if origin.ends_with('.') { origin } else { format!("{origin}.") });
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

    /// The name that an owner is about, and whether it is about what is below that; nothing for the zone itself.
    fn trigger(&self, owner: &str) -> Result<Option<(String, bool)>, String> {
        let relative = match (owner, owner.strip_suffix('.'), &self.origin) {
            ("@", ..) => return Ok(None),
            (_, None, _) => owner,
            (_, Some(_), Some(origin)) if owner == *origin => return Ok(None),
            (_, Some(_), Some(origin)) => owner
                .strip_suffix(origin.as_str())
                .and_then(|rest| if origin == "." { Some(rest) } else { rest.strip_suffix('.') })
                .ok_or_else(|| format!("`{}` is outside of the zone {origin}", excerpt(owner)))?,
            (_, Some(name), None) => name,
        };
        let last = relative.rsplit('.').next().unwrap_or_default();
        if matches!(last, "rpz-ip" | "rpz-client-ip" | "rpz-nsip" | "rpz-nsdname") {
            return Err(format!("{last} triggers are not known: names (QNAME) only"));
        }
        Ok(Some(match relative.strip_prefix("*.") {
            Some(below) => (below.to_owned(), true),
            None if relative == "*" => (".".to_owned(), true),
            None => (relative.to_owned(), false),
        }))
    }

    /// A record of the zone.
    fn read(&self, fields: &Fields<'_>, data: &str) -> Result<Record, String> {
        let Fields { ttl, rtype } = fields;
        let ttl = ttl.or(self.ttl).unwrap_or(DEFAULT_TTL);
        let origin = self.origin.as_deref().unwrap_or(".");
        Record::read(&format!("{ttl} {rtype} {data}"), origin).map_err(|error| error.to_string())
    }
}

/// Adds a record to those of a name.
fn add(records: &mut Vec<Record>, record: Record) -> Result<(), String> {
    const CNAME: u16 = 5;
    /// More do not fit into an answer.
    const MAX: usize = 1024;
    let is_alias = record.rtype == CNAME;
    let is_alone = records.iter().all(|known| known.rtype != CNAME && !is_alias);
    if !records.is_empty() && !is_alone {
        return Err("a CNAME record is alone (RFC 2181 section 10.1)".into());
    }
    if records.len() >= MAX {
        return Err(format!("the name has {MAX} records already"));
    }
    records.push(record);
    Ok(())
}

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
            if number.is_none() && !word.eq_ignore_ascii_case("IN") {
                break;
            }
            ttl = ttl.or(number);
            rest = behind.trim_start();
        }
        let (rtype, data) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        (Self { ttl, rtype }, data.trim())
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

/// Without a comment, which begins at a semicolon outside of quotes.
fn uncommented(line: &str) -> &str {
    let end = unquoted(line).find(|(_, c)| *c == ';').map(|(at, _)| at);
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

/// How many parentheses are open at the end.
fn depth(text: &str) -> i32 {
    unquoted(text).fold(0, |depth, (_, c)| match c {
        '(' => depth + 1,
        ')' => depth - 1,
        _ => depth,
    })
}

/// The characters outside of quotes that are not escaped, with their positions.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        let is_plain = !is_quoted && !is_escaped && *c != '"';
        if *c == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = *c == '\\' && !is_escaped;
        is_plain
    })
}

#[cfg(test)]
mod tests {
    use dnsproxy_api::v1alpha1::ListFormat;

    use super::*;
    use crate::lists::testing;

    const ZONE: &str = "\
$TTL 1h
@ SOA localhost. root.localhost. ( 1 ; serial
    3600 600 86400 60 )
  NS localhost.
ads.example        CNAME .
*.ads.example  300 IN CNAME . ; and below
Empty.Example. IN 300 CNAME *.
good.ads.example   CNAME rpz-passthru.
drop.example       CNAME rpz-drop.
big.example        CNAME rpz-tcp-only.
home.example       A 10.0.0.1
                   A 10.0.0.2
                   TXT \"a ; b\" c
walled.example     CNAME garden
*.walled.example   CNAME *.garden.example.
";

    #[test]
    fn a_name_has_the_action_of_the_nearest_trigger() {
        let text = format!(
            "$ORIGIN rpz.example.\n{}",
            ZONE.replace("Empty.Example.", "Empty.Example.rpz.example.")
        );
        let list = testing::list(ListFormat::RPZ, &text);
        assert_eq!(list.problems().count, 0, "{:?}", list.problems());
        let cases = [
            ("ads.example", "NXDOMAIN"),
            ("x.y.ads.example", "NXDOMAIN"),
            ("good.ads.example", "pass"),
            ("x.good.ads.example", "NXDOMAIN"),
            ("EMPTY.example", "NODATA"),
            ("x.empty.example", "-"),
            ("drop.example", "Drop"),
            ("big.example", "tcp"),
            ("home.example", "records"),
            ("walled.example", "records"),
            ("x.walled.example", "records"),
            ("x.home.example", "-"),
            ("rpz.example", "-"),
        ];

        for (name, expected) in cases {
            assert_eq!(testing::policy(&list, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_trigger_is_reported_with_its_line() {
        let cases = [
            ("32.1.2.0.192.rpz-ip CNAME .", "rpz-ip"),
            ("a.example", "no record"),
            ("a.example A 10.0.0", "not a record"),
            ("a.example CNAME .\na.example A 10.0.0.1", "another action"),
            ("a.example A 10.0.0.1\na.example CNAME .", "another action"),
            ("a.example CNAME b.example.\na.example A 10.0.0.1", "alone"),
            ("$INCLUDE other", "not read"),
            ("$ORIGIN z.\na.example. CNAME .", "outside"),
            ("  CNAME .", "no name"),
            ("a.example TXT (\n\"b\"", "parenthesis"),
            ("$TTL soon", "TTL"),
        ];

        for (text, reason) in cases {
            let list = testing::list(ListFormat::RPZ, text);
            let problems = list.problems();
            assert_eq!(problems.count, 1, "{text}: {problems:?}");
            let last = text.lines().count();
            let line = if reason == "parenthesis" { 1 } else { last };
            assert_eq!(problems.first[0].line, line, "{text}");
            assert!(problems.first[0].reason.contains(reason), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_ttl_may_have_units() {
        let cases = [
            ("0", Some(0)),
            ("3600", Some(3600)),
            ("1h30m", Some(5400)),
            ("1W", Some(604_800)),
            ("", None),
            ("h", None),
            ("1x", None),
            ("99999999999", None),
            ("4294967295", None),
        ];

        for (text, expected) in cases {
            assert_eq!(ttl_of(text), expected, "{text}");
        }
    }
}

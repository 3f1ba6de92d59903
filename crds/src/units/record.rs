//! A record as a zone file has it (RFC 1035 §5.1, RFC 3597 §5), without its owner: `60 IN A 10.0.0.9`.
//!
//! TTL and class may be left out, in either order. Names are absolute, with or without the dot at their end, since
//! there is no origin that they could be relative to.

use std::str::FromStr;

use domain::{
    base::{
        Name, ParseRecordData, ParsedName,
        iana::{Class, Rtype},
        rdata::{ComposeRecordData, RecordData},
    },
    dep::octseq::Parser,
    rdata::ZoneRecordData,
    zonefile::inplace::{Entry, ScannedRecordData, Zonefile},
};

use super::RecordType;

/// Everything of a record but its owner.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Record {
    /// In seconds.
    pub ttl: u32,
    /// The number of its type.
    pub rtype: u16,
    /// Its data as in a message, without compression.
    pub data: Vec<u8>,
}

/// Why a text is no record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// Nothing stands there.
    #[error("empty: a record is written as `60 IN A 10.0.0.9`")]
    Empty,
    /// More than one line.
    #[error("more than one line: each record is an item of its own")]
    Lines,
    /// RFC 2181 §8.
    #[error("the TTL is larger than 2147483647 seconds")]
    Ttl,
    /// RFC 1035 §5.1.
    #[error(
        "a parenthesis is not closed, or closed and not open; the record is one line and needs none"
    )]
    Parentheses,
    /// A type that no record has (RFC 6895 §3.1).
    #[error("no record has the type {0}")]
    Type(u16),
    /// Its form.
    #[error("not a record such as `60 IN A 10.0.0.9`: {0}")]
    Form(String),
    /// Its data, which the reader of zone files takes, but no reader of messages.
    #[error(
        "the data are none of this type: a name in it has two dots in a row (`{{name}}` ends with a dot), or they are too short or too long for it"
    )]
    Data,
}

/// The TTL of records that have none: our guess, as short as an address may need to change.
pub const DEFAULT_TTL: u32 = 60;

impl FromStr for Record {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        Self::read(text, ".")
    }
}

impl Record {
    /// Reads a record of a zone, to which names without a dot at their end are relative.
    ///
    /// # Errors
    /// What the text is no record for.
    pub fn read(text: &str, origin: &str) -> Result<Self, RecordError> {
        let text = text.trim();
        if text.is_empty() || text.starts_with(';') {
            return Err(RecordError::Empty);
        }
        if text.contains(['\n', '\r']) {
            return Err(RecordError::Lines);
        }
        let said = unquoted(text).take_while(|(_, c)| *c != ';');
        if said.fold(0, depth) != 0 {
            return Err(RecordError::Parentheses);
        }
        // The reader of zone files goes on behind the end of its text while a group is open. None is where it counts as we do.
        let closed = ")".repeat(text.matches('(').count());
        let mut zone = Zonefile::from(&*format!("$TTL {DEFAULT_TTL}\n. {text}\n{closed}\n"));
        let origin =
            Name::from_str(origin).map_err(|error| RecordError::Form(error.to_string()))?;
        zone.set_origin(origin);
        zone.set_default_class(Class::IN);
        let form =
            |error: domain::zonefile::inplace::Error| RecordError::Form(reason(&error.to_string()));
        let Some(Entry::Record(record)) = zone.next_entry().map_err(form)? else {
            return Err(RecordError::Empty);
        };
        let ttl = record.ttl().as_secs();
        if ttl > i32::MAX.unsigned_abs() {
            return Err(RecordError::Ttl);
        }
        let rtype = record.data().rtype().to_int();
        RecordType::new(rtype).map_err(|_| RecordError::Type(rtype))?;
        let mut data = Vec::new();
        let Ok(()) = record.data().compose_rdata(&mut data);
        if is_read_back(record.data(), &data) {
            Ok(Self { ttl, rtype, data })
        } else {
            Err(RecordError::Data)
        }
    }

    /// Whether a name that has this record has the other one by it, whatever their TTLs are (RFC 2181 §5). The case of names
    /// in data makes no difference (RFC 4034 §6.2).
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { ttl: _, rtype, data } = self;
        *rtype == other.rtype
            && (*data == other.data
                || data.eq_ignore_ascii_case(&other.data) && self.canonical() == other.canonical())
    }

    /// The data with the names in them in lower case.
    fn canonical(&self) -> Option<Vec<u8>> {
        let mut canonical = Vec::with_capacity(self.data.len());
        let Ok(()) = parsed(self.rtype.into(), &self.data)?.compose_canonical_rdata(&mut canonical);
        Some(canonical)
    }
}

type Parsed<'d> = ZoneRecordData<&'d [u8], ParsedName<&'d [u8]>>;

/// Data of a message, all of them.
fn parsed(rtype: Rtype, data: &[u8]) -> Option<Parsed<'_>> {
    let mut parser = Parser::from_ref(data);
    let parsed = Parsed::parse_rdata(rtype, &mut parser).ok()??;
    (parser.remaining() == 0).then_some(parsed)
}

/// The characters of a line of a zone file that are neither in quotes nor escaped, with their positions (RFC 1035 §5.1).
pub fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
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

/// How many parentheses are open behind a character, of as many before it.
pub fn depth(before: i32, (_, c): (usize, char)) -> i32 {
    match c {
        '(' => before + 1,
        ')' => before - 1,
        _ => before,
    }
}

/// Whether the data of a message are those of the text, all of them. The reader of zone files lets an empty label pass,
/// which ends a name in a message: what stands behind it would be something else there.
fn is_read_back(scanned: &ScannedRecordData, data: &[u8]) -> bool {
    let Some(parsed) = parsed(scanned.rtype(), data) else { return false };
    // Octets (RFC 3597 §5) have no names to compare.
    let is_same = matches!(scanned, ZoneRecordData::Unknown(_)) || parsed == *scanned;
    // Pointers lead nowhere outside of a message.
    let mut again = Vec::with_capacity(data.len());
    let Ok(()) = parsed.compose_rdata(&mut again);
    is_same && again == data
}

/// Without the place in the text, which is one line anyway.
fn reason(error: &str) -> String {
    error.rsplit(": ").next().unwrap_or(error).to_owned()
}

#[cfg(test)]
mod tests;

//! A response taken apart, so that names in it can change, and put together again.
//!
//! Only responses that a rule changes come here; all others stay as they were received. Names are read through their
//! compression pointers (RFC 1035 section 4.1.4), those in the data of the types that have any included. Pointers lead
//! back and names are short, so reading ends; what is written is compressed by a table of bounded cost, in owners and in
//! the data of the types of RFC 1035 alone (RFC 3597 section 4).

use std::collections::HashMap;

use super::{
    Header, Layout, Name, Qclass, Qtype, Question,
    layout::Malformed,
    name::{MAX_NAME_LEN, NameError},
    record, u16_at,
};

/// A response with its records, without an OPT record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// ID and flags; the counts are those of `sections`.
    pub header: Header,
    /// What was asked.
    pub question: Question<'static>,
    /// Answer, authority and additional section.
    pub sections: [Vec<Record>; 3],
}

/// One record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Whose it is.
    pub owner: Name<'static>,
    /// Its type.
    pub rtype: Qtype,
    /// Its class.
    pub class: Qclass,
    /// In seconds.
    pub ttl: u32,
    /// Its data.
    pub data: Data,
}

/// The data of a record: octets, and between them the names that it has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Data {
    /// What stands before the first name.
    pub head: Vec<u8>,
    /// One or two names that follow one another.
    pub names: Vec<Name<'static>>,
    /// What stands behind the last name.
    pub tail: Vec<u8>,
}

/// A message has 65,535 octets at most (RFC 1035 section 4.2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer has more than 65535 octets")]
pub struct TooLong;

impl Response {
    /// Takes a message with one question apart. Its OPT record, if any, is left out.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        Layout::of(message)?;
        let header = Header::read(message).filter(|header| header.counts[0] == 1);
        let header = header.ok_or(Malformed)?;
        let (question, mut at) = Question::read(message).map_err(|_| Malformed)?;
        let [_, answers, authorities, additionals] = header.counts;
        let mut sections = [const { Vec::new() }; 3];
        for (section, count) in sections.iter_mut().zip([answers, authorities, additionals]) {
            for _ in 0..count {
                let place = record::Record::read(message, at).ok_or(Malformed)?;
                at = place.end;
                if place.rtype != Qtype::OPT {
                    section.push(Record::read(message, &place).ok_or(Malformed)?);
                }
            }
        }
        Ok(Self { header, question: question.into_owned(), sections })
    }

    /// A response with no records.
    pub fn empty(question: Question<'static>) -> Self {
        let header = Header { id: 0, flags: Header::QR, counts: [0; 4] };
        Self { header, question, sections: [const { Vec::new() }; 3] }
    }

    /// All records.
    pub fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.sections.iter_mut().flatten()
    }

    /// Puts the message together.
    pub fn write(&self) -> Result<Vec<u8>, TooLong> {
        let Self { header, question, sections } = self;
        let count = |section: &Vec<Record>| u16::try_from(section.len()).map_err(|_| TooLong);
        let [answers, authorities, additionals] = sections;
        let counts = [1, count(answers)?, count(authorities)?, count(additionals)?];
        let mut writer = Writer::default();
        Header { counts, ..*header }.write(&mut writer.out);
        writer.question(question);
        for record in sections.iter().flatten() {
            writer.record(record)?;
        }
        if writer.out.len() > usize::from(u16::MAX) { Err(TooLong) } else { Ok(writer.out) }
    }
}

impl Record {
    fn read(message: &[u8], place: &record::Record) -> Option<Self> {
        let (owner, _) = read_name(message, place.start)?;
        Some(Self {
            owner,
            rtype: place.rtype,
            class: Qclass(place.class),
            ttl: place.ttl,
            data: Data::read(message, place)?,
        })
    }
}

impl Data {
    /// Data of which the octets are all there is to know.
    pub fn opaque(octets: Vec<u8>) -> Self {
        Self { head: octets, names: Vec::new(), tail: Vec::new() }
    }

    /// Takes uncompressed data apart.
    pub fn of(rtype: Qtype, octets: &[u8]) -> Option<Self> {
        Self::read_between(octets, rtype, 0, octets.len())
    }

    fn read(message: &[u8], place: &record::Record) -> Option<Self> {
        Self::read_between(message, place.rtype, place.data(), place.end)
    }

    fn read_between(message: &[u8], rtype: Qtype, start: usize, end: usize) -> Option<Self> {
        let Some(shape) = Shape::of(rtype) else {
            return message.get(start..end).map(|octets| Self::opaque(octets.to_vec()));
        };
        let mut at = start + shape.fixed;
        for _ in 0..shape.strings {
            at += 1 + usize::from(*message.get(at)?);
        }
        let head = message.get(start..at)?.to_vec();
        let mut names = Vec::with_capacity(shape.names);
        for _ in 0..shape.names {
            let (name, behind) = read_name(message, at)?;
            names.push(name);
            at = behind;
        }
        // A name must not reach into the next record.
        let tail = message.get(at..end)?.to_vec();
        Some(Self { head, names, tail })
    }
}

/// Where the names are in the data of a type.
struct Shape {
    /// Octets before them.
    fixed: usize,
    /// Character-strings between those octets and the names.
    strings: usize,
    names: usize,
}

/// Whether names are in the data of this type, which may be compressed there, by the rules (RFC 3597 section 4) or by habit.
pub(crate) const fn has_names(rtype: Qtype) -> bool {
    Shape::of(rtype).is_some()
}

impl Shape {
    const fn of(rtype: Qtype) -> Option<Self> {
        let (fixed, strings, names) = match rtype.0 {
            // NS MD MF CNAME MB MG MR PTR DNAME, NXT NSEC (RFC 4034 section 4.1)
            2..=5 | 7..=9 | 12 | 39 | 30 | 47 => (0, 0, 1),
            // SOA MINFO RP
            6 | 14 | 17 => (0, 0, 2),
            // MX AFSDB RT KX (RFC 2230), SVCB HTTPS (RFC 9460)
            15 | 18 | 21 | 36 | 64 | 65 => (2, 0, 1),
            // PX
            26 => (2, 0, 2),
            // SIG RRSIG
            24 | 46 => (18, 0, 1),
            // SRV
            33 => (6, 0, 1),
            // NAPTR
            35 => (4, 3, 1),
            _ => return None,
        };
        Some(Self { fixed, strings, names })
    }
}

/// Reads the name at `offset` through its pointers, and the offset of what follows it in place. Every pointer leads
/// to before where it stands, and there are no more of them than a name has labels (hickory's issue 3738 is about a chain
/// without a limit).
pub(crate) fn read_name(message: &[u8], offset: usize) -> Option<(Name<'static>, usize)> {
    let mut wire = Vec::new();
    let mut behind = None;
    let mut at = offset;
    let mut pointers = 0;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                wire.push(0);
                let end = behind.unwrap_or(at + 1);
                return Name::from_wire(wire).ok().map(|name| (name, end));
            }
            1..=63 => {
                let next = at + 1 + usize::from(len);
                wire.extend_from_slice(message.get(at..next)?);
                at = next;
            }
            0xc0.. => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                behind = behind.or(Some(at + 2));
                pointers += 1;
                if target >= at || pointers > MAX_POINTERS {
                    return None;
                }
                at = target;
            }
            64..=0xbf => return None,
        }
        if wire.len() > MAX_NAME_LEN {
            return None;
        }
    }
}

/// As many as there can be labels (RFC 1035 section 2.3.4).
const MAX_POINTERS: usize = 127;

/// A message under construction, and where names in it begin.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// By their folded wire form.
    known: HashMap<Box<[u8]>, u16>,
}

impl Writer {
    fn question(&mut self, question: &Question<'_>) {
        self.name(&question.name, true);
        self.out.extend_from_slice(&question.qtype.0.to_be_bytes());
        self.out.extend_from_slice(&question.qclass.0.to_be_bytes());
    }

    fn record(&mut self, record: &Record) -> Result<(), TooLong> {
        let Record { owner, rtype, class, ttl, data } = record;
        self.name(owner, true);
        self.out.extend_from_slice(&rtype.0.to_be_bytes());
        self.out.extend_from_slice(&class.0.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        self.out.extend_from_slice(&data.head);
        for name in &data.names {
            self.name(name, is_of_old(*rtype));
        }
        self.out.extend_from_slice(&data.tail);
        let length = u16::try_from(self.out.len() - length_at - 2).map_err(|_| TooLong)?;
        super::set_u16(&mut self.out, length_at, length);
        if self.out.len() > usize::from(u16::MAX) { Err(TooLong) } else { Ok(()) }
    }

    /// Writes a name, its longest known ending as a pointer.
    fn name(&mut self, name: &Name<'_>, may_compress: bool) {
        let folded = name.to_folded();
        let mut at = 0;
        while let (Some(&len), Some(suffix)) = (name.as_wire().get(at), folded.get(at..)) {
            if len == 0 {
                break;
            }
            match self.known.get(suffix) {
                Some(&known) if may_compress => {
                    self.out.extend_from_slice(&(0xc000 | known).to_be_bytes());
                    return;
                }
                Some(_) => {}
                // Beyond that no pointer leads.
                None => {
                    if let Some(here) = u16::try_from(self.out.len()).ok().filter(|at| *at < 0x4000)
                    {
                        self.known.insert(suffix.into(), here);
                    }
                }
            }
            let next = at + 1 + usize::from(len);
            self.out.extend_from_slice(name.as_wire().get(at..next).unwrap_or_default());
            at = next;
        }
        self.out.push(0);
    }
}

/// The types of RFC 1035, in the data of which every reader expects pointers.
fn is_of_old(rtype: Qtype) -> bool {
    matches!(rtype.0, 2..=9 | 12 | 14 | 15)
}

impl Name<'static> {
    /// A name of its wire form.
    pub fn from_wire(wire: Vec<u8>) -> Result<Self, NameError> {
        let (name, end) = Name::read(&wire, 0)?;
        if end == wire.len() { Ok(name.into_owned()) } else { Err(NameError::Incomplete) }
    }
}

#[cfg(test)]
mod tests;

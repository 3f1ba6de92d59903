//! Walking over resource records without decoding them (RFC 1035 section 4.1.3).
//!
//! Only bounds are checked, and names are skipped, never followed: a compression pointer ends a name,
//! so loops and chains of pointers cost nothing (RFC 9267 section 2).

use super::{HEADER_LEN, Qtype, u16_at, u32_at};

/// One record's place in a message; offsets in octets from the start of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where its owner name starts.
    pub start: usize,
    /// Where its fixed fields start: type, class, TTL and the length of its data.
    pub fields: usize,
    /// Its type.
    pub rtype: Qtype,
    /// Its class; for OPT the sender's UDP payload size.
    pub class: u16,
    /// Its TTL; for OPT the upper bits of the rcode, the version and flags.
    pub ttl: u32,
    /// Where it ends, and the next one starts.
    pub end: usize,
}

impl Record {
    /// Reads the record at `start`; `None` when it does not fit into the message.
    pub fn read(message: &[u8], start: usize) -> Option<Self> {
        let fields = skip_name(message, start)?;
        let rtype = Qtype(u16_at(message, fields)?);
        let class = u16_at(message, fields + 2)?;
        let ttl = u32_at(message, fields + 4)?;
        let end = fields + FIXED_LEN + usize::from(u16_at(message, fields + 8)?);
        (end <= message.len()).then_some(Self { start, fields, rtype, class, ttl, end })
    }

    /// Where its data starts.
    pub fn data(&self) -> usize {
        self.fields + FIXED_LEN
    }

    /// Its data.
    pub fn data_of<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(self.data()..self.end).unwrap_or_default()
    }

    /// Whether the names in its data, where clients look for some, fill it as they should (RFC 1035 section 3.3). They are
    /// not followed, either.
    pub fn has_whole_names(&self, message: &[u8]) -> bool {
        let data = self.data();
        let end = match self.rtype {
            Qtype::NS | Qtype::CNAME | Qtype::PTR => skip_name(message, data),
            Qtype::MX => skip_name(message, data + 2),
            Qtype::SOA => skip_name(message, data)
                .and_then(|end| skip_name(message, end))
                .map(|end| end + SOA_NUMBERS),
            _ => return true,
        };
        end == Some(self.end)
    }

    /// Whether the root owns it, as it must an OPT record (RFC 6891 section 6.1.2).
    pub fn is_owned_by_root(&self) -> bool {
        self.fields == self.start + 1
    }
}

/// Type, class, TTL and length of the data.
const FIXED_LEN: usize = 10;

/// Serial, refresh, retry, expire and minimum of an SOA record.
const SOA_NUMBERS: usize = 20;

/// Where the name at `offset` ends, without following a pointer.
pub fn skip_name(message: &[u8], offset: usize) -> Option<usize> {
    let mut at = offset;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(len),
            // A pointer has two octets and ends the name; it leads back, never forward, and to what may be a name.
            0xc0.. => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                return (HEADER_LEN..at).contains(&target).then_some(at + 2);
            }
            64..=0xbf => return None,
        }
        if at - offset > super::name::MAX_NAME_LEN {
            return None;
        }
    }
}

//! DNS messages, as far as a proxy must understand them.
//!
//! Nothing here decodes a whole message: the views read the few fields that decide, in place, and the
//! writers patch or append octets. What is relayed stays as it was received (RFC 3597 section 3).
//!
//! - [`query`]: what a client sent, or why it cannot be taken (RFC 1035, 6891, 8906, 9267, 9619).
//! - [`request`]: what goes to an upstream, with an ID and an OPT record of our own (RFC 6891, 8467).
//! - [`layout`]: where the records of an upstream's message are; refuses what has none.
//! - [`response`]: a response taken apart, so that a rule can change names in it, and put together again.
//! - [`strip`]: takes the OPT record out of an upstream's message.
//! - [`reply`]: what goes back to the client; [`truncate`] makes it fit.
//!
//! Sockets, matching of answers and the choice of an rcode are left to others.

pub mod ancestors;
pub mod edns;
pub mod layout;
pub mod name;
pub mod query;
pub mod record;
pub mod reply;
pub mod request;
pub mod response;
pub mod strip;
pub mod truncate;
mod types;

pub use layout::Layout;
pub use name::{Name, NameError};
pub use query::{Query, Rejection};
pub use request::Request;
pub use types::{Opcode, Qclass, Qtype, Rcode};

/// The length of the fixed header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = 12;

/// The fixed header (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Chosen by who asked, repeated by who answers.
    pub id: u16,
    /// The sixteen bits from QR to RCODE.
    pub flags: u16,
    /// Entries in question, answer, authority and additional section.
    pub counts: [u16; 4],
}

impl Header {
    /// QR: this is a response.
    pub const QR: u16 = 0x8000;
    /// AA: the answer is authoritative.
    pub const AA: u16 = 0x0400;
    /// TC: the message was truncated.
    pub const TC: u16 = 0x0200;
    /// RD: recursion is desired.
    pub const RD: u16 = 0x0100;
    /// RA: recursion is available.
    pub const RA: u16 = 0x0080;
    /// AD: the data is authentic.
    pub const AD: u16 = 0x0020;
    /// CD: do not check the data.
    pub const CD: u16 = 0x0010;

    /// Reads the header; `None` when there are fewer than [`HEADER_LEN`] octets.
    pub fn read(message: &[u8]) -> Option<Self> {
        let counts =
            [u16_at(message, 4)?, u16_at(message, 6)?, u16_at(message, 8)?, u16_at(message, 10)?];
        Some(Self { id: u16_at(message, 0)?, flags: u16_at(message, 2)?, counts })
    }

    /// Appends the header to a message under construction.
    pub fn write(&self, out: &mut Vec<u8>) {
        for field in [self.id, self.flags].iter().chain(&self.counts) {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    /// Whether this bit is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Clears AA and AD: what was changed here is neither an authority's answer nor the authentic one.
    pub fn disown(&mut self) {
        self.flags &= !(Self::AA | Self::AD);
    }

    /// The kind of query.
    pub fn opcode(&self) -> Opcode {
        Opcode(u8::try_from(self.flags >> 11 & 0xf).unwrap_or_default())
    }

    /// The low four bits of the response code; an OPT record may hold eight more.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.flags & 0xf)
    }
}

/// One question (RFC 1035 section 4.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question<'m> {
    /// The name asked for, spelled as the client spelled it.
    pub name: Name<'m>,
    /// The type asked for.
    pub qtype: Qtype,
    /// The class asked for.
    pub qclass: Qclass,
}

impl<'m> Question<'m> {
    /// Reads the first question of a message and the offset of what follows it.
    ///
    /// A compressed name is refused: nothing stands before the first question that a pointer could
    /// lead to (RFC 1035 section 4.1.4).
    pub fn read(message: &'m [u8]) -> Result<(Self, usize), NameError> {
        let (name, end) = Name::read(message, HEADER_LEN)?;
        let (Some(qtype), Some(qclass)) = (u16_at(message, end), u16_at(message, end + 2)) else {
            return Err(NameError::Incomplete);
        };
        Ok((Self { name, qtype: Qtype(qtype), qclass: Qclass(qclass) }, end + 4))
    }

    /// Appends the question to a message under construction.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_wire());
        out.extend_from_slice(&self.qtype.0.to_be_bytes());
        out.extend_from_slice(&self.qclass.0.to_be_bytes());
    }

    /// Whether `other` asks for the same, without regard to the case of letters (RFC 5452 section 9.1).
    pub fn matches(&self, other: &Question<'_>) -> bool {
        self.qtype == other.qtype
            && self.qclass == other.qclass
            && self.name.eq_ignore_case(&other.name)
    }

    /// The same question with the octets of this one.
    pub fn as_ref(&self) -> Question<'_> {
        let Self { name, qtype, qclass } = self;
        Question { name: name.as_ref(), qtype: *qtype, qclass: *qclass }
    }

    /// The same question with a name of its own.
    pub fn into_owned(self) -> Question<'static> {
        let Self { name, qtype, qclass } = self;
        Question { name: name.into_owned(), qtype, qclass }
    }

    /// The length in a message, in octets.
    pub fn wire_len(&self) -> usize {
        self.name.as_wire().len() + 4
    }
}

/// Sets the ID of a message.
pub fn set_id(message: &mut [u8], id: u16) {
    set_u16(message, 0, id);
}

pub(crate) fn u16_at(message: &[u8], offset: usize) -> Option<u16> {
    let octets = message.get(offset..offset.checked_add(2)?)?;
    octets.try_into().ok().map(u16::from_be_bytes)
}

pub(crate) fn u32_at(message: &[u8], offset: usize) -> Option<u32> {
    let octets = message.get(offset..offset.checked_add(4)?)?;
    octets.try_into().ok().map(u32::from_be_bytes)
}

pub(crate) fn set_u32(message: &mut [u8], offset: usize, value: u32) {
    if let Some(octets) = message.get_mut(offset..offset + 4) {
        octets.copy_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn set_u16(message: &mut [u8], offset: usize, value: u16) {
    if let Some(octets) = message.get_mut(offset..offset + 2) {
        octets.copy_from_slice(&value.to_be_bytes());
    }
}

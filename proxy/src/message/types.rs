//! Numbers with names: types, classes, opcodes and rcodes (IANA "Domain Name System Parameters").
//!
//! They are numbers, not enums: a proxy relays the ones that it does not know (RFC 3597).

use std::fmt;

use dnsproxy_api::units::RecordType;

/// The type of a question or record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Qtype(pub u16);

impl Qtype {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// The canonical name.
    pub const CNAME: Self = Self(5);
    /// The start of authority.
    pub const SOA: Self = Self(6);
    /// A pointer to a name.
    pub const PTR: Self = Self(12);
    /// Host information; also the answer to ANY (RFC 8482).
    pub const HINFO: Self = Self(13);
    /// A mail exchange.
    pub const MX: Self = Self(15);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// The EDNS pseudo-record (RFC 6891).
    pub const OPT: Self = Self(41);
    /// The delegation signer, which belongs to the parent zone (RFC 4035 section 3.1.4.1).
    pub const DS: Self = Self(43);
    /// A signature of other records (RFC 4034 section 3).
    pub const RRSIG: Self = Self(46);
    /// What an NSEC record of a name that does not exist has in its bitmap, and nothing else (RFC 9824 section 3.1).
    pub const NXNAME: Self = Self(128);
    /// The transaction signature (RFC 8945).
    pub const TSIG: Self = Self(250);
    /// An incremental zone transfer (RFC 1995).
    pub const IXFR: Self = Self(251);
    /// A zone transfer (RFC 5936).
    pub const AXFR: Self = Self(252);
    /// Any type (RFC 8482).
    pub const ANY: Self = Self(255);

    /// Reads a mnemonic, or `TYPE123` (RFC 3597 section 5).
    pub fn from_text(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let digits = upper.strip_prefix("TYPE").filter(|digits| !digits.starts_with('+'));
        let number = digits.and_then(|digits| digits.parse().ok()).map(Self);
        let meta = || META.iter().find(|(name, _)| *name == upper).map(|(_, meta)| *meta);
        let known = || upper.parse::<RecordType>().ok().map(|known| Self(known.number()));
        number.or_else(meta).or_else(known)
    }
}

impl fmt::Display for Qtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (META.iter().find(|(_, meta)| meta == self), RecordType::new(self.0)) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Ok(known)) => write!(f, "{known}"),
            (None, Err(_)) => write!(f, "TYPE{}", self.0),
        }
    }
}

/// Types that no record has, or none of a zone, and that are asked for or sent all the same.
const META: [(&str, Qtype); 5] = [
    ("OPT", Qtype::OPT),
    ("TSIG", Qtype::TSIG),
    ("IXFR", Qtype::IXFR),
    ("AXFR", Qtype::AXFR),
    ("ANY", Qtype::ANY),
];

/// The class of a question or record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Qclass(pub u16);

impl Qclass {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaosnet, today for questions about the server itself.
    pub const CH: Self = Self(3);
}

/// The kind of query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A standard query, the only kind that is served.
    pub const QUERY: Self = Self(0);
}

/// The response code, with the eight upper bits of an OPT record where there are any.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query could not be understood.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// A name exists that should not; here, a DNAME that makes a name too long (RFC 6672 section 2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// The kind of query is not served.
    pub const NOTIMP: Self = Self(4);
    /// The server will not answer.
    pub const REFUSED: Self = Self(5);
    /// The EDNS version is not served (RFC 6891 section 6.1.3).
    pub const BADVERS: Self = Self(16);

    /// Whether it answers the question, be it by no; the others say that there is no answer to be had there.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::NOERROR | Self::NXDOMAIN | Self::YXDOMAIN)
    }

    /// Whether the header alone has no room for it, so that it belongs to one exchange and its OPT records (RFC 6891
    /// section 6.1.3).
    pub fn is_extended(self) -> bool {
        self.0 > 15
    }

    /// The mnemonic of the IANA registry, or `None` for a number without one.
    pub fn mnemonic(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            16 => "BADVERS",
            23 => "BADCOOKIE",
            _ => return None,
        })
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_type_is_read_as_the_same() {
        for number in 0..=u16::MAX {
            let text = Qtype(number).to_string();
            assert_eq!(Qtype::from_text(&text), Some(Qtype(number)), "{text}");
        }
        for (text, number) in [("afsdb", 18), ("URI", 256), ("axfr", 252), ("TYPE65305", 65_305)] {
            assert_eq!(Qtype::from_text(text), Some(Qtype(number)), "{text}");
        }
        assert_eq!((Qtype::from_text("NOTYPE"), Qtype::from_text("TYPE+5")), (None, None));
    }
}

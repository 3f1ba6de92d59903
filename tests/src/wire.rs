//! DNS messages for tests, written and read without any code of the proxy (RFC 1035 section 4, RFC 6891).
//!
//! The writer writes what it is told, wrong or right. The reader is strict, since it reads what the proxy sends.

mod reply;
mod response;

pub use reply::{Record, Reply};
pub use response::Response;

/// Types that the tests name.
pub mod types {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A name server.
    pub const NS: u16 = 2;
    /// Another name for a name.
    pub const CNAME: u16 = 5;
    /// Where a zone's authority starts.
    pub const SOA: u16 = 6;
    /// A pointer, for reverse lookups.
    pub const PTR: u16 = 12;
    /// What kind of machine it is; RFC 8482's answer to ANY.
    pub const HINFO: u16 = 13;
    /// A text.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// A service.
    pub const SRV: u16 = 33;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// A delegation's signer.
    pub const DS: u16 = 43;
    /// What no name has (RFC 9824).
    pub const NXNAME: u16 = 128;
    /// A transfer's increment.
    pub const IXFR: u16 = 251;
    /// A transfer.
    pub const AXFR: u16 = 252;
    /// Everything (RFC 8482).
    pub const ANY: u16 = 255;
}

/// Response codes that the tests name.
pub mod rcodes {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query was malformed.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// There is no such name.
    pub const NXDOMAIN: u16 = 3;
    /// The server does not do this.
    pub const NOTIMP: u16 = 4;
    /// The server does not want to.
    pub const REFUSED: u16 = 5;
    /// An EDNS version that the server does not know (RFC 6891 section 6.1.3).
    pub const BADVERS: u16 = 16;
}

/// Bits of the header's second word.
pub mod flags {
    /// A response.
    pub const QR: u16 = 0x8000;
    /// Authoritative.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Reserved.
    pub const Z: u16 = 0x0040;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;
}

/// EDNS options that the tests name.
pub mod options {
    /// Who the client is (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// A cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long a TCP connection may be idle (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Why it went wrong (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

/// The DO bit of an OPT record's flags (RFC 3225).
pub const DNSSEC_OK: u16 = 0x8000;

/// A query that can be bent in every way.
#[derive(Clone, Debug)]
pub struct Query {
    /// The ID.
    pub id: u16,
    /// Opcode, bits and rcode.
    pub flags: u16,
    /// The name on the wire.
    pub name: Vec<u8>,
    /// The type.
    pub qtype: u16,
    /// The class.
    pub class: u16,
    /// The OPT record, if any.
    pub edns: Option<Edns>,
}

/// The content of an OPT record.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edns {
    /// The largest UDP message that its sender takes.
    pub payload: u16,
    /// The upper eight bits of the rcode.
    pub extended_rcode: u8,
    /// The version: 0.
    pub version: u8,
    /// DO, and bits without a meaning.
    pub flags: u16,
    /// Options in their order.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Query {
    /// A usual query: RD set, no EDNS, a fixed ID.
    pub fn new(name: &str, qtype: u16) -> Self {
        Self { id: 0x5eed, flags: flags::RD, name: name_on_wire(name), qtype, class: 1, edns: None }
    }

    /// With another ID.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With more header bits.
    #[must_use]
    pub fn with(mut self, bits: u16) -> Self {
        self.flags |= bits;
        self
    }

    /// With EDNS.
    #[must_use]
    pub fn edns(mut self, payload: u16) -> Self {
        self.edns = Some(Edns { payload, ..Edns::default() });
        self
    }

    /// With DO set, and EDNS.
    #[must_use]
    pub fn dnssec_ok(self) -> Self {
        self.edns_with(|edns| edns.flags |= DNSSEC_OK)
    }

    /// With an EDNS option.
    #[must_use]
    pub fn option(self, code: u16, value: &[u8]) -> Self {
        self.edns_with(|edns| edns.options.push((code, value.to_vec())))
    }

    /// With an OPT record bent by `bend`.
    #[must_use]
    pub fn edns_with(mut self, bend: impl FnOnce(&mut Edns)) -> Self {
        bend(self.edns.get_or_insert_with(|| Edns { payload: 1232, ..Edns::default() }));
        self
    }

    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let additional = u16::from(self.edns.is_some());
        let mut out = header(self.id, self.flags, [1, 0, 0, additional]);
        out.extend_from_slice(&self.name);
        push(&mut out, self.qtype);
        push(&mut out, self.class);
        if let Some(edns) = &self.edns {
            edns.write(&mut out);
        }
        out
    }
}

impl Edns {
    /// Appends the OPT record.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut rdata = Vec::new();
        for (code, value) in &self.options {
            push(&mut rdata, *code);
            push(&mut rdata, length(value));
            rdata.extend_from_slice(value);
        }
        out.push(0);
        push(out, types::OPT);
        push(out, self.payload);
        out.extend_from_slice(&[self.extended_rcode, self.version]);
        push(out, self.flags);
        push(out, length(&rdata));
        out.extend_from_slice(&rdata);
    }

    /// The value of the first option with this code.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|(found, _)| *found == code).map(|(_, value)| value.as_slice())
    }
}

/// A header with the counts of the four sections.
pub fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    push(&mut out, id);
    push(&mut out, flags);
    for count in counts {
        push(&mut out, count);
    }
    out
}

/// Appends a number in network order.
pub fn push(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// A message as it goes over a stream: its length first (RFC 1035 section 4.2.2).
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = length(message).to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out
}

/// A name's labels on the wire; the text has no escapes.
pub fn name_on_wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a label of at most 255 octets"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// A TXT record's data: one string of at most 255 octets.
pub fn text(text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(text.len()).expect("a string of at most 255 octets")];
    out.extend_from_slice(text.as_bytes());
    out
}

/// Where the question of a message ends; its name is not compressed.
///
/// # Panics
/// When there is none.
pub fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("at most 65535 octets")
}

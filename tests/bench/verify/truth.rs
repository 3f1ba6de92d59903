//! What is true of a question: said by the upstream, and known to the client without asking.
//!
//! A name has one address per type, made of a hash of both; every sixteenth name does not exist, every sixteenth type of a name
//! has no record. Beside it the upstream tells when it answered and with which TTL, a new one each time, so that
//! whoever gets the answer, from whatever cache, can tell how old it is and how long it may live.

use std::time::{SystemTime, UNIX_EPOCH};

use dnsproxy_tests::wire::{Response, rcodes, types};

/// Of every answer, in seconds: what comes from the upstream is never more.
pub(crate) const MAX_TTL: u32 = 5;

/// One in so many has TTL 0.
const TTL_0: u64 = 16;

/// Milliseconds since 1970, as far as a stamp can tell: three days.
const CLOCK: u32 = (1 << 28) - 1;

/// What a question has for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Truth {
    /// A record with this in its last 31 bits.
    Record(u32),
    /// The name exists, such a record does not.
    NoData(u32),
    /// The name does not exist.
    NoName(u32),
}

impl Truth {
    /// Of a name in lower case with its final dot.
    pub(crate) fn of(name: &str, qtype: u16) -> Self {
        let (name, both) = (hash(name, 0), hash(name, qtype));
        match (name % 16, both % 16) {
            (0, _) => Self::NoName(name),
            (_, 0) => Self::NoData(both),
            _ => Self::Record(both),
        }
    }

    /// The rcode of the answer.
    pub(crate) fn rcode(self) -> u16 {
        if let Self::NoName(_) = self { rcodes::NXDOMAIN } else { rcodes::NOERROR }
    }

    /// The bits of the answer that tell one question from others.
    pub(crate) fn mark(self) -> u32 {
        match self {
            Self::Record(mark) | Self::NoData(mark) | Self::NoName(mark) => mark,
        }
    }
}

/// FNV-1a, 31 bits of it: the highest bit tells a mark from a stamp.
fn hash(name: &str, qtype: u16) -> u32 {
    let octets = name.bytes().chain(qtype.to_be_bytes());
    let hash = octets
        .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 15)) & 0x7fff_ffff
}

/// When the upstream answered, and with which TTL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// By [`now`].
    pub(crate) at: u32,
    /// Seconds, at most [`MAX_TTL`].
    pub(crate) ttl: u32,
}

impl Stamp {
    /// Reads one; `None` if it is a mark.
    pub(crate) fn read(bits: u32) -> Option<Self> {
        (bits >> 31 == 1).then_some(Self { at: bits & CLOCK, ttl: (bits >> 28) & 7 })
    }

    fn bits(self) -> u32 {
        1 << 31 | self.ttl << 28 | self.at
    }
}

/// The clock of the stamps, in milliseconds.
pub(crate) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_millis() & u128::from(CLOCK)).unwrap_or_default()
}

/// Milliseconds from one moment to another, which may be the earlier one.
pub(crate) fn between(from: u32, to: u32) -> i64 {
    let later = i64::from(to.wrapping_sub(from) & CLOCK);
    if later > i64::from(CLOCK / 2) { later - i64::from(CLOCK) - 1 } else { later }
}

/// The upstream's answer to a question, spelled as it was asked.
pub(crate) fn answer(query: &[u8], name: &str, qtype: u16, stamp: Stamp) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    let truth = Truth::of(&name, qtype);
    let (mark, response) = (truth.mark(), Response::to(query).rcode(truth.rcode()));
    let response = match truth {
        Truth::Record(_) => [mark, stamp.bits()].into_iter().fold(response, |response, bits| {
            response.record(qtype, stamp.ttl, &rdata(qtype, bits))
        }),
        Truth::NoData(_) | Truth::NoName(_) => {
            let numbers = [stamp.bits(), mark, 1, 1, stamp.ttl];
            let soa = [&[0, 0], numbers.map(u32::to_be_bytes).as_flattened()].concat();
            response.soa_of_parent(stamp.ttl, &soa)
        }
    };
    response.encode()
}

fn rdata(qtype: u16, bits: u32) -> Vec<u8> {
    let bits = bits.to_be_bytes();
    match qtype {
        types::AAAA => [&[0x20, 0x01, 0x0d, 0xb8], [0; 8].as_slice(), &bits].concat(),
        _ => bits.to_vec(),
    }
}

/// A TTL by a random number.
pub(crate) fn ttl(random: u64) -> u32 {
    if random.is_multiple_of(TTL_0) {
        0
    } else {
        1 + u32::try_from(random / TTL_0 % u64::from(MAX_TTL)).unwrap_or_default()
    }
}

/// Random numbers that are the same in every run (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

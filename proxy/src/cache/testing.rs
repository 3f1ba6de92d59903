//! Queries and upstreams' messages for the tests of the cache.

use tokio::time::Instant;

use super::{Bounds, Entry, How, Key, Origin, Scope};
use crate::message::{
    Header, Layout, Qclass, Qtype, Query, Question, Rcode,
    edns::{ExtendedError, OptWriter, option},
    reply::Terms,
};

pub(super) const TERMS: Terms = Terms { udp_payload: 1232, keepalive: Some(100) };

/// What a client sends.
pub(super) struct Asked(Vec<u8>);

/// EDNS of a client: DO, and whether it asks for keepalive.
pub(super) type ClientEdns = Option<(bool, bool)>;

impl Asked {
    pub(super) fn new(name: &str, qtype: Qtype, edns: ClientEdns) -> Self {
        Self::with_flags(name, qtype, Header::RD, edns)
    }

    pub(super) fn with_flags(name: &str, qtype: Qtype, flags: u16, edns: ClientEdns) -> Self {
        let mut out = Vec::new();
        Header { id: 0x1234, flags, counts: [1, 0, 0, edns.is_some().into()] }.write(&mut out);
        question(name, qtype).write(&mut out);
        if let Some((dnssec_ok, wants_keepalive)) = edns {
            let mut opt = OptWriter::start(&mut out, 4096, Rcode::NOERROR, dnssec_ok);
            if wants_keepalive {
                opt.option(option::TCP_KEEPALIVE, &[]);
            }
            opt.finish();
        }
        Self(out)
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::read(&self.0).unwrap()
    }
}

fn question(name: &str, qtype: Qtype) -> Question<'static> {
    Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN }
}

pub(super) fn key<'q>(query: &'q Query<'_>) -> Key<'q> {
    Key {
        name: query.question.name.as_wire(),
        qtype: query.question.qtype,
        qclass: query.question.qclass,
        dnssec_ok: query.dnssec_ok(),
        checking_disabled: query.header.has(Header::CD),
        scope: Scope(1),
    }
}

/// An upstream's message. The OPT record stands before what is `behind`.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) qtype: Qtype,
    pub(super) flags: u16,
    pub(super) answers: Vec<Vec<u8>>,
    pub(super) authorities: Vec<Vec<u8>>,
    pub(super) additionals: Vec<Vec<u8>>,
    pub(super) opt: Option<Vec<ExtendedError>>,
    pub(super) behind: Vec<Vec<u8>>,
}

impl Upstream {
    /// A message without records.
    pub(super) fn empty(name: &str, qtype: Qtype, rcode: Rcode) -> Self {
        Self {
            name: name.to_owned(),
            qtype,
            flags: Header::QR | Header::RA | Header::AD | rcode.0,
            answers: vec![],
            authorities: vec![],
            additionals: vec![],
            opt: Some(vec![]),
            behind: vec![],
        }
    }

    /// One address.
    pub(super) fn address(name: &str, ttl: u32) -> Self {
        Self { answers: vec![a(ttl)], ..Self::empty(name, Qtype::A, Rcode::NOERROR) }
    }

    /// A denial with an SOA record: NXDOMAIN, or NODATA when the rcode is NOERROR.
    pub(super) fn denial(name: &str, qtype: Qtype, rcode: Rcode, ttl: u32) -> Self {
        Self { authorities: vec![soa(ttl, ttl)], ..Self::empty(name, qtype, rcode) }
    }

    pub(super) fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let extras = self.additionals.len() + usize::from(self.opt.is_some()) + self.behind.len();
        let counts = [1, self.answers.len(), self.authorities.len(), extras];
        let counts = counts.map(|count| u16::try_from(count).unwrap());
        Header { id: 9, flags: self.flags, counts }.write(&mut out);
        question(&self.name, self.qtype).write(&mut out);
        let before = [&self.answers, &self.authorities, &self.additionals];
        before.into_iter().flatten().for_each(|record| out.extend_from_slice(record));
        if let Some(errors) = &self.opt {
            let mut opt = OptWriter::start(&mut out, 4096, Rcode::NOERROR, false);
            errors.iter().for_each(|error| {
                opt.extended_error(error);
            });
            opt.pad_to(0, 128);
            opt.finish();
        }
        self.behind.iter().for_each(|record| out.extend_from_slice(record));
        out
    }

    pub(super) fn entry(&self, bounds: &Bounds, now: Instant) -> Entry {
        let asked = Asked::new(&self.name, self.qtype, None);
        entry_for(&key(&asked.query()), self.message(), bounds, now)
    }

    /// What a client gets when the message just came.
    pub(super) fn relayed(&self, query: &Query<'_>, is_secure: bool) -> Vec<u8> {
        relay(query, self.message(), is_secure)
    }
}

pub(super) fn entry_for(key: &Key<'_>, message: Vec<u8>, bounds: &Bounds, now: Instant) -> Entry {
    let layout = Layout::of(&message).unwrap();
    Entry::of_upstream(key, message, &layout, &authenticated(), bounds, now)
}

/// Of a message over an authenticated connection.
pub(super) fn authenticated() -> Origin {
    Origin { is_secure: true, reason: None }
}

pub(super) fn relay(query: &Query<'_>, message: Vec<u8>, is_secure: bool) -> Vec<u8> {
    let (layout, now) = (Layout::of(&message).unwrap(), Instant::now());
    let entry = Entry::of_upstream(
        &key(query),
        message,
        &layout,
        &Origin { is_secure, reason: None },
        &Bounds::NONE,
        now,
    );
    written(&entry, query, How::Fresh, now)
}

pub(super) fn written(entry: &Entry, query: &Query<'_>, how: How, now: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    entry.write(query, how, TERMS, now, &mut out);
    out
}

/// A record of class IN. An owner of `b"\xc0\x0c"` is the name asked for.
pub(super) fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let fixed =
        [&rtype.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes(), &len.to_be_bytes()].concat();
    [owner, &fixed, data].concat()
}

pub(super) const SELF: &[u8] = b"\xc0\x0c";

pub(super) fn a(ttl: u32) -> Vec<u8> {
    record(SELF, 1, ttl, &[192, 0, 2, 1])
}

/// An SOA record of the root.
pub(super) fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    let numbers = [1, 3600, 600, 86400, minimum].map(u32::to_be_bytes).concat();
    record(&[0], 6, ttl, &[&[0, 0][..], &numbers].concat())
}

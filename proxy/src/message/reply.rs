//! What goes back to a client.
//!
//! The header repeats the query's ID, opcode, RD and CD; the question is the client's own, letter for
//! letter; an OPT record is there exactly when the query had one (RFC 6891 section 6.1.1), and it is the
//! last record. Replies without records of an upstream are written here, the others by [`crate::cache::Entry`].

use super::{
    Header, Layout, Qtype, Query, Question, Rcode, Rejection,
    edns::{ExtendedError, OptWriter, option},
};

/// What replies on one transport have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The largest UDP message that we take, in octets.
    pub udp_payload: u16,
    /// How long an idle connection is kept, in tenths of a second; only over a stream (RFC 7828).
    pub keepalive: Option<u16>,
}

/// How long clients may remember the answer to ANY, in seconds (RFC 8482 section 6 leaves it open).
const ANY_TTL: u32 = 3600;

/// The reply to a message that is no answerable query; `None` for silence.
pub fn rejection(
    rejection: &Rejection,
    reason: Option<&ExtendedError>,
    terms: Terms,
) -> Option<Vec<u8>> {
    let Rejection::Error { header, question, rcode, edns } = rejection else { return None };
    let mut out = start(*header, question.as_ref(), *rcode, 0, edns.is_some());
    if let Some(dnssec_ok) = *edns {
        let mut opt = OptWriter::start(&mut out, terms.udp_payload, *rcode, dnssec_ok);
        if let Some(reason) = reason {
            opt.extended_error(reason);
        }
        opt.finish();
    }
    Some(out)
}

/// A reply with no records but, to EDNS clients, the reason.
pub fn error(query: &Query, rcode: Rcode, reason: Option<&ExtendedError>, terms: Terms) -> Vec<u8> {
    let mut out = start(query.header, Some(&query.question), rcode, 0, query.edns.is_some());
    write_opt(&mut out, query, rcode, terms, |opt| {
        if let Some(reason) = reason {
            opt.extended_error(reason);
        }
    });
    out
}

/// An empty reply that sends the client to TCP.
pub fn truncated(query: &Query, terms: Terms) -> Vec<u8> {
    let mut out = error(query, Rcode::NOERROR, None, terms);
    super::truncate::set_truncated(&mut out);
    out
}

/// The reply to ANY: one HINFO record that says so (RFC 8482 section 4.2).
pub fn any(query: &Query, terms: Terms) -> Vec<u8> {
    let mut out =
        start(query.header, Some(&query.question), Rcode::NOERROR, 1, query.edns.is_some());
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&Qtype::HINFO.0.to_be_bytes());
    out.extend_from_slice(&query.question.qclass.0.to_be_bytes());
    out.extend_from_slice(&ANY_TTL.to_be_bytes());
    out.extend_from_slice(b"\x00\x09\x07RFC8482\x00");
    write_opt(&mut out, query, Rcode::NOERROR, terms, |_| {});
    out
}

/// The whole response code of a reply of ours.
pub fn rcode(reply: &[u8]) -> Rcode {
    Layout::of(reply).map_or(Rcode::SERVFAIL, |layout| layout.rcode(reply))
}

/// Header and question of a reply that is written from scratch.
fn start(
    header: Header,
    question: Option<&Question>,
    rcode: Rcode,
    answers: u16,
    has_opt: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(MIN_CAPACITY);
    let counts = [u16::from(question.is_some()), answers, 0, u16::from(has_opt)];
    Header { id: header.id, flags: flags(header, rcode), counts }.write(&mut out);
    if let Some(question) = question {
        question.write(&mut out);
    }
    out
}

/// Room for header, a long question and an OPT record with a reason.
const MIN_CAPACITY: usize = 512;

/// Opcode, RD and CD are the query's; the Z bit is always clear (RFC 6895 section 2.1).
pub(crate) fn flags(query: Header, rcode: Rcode) -> u16 {
    const OPCODE: u16 = 0x7800;
    Header::QR | Header::RA | query.flags & (OPCODE | Header::RD | Header::CD) | rcode.0 & 0xf
}

/// Appends the OPT record, when the query had one; `write` adds what the reply has to say.
pub(crate) fn write_opt(
    out: &mut Vec<u8>,
    query: &Query,
    rcode: Rcode,
    terms: Terms,
    write: impl FnOnce(&mut OptWriter<'_>),
) {
    let Some(edns) = query.edns else { return };
    let mut opt = OptWriter::start(out, terms.udp_payload, rcode, edns.dnssec_ok);
    write(&mut opt);
    // RFC 7828 section 3.3.2: only to a client that sent the option.
    if let Some(timeout) = terms.keepalive.filter(|_| edns.wants_keepalive) {
        opt.option(option::TCP_KEEPALIVE, &timeout.to_be_bytes());
    }
    opt.finish();
}

#[cfg(test)]
mod tests;

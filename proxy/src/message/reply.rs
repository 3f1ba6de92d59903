//! What goes back to a client.
//!
//! The header repeats the query's ID, opcode, RD and CD; the question is the client's own, letter for
//! letter; an OPT record is there exactly when the query had one (RFC 6891 section 6.1.1), and it is the
//! last record. The rest of an upstream's message is relayed as it is.

use super::{
    Header, Layout, Qtype, Query, Question, Rcode, Rejection,
    edns::{ExtendedError, OptWriter, option},
    name::MAX_NAME_LEN,
    record::Record,
    set_u16, u16_at,
};

/// What replies on one transport have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The largest UDP message that we take, in octets.
    pub udp_payload: u16,
    /// How long an idle connection is kept, in tenths of a second; only over a stream (RFC 7828).
    pub keepalive: Option<u16>,
}

/// Bounds what one upstream can make us repeat: our guess.
const MAX_RELAYED_ERRORS: usize = 4;

/// How long clients may remember the answer to ANY, in seconds (RFC 8482 section 6 leaves it open).
const ANY_TTL: u32 = 3600;

/// Writes the reply to a message that is no answerable query: nothing for silence.
pub fn rejection(
    rejection: &Rejection<'_>,
    reason: Option<&ExtendedError>,
    terms: Terms,
    out: &mut Vec<u8>,
) {
    let Rejection::Error { header, question, rcode, edns } = rejection else { return };
    start(*header, question.as_ref(), *rcode, 0, edns.is_some(), out);
    if let Some(dnssec_ok) = *edns {
        let mut opt = OptWriter::start(out, terms.udp_payload, *rcode, dnssec_ok);
        if let Some(reason) = reason {
            opt.extended_error(reason);
        }
        opt.finish();
    }
}

/// Writes a reply with no records but, to EDNS clients, the reason.
pub fn error(
    query: &Query<'_>,
    rcode: Rcode,
    reason: Option<&ExtendedError>,
    terms: Terms,
    out: &mut Vec<u8>,
) {
    start(query.header, Some(&query.question), rcode, 0, query.edns.is_some(), out);
    write_opt(out, query, rcode, reason.map(std::slice::from_ref).unwrap_or_default(), terms);
}

/// Writes an empty reply that sends the client to TCP.
pub fn truncated(query: &Query<'_>, terms: Terms, out: &mut Vec<u8>) {
    error(query, Rcode::NOERROR, None, terms, out);
    super::truncate::set_truncated(out);
}

/// Writes the reply to ANY: one HINFO record that says so (RFC 8482 section 4.2).
pub fn any(query: &Query<'_>, terms: Terms, out: &mut Vec<u8>) {
    start(query.header, Some(&query.question), Rcode::NOERROR, 1, query.edns.is_some(), out);
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&Qtype::HINFO.0.to_be_bytes());
    out.extend_from_slice(&query.question.qclass.0.to_be_bytes());
    out.extend_from_slice(&ANY_TTL.to_be_bytes());
    out.extend_from_slice(b"\x00\x09\x07RFC8482\x00");
    write_opt(out, query, Rcode::NOERROR, &[], terms);
}

/// Turns an upstream's message into the reply to `query`, and tells its whole response code.
///
/// `is_secure` says whether the message came over an authenticated connection: only then AD means
/// anything, and only a client that set AD or DO is told (RFC 6840 section 5.8).
pub fn relay(
    query: &Query<'_>,
    message: Vec<u8>,
    layout: &Layout,
    is_secure: bool,
    terms: Terms,
) -> (Vec<u8>, Rcode) {
    let rcode = layout.rcode(&message);
    // Without an OPT record there is no room for the upper bits, and the lower ones alone would lie.
    let rcode = if rcode.0 > 15 && query.edns.is_none() { Rcode::SERVFAIL } else { rcode };
    let errors: Vec<_> = layout
        .edns(&message)
        .into_iter()
        .flat_map(|edns| edns.extended_errors().take(MAX_RELAYED_ERRORS).collect::<Vec<_>>())
        .collect();
    let had_question = u16_at(&message, 4) == Some(1);
    if !had_question {
        let mut out = Vec::with_capacity(MIN_CAPACITY);
        start(query.header, Some(&query.question), rcode, 0, query.edns.is_some(), &mut out);
        write_opt(&mut out, query, rcode, &errors, terms);
        return (out, rcode);
    }
    let mut out = message;
    out.truncate(layout.end);
    remove_opt(&mut out, layout);
    restore_question(&mut out, &query.question);
    normalise_ttls(&mut out, layout.questions_end);
    let upstream = u16_at(&out, 2).unwrap_or_default();
    let may_say_authentic = is_secure && query.wants_authentic_data();
    let kept = upstream & (Header::AA | if may_say_authentic { Header::AD } else { 0 });
    set_u16(&mut out, 0, query.header.id);
    set_u16(&mut out, 2, flags(query.header, rcode) | kept);
    write_opt(&mut out, query, rcode, &errors, terms);
    if query.edns.is_some() {
        let additionals = u16_at(&out, 10).unwrap_or_default();
        set_u16(&mut out, 10, additionals.saturating_add(1));
    }
    (out, rcode)
}

/// Writes header and question of a reply that is written from scratch.
fn start(
    header: Header,
    question: Option<&Question<'_>>,
    rcode: Rcode,
    answers: u16,
    has_opt: bool,
    out: &mut Vec<u8>,
) {
    out.reserve(MIN_CAPACITY);
    let counts = [u16::from(question.is_some()), answers, 0, u16::from(has_opt)];
    Header { id: header.id, flags: flags(header, rcode), counts }.write(out);
    if let Some(question) = question {
        question.write(out);
    }
}

/// Room for header, a long question and an OPT record with a reason.
const MIN_CAPACITY: usize = 512;

/// Opcode, RD and CD are the query's; the Z bit is always clear (RFC 6895 section 2.1).
fn flags(query: Header, rcode: Rcode) -> u16 {
    const OPCODE: u16 = 0x7800;
    Header::QR | Header::RA | query.flags & (OPCODE | Header::RD | Header::CD) | rcode.0 & 0xf
}

fn write_opt(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    rcode: Rcode,
    errors: &[ExtendedError],
    terms: Terms,
) {
    let Some(edns) = query.edns else { return };
    let mut opt = OptWriter::start(out, terms.udp_payload, rcode, edns.dnssec_ok);
    for error in errors {
        opt.extended_error(error);
    }
    // RFC 7828 section 3.3.2: only to a client that sent the option.
    if let Some(timeout) = terms.keepalive.filter(|_| edns.wants_keepalive) {
        opt.option(option::TCP_KEEPALIVE, &timeout.to_be_bytes());
    }
    opt.finish();
}

/// The upstream's question differs in letter case at most, so it has the same length.
fn restore_question(out: &mut [u8], question: &Question<'_>) {
    let name = question.name.as_wire();
    if let Some(octets) = out.get_mut(super::HEADER_LEN..super::HEADER_LEN + name.len()) {
        octets.copy_from_slice(name);
    }
}

/// A TTL with the top bit set means zero (RFC 2181 section 8).
fn normalise_ttls(out: &mut [u8], start: usize) {
    let mut at = start;
    while let Some(record) = Record::read(out, at) {
        if record.ttl > i32::MAX.unsigned_abs() {
            set_u16(out, record.fields + 4, 0);
            set_u16(out, record.fields + 6, 0);
        }
        at = record.end;
    }
}

/// Removes the OPT record. It is the last one nearly always; else the records behind it move up.
fn remove_opt(out: &mut Vec<u8>, layout: &Layout) {
    let Some(opt) = &layout.opt else { return };
    let additionals = u16_at(out, 10).unwrap_or_default();
    set_u16(out, 10, additionals.saturating_sub(1));
    if opt.end == layout.end {
        out.truncate(opt.start);
    } else if move_up(out, opt).is_none() {
        drop_behind(out, layout, opt);
    }
}

/// Closes the gap that the OPT record leaves, and mends the pointers of owner names that lead behind it.
/// `None` when a record has data in which pointers may hide; such a message is left as it was.
fn move_up(out: &mut Vec<u8>, opt: &Record) -> Option<()> {
    let mut pointers = Vec::new();
    let mut at = opt.end;
    while at < out.len() {
        let record = Record::read(out, at)?;
        if may_hold_pointers(record.rtype) {
            return None;
        }
        let last = record.fields.checked_sub(2)?;
        let pointer = u16_at(out, last)?;
        if record.fields - record.start >= 2
            && is_pointer(out, &record)
            && usize::from(pointer & 0x3fff) >= opt.end
        {
            pointers.push((last, pointer));
        }
        at = record.end;
    }
    let gap = u16::try_from(opt.end - opt.start).ok()?;
    for (at, pointer) in pointers {
        set_u16(out, at, pointer - gap);
    }
    out.drain(opt.start..opt.end);
    Some(())
}

/// Whether the owner name ends in a compression pointer rather than in the root label.
fn is_pointer(message: &[u8], record: &Record) -> bool {
    let mut at = record.start;
    while at < record.fields && at - record.start <= MAX_NAME_LEN {
        match message.get(at) {
            Some(len @ 1..=63) => at += 1 + usize::from(*len),
            Some(0xc0..) => return true,
            _ => return false,
        }
    }
    false
}

/// The types of which the data may be compressed (RFC 3597 section 4), and those that are by habit.
fn may_hold_pointers(rtype: Qtype) -> bool {
    matches!(rtype.0, 2..=9 | 12 | 14 | 15 | 17 | 18 | 21 | 24 | 26 | 30 | 33 | 35 | 36 | 39)
}

/// Gives up the records behind the OPT record: they are additional, a client can ask for them.
fn drop_behind(out: &mut Vec<u8>, layout: &Layout, opt: &Record) {
    let mut kept = 0;
    let mut at = layout.authorities_end;
    while at < opt.start {
        let Some(record) = Record::read(out, at) else { break };
        kept += 1;
        at = record.end;
    }
    set_u16(out, 10, kept);
    out.truncate(opt.start);
}

#[cfg(test)]
mod tests;

//! Making a reply fit (RFC 1035 section 4.1.1, RFC 2181 section 9).
//!
//! The options of the OPT record go first (RFC 8914 section 3), then the additional records; the absence of
//! either is no truncation. Then whole records go from the end, and TC says so. What fits is kept: some
//! clients cannot ask again over TCP and live on it. That is also why TC is not set for reasons alone, which
//! RFC 8914 recommends: nobody should lose a whole answer for a text about it.

use super::{Header, Layout, record::Record, set_u16, u16_at};

/// Cuts a reply of ours, whose OPT record is the last record, to at most `limit` octets. Tells whether a record that is
/// missed had to go.
pub fn fit(message: &mut Vec<u8>, limit: usize) -> bool {
    if message.len() <= limit {
        return false;
    }
    let Ok(layout) = Layout::of(message) else { return false };
    let opt = bare_opt(message, &layout);
    let room = limit.saturating_sub(opt.len());
    let is_cut = match &layout.opt {
        Some(record) if record.start <= room => {
            message.truncate(record.start);
            false
        }
        _ => cut(message, &layout, room, !opt.is_empty()),
    };
    message.extend_from_slice(&opt);
    is_cut
}

/// The OPT record without its options; empty when there is none.
fn bare_opt(message: &[u8], layout: &Layout) -> Vec<u8> {
    const EMPTY_OPT: usize = 11;
    let opt = layout.opt.as_ref().and_then(|opt| message.get(opt.start..opt.start + EMPTY_OPT));
    let mut opt = opt.map(<[u8]>::to_vec).unwrap_or_default();
    set_u16(&mut opt, EMPTY_OPT - 2, 0);
    opt
}

/// Keeps the answer and authority records that fit. Tells whether others had to go.
fn cut(message: &mut Vec<u8>, layout: &Layout, room: usize, has_opt: bool) -> bool {
    let kept = Kept::within(message, layout, room);
    let is_cut = kept.end < layout.authorities_end;
    if is_cut {
        set_truncated(message);
    }
    message.truncate(kept.end);
    set_u16(message, 6, kept.answers);
    set_u16(message, 8, kept.authorities);
    set_u16(message, 10, u16::from(has_opt));
    is_cut
}

/// Sets TC.
pub(super) fn set_truncated(message: &mut [u8]) {
    let flags = u16_at(message, 2).unwrap_or_default();
    set_u16(message, 2, flags | Header::TC);
}

/// The records of the answer and authority sections that fit.
struct Kept {
    answers: u16,
    authorities: u16,
    end: usize,
}

impl Kept {
    fn within(message: &[u8], layout: &Layout, room: usize) -> Self {
        let mut kept = Self { answers: 0, authorities: 0, end: layout.questions_end };
        while kept.end < layout.authorities_end {
            let Some(record) = Record::read(message, kept.end) else { break };
            if record.end > room {
                break;
            }
            let section = if kept.end < layout.answers_end {
                &mut kept.answers
            } else {
                &mut kept.authorities
            };
            *section += 1;
            kept.end = record.end;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        Qclass, Qtype, Question, Rcode,
        edns::{ExtendedError, OptWriter},
    };

    const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
    /// Header, question and OPT record.
    const FRAME: usize = 12 + 13 + 4 + 11;

    /// The reason that some replies carry, as an option.
    const REASON: usize = 4 + 2 + 20;

    fn reply(counts: [u16; 3], has_reason: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let [answers, authorities, additionals] = counts;
        Header { id: 1, flags: Header::QR, counts: [1, answers, authorities, additionals + 1] }
            .write(&mut out);
        Question { name: "www.example.".parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN }
            .write(&mut out);
        for _ in 0..answers + authorities + additionals {
            out.extend_from_slice(RECORD);
        }
        let mut opt = OptWriter::start(&mut out, 1232, Rcode::NOERROR, true);
        if has_reason {
            opt.extended_error(&ExtendedError::new(9, "x".repeat(20)));
        }
        opt.finish();
        out
    }

    #[test]
    fn what_matters_least_goes_first_and_tc_tells_when_a_record_is_missed() {
        let cases = [
            // (why, counts before, whether there is a reason, limit, counts after, whether it stays, TC)
            ("it fits", [2, 1, 1], true, FRAME + 64 + REASON, [1, 2, 1, 2], true, false),
            (
                "a reason goes before any record (RFC 8914 3)",
                [2, 1, 1],
                true,
                FRAME + 63 + REASON,
                [1, 2, 1, 2],
                false,
                false,
            ),
            ("just without it", [2, 1, 1], true, FRAME + 64, [1, 2, 1, 2], false, false),
            (
                "additional records are not missed (RFC 2181 9)",
                [2, 1, 1],
                false,
                FRAME + 63,
                [1, 2, 1, 1],
                false,
                false,
            ),
            ("authority records are", [2, 1, 1], false, FRAME + 47, [1, 2, 0, 1], false, true),
            ("no record is cut in two", [2, 0, 0], false, FRAME + 31, [1, 1, 0, 1], false, true),
            (
                "a reason takes no room from answers",
                [2, 0, 0],
                true,
                FRAME + 31,
                [1, 1, 0, 1],
                false,
                true,
            ),
            ("nothing fits but the question", [2, 0, 0], true, FRAME, [1, 0, 0, 1], false, true),
            ("a reason alone", [0, 0, 0], true, FRAME + 10, [1, 0, 0, 1], false, false),
        ];

        for (why, before, has_reason, limit, after, reason_stays, is_truncated) in cases {
            let mut message = reply(before, has_reason);
            let is_cut = fit(&mut message, limit);
            assert_eq!(is_cut, is_truncated, "{why}");
            let header = Header::read(&message).unwrap();
            assert!(message.len() <= limit, "{why}");
            assert_eq!(header.counts, after, "{why}");
            assert_eq!(header.has(Header::TC), is_truncated, "{why}");
            let layout = Layout::of(&message).unwrap();
            let edns = layout.edns(&message).expect("the OPT record stays");
            assert!(edns.dnssec_ok && edns.udp_payload == 1232, "{why}: the OPT record stays");
            assert_eq!(edns.extended_errors().count() == 1, reason_stays, "{why}");
        }
    }

    #[test]
    fn without_an_opt_record_none_is_made() {
        let mut message = reply([2, 0, 0], false);
        message.truncate(FRAME - 11 + 32);
        set_u16(&mut message, 10, 0);

        fit(&mut message, FRAME - 11 + 16);

        assert_eq!(message.len(), FRAME - 11 + 16);
        assert_eq!(Header::read(&message).unwrap().counts, [1, 1, 0, 0]);
    }
}

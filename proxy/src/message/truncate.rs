//! Making a reply fit (RFC 1035 section 4.1.1, RFC 2181 section 9).
//!
//! Additional records go first, and their absence is no truncation. Then whole records go from the end,
//! and TC says so. What fits is kept: some clients cannot ask again over TCP and live on it.

use super::{Header, Layout, record::Record, set_u16, u16_at};

/// Cuts a reply of ours, whose OPT record is the last record, to at most `limit` octets.
pub fn fit(message: &mut Vec<u8>, limit: usize) {
    if message.len() <= limit {
        return;
    }
    let Ok(layout) = Layout::of(message) else { return };
    let mut opt = layout
        .opt
        .and_then(|opt| message.get(opt.start..opt.end))
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    if layout.questions_end + opt.len() > limit {
        drop_options(&mut opt);
    }
    let room = limit.saturating_sub(opt.len());
    let kept = Kept::within(message, &layout, room);
    if kept.end < layout.authorities_end {
        set_truncated(message);
    }
    message.truncate(kept.end);
    set_u16(message, 6, kept.answers);
    set_u16(message, 8, kept.authorities);
    set_u16(message, 10, u16::from(!opt.is_empty()));
    message.extend_from_slice(&opt);
}

/// Leaves the OPT record without options: the reasons of an upstream are worth less than an answer.
fn drop_options(opt: &mut Vec<u8>) {
    const EMPTY_OPT: usize = 11;
    opt.truncate(EMPTY_OPT);
    set_u16(opt, EMPTY_OPT - 2, 0);
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

    fn reply(counts: [u16; 3]) -> Vec<u8> {
        let mut out = Vec::new();
        let [answers, authorities, additionals] = counts;
        Header { id: 1, flags: Header::QR, counts: [1, answers, authorities, additionals + 1] }
            .write(&mut out);
        Question { name: "www.example.".parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN }
            .write(&mut out);
        for _ in 0..answers + authorities + additionals {
            out.extend_from_slice(RECORD);
        }
        OptWriter::start(&mut out, 1232, Rcode::NOERROR, false).finish();
        out
    }

    #[test]
    fn whole_records_go_from_the_end_and_tc_tells_when_it_matters() {
        let cases = [
            // (why, counts before, limit, counts after, whether TC is set)
            ("it fits", [2, 1, 1], FRAME + 64, [1, 2, 1, 2], false),
            (
                "additional records are not missed (RFC 2181 9)",
                [2, 1, 1],
                FRAME + 63,
                [1, 2, 1, 1],
                false,
            ),
            ("authority records are", [2, 1, 1], FRAME + 47, [1, 2, 0, 1], true),
            ("no record is cut in two", [2, 0, 0], FRAME + 31, [1, 1, 0, 1], true),
            ("nothing fits but the question", [2, 0, 0], FRAME, [1, 0, 0, 1], true),
        ];

        for (why, before, limit, after, is_truncated) in cases {
            let mut message = reply(before);
            fit(&mut message, limit);
            let header = Header::read(&message).unwrap();
            assert!(message.len() <= limit, "{why}");
            assert_eq!(header.counts, after, "{why}");
            assert_eq!(header.has(Header::TC), is_truncated, "{why}");
            assert!(Layout::of(&message).unwrap().opt.is_some(), "{why}: the OPT record stays");
        }
    }
    #[test]
    fn long_reasons_go_before_the_limit_is_broken() {
        let mut message = reply([2, 0, 0]);
        message.truncate(message.len() - 11);
        let mut opt = OptWriter::start(&mut message, 1232, Rcode::NOERROR, true);
        for _ in 0..4 {
            opt.extended_error(&ExtendedError::new(9, "x".repeat(200)));
        }
        opt.finish();

        fit(&mut message, 512);

        let layout = Layout::of(&message).unwrap();
        assert!(message.len() <= 512, "{}", message.len());
        assert!(layout.edns(&message).unwrap().dnssec_ok, "the rest of the OPT record stays");
        assert_eq!(Header::read(&message).unwrap().counts, [1, 2, 0, 1], "and so do the answers");
    }
}

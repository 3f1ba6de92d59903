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
    let opt = layout
        .opt
        .and_then(|opt| message.get(opt.start..opt.end))
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
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

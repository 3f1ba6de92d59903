//! Taking the OPT record out of an upstream's message.
//!
//! EDNS is hop by hop (RFC 6891 section 6.1.1): the record is read and never relayed. It is the last one nearly
//! always; where records stand behind it they move up, or go when pointers may hide in their data.

use super::{Layout, Qtype, name::MAX_NAME_LEN, record::Record, set_u16, u16_at};

/// Removes the OPT record and counts it no more.
pub fn remove_opt(out: &mut Vec<u8>, layout: &Layout) {
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

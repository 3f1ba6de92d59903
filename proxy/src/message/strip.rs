//! Taking the OPT record out of an upstream's message.
//!
//! EDNS is hop by hop (RFC 6891 section 6.1.1): the record is read and never relayed. It is the last one nearly
//! always; where records stand behind it they move up, or go when pointers may hide in their data, or lead into it.

use super::{Layout, name::MAX_NAME_LEN, record::Record, response::has_names, set_u16, u16_at};

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
/// `None` when a record has data in which pointers may hide, or an owner name that leads into the gap; such a message
/// is left as it was.
fn move_up(out: &mut Vec<u8>, opt: &Record) -> Option<()> {
    let mut pointers = Vec::new();
    let mut at = opt.end;
    while at < out.len() {
        let record = Record::read(out, at)?;
        if has_names(record.rtype) {
            return None;
        }
        let last = record.fields.checked_sub(2)?;
        let pointer = u16_at(out, last)?;
        let target = usize::from(pointer & 0x3fff);
        if is_pointer(out, &record) && target >= opt.start {
            if target < opt.end {
                return None;
            }
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
mod tests {
    use super::*;
    use crate::message::{Header, Qclass, Qtype, Question};

    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    const OWNED_BY_QUESTION: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";

    /// A message with an OPT record and these additional records behind it.
    fn message(behind: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let additionals = 1 + u16::try_from(behind.len()).unwrap();
        Header { id: 1, flags: Header::QR, counts: [1, 1, 0, additionals] }.write(&mut out);
        Question { name: "www.example.".parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN }
            .write(&mut out);
        out.extend_from_slice(OWNED_BY_QUESTION);
        out.extend_from_slice(OPT);
        out.extend(behind.iter().flat_map(|record| record.iter()));
        out
    }

    /// An address record with this owner.
    fn owned_by(owner: &[u8]) -> Vec<u8> {
        [owner, &OWNED_BY_QUESTION[2..]].concat()
    }

    fn pointer(target: usize) -> [u8; 2] {
        (0xc000 | u16::try_from(target).unwrap()).to_be_bytes()
    }

    #[test]
    fn what_stands_behind_the_opt_record_moves_up_or_goes_and_never_leads_astray() {
        let opt = 12 + 17 + OWNED_BY_QUESTION.len();
        let end = opt + OPT.len();
        let named = owned_by(b"\x01a\0");
        // SVCB of priority 1, the target of which is compressed, as RFC 9460 forbids and clients read all the same.
        let target = pointer(end);
        let service = [&b"\x01s\0\0\x40\0\x01\0\0\0\x3c\0\x04\0\x01"[..], &target[..]].concat();
        let cases: [(&str, Vec<Vec<u8>>, u16); 7] = [
            // (why, records behind it, how many of them are left)
            ("nothing", vec![], 0),
            ("a pointer to what stays", vec![owned_by(&pointer(12))], 1),
            ("a name of its own", vec![named.clone()], 1),
            ("a pointer within the data", vec![service], 0),
            ("a pointer to what moves", vec![named.clone(), owned_by(&pointer(end))], 2),
            ("a pointer to the root in the OPT record", vec![owned_by(&pointer(opt))], 0),
            (
                "a label before such a pointer",
                vec![named, owned_by(&[b"\x01b".as_slice(), &pointer(opt + 4)].concat())],
                0,
            ),
        ];

        for (why, behind, left) in cases {
            let behind: Vec<&[u8]> = behind.iter().map(Vec::as_slice).collect();
            let mut out = message(&behind);
            let layout = Layout::of(&out).unwrap();
            remove_opt(&mut out, &layout);
            let after = Layout::of(&out).expect(why);
            assert!(after.opt.is_none() && after.end == out.len(), "{why}");
            assert_eq!(u16_at(&out, 10), Some(left), "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_message_has_a_layout_without_its_opt_record_too(
            targets in proptest::collection::vec(12_u16..120, 0..4), labels: bool,
        ) {
            let label: &[u8] = if labels { b"\x01b" } else { b"" };
            let behind: Vec<_> =
                targets.iter().map(|it| owned_by(&[label, &pointer((*it).into())].concat())).collect();
            let mut out = message(&behind.iter().map(Vec::as_slice).collect::<Vec<_>>());
            if let Ok(layout) = Layout::of(&out) {
                remove_opt(&mut out, &layout);
                proptest::prop_assert!(Layout::of(&out).is_ok());
            }
        }
    }
}

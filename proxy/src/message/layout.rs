//! Where the parts of an upstream's message are.
//!
//! A message without a layout is malformed and never reaches a client: its counts or lengths lead
//! outside (RFC 9267), it has two OPT records (RFC 6891 section 6.1.1), or a signature between two hosts, which nobody
//! asked for and which holds for no other message (RFC 8945 section 5.1). Of the data of records only the names of the
//! oldest types are looked at: all else is as it came (RFC 3597 section 3).

use super::{HEADER_LEN, Header, Qtype, Question, Rcode, edns::Edns, record::Record};

/// Offsets in a message of which every record is in bounds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    /// Where the question section ends.
    pub questions_end: usize,
    /// Where the answer section ends.
    pub answers_end: usize,
    /// Where the authority section ends.
    pub authorities_end: usize,
    /// The OPT record.
    pub opt: Option<Record>,
    /// Where the last record ends.
    pub end: usize,
}

/// The message leads outside of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed;

impl Layout {
    /// Finds the parts of a message with at most one question.
    pub fn of(message: &[u8]) -> Result<Self, Malformed> {
        let header = Header::read(message).ok_or(Malformed)?;
        let questions_end = match header.counts[0] {
            0 => HEADER_LEN,
            1 => Question::read(message).map_err(|_| Malformed)?.1,
            _ => return Err(Malformed),
        };
        let [_, answers, authorities, additionals] = header.counts;
        let answers_end = skip(message, questions_end, answers)?;
        let authorities_end = skip(message, answers_end, authorities)?;
        let (opt, end) = find_opt(message, authorities_end, additionals)?;
        Ok(Self { questions_end, answers_end, authorities_end, opt, end })
    }

    /// What the OPT record says.
    pub fn edns<'m>(&self, message: &'m [u8]) -> Option<Edns<'m>> {
        Edns::read(message, self.opt.as_ref()?)
    }

    /// The whole response code.
    pub fn rcode(&self, message: &[u8]) -> Rcode {
        let low = Header::read(message).map_or(Rcode::SERVFAIL, |header| header.rcode());
        let high = self.edns(message).map_or(0, |edns| u16::from(edns.rcode_high));
        Rcode(high << 4 | low.0)
    }
}

/// Skips `count` records of the answer or authority section.
fn skip(message: &[u8], start: usize, count: u16) -> Result<usize, Malformed> {
    (0..count).try_fold(start, |at, _| {
        let record = Record::read(message, at).ok_or(Malformed)?;
        let is_good = record.rtype != Qtype::OPT && record.has_whole_names(message);
        is_good.then_some(record.end).ok_or(Malformed)
    })
}

fn find_opt(
    message: &[u8],
    start: usize,
    count: u16,
) -> Result<(Option<Record>, usize), Malformed> {
    let mut found = None;
    let mut at = start;
    for _ in 0..count {
        let record = Record::read(message, at).ok_or(Malformed)?;
        at = record.end;
        if record.rtype == Qtype::TSIG {
            return Err(Malformed);
        }
        if record.rtype == Qtype::OPT {
            let is_good = record.is_owned_by_root() && Edns::read(message, &record).is_some();
            if !is_good || found.replace(record).is_some() {
                return Err(Malformed);
            }
        }
    }
    Ok((found, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Qclass;

    /// A response with one record in the answer section.
    fn message(owner: &[u8], rtype: Qtype, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Header { id: 1, flags: Header::QR, counts: [1, 1, 0, 0] }.write(&mut out);
        Question { name: "www.example.".parse().unwrap(), qtype: rtype, qclass: Qclass::IN }
            .write(&mut out);
        out.extend_from_slice(owner);
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn a_signature_that_nobody_asked_for_makes_a_message_malformed() {
        let mut signed = message(&[0xc0, 12], Qtype::A, &[1, 2, 3, 4]);
        assert!(Layout::of(&signed).is_ok());
        signed[11] = 1;
        signed.extend_from_slice(b"\0\0\xfa\0\xff\0\0\0\0\0\0");
        assert_eq!(Layout::of(&signed), Err(Malformed));
    }

    #[test]
    fn names_lead_back_to_names_and_fill_the_data_that_they_are_in() {
        const OWNER: &[u8] = &[0xc0, 12];
        let numbers = [0; 20];
        let with = |names: &[u8]| [names, &numbers].concat();
        type Case<'c> = (&'c str, &'c [u8], Qtype, Vec<u8>, bool);
        let cases: [Case<'_>; 16] = [
            ("a pointer to the question", OWNER, Qtype::CNAME, vec![0xc0, 12], true),
            ("a label and a pointer", OWNER, Qtype::CNAME, vec![1, b'a', 0xc0, 12], true),
            ("the root", OWNER, Qtype::NS, vec![0], true),
            ("an owner in the header", &[0xc0, 0], Qtype::A, vec![1, 2, 3, 4], false),
            ("an owner that is itself", &[0xc0, 29], Qtype::A, vec![1, 2, 3, 4], false),
            ("a pointer forward", OWNER, Qtype::CNAME, vec![0xff, 0xff], false),
            ("a pointer into the header", OWNER, Qtype::PTR, vec![0xc0, 2], false),
            ("octets behind the name", OWNER, Qtype::CNAME, vec![0xc0, 12, 0], false),
            ("no end", OWNER, Qtype::CNAME, vec![1, b'a'], false),
            ("nothing", OWNER, Qtype::NS, vec![], false),
            ("MX", OWNER, Qtype::MX, vec![0, 5, 0xc0, 12], true),
            ("MX without a name", OWNER, Qtype::MX, vec![0, 5], false),
            ("SOA", OWNER, Qtype::SOA, with(&[0xc0, 12, 1, b'a', 0]), true),
            ("SOA with one name", OWNER, Qtype::SOA, with(&[0xc0, 12]), false),
            ("data without names", OWNER, Qtype(16), vec![0xff, 0xff], true),
            ("a type that nobody knows", OWNER, Qtype(65_280), vec![0xff, 0xff], true),
        ];

        for (why, owner, rtype, data, is_good) in cases {
            assert_eq!(Layout::of(&message(owner, rtype, &data)).is_ok(), is_good, "{why}");
        }
    }
}

//! Where the parts of an upstream's message are.
//!
//! A message without a layout is malformed and never reaches a client: its counts or lengths lead
//! outside (RFC 9267), or it has two OPT records (RFC 6891 section 6.1.1). The data of records is not
//! looked at (RFC 3597 section 3).

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
        if record.rtype == Qtype::OPT { Err(Malformed) } else { Ok(record.end) }
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
        if record.rtype == Qtype::OPT {
            let is_good = record.is_owned_by_root() && Edns::read(message, &record).is_some();
            if !is_good || found.replace(record).is_some() {
                return Err(Malformed);
            }
        }
    }
    Ok((found, at))
}

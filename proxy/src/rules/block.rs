//! What the client of a blocked query gets.

use dnsproxy_api::v1alpha1::BlockWith;

use crate::message::{
    Name, Qclass, Qtype, Question, Rcode,
    response::{Data, Record, Response},
};

/// How queries are blocked.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    pub(super) with: BlockWith,
    /// In seconds.
    pub(super) ttl: u32,
}

impl Blocking {
    /// The answer to a question; `None` when it gets none.
    pub fn respond(&self, question: &Question<'_>) -> Option<(Rcode, Response)> {
        let mut response = Response::empty(question.clone().into_owned());
        let rcode = match self.with {
            BlockWith::Drop => return None,
            BlockWith::REFUSED => return Some((Rcode::REFUSED, response)),
            BlockWith::NXDOMAIN => Rcode::NXDOMAIN,
            BlockWith::NODATA | BlockWith::NullAddress => Rcode::NOERROR,
        };
        let null = match question.qtype {
            Qtype::A => Some(vec![0; 4]),
            Qtype::AAAA => Some(vec![0; 16]),
            _ => None,
        };
        let [answers, authorities, _] = &mut response.sections;
        let is_address = self.with == BlockWith::NullAddress && question.qclass == Qclass::IN;
        match null.filter(|_| is_address) {
            Some(octets) => answers.push(Record {
                owner: question.name.clone().into_owned(),
                rtype: question.qtype,
                class: Qclass::IN,
                ttl: self.ttl,
                data: Data::opaque(octets),
            }),
            None => authorities.push(denial(question, self.ttl)),
        }
        Some((rcode, response))
    }

    /// The word of the manifest.
    pub fn word(&self) -> &'static str {
        match self.with {
            BlockWith::NXDOMAIN => "NXDOMAIN",
            BlockWith::NODATA => "NODATA",
            BlockWith::REFUSED => "REFUSED",
            BlockWith::NullAddress => "NullAddress",
            BlockWith::Drop => "Drop",
        }
    }
}

/// The SOA record that lets clients remember that there is nothing, for so many seconds (RFC 2308 section 3).
pub fn denial(question: &Question<'_>, ttl: u32) -> Record {
    // Numbers that no secondary server will ever look at, and the time that counts.
    let times = [1, 3600, 600, 86_400, ttl].into_iter().flat_map(u32::to_be_bytes);
    let data = Data { head: Vec::new(), names: vec![mname(), rname()], tail: times.collect() };
    Record {
        owner: question.name.clone().into_owned(),
        rtype: Qtype::SOA,
        class: question.qclass,
        ttl,
        data,
    }
}

/// A server that does not exist (RFC 6761 section 6.4), since nobody shall ask it.
fn mname() -> Name<'static> {
    Name::from_wire(b"\x08dnsproxy\x07invalid\0".to_vec()).unwrap_or_else(|_| Name::root())
}

fn rname() -> Name<'static> {
    Name::from_wire(b"\x06nobody\x07invalid\0".to_vec()).unwrap_or_else(|_| Name::root())
}

//! Writing an upstream's response, right or wrong in any way.

use std::net::Ipv4Addr;

use super::{Edns, flags, header, name_on_wire, options, push, question_end, text, types};

/// A response in the making. Owners are written as a pointer to the question's name.
#[derive(Clone, Debug)]
pub struct Response {
    id: u16,
    flags: u16,
    question: Vec<u8>,
    has_question: bool,
    answers: (u16, Vec<u8>),
    authorities: (u16, Vec<u8>),
    edns: Option<Edns>,
}

impl Response {
    /// The response to a query, without a record: ID, question and OPT are taken over, RA is set.
    ///
    /// # Panics
    /// When the query is none that a sound client would send.
    pub fn to(query: &[u8]) -> Self {
        let end = question_end(query);
        let asked = u16::from_be_bytes([query[2], query[3]]);
        let has_edns = query[11] > 0;
        Self {
            id: u16::from_be_bytes([query[0], query[1]]),
            flags: flags::QR | flags::RA | (asked & (flags::RD | flags::CD)),
            question: query[12..end].to_vec(),
            has_question: true,
            answers: (0, Vec::new()),
            authorities: (0, Vec::new()),
            edns: has_edns.then(|| Edns { payload: 1232, ..Edns::default() }),
        }
    }

    /// With an address.
    #[must_use]
    pub fn a(self, address: Ipv4Addr) -> Self {
        self.record(types::A, 300, &address.octets())
    }

    /// With a text.
    #[must_use]
    pub fn txt(self, string: &str) -> Self {
        self.record(types::TXT, 300, &text(string))
    }

    /// With any record of the question's name.
    #[must_use]
    pub fn record(mut self, rtype: u16, ttl: u32, rdata: &[u8]) -> Self {
        write_record(&mut self.answers, 0, rtype, ttl, rdata);
        self
    }

    /// With a record of another name in the answer section.
    #[must_use]
    pub fn answer(mut self, owner: &str, rtype: u16, ttl: u32, rdata: &[u8]) -> Self {
        self.answers.0 += 1;
        let out = &mut self.answers.1;
        out.extend(name_on_wire(owner));
        push(out, rtype);
        push(out, 1);
        out.extend_from_slice(&ttl.to_be_bytes());
        push(out, u16::try_from(rdata.len()).expect("at most 65535 octets"));
        out.extend_from_slice(rdata);
        self
    }

    /// With an SOA record in the authority section: a negative answer (RFC 2308).
    #[must_use]
    pub fn soa(mut self) -> Self {
        let mut rdata = name_on_wire("ns.invalid.");
        rdata.extend(name_on_wire("hostmaster.invalid."));
        rdata.extend([1u32, 2, 3, 4, 60].into_iter().flat_map(u32::to_be_bytes));
        write_record(&mut self.authorities, 0, types::SOA, 60, &rdata);
        self
    }

    /// With an SOA record in the authority section, as given, of the question's name without its first label.
    #[must_use]
    pub fn soa_of_parent(mut self, ttl: u32, rdata: &[u8]) -> Self {
        write_record(&mut self.authorities, self.question[0] + 1, types::SOA, ttl, rdata);
        self
    }

    /// With an rcode; what does not fit into the header goes into the OPT record.
    #[must_use]
    pub fn rcode(mut self, rcode: u16) -> Self {
        self.flags |= rcode & 0xf;
        if let Some(edns) = &mut self.edns {
            edns.extended_rcode = u8::try_from(rcode >> 4).expect("a rcode of twelve bits");
        }
        self
    }

    /// With more header bits.
    #[must_use]
    pub fn with(mut self, bits: u16) -> Self {
        self.flags |= bits;
        self
    }

    /// With an Extended DNS Error, if the query had EDNS.
    #[must_use]
    pub fn ede(self, code: u16, text: &str) -> Self {
        let value = [&code.to_be_bytes(), text.as_bytes()].concat();
        self.option(options::EXTENDED_ERROR, &value)
    }

    /// With an EDNS option, if the query had EDNS.
    #[must_use]
    pub fn option(mut self, code: u16, value: &[u8]) -> Self {
        if let Some(edns) = &mut self.edns {
            edns.options.push((code, value.to_vec()));
        }
        self
    }

    /// With another ID.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// To another question.
    #[must_use]
    pub fn question(mut self, name: &str, qtype: u16, class: u16) -> Self {
        self.question = name_on_wire(name);
        push(&mut self.question, qtype);
        push(&mut self.question, class);
        self
    }

    /// Without a question, as some servers refuse.
    #[must_use]
    pub fn without_question(mut self) -> Self {
        self.has_question = false;
        self
    }

    /// Without EDNS.
    #[must_use]
    pub fn without_edns(mut self) -> Self {
        self.edns = None;
        self
    }

    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let counts = [
            u16::from(self.has_question),
            self.answers.0,
            self.authorities.0,
            u16::from(self.edns.is_some()),
        ];
        let mut out = header(self.id, self.flags, counts);
        if self.has_question {
            out.extend_from_slice(&self.question);
        }
        out.extend_from_slice(&self.answers.1);
        out.extend_from_slice(&self.authorities.1);
        if let Some(edns) = &self.edns {
            edns.write(&mut out);
        }
        out
    }
}

/// The owner is the question's name without so many octets of its beginning.
fn write_record(section: &mut (u16, Vec<u8>), without: u8, rtype: u16, ttl: u32, rdata: &[u8]) {
    section.0 += 1;
    let out = &mut section.1;
    out.extend_from_slice(&[0xc0, 12 + without]);
    push(out, rtype);
    push(out, 1);
    out.extend_from_slice(&ttl.to_be_bytes());
    push(out, u16::try_from(rdata.len()).expect("at most 65535 octets"));
    out.extend_from_slice(rdata);
}

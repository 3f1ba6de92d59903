//! What goes to an upstream: the client's question, in a message of our own.
//!
//! ID and OPT record are ours (EDNS is hop by hop, RFC 6891 section 6.1.1): no option of a client leaves
//! the proxy, so neither its subnet nor its cookie does. AD asks the upstream to say whether it validated
//! (RFC 6840 section 5.7).

use super::{
    Header, Question, Rcode,
    edns::{OptWriter, option},
};

/// One question to an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What is asked.
    pub question: Question<'static>,
    /// RD, as the client set it.
    pub recursion_desired: bool,
    /// CD, as the client set it.
    pub checking_disabled: bool,
    /// DO, as the client set it.
    pub dnssec_ok: bool,
}

/// The EDNS part of a request on its way to one upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestEdns {
    /// The largest UDP answer that we take.
    pub udp_payload: u16,
    /// Pads the message to a multiple of so many octets, on encrypted transports (RFC 8467).
    pub padding_block: Option<usize>,
    /// Asks how long the connection may stay open without queries (RFC 7828), on streams.
    pub keepalive: bool,
}

impl Request {
    /// Appends the message to `out`; without `edns` it has no OPT record, for servers that know none.
    pub fn encode(&self, id: u16, edns: Option<RequestEdns>, out: &mut Vec<u8>) {
        let start = out.len();
        let header =
            Header { id, flags: self.flags(), counts: [1, 0, 0, u16::from(edns.is_some())] };
        header.write(out);
        self.question.write(out);
        if let Some(RequestEdns { udp_payload, padding_block, keepalive }) = edns {
            let mut opt = OptWriter::start(out, udp_payload, Rcode::NOERROR, self.dnssec_ok);
            if keepalive {
                opt.option(option::TCP_KEEPALIVE, &[]);
            }
            if let Some(block) = padding_block {
                opt.pad_to(start, block);
            }
            opt.finish();
        }
    }

    /// Whether no answer could tell the two apart.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { question, recursion_desired, checking_disabled, dnssec_ok } = self;
        question.matches(&other.question)
            && *recursion_desired == other.recursion_desired
            && *checking_disabled == other.checking_disabled
            && *dnssec_ok == other.dnssec_ok
    }

    fn flags(&self) -> u16 {
        let bit = |set, flag| if set { flag } else { 0 };
        Header::AD
            | bit(self.recursion_desired, Header::RD)
            | bit(self.checking_disabled, Header::CD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Qclass, Qtype, Query};

    fn request() -> Request {
        let question = Question {
            name: "www.Example.".parse().unwrap(),
            qtype: Qtype::AAAA,
            qclass: Qclass::IN,
        };
        Request { question, recursion_desired: true, checking_disabled: false, dnssec_ok: true }
    }

    #[test]
    fn a_request_is_a_query_with_our_id_and_opt() {
        let mut out = Vec::new();
        request().encode(
            7,
            Some(RequestEdns { udp_payload: 1232, padding_block: None, keepalive: false }),
            &mut out,
        );

        let query = Query::read(&out).unwrap();
        assert_eq!(query.header.id, 7);
        assert_eq!(query.header.flags, Header::RD | Header::AD);
        assert_eq!(query.question, request().question, "the spelling of the name is the client's");
        assert!(query.dnssec_ok());
    }

    #[test]
    fn padding_is_counted_from_the_start_of_the_message() {
        let mut out = vec![0; 2];
        request().encode(
            7,
            Some(RequestEdns { udp_payload: 1232, padding_block: Some(128), keepalive: true }),
            &mut out,
        );
        assert_eq!(out.len(), 2 + 128);
    }

    #[test]
    fn without_edns_there_is_no_opt_record() {
        let mut out = Vec::new();
        request().encode(7, None, &mut out);
        assert!(Query::read(&out).unwrap().edns.is_none());
    }
}

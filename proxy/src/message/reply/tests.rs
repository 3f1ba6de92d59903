use super::*;
use crate::message::{Layout, Qclass, Request, edns::Edns};

const TERMS: Terms = Terms { udp_payload: 1232, keepalive: Some(100) };

fn query(name: &str, edns: Option<(bool, bool)>) -> Query {
    let question = Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
    let request =
        Request { question, recursion_desired: true, checking_disabled: true, dnssec_ok: false };
    let mut octets = Vec::new();
    request.encode(0x1234, None, &mut octets);
    let mut query = Query::read(&octets).unwrap();
    query.header.flags &= !Header::AD;
    query.edns = edns.map(|(dnssec_ok, wants_keepalive)| super::super::query::ClientEdns {
        udp_payload: 4096,
        dnssec_ok,
        wants_keepalive,
    });
    query
}

fn edns(reply: &[u8]) -> Option<Edns<'_>> {
    Layout::of(reply).unwrap().edns(reply)
}

#[test]
fn keepalive_is_told_to_those_who_ask() {
    let asks = error(&query("a.", Some((false, true))), Rcode::REFUSED, None, TERMS);
    assert_eq!(edns(&asks).unwrap().option(option::TCP_KEEPALIVE), Some(&[0, 100][..]));

    let asks_not = error(&query("a.", Some((false, false))), Rcode::REFUSED, None, TERMS);
    assert_eq!(edns(&asks_not).unwrap().option(option::TCP_KEEPALIVE), None);
}

#[test]
fn any_gets_one_small_record() {
    let reply = any(&query("www.example.", Some((false, false))), TERMS);

    let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
    assert_eq!(decoded.answers.len(), 1);
    assert!(decoded.answers[0].to_string().contains("RFC8482"), "{}", decoded.answers[0]);
}

use super::*;
use crate::message::{Layout, Qclass, Request, edns::Edns};

const TERMS: Terms = Terms { udp_payload: 1232, keepalive: Some(100) };

fn query(name: &str, edns: Option<(bool, bool)>) -> Query<'static> {
    let question = Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
    let request =
        Request { question, recursion_desired: true, checking_disabled: true, dnssec_ok: false };
    let mut octets = Vec::new();
    request.encode(0x1234, None, &mut octets);
    let mut header = Header::read(&octets).unwrap();
    header.flags &= !Header::AD;
    let edns = edns.map(|(dnssec_ok, wants_keepalive)| super::super::query::ClientEdns {
        udp_payload: 4096,
        dnssec_ok,
        wants_keepalive,
    });
    Query { header, question: request.question, edns }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn edns(reply: &[u8]) -> Option<Edns<'_>> {
    Layout::of(reply).unwrap().edns(reply)
}

#[test]
fn keepalive_is_told_to_those_who_ask() {
    let asks = written(|out| {
        error(&query("a.", Some((false, true))), Rcode::REFUSED, None, TERMS, out);
    });
    assert_eq!(edns(&asks).unwrap().option(option::TCP_KEEPALIVE), Some(&[0, 100][..]));

    let asks_not = written(|out| {
        error(&query("a.", Some((false, false))), Rcode::REFUSED, None, TERMS, out);
    });
    assert_eq!(edns(&asks_not).unwrap().option(option::TCP_KEEPALIVE), None);
}

#[test]
fn any_gets_one_small_record() {
    let reply = written(|out| any(&query("www.example.", Some((false, false))), TERMS, out));

    let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
    assert_eq!(decoded.answers.len(), 1);
    assert!(decoded.answers[0].to_string().contains("RFC8482"), "{}", decoded.answers[0]);
}

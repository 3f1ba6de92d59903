//! What a hostile upstream sends is relayed or refused, within a moment; nothing of it is followed.

use dnsproxy_tests::{
    stage::Stage,
    upstream::{Action, Received},
    wire::{Query, Response, push, rcodes, types},
};

/// Replies of a hostile upstream: relayed or refused, each within a moment, and the next one is answered.
///
/// CVE-2020-25681 to 25683 and 25687 (DNSSEC data that is cut), CVE-2023-50387 and 50868 (costly signatures), CVE-2024-8508,
/// CVE-2026-44390, RUSTSEC-2026-0118 to 0120 (costly names), CVE-2026-52682, NXNSAttack and TsuNAME (CNAME loops): a
/// forwarder validates nothing, iterates nothing, and follows no name.
#[tokio::test]
async fn a_hostile_upstream_cannot_hurt() {
    let seeds = hostile_replies();
    let names: Vec<String> = seeds.iter().map(|(name, _)| format!("{name}.example.")).collect();
    let stage = Stage::script(move |query| answer_by_name(&seeds, query)).await;

    for name in names {
        let reply = stage.client().tcp(&Query::new(&name, types::A).edns(1232)).await;
        assert!(
            [rcodes::NOERROR, rcodes::SERVFAIL].contains(&reply.rcode()),
            "{name}: {}",
            reply.rcode()
        );
        let after = stage.client().ask("www.example", types::A).await;
        assert_eq!(after.rcode(), rcodes::NOERROR, "after {name}");
        assert!(
            stage.asked().iter().filter(|asked| **asked == name).count() <= 3,
            "{name} was not asked for ever"
        );
    }
    assert!(
        stage.asked().iter().all(|name| name.ends_with(".example.")),
        "no name of a reply was followed"
    );
}

fn answer_by_name(seeds: &[(&'static str, Seed)], query: &Received) -> Vec<Action> {
    let name = query.name();
    let seed = seeds.iter().find(|(seed, _)| name.starts_with(&format!("{seed}.")));
    let message = match seed {
        Some((_, seed)) => seed(&query.message),
        None => Response::to(&query.message).a([192, 0, 2, 1].into()).encode(),
    };
    vec![Action::Send(message)]
}

type Seed = fn(&[u8]) -> Vec<u8>;

/// Replies by the name that asks for them.
fn hostile_replies() -> Vec<(&'static str, Seed)> {
    fn answer(query: &[u8], rtype: u16, rdata: &[u8]) -> Vec<u8> {
        Response::to(query).record(rtype, 60, rdata).encode()
    }
    fn cut(query: &[u8], octets: usize) -> Vec<u8> {
        let mut message = Response::to(query).without_edns().a([1, 2, 3, 4].into()).encode();
        message.truncate(message.len() - octets);
        message
    }
    fn counts(query: &[u8], count: u8) -> Vec<u8> {
        let mut message = Response::to(query).without_edns().encode();
        message[6..12].fill(count);
        message
    }
    fn many(query: &[u8], rtype: u16, rdata: &[u8], count: usize) -> Vec<u8> {
        (0..count)
            .fold(Response::to(query), |response, _| response.record(rtype, 60, rdata))
            .encode()
    }
    vec![
        ("short-address", |query| answer(query, types::A, &[1, 2, 3])),
        ("long-address", |query| answer(query, types::A, &[1, 2, 3, 4, 5])),
        ("data-past-the-end", |query| cut(query, 2)),
        ("header-only", |query| Response::to(query).encode()[..12].to_vec()),
        ("counts-too-large", |query| counts(query, 0xff)),
        ("cname-to-itself", |query| answer(query, types::CNAME, &[0xc0, 12])),
        ("cname-pointer-ahead", |query| answer(query, types::CNAME, &[0xc0, 0xff])),
        ("cname-loop", |query| answer(query, types::CNAME, b"\x01b\xc0\x0c")),
        ("delegation", |query| many(query, types::NS, b"\x02ns\xc0\x0c", 200)),
        ("signature-cut", |query| answer(query, 46, &[0, 1, 8])),
        ("signatures-in-mass", |query| many(query, 46, &[7; 60], 600)),
        ("nsec3-salt-past-the-end", |query| answer(query, 50, &[1, 0, 0, 1, 255, 1])),
        ("text-empty", |query| answer(query, types::TXT, &[])),
        ("service-cut", |query| answer(query, 65, &[0, 1, 0, 0, 1, 255, 255])),
        ("naptr-cut", |query| answer(query, 35, &[0, 1, 0, 1, 255])),
        ("caa-empty-tag", |query| answer(query, 257, &[0, 0, 1])),
        ("apl-past-the-end", |query| answer(query, 42, &[0, 1, 32, 9, 1])),
        ("names-in-mass", |query| many(query, types::CNAME, &[0xc0, 12], 4000)),
        // hickory issue 3738: a chain of thousands of pointers, each to the one before.
        ("pointer-chain", pointer_chain),
        ("largest-ttl", |query| {
            Response::to(query).record(types::A, u32::MAX, &[1, 2, 3, 4]).encode()
        }),
        ("bytes-after-the-end", |query| {
            [Response::to(query).without_edns().encode(), vec![1, 2, 3]].concat()
        }),
    ]
}

/// Records without data, each of which has its owner from the record before.
fn pointer_chain(query: &[u8]) -> Vec<u8> {
    const RECORD: &[u8] = &[0, 1, 0, 1, 0, 0, 0, 60, 0, 0];
    let mut message = Response::to(query).without_edns().encode();
    let mut previous = 12;
    for _ in 0..1300_u16 {
        let owner = u16::try_from(message.len()).unwrap();
        push(&mut message, 0xc000 | previous);
        message.extend_from_slice(RECORD);
        previous = owner;
    }
    message[6..8].copy_from_slice(&1300_u16.to_be_bytes());
    message
}

#[tokio::test]
async fn a_ttl_of_a_hundred_years_is_none() {
    let stage = Stage::script(|query| {
        let response = Response::to(&query.message).record(types::A, u32::MAX, &[192, 0, 2, 1]);
        vec![Action::Send(response.encode())]
    })
    .await;

    let reply = stage.client().ask("www.example", types::A).await;
    assert_eq!(
        reply.answers[0].ttl, 0,
        "a TTL with the top bit set means zero (RFC 2181 section 8)"
    );
}

//! What upstreams answer is looked at before it is believed: private addresses of public names, addresses that stand for
//! nothing, and addresses that are to be others.

use std::net::IpAddr;

use dnsproxy_tests::{
    manifest::upstreams,
    proxy::Proxy,
    upstream::Upstream,
    wire::{Query, Reply, rcodes, types},
    zone::zone,
};
use serde_json::{Value, json};

const RECORDS: [&str; 4] = [
    "inside.example. 300 IN A 10.0.0.1",
    "both.example. 300 IN A 192.0.2.66",
    "both.example. 300 IN AAAA 2001:db8::1",
    "moved.example. 300 IN A 198.51.100.7",
];

struct Checked {
    proxy: Proxy,
    _server: Upstream,
}

impl Checked {
    async fn by(responses: Value) -> Self {
        let server = Upstream::plain().script(zone(&RECORDS)).start().await;
        let mut spec = upstreams([server.plain_entry("main", "TCP")]);
        spec["cache"] = json!({});
        spec["responses"] = responses;
        Self { proxy: Proxy::start(&spec).await, _server: server }
    }

    /// Asks twice: what was found and what is remembered are the same.
    async fn ask(&self, name: &str, qtype: u16) -> Reply {
        let query = Query::new(name, qtype).edns(1232);
        let first = self.proxy.client().udp(&query).await;
        let second = self.proxy.client().udp(&query).await;
        assert_eq!(first.rcode(), second.rcode(), "{name} {qtype}");
        assert_eq!(first.addresses(), second.addresses(), "{name} {qtype}");
        first
    }
}

fn address(text: &str) -> Vec<IpAddr> {
    vec![text.parse().unwrap()]
}

/// DNS rebinding: a page's own name leads into the network of whoever looks at it.
#[tokio::test]
async fn private_addresses_do_not_reach_the_clients_of_public_names() {
    for (action, rcode) in
        [("NODATA", rcodes::NOERROR), ("NXDOMAIN", rcodes::NXDOMAIN), ("REFUSED", rcodes::REFUSED)]
    {
        let checked = Checked::by(json!({"rebindProtection": {"action": action}})).await;
        let reply = checked.ask("inside.example", types::A).await;
        assert_eq!((reply.rcode(), reply.answers.len()), (rcode, 0), "{action}: {reply:?}");
        let (code, text) = reply.ede().unwrap();
        assert!(code == 4 && text.contains("private address"), "{action}: {code} {text}");
    }
    let trusted = Checked::by(json!({"rebindProtection": {"allow": ["example"]}})).await;
    assert_eq!(trusted.ask("inside.example", types::A).await.addresses(), address("10.0.0.1"));
}

/// The name exists: only what was said of this type is not believed. Whichever type is asked for first, and whatever
/// is remembered of it.
#[tokio::test]
async fn what_is_taken_from_one_type_is_not_taken_from_the_others() {
    for first in [types::A, types::AAAA] {
        let checked = Checked::by(json!({"bogusAddresses": ["192.0.2.66/32"]})).await;
        checked.ask("both.example", first).await;

        let bogus = checked.ask("both.example", types::A).await;
        assert_eq!((bogus.rcode(), bogus.answers.len()), (rcodes::NXDOMAIN, 0), "{bogus:?}");
        let good = checked.ask("both.example", types::AAAA).await;
        assert_eq!((good.rcode(), good.addresses()), (rcodes::NOERROR, address("2001:db8::1")));
    }
}

#[tokio::test]
async fn addresses_become_others() {
    let aliases = json!([{"from": "198.51.100.0/24", "to": "203.0.113.0/24"}]);
    let checked = Checked::by(json!({"addressAliases": aliases})).await;

    let reply = checked.ask("moved.example", types::A).await;
    assert_eq!((reply.addresses(), reply.answers[0].ttl), (address("203.0.113.7"), 300));
    assert_eq!(checked.ask("inside.example", types::A).await.addresses(), address("10.0.0.1"));
}

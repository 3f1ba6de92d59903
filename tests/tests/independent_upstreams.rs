//! Servers that others wrote are understood, and understand us.

use dnsproxy_tests::{
    certificates::{Authority, Identity, NAME, wrong_pin},
    eventually,
    independent::{BIG, Program, Server, ZONE},
    manifest::{merged, upstreams},
    proxy::Proxy,
    wire::{Query, rcodes, types},
};
use serde_json::{Value, json};

/// A server of each program that is installed, and a proxy in front of it.
async fn each(tls: impl Fn(&Authority, &Identity) -> Value) -> Vec<(Program, Server, Proxy)> {
    let mut all = Vec::new();
    for program in Program::ALL {
        let root = Authority::default();
        let identity = root.server();
        let Some(server) = program.start(&identity).await else { continue };
        let usual = json!({"serverName": NAME, "ca": {"inline": root.pem()}});
        let entry = json!({
            "name": "independent",
            "addresses": [server.address.to_string()],
            "tls": merged(usual, tls(&root, &identity)),
        });
        all.push((program, server, Proxy::start(&upstreams([entry])).await));
    }
    all
}

fn number_of(rtype: &str) -> u16 {
    match rtype {
        "A" => types::A,
        "AAAA" => types::AAAA,
        "CNAME" => types::CNAME,
        "MX" => 15,
        "SRV" => types::SRV,
        "TXT" => types::TXT,
        "CAA" => 257,
        other => panic!("no number for {other}"),
    }
}

#[tokio::test]
async fn every_record_arrives() {
    for (program, _server, proxy) in each(|_, _| json!({})).await {
        for (owner, rtype, rdata) in ZONE {
            let query = Query::new(&format!("{owner}.example"), number_of(rtype)).edns(1232);
            for reply in [proxy.client().udp(&query).await, proxy.client().tcp(&query).await] {
                assert_eq!(
                    reply.rcode(),
                    rcodes::NOERROR,
                    "{program:?}: {owner} {rtype}: {:?}",
                    reply.ede()
                );
                assert_eq!(
                    reply.answers[0].rtype,
                    number_of(rtype),
                    "{program:?}: {owner} {rtype}"
                );
            }
            if let Ok(address) = rdata.parse::<std::net::IpAddr>() {
                assert_eq!(proxy.client().udp(&query).await.addresses(), [address], "{program:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_denied_with_an_soa() {
    for (program, _server, proxy) in each(|_, _| json!({})).await {
        let no_name = proxy.client().ask("nobody.example", types::A).await;
        assert_eq!(no_name.rcode(), rcodes::NXDOMAIN, "{program:?}");
        assert_eq!(no_name.authorities[0].rtype, types::SOA, "{program:?}");
        let no_data = proxy.client().ask("text.example", types::A).await;
        assert_eq!((no_data.rcode(), no_data.answers.len()), (rcodes::NOERROR, 0), "{program:?}");
    }
}

#[tokio::test]
async fn a_large_answer_is_cut_over_udp_and_whole_over_tcp() {
    for (program, _server, proxy) in each(|_, _| json!({})).await {
        let query = Query::new("big.example", types::TXT).edns(1232);
        let cut = proxy.client().udp(&query).await;
        assert!(cut.is_truncated() && cut.length <= 1232, "{program:?}");
        assert_eq!(proxy.client().tcp(&query).await.texts().len(), BIG, "{program:?}");
    }
}

#[tokio::test]
async fn many_queries_share_a_connection() {
    for (program, _server, proxy) in each(|_, _| json!({})).await {
        let mut stream = proxy.tcp_client().connect().await.unwrap();
        for id in 0..200 {
            stream.send(&Query::new("www.example", types::A).id(id).encode()).await.unwrap();
        }
        for _ in 0..200 {
            assert_eq!(stream.reply().await.rcode(), rcodes::NOERROR, "{program:?}");
        }
        let handshakes = proxy.admin.sum("dnsproxy_upstream_handshakes_total", &[]).await;
        assert!(handshakes < 20.0, "{program:?}: {handshakes} handshakes for 200 queries");
    }
}

#[tokio::test]
async fn a_pin_of_the_authority_holds() {
    for (program, _server, proxy) in each(|root, _| json!({"pins": [root.pin()]})).await {
        assert_eq!(
            proxy.client().ask("www.example", types::A).await.rcode(),
            rcodes::NOERROR,
            "{program:?}"
        );
    }
}

#[tokio::test]
async fn who_is_somebody_else_is_not_asked() {
    for (program, _server, proxy) in each(|_, _| json!({"pins": [wrong_pin()]})).await {
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::SERVFAIL, "{program:?}");
        assert!(reply.ede().is_some_and(|(_, text)| text.contains("pin mismatch")), "{program:?}");
    }
    for (program, _server, proxy) in each(|_, _| json!({"serverName": "other.example"})).await {
        assert_eq!(
            proxy.client().ask("www.example", types::A).await.rcode(),
            rcodes::SERVFAIL,
            "{program:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    for program in Program::ALL {
        let root = Authority::default();
        let identity = root.server();
        let Some(server) = program.start(&identity).await else { continue };
        let address = server.address;
        let entry = json!({
            "name": "independent",
            "addresses": [address.to_string()],
            "tls": {"serverName": NAME, "ca": {"inline": root.pem()}},
        });
        let proxy = Proxy::start(&upstreams([entry])).await;
        assert_eq!(
            proxy.client().ask("www.example", types::A).await.rcode(),
            rcodes::NOERROR,
            "{program:?}"
        );

        drop(server);
        let _again = program.start_again(address, &identity).await;
        eventually("an answer of the new process", async || {
            (proxy.client().ask("www.example", types::A).await.rcode() == rcodes::NOERROR)
                .then_some(())
        })
        .await;
    }
}

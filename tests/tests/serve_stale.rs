//! When the upstreams do not answer, an answer that has expired is better than none (RFC 8767); and an answer that
//! many want is renewed before it expires.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    eventually,
    manifest::merged,
    stage::Stage,
    upstream::{Action, Gate, Received},
    wire::{Query, Reply, Response, rcodes, types},
};
use serde_json::{Value, json};

/// A switch that a test throws and a script sees.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn throw(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_thrown(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

const OLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn address(query: &Received, ttl: u32, address: Ipv4Addr) -> Response {
    Response::to(&query.message).record(types::A, ttl, &address.octets())
}

/// The old address with a TTL of one second; something else from when the switch is thrown.
fn until_then(
    then: &Switch,
    other: impl Fn(&Received) -> Vec<Action> + Send + 'static,
) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
    let then = then.clone();
    move |query| match then.is_thrown() {
        false => vec![Action::Send(address(query, 1, OLD).encode())],
        true => other(query),
    }
}

fn failing(query: &Received) -> Vec<Action> {
    vec![Action::Send(Response::to(&query.message).rcode(rcodes::SERVFAIL).encode())]
}

fn silent(_: &Received) -> Vec<Action> {
    Vec::new()
}

fn renewed(query: &Received) -> Vec<Action> {
    vec![Action::Send(address(query, 300, NEW).encode())]
}

async fn ask(stage: &Stage) -> Reply {
    stage.client().udp(&Query::new("www.example", types::A).edns(1232)).await
}

fn code(reply: &Reply) -> Option<u16> {
    reply.ede().map(|(code, _)| code)
}

/// Asks until the reply is so: TTLs are whole seconds, and time is the machine's own.
async fn until(stage: &Stage, what: &str, is_so: impl Fn(&Reply) -> bool) -> Reply {
    eventually(what, async || Some(ask(stage).await).filter(|reply| is_so(reply))).await
}

fn is_stale(reply: &Reply) -> bool {
    code(reply) == Some(3)
}

/// A proxy that knows the old address and has an upstream that does something else now.
async fn stage(other: impl Fn(&Received) -> Vec<Action> + Send + 'static, over: Value) -> Stage {
    let then = Switch::default();
    let script = until_then(&then, other);
    let spec = merged(json!({"cache": {"prefetch": {"mode": "Disabled"}}}), over);
    let stage = Stage::with(|setup| setup.script(script), spec).await;
    assert_eq!(ask(&stage).await.addresses(), [OLD]);
    then.throw();
    stage
}

fn assert_stale(reply: &Reply) {
    assert_eq!(reply.rcode(), rcodes::NOERROR, "{reply:?}");
    assert_eq!(reply.addresses(), [OLD], "{reply:?}");
    assert_eq!(reply.answers[0].ttl, 30, "RFC 8767 section 4");
    let (code, text) = reply.ede().unwrap();
    assert!(code == 3 && !text.is_empty(), "RFC 8914 section 4.4: {code} {text}");
}

#[tokio::test]
async fn an_upstream_that_fails_leaves_clients_the_old_answer() {
    let stage = stage(failing, json!({"cache": {"failureTTL": "60s"}})).await;
    let reply =
        until(&stage, "a stale answer", |reply| reply.addresses() != [OLD] || is_stale(reply))
            .await;

    assert_stale(&reply);
    let asked = stage.asked().len();
    assert!(asked >= 2, "the upstream is asked first");
    for _ in 0..3 {
        assert_stale(&ask(&stage).await);
    }
    assert_eq!(stage.asked().len(), asked, "and not again while its failure is remembered");
    let metrics = stage.proxy.admin.metrics().await;
    let stale =
        dnsproxy_tests::admin::sum(&metrics, "dnsproxy_responses_total", &["source=\"stale\""]);
    assert!(stale >= 4.0, "{metrics:?}");
}

/// A rule that changes answers has a place of its own in the cache; what is remembered of the upstream holds there too.
#[tokio::test]
async fn an_upstream_that_failed_is_left_alone_under_rules_as_well() {
    let rules = json!([{
        "name": "calm",
        "match": {"names": {"zone": ["example"]}},
        "response": {"ttl": {"max": "1h"}},
    }]);
    let stage = stage(failing, json!({"cache": {"failureTTL": "60s"}, "rules": rules})).await;
    assert_stale(&until(&stage, "a stale answer", is_stale).await);

    let asked = stage.asked().len();
    for _ in 0..20 {
        assert_stale(&ask(&stage).await);
    }

    assert_eq!(stage.asked().len(), asked, "its failure is remembered");
}

/// What a rule makes of an answer is an answer, whatever its response code says.
#[tokio::test]
async fn a_response_code_that_was_chosen_here_is_no_failure() {
    let gone = |query: &Received| {
        vec![Action::Send(Response::to(&query.message).rcode(rcodes::NXDOMAIN).soa().encode())]
    };
    let private = |query: &Received| {
        vec![Action::Send(address(query, 300, Ipv4Addr::new(10, 0, 0, 1)).encode())]
    };
    let rules = json!([{
        "name": "no",
        "match": {"names": {"zone": ["example"]}},
        "response": {"rcodes": [{"from": "NXDOMAIN", "to": "REFUSED"}]},
    }]);
    let by_rule = stage(gone, json!({"rules": rules})).await;
    let protection = json!({"rebindProtection": {"action": "REFUSED"}});
    let by_protection = stage(private, json!({"responses": protection})).await;

    for stage in [by_rule, by_protection] {
        until(&stage, "the new answer", |reply| reply.addresses() != [OLD]).await;
        for _ in 0..3 {
            let reply = ask(&stage).await;
            assert_eq!((reply.rcode(), reply.addresses().len()), (rcodes::REFUSED, 0), "{reply:?}");
        }
    }
}

/// The old answer is one to another question: what a rule makes of it is as good for this one.
#[tokio::test]
async fn a_rule_finds_the_old_answer_that_others_had() {
    let rewrite = json!([{
        "name": "alias",
        "match": {"names": {"exact": ["alias.example"]}},
        "rewrite": {"name": "www.example"},
    }]);
    let cases: [fn(&Received) -> Vec<Action>; 2] = [failing, silent];
    for other in cases {
        let over = json!({"cache": {"serveStale": {"after": "200ms"}}, "rules": rewrite});
        let stage = stage(other, over).await;
        until(&stage, "a stale answer", is_stale).await;

        for _ in 0..2 {
            let query = Query::new("alias.example", types::A).edns(1232);
            let reply = stage.client().udp(&query).await;
            assert_stale(&reply);
            assert_eq!(reply.answers[0].owner, "alias.example.");
        }
    }
}

/// Each of them waits for the same exchange, which takes one place however many have gone with the old answer.
#[tokio::test]
async fn those_who_go_with_an_old_answer_leave_their_places() {
    let over = json!({
        "cache": {"serveStale": {"after": "200ms"}},
        "routes": [{"name": "all", "zones": ["."], "upstreams": ["scripted"], "maxInFlight": 4}],
        "rules": [{
            "name": "alias",
            "match": {"names": {"regex": [r"\.alias\.example\.$"]}},
            "rewrite": {"name": "www.example"},
        }],
    });
    let stage = stage(silent, over).await;
    until(&stage, "a stale answer", is_stale).await;
    let ask = async |name: &str| {
        let query = Query::new(name, types::A).edns(1232);
        stage.client().udp(&query).await
    };
    for number in 0..6 {
        assert_stale(&ask(&format!("{number}.alias.example")).await);
    }

    let (unknown, reply) = tokio::join!(ask("unknown.example"), ask("last.alias.example"));

    assert_stale(&reply);
    assert_ne!(code(&unknown), Some(0), "its own deadline, and no bound: {unknown:?}");
}

#[tokio::test]
async fn an_answer_that_may_not_be_kept_ends_the_stale_one() {
    let failed = Switch::default();
    let back_with_ttl_zero = move |query: &Received| {
        if failed.is_thrown() {
            vec![Action::Send(address(query, 0, NEW).encode())]
        } else {
            failed.throw();
            failing(query)
        }
    };
    let stage = stage(back_with_ttl_zero, json!({"cache": {"failureTTL": "1s"}})).await;
    assert_stale(&until(&stage, "a stale answer", is_stale).await);

    until(&stage, "the new address", |reply| reply.addresses() == [NEW]).await;
    assert_eq!(ask(&stage).await.addresses(), [NEW], "and from now on");
}

/// RFC 8767 section 5: without EDNS there is no room for the reason, and the answer comes all the same.
#[tokio::test]
async fn a_client_without_edns_gets_it_as_well() {
    let stage = stage(failing, json!({})).await;
    until(&stage, "a stale answer", is_stale).await;

    let plain = stage.client().udp(&Query::new("WWW.example", types::A)).await;
    assert_eq!((plain.addresses(), plain.answers[0].ttl), (vec![OLD.into()], 30));
}

/// CVE-2026-55717 and its like are about stale answers that went around rules: a name that is blocked from now on, by a
/// rule or by a list, is blocked for those who got its old answer a moment ago.
#[tokio::test]
async fn a_block_holds_for_stale_answers() {
    let blocks = [
        json!({"rules": [{"name": "b", "match": {"names": {"zone": ["example"]}}, "block": {}}]}),
        json!({
            "rules": [{"name": "b", "match": {"names": {"lists": ["l"]}}, "block": {}}],
            "lists": [{"name": "l", "sources": [{"inline": "www.example"}]}],
        }),
    ];
    for block in blocks {
        let stage = stage(failing, json!({})).await;
        until(&stage, "a stale answer", is_stale).await;

        stage.proxy.reload(&merged(stage.spec.clone(), block)).await;

        let reply = ask(&stage).await;
        assert_eq!((reply.rcode(), code(&reply)), (rcodes::NXDOMAIN, Some(15)), "{reply:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_waited_for_and_no_longer() {
    let over = json!({"cache": {"serveStale": {"after": "200ms", "ttl": "7s"}}});
    let stage = stage(silent, over).await;
    let reply = until(&stage, "a stale answer", is_stale).await;

    assert_eq!((reply.addresses(), reply.answers[0].ttl), (vec![OLD.into()], 7));
}

#[tokio::test]
async fn an_upstream_that_is_gone_leaves_clients_the_old_answer() {
    let stage = stage(silent, json!({})).await;
    let Stage { upstream, proxy, .. } = stage;
    upstream.stop().await;
    let reply = eventually("a stale answer", async || {
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{reply:?}");
        is_stale(&reply).then_some(reply)
    })
    .await;

    assert_stale(&reply);
}

/// The question goes on behind the stale answer: whoever comes next has the new one.
#[tokio::test]
async fn a_late_answer_is_for_those_who_come_next() {
    let gate = Gate::default();
    let held = gate.clone();
    let late =
        move |query: &Received| vec![Action::When(held.clone(), address(query, 300, NEW).encode())];
    let stage = stage(late, json!({"cache": {"serveStale": {"after": "100ms"}}})).await;
    until(&stage, "a stale answer", is_stale).await;
    gate.open();

    let reply = until(&stage, "the new answer", |reply| !is_stale(reply)).await;
    assert_eq!((reply.addresses(), code(&reply)), (vec![NEW.into()], None));
}

#[tokio::test]
async fn an_answer_that_comes_in_time_is_no_stale_one() {
    let stage = stage(renewed, json!({})).await;

    let reply = until(&stage, "the new answer", |reply| reply.addresses() != [OLD]).await;
    assert_eq!((reply.addresses(), code(&reply)), (vec![NEW.into()], None));
}

/// CacheFlush, CVE-2026-40622: what is gone stays gone, however good the old answer was.
#[tokio::test]
async fn a_name_that_is_gone_is_gone() {
    let gone = |query: &Received| {
        vec![Action::Send(Response::to(&query.message).rcode(rcodes::NXDOMAIN).soa().encode())]
    };
    let stage = stage(gone, json!({})).await;

    let reply = until(&stage, "the end", |reply| reply.addresses().is_empty()).await;
    assert_eq!((reply.rcode(), code(&reply)), (rcodes::NXDOMAIN, None));
}

#[tokio::test]
async fn an_answer_is_not_served_for_ever() {
    let stage = stage(failing, json!({"cache": {"serveStale": {"maxAge": "1s"}}})).await;

    let reply = until(&stage, "the end", |reply| reply.rcode() != rcodes::NOERROR).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert_ne!(code(&reply), Some(3), "{reply:?}");
}

#[tokio::test]
async fn stale_answers_can_be_left_out() {
    let stage = stage(failing, json!({"cache": {"serveStale": {"mode": "Disabled"}}})).await;

    let reply = until(&stage, "a failure", |reply| {
        assert!(!is_stale(reply), "{reply:?}");
        reply.rcode() == rcodes::SERVFAIL
    })
    .await;
    assert!(reply.answers.is_empty());
}

/// RFC 8914 section 4.20.
#[tokio::test]
async fn a_name_that_was_not_there_is_stale_in_its_own_way() {
    let then = Switch::default();
    let switch = then.clone();
    let script = move |query: &Received| {
        let nothing = Response::to(&query.message).rcode(rcodes::NXDOMAIN).soa();
        if switch.is_thrown() { failing(query) } else { vec![Action::Send(nothing.encode())] }
    };
    let over = json!({"cache": {"negativeMaxTTL": "1s"}});
    let stage = Stage::with(|setup| setup.script(script), over).await;
    assert_eq!(ask(&stage).await.rcode(), rcodes::NXDOMAIN);
    then.throw();

    let reply = until(&stage, "a stale answer", |reply| code(reply).is_some()).await;
    assert_eq!((reply.rcode(), code(&reply)), (rcodes::NXDOMAIN, Some(19)), "{reply:?}");
}

/// Nobody waits: the answer is asked for again while the old one still holds.
#[tokio::test]
async fn an_answer_that_many_want_is_renewed_before_it_expires() {
    let script = |query: &Received| {
        let address_now = if query.number == 0 { OLD } else { NEW };
        vec![Action::Send(address(query, 4, address_now).encode())]
    };
    let over = json!({"cache": {"prefetch": {"minHits": 3, "remainingPercent": 50}}});
    let stage = Stage::with(|setup| setup.script(script), over).await;
    let reply = until(&stage, "the new answer", |reply| reply.addresses() == [NEW]).await;

    assert_eq!(code(&reply), None);
    let misses = stage.proxy.admin.sum("dnsproxy_cache_misses_total", &[]).await;
    assert_eq!(misses, 1.0, "only the first one had to wait");
}

/// By its rule the answer ends long before what it was made of.
#[tokio::test]
async fn what_a_rule_has_end_early_is_renewed_without_the_upstream() {
    let script = |query: &Received| vec![Action::Send(address(query, 300, OLD).encode())];
    let over = json!({
        "cache": {"prefetch": {"minHits": 1, "remainingPercent": 50}},
        "rules": [{
            "name": "short",
            "match": {"names": {"zone": ["example"]}},
            "response": {"ttl": {"max": "2s"}},
        }],
    });
    let stage = Stage::with(|setup| setup.script(script), over).await;
    for _ in 0..2 {
        until(&stage, "its last second", |reply| reply.answers[0].ttl == 1).await;
        until(&stage, "a new one", |reply| reply.answers[0].ttl == 2).await;
    }

    let misses = stage.proxy.admin.sum("dnsproxy_cache_misses_total", &[]).await;
    assert_eq!((misses, stage.asked()), (1.0, vec!["www.example.".into()]));
}

/// The renewal waits for an upstream that is silent, and nobody who asks waits with it.
#[tokio::test]
async fn what_a_rule_made_can_be_made_again_while_its_parts_hold() {
    let begun = Instant::now();
    let script = |query: &Received| match query.number {
        0 => vec![Action::Send(address(query, 6, OLD).encode())],
        _ => silent(query),
    };
    let over = json!({
        "cache": {
            "prefetch": {"minHits": 1, "remainingPercent": 50},
            "serveStale": {"after": "100ms"},
        },
        "rules": [{
            "name": "short",
            "match": {"names": {"zone": ["example"]}},
            "response": {"ttl": {"max": "1s"}},
        }],
    });
    let stage = Stage::with(|setup| setup.script(script), over).await;

    assert_stale(&until(&stage, "a stale answer", is_stale).await);
    let after = begun.elapsed();
    assert!(after >= Duration::from_secs(6), "the upstream's answer held until then: {after:?}");
    assert!(stage.asked().len() >= 2, "it was asked for a new one");
}

/// Two hits are no habit.
#[tokio::test]
async fn an_answer_that_few_want_is_left_to_expire() {
    let script = |query: &Received| {
        vec![Action::Send(address(query, 2, if query.number == 0 { OLD } else { NEW }).encode())]
    };
    let over = json!({"cache": {"prefetch": {"minHits": 255, "remainingPercent": 50}}});
    let stage = Stage::with(|setup| setup.script(script), over).await;
    until(&stage, "the new answer", |reply| reply.addresses() == [NEW]).await;

    let misses = stage.proxy.admin.sum("dnsproxy_cache_misses_total", &[]).await;
    assert_eq!(misses, 2.0, "somebody waited for it");
}

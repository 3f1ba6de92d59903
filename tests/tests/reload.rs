//! A changed manifest is in force without a restart; an invalid one changes nothing, and says so.

use std::{fs, os::unix::fs::symlink, path::Path};

use dnsproxy_tests::{
    certificates::{Authority, Identity, for_clients_only},
    client::Client,
    eventually,
    manifest::{manifest, merged, upstreams},
    proxy::{Launch, Proxy, loopback},
    stage::Stage,
    upstream::{Action, Gate, Seen, Upstream, faithful_answer, silent},
    wire::{Query, rcodes, types},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The spec, and a zone of its own that tells whether it is in force: who may ask.
fn closed(spec: &Value) -> Value {
    merged(spec.clone(), json!({"access": {"allow": ["192.0.2.0/24"]}}))
}

async fn rcode_is(proxy: &Proxy, expected: u16) {
    eventually("the new manifest in force", async || {
        (proxy.client().ask("www.example", types::A).await.rcode() == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_edited_file_is_in_force() {
    let stage = Stage::new().await;
    rcode_is(&stage.proxy, rcodes::NOERROR).await;

    fs::write(stage.proxy.manifest(), manifest(&closed(&stage.spec))).unwrap();
    rcode_is(&stage.proxy, rcodes::REFUSED).await;
    stage.proxy.replace_manifest(&manifest(&stage.spec));
    rcode_is(&stage.proxy, rcodes::NOERROR).await;

    let reloads =
        stage.proxy.admin.sum("dnsproxy_config_reloads_total", &["result=\"success\""]).await;
    assert!(reloads >= 2.0, "{reloads} reloads were counted");
}

/// How kubelet delivers a ConfigMap: the file is a link into `..data`, which is a link that is replaced.
#[tokio::test]
async fn kubelets_swap_of_a_mounted_config_map_is_seen() {
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.server()).start().await;
    let spec = upstreams([upstream.entry("scripted", &authority)]);
    let folder = dnsproxy_tests::proxy::folder();
    let mount = folder.path();
    deliver(mount, "..2026_01", &manifest(&spec));
    symlink("..data/dnsproxy.yaml", mount.join("dnsproxy.yaml")).unwrap();
    let launch = Launch::new(&spec).manifest_at(mount.join("dnsproxy.yaml"));
    let proxy = launch.start().await;
    rcode_is(&proxy, rcodes::NOERROR).await;

    deliver(mount, "..2026_02", &manifest(&closed(&spec)));
    fs::remove_dir_all(mount.join("..2026_01")).unwrap();
    rcode_is(&proxy, rcodes::REFUSED).await;
    deliver(mount, "..2026_03", &manifest(&spec));
    fs::remove_dir_all(mount.join("..2026_02")).unwrap();
    rcode_is(&proxy, rcodes::NOERROR).await;
}

fn deliver(mount: &Path, folder: &str, text: &str) {
    fs::create_dir(mount.join(folder)).unwrap();
    fs::write(mount.join(folder).join("dnsproxy.yaml"), text).unwrap();
    symlink(folder, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

#[tokio::test]
async fn an_invalid_manifest_changes_nothing_and_says_so() {
    let stage = Stage::new().await;
    let before = stage.proxy.admin.json("/config").await;
    assert_eq!(before["rejected"], Value::Null);
    let invalid =
        merged(stage.spec.clone(), json!({"limits": {"queryDeadline": "soon"}, "acess": {}}));
    stage.proxy.replace_manifest(&manifest(&invalid));

    stage
        .proxy
        .says("a line about the deadline", |line| line.contains("spec.limits.queryDeadline"))
        .await;
    stage.proxy.says("a line about the unknown field", |line| line.contains("acess")).await;
    let after = eventually("a rejected manifest", async || {
        let config = stage.proxy.admin.json("/config").await;
        (config["rejected"] != Value::Null).then_some(config)
    })
    .await;
    assert_eq!(after["hash"], before["hash"], "the running one is still that");
    assert_ne!(after["rejected"]["hash"], before["hash"]);
    let error = after["rejected"]["error"].as_str().unwrap();
    assert!(
        error.contains("spec.limits.queryDeadline") && error.contains("acess"),
        "all problems: {error}"
    );
    let rejected = stage.proxy.admin.metrics().await;
    let of_result = |result: &str| {
        dnsproxy_tests::admin::sum(&rejected, "dnsproxy_config_reloads_total", &[result])
    };
    assert!(of_result("result=") - of_result("result=\"success\"") >= 1.0, "{rejected:?}");
    assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);

    stage.proxy.replace_manifest(&manifest(&closed(&stage.spec)));
    rcode_is(&stage.proxy, rcodes::REFUSED).await;
    assert_eq!(
        stage.proxy.admin.json("/config").await["rejected"],
        Value::Null,
        "forgiven when it is mended"
    );
}

#[tokio::test]
async fn a_manifest_whose_address_is_taken_is_known_by_its_hash() {
    let upstreams = upstreams([json!({"name": "one", "addresses": ["192.0.2.1"]})]);
    let listening = |address: &str| {
        manifest(&merged(
            upstreams.clone(),
            json!({"listeners": {"dns": {"addresses": [address]}}}),
        ))
    };
    let free = "127.0.0.1:0";
    let proxy = Launch::text(&listening(free)).listen_by_manifest(1).start().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    proxy.replace_manifest(&listening(&taken));

    let config = eventually("a rejected manifest", async || {
        let config = proxy.admin.json("/config").await;
        (config["rejected"] != Value::Null).then_some(config)
    })
    .await;
    let rejected = &config["rejected"];
    assert!(rejected["error"].as_str().is_some_and(|error| error.contains(&taken)), "{rejected}");
    assert!(rejected["hash"].is_string(), "which text was refused: {rejected}");
    assert_ne!(rejected["hash"], config["hash"]);
}

#[tokio::test]
async fn a_manifest_that_went_away_changes_nothing() {
    let stage = Stage::new().await;
    fs::remove_file(stage.proxy.manifest()).unwrap();
    for number in 0..20 {
        let reply = stage.client().ask(&format!("n{number}.example"), types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR);
    }

    stage.proxy.replace_manifest(&manifest(&closed(&stage.spec)));
    rcode_is(&stage.proxy, rcodes::REFUSED).await;
}

#[tokio::test]
async fn connections_that_did_not_change_stay() {
    // No check is answered, so that no connection is found to be dead on a busy machine.
    let stage = Stage::with(|setup| setup.checks(silent()), json!({})).await;
    let mut client = stage.client().connect().await.unwrap();
    client.send(&Query::new("www.example", types::A).encode()).await.unwrap();
    client.reply().await;
    let changed = merged(stage.spec.clone(), json!({"limits": {"queryDeadline": "3s"}}));
    stage.proxy.reload(&changed).await;
    for number in 0..20 {
        client.send(&Query::new(&format!("n{number}.example"), types::A).encode()).await.unwrap();
        assert_eq!(client.reply().await.rcode(), rcodes::NOERROR);
    }

    let ended = stage.upstream.seen().ended;
    assert_eq!(ended, 0, "upstream and client connections are the old ones");
}

#[tokio::test]
async fn a_query_that_was_taken_before_is_answered_after() {
    let gate = Gate::default();
    let held = gate.clone();
    let stage = Stage::script(move |query| {
        vec![Action::When(held.clone(), faithful_answer(query).encode())]
    })
    .await;
    let socket = stage.client().socket().await;
    socket.send(&Query::new("www.example", types::A).encode()).await.unwrap();
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    stage.proxy.reload(&closed(&stage.spec)).await;
    gate.open();

    let reply = dnsproxy_tests::wire::Reply::parse(&socket.receive().await.unwrap()).unwrap();
    assert_eq!(reply.rcode(), rcodes::NOERROR, "under the manifest that it was taken under");
}

#[tokio::test]
async fn upstreams_come_and_go() {
    let authority = Authority::default();
    let first = Upstream::tls(&authority.server()).start().await;
    let second = Upstream::tls(&authority.server()).start().await;
    let proxy = Proxy::start(&upstreams([first.entry("first", &authority)])).await;
    proxy.client().ask("www.example", types::A).await;

    proxy.replace_manifest(&manifest(&upstreams([second.entry("second", &authority)])));
    eventually("the second upstream asked", async || {
        proxy.client().ask("www.example", types::A).await;
        (!second.seen().queries.is_empty()).then_some(())
    })
    .await;
    first.until("the end of its connection", |seen| seen.ended == seen.connections).await;
    eventually("its series gone with it", async || {
        let metrics = proxy.admin.get("/metrics").await.body;
        (!metrics.contains("upstream=\"first\"")).then_some(())
    })
    .await;
}

/// A CA that is rotated: the new file is read without a restart, the connection that was proven stays.
#[tokio::test]
async fn a_rotated_ca_file_is_read() {
    let (old, new) = (Authority::default(), Authority::new("The next root"));
    let upstream = Upstream::tls(&old.server()).start().await;
    let by_file = json!({"tls": {"ca": {"file": "ca.pem"}}});
    let mut entry = upstream.entry("scripted", &old);
    entry["tls"]["ca"] = by_file["tls"]["ca"].clone();
    let launch = Launch::new(&upstreams([entry]));
    let ca = launch.folder().join("ca.pem");
    fs::write(&ca, old.pem()).unwrap();
    let proxy = launch.start().await;
    rcode_is(&proxy, rcodes::NOERROR).await;

    upstream.show(&new.server());
    upstream.cut_connections();
    rcode_is(&proxy, rcodes::SERVFAIL).await;
    fs::write(&ca, new.pem()).unwrap();
    rcode_is(&proxy, rcodes::NOERROR).await;
}

/// Renewed by cert-manager, for example: the server sees the new certificate without a restart.
#[tokio::test]
async fn a_renewed_client_certificate_is_shown_on_the_next_connection() {
    let (root, clients) = (Authority::default(), Authority::new("Root of the clients"));
    let own = || clients.issue(&["proxy.example"], for_clients_only);
    let (old, new) = (own(), own());
    let upstream = Upstream::tls(&root.server()).clients_of(&clients).start().await;
    let files = json!({"certificateFile": "client.pem", "keyFile": "client.key"});
    let entry =
        merged(upstream.entry("scripted", &root), json!({"tls": {"clientCertificate": files}}));
    let launch = Launch::new(&upstreams([entry]));
    let folder = launch.folder().to_owned();
    let lay = |identity: &Identity| {
        fs::write(folder.join("client.pem"), &identity.chain_pem).unwrap();
        fs::write(folder.join("client.key"), &identity.key_pem).unwrap();
    };
    lay(&old);
    let proxy = launch.start().await;
    rcode_is(&proxy, rcodes::NOERROR).await;
    let shown = |seen: &Seen| seen.handshakes.last().map(|last| last.client_chain.clone());
    assert_eq!(shown(&upstream.seen()), Some(old.chain.clone()));

    lay(&new);
    eventually("the new certificate shown", async || {
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{:?}", reply.ede());
        (shown(&upstream.seen()) == Some(new.chain.clone())).then_some(())
    })
    .await;
}

/// Written in two steps, or by mistake: the last one is as good as it was.
#[tokio::test]
async fn a_file_that_has_become_useless_changes_nothing_and_is_told() {
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.server()).start().await;
    let mut entry = upstream.entry("scripted", &authority);
    entry["tls"]["ca"] = json!({"file": "ca.pem"});
    let launch = Launch::new(&upstreams([entry]));
    let ca = launch.folder().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let proxy = launch.start().await;
    rcode_is(&proxy, rcodes::NOERROR).await;

    fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let rejected = eventually("the file refused", async || {
        let rejected = proxy.admin.json("/config").await["rejected"]["error"].clone();
        rejected.as_str().map(str::to_owned)
    })
    .await;
    assert!(rejected.contains("scripted") && rejected.contains("tls.ca"), "{rejected}");
    assert_eq!(
        proxy.admin.sum("dnsproxy_config_reloads_total", &["result=\"failure\""]).await,
        1.0
    );
    upstream.cut_connections();
    rcode_is(&proxy, rcodes::NOERROR).await;

    fs::write(&ca, Authority::new("The next root").pem()).unwrap();
    upstream.cut_connections();
    rcode_is(&proxy, rcodes::SERVFAIL).await;
    assert!(proxy.admin.json("/config").await["rejected"].is_null());
}

#[tokio::test]
async fn a_ca_file_that_comes_later_is_awaited_and_nothing_is_trusted_meanwhile() {
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.server()).start().await;
    let mut entry = upstream.entry("scripted", &authority);
    entry["tls"]["ca"] = json!({"file": "late/ca.pem"});
    let launch = Launch::new(&upstreams([entry]));
    let ca = launch.folder().join("late/ca.pem");
    let proxy = launch.start().await;

    let reply = proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let (_, said) = reply.ede().unwrap();
    assert!(said.contains("ca.pem"), "what is missing is named: {said}");
    assert!(upstream.seen().queries.is_empty());
    fs::create_dir(ca.parent().unwrap()).unwrap();
    fs::write(&ca, authority.pem()).unwrap();
    rcode_is(&proxy, rcodes::NOERROR).await;
}

#[tokio::test]
async fn what_runs_is_known_by_its_hash() {
    let stage = Stage::new().await;
    let config = stage.proxy.admin.json("/config").await;
    let hash = config["hash"].as_str().unwrap();

    assert!(hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
    let info = stage.proxy.admin.sum("dnsproxy_config_info", &[&format!("hash=\"{hash}\"")]).await;
    assert_eq!(info, 1.0);
}

fn listening_on(spec: &Value, addresses: &[String]) -> Value {
    merged(spec.clone(), json!({"listeners": {"dns": {"addresses": addresses}}}))
}

/// Asks without a pause until it is told to stop, and tells how often: no query is lost.
async fn ask_until(client: Client, stop: tokio::sync::watch::Receiver<bool>) -> u16 {
    let mut asked = 0;
    while !*stop.borrow() {
        let query = Query::new("www.example", types::A).id(asked);
        assert_eq!(client.udp(&query).await.rcode(), rcodes::NOERROR);
        asked = asked.wrapping_add(1);
    }
    asked
}

/// The old listener has the port of the new one until the new one serves.
#[tokio::test]
async fn a_listener_becomes_a_wildcard_and_back_while_queries_come() {
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.server()).start().await;
    let spec = upstreams([upstream.entry("scripted", &authority)]);
    let first = listening_on(&spec, &["127.0.0.1:0".to_owned()]);
    let proxy = Launch::new(&first).listen_by_manifest(1).start().await;
    let port = proxy.udp[0].port();
    let (end, stop) = tokio::sync::watch::channel(false);
    let mut asking = JoinSet::new();
    asking.spawn(ask_until(proxy.client(), stop));

    let steps: [&[&str]; 6] = [
        &["0.0.0.0"],
        &["[::]"],
        &["[::]", "127.0.0.1"],
        &["0.0.0.0", "[::]"],
        &["[::]"],
        &["127.0.0.1"],
    ];
    for step in steps {
        let addresses: Vec<_> = step.iter().map(|address| format!("{address}:{port}")).collect();
        proxy.reload(&listening_on(&spec, &addresses)).await;
        assert_eq!(proxy.admin.json("/config").await["rejected"], Value::Null, "{step:?}");
        let query = Query::new("www.example", types::A);
        assert_eq!(proxy.client().tcp(&query).await.rcode(), rcodes::NOERROR, "{step:?}");
        if step != ["127.0.0.1"] {
            let other = Client::of((loopback(9), port).into());
            assert_eq!(other.udp(&query).await.rcode(), rcodes::NOERROR, "{step:?}: all of IPv4");
            assert_eq!(other.tcp(&query).await.rcode(), rcodes::NOERROR, "{step:?}: all of IPv4");
        }
    }
    end.send_replace(true);
    assert!(asking.join_all().await.iter().all(|&asked| asked > 0), "queries came meanwhile");
}

#[tokio::test]
async fn a_client_that_has_asked_too_much_still_has() {
    let limited = json!({"access": {"rateLimit": {"queriesPerSecond": 1, "burst": 1000}}});
    let stage = Stage::spec(limited).await;
    let cut_of = async |count: u16| {
        let mut cut = 0;
        for id in 0..count {
            let query = Query::new("www.example", types::ANY).id(id);
            cut += u16::from(stage.client().udp(&query).await.is_truncated());
        }
        cut
    };
    assert!(cut_of(1500).await > 0, "over the limit");
    stage
        .proxy
        .reload(&merged(stage.spec.clone(), json!({"limits": {"queryDeadline": "3s"}})))
        .await;

    assert!(cut_of(900).await > 0, "a burst more for a reload");
}

#[tokio::test]
async fn the_query_log_counts_on() {
    let logged = json!({"logging": {"queries": {"mode": "All", "oneIn": 10}}});
    let stage = Stage::spec(logged).await;
    let ask = async |numbers: std::ops::Range<u16>| {
        for number in numbers {
            stage.client().ask(&format!("n{number}.example"), types::A).await;
        }
    };
    ask(0..5).await;
    stage
        .proxy
        .reload(&merged(stage.spec.clone(), json!({"limits": {"queryDeadline": "3s"}})))
        .await;
    ask(5..11).await;

    stage.proxy.says("the eleventh", |line| line.contains("\"n10.example.\"")).await;
    let lines = stage.proxy.log().into_iter().filter(|line| line.contains("\"qname\"")).count();
    assert_eq!(lines, 2, "the first and the eleventh: {:#?}", stage.proxy.log());
}

/// What EDNS tells clients (RFC 7828) is the present configuration's; so is what is done.
#[tokio::test]
async fn an_open_connection_has_the_new_idle_timeout() {
    let stage = Stage::spec(json!({"limits": {"tcpIdleTimeout": "120s"}})).await;
    let mut served = stage.client().connect().await.unwrap();
    served.send(&Query::new("www.example", types::A).encode()).await.unwrap();
    served.reply().await;
    let mut silent = stage.client().connect().await.unwrap();

    let shorter = json!({"limits": {"tcpIdleTimeout": "300ms"}});
    stage.proxy.reload(&merged(stage.spec.clone(), shorter)).await;
    served.ended().await.expect("the end, long before 120 s");
    silent.ended().await.expect("the end, long before 120 s");
}

//! `dnsproxy explain` tells what would become of a query, as the proxy decides it; `spec.tests` hold a manifest to it.

use dnsproxy_tests::{
    manifest::{manifest, upstreams},
    proxy::{Proxy, folder, run, text},
    upstream::Upstream,
    wire::types,
    zone::zone,
};
use serde_json::{Value, json};

fn spec(server: &Upstream) -> Value {
    let mut spec = upstreams([server.plain_entry("main", "TCP")]);
    spec["routes"] = json!([
        {"name": "default", "zones": ["."], "upstreams": ["main"]},
        {"name": "lab", "upstreams": ["main"]},
    ]);
    spec["rules"] = json!([
        {"name": "legacy", "match": {"names": {"suffix": [".old.example"]}}, "rewrite": {"name": ".new.example"}},
        {"name": "calm", "match": {"names": {"zone": ["new.example"]}}, "response": {"ttl": {"max": "5m"}}},
        {"name": "ads", "match": {"names": {"zone": ["ads.new.example", "ads.example"]}}, "block": {}},
        {"name": "lab", "match": {"names": {"zone": ["lab.example"]}, "clients": ["10.8.0.0/16"]}, "forward": {"route": "lab"}},
        {"name": "alias", "match": {"names": {"exact": ["alias.example"]}}, "answer": {"records": ["60 CNAME www.new.example."]}},
        {"name": "printer", "match": {"names": {"exact": ["printer.example"]}}, "answer": {"records": ["60 A 10.0.0.9"]}},
    ]);
    spec["cache"] = json!({});
    spec
}

async fn server() -> Upstream {
    Upstream::plain().script(zone(&["www.new.example. 600 IN A 192.0.2.1"])).start().await
}

async fn explain(spec: &Value, arguments: &[&str]) -> String {
    let folder = folder();
    let file = folder.path().join("dnsproxy.yaml");
    std::fs::write(&file, manifest(spec)).unwrap();
    let file = file.to_string_lossy().into_owned();
    let output = run(&[&["explain", "-f", &*file], arguments].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn each_step_is_told_with_its_reason() {
    let server = server().await;
    let spec = spec(&server);
    let address = server.address;

    let rewritten = explain(&spec, &["www.old.example", "--client", "10.1.2.3"]).await;
    let lines: Vec<_> = rewritten.lines().filter(|line| !line.starts_with("cache")).collect();
    assert_eq!(
        lines,
        [
            "www.old.example. A from 10.1.2.3",
            "access   allowed by 10.0.0.0/8",
            "rule     legacy (rewrite) asks for www.new.example. A instead",
            "rule     calm (response) changes the answer",
            "asks     www.new.example. IN A",
            "route    default",
            &format!("server   {address} of main: Unknown"),
            "answer   TTLs are at most 300 s",
            "answer   owners that are www.new.example. become www.old.example.",
            "answer   the question is www.old.example. again",
            "result   what the upstream answers",
        ]
    );
    let blocked = explain(&spec, &["x.ads.old.example"]).await;
    assert!(
        blocked.contains(
            "rule     ads (block) blocks with NXDOMAIN, looked at once more for the final name"
        ),
        "{blocked}"
    );
    assert!(blocked.contains("result   NXDOMAIN (rule ads)"), "{blocked}");
    let answered = explain(&spec, &["printer.example"]).await;
    assert!(
        answered.ends_with(
            "result   NOERROR (rule printer)\n         printer.example. 60 IN A 10.0.0.9\n"
        ),
        "{answered}"
    );
    let alias = explain(&spec, &["alias.example"]).await;
    for line in [
        "asks     www.new.example. IN A",
        "answer   records of our own come first: www.new.example.",
    ] {
        assert!(alias.lines().any(|told| told == line), "{line}: {alias}");
    }
    let denied = explain(&spec, &["www.example", "--client", "192.0.2.1"]).await;
    assert!(denied.contains("access   denied: in no network of access.allow"), "{denied}");
    let private = explain(&spec, &["printer.local", "AAAA"]).await;
    assert!(private.contains("result   NXDOMAIN (responses.privateNames)"), "{private}");
    assert_eq!(server.seen().connections, 0, "nothing is sent");
}

/// What a rule leaves to others, or denies here all the same, is not told as if it had answered.
#[tokio::test]
async fn what_a_second_look_decides_is_told_and_why_a_name_that_has_records_is_not_denied() {
    let mut spec = spec(&server().await);
    let rule = |name: &str, names: &[&str], fields: Value| {
        let mut rule = json!({"name": name, "match": {"names": {"exact": names}}});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        rule
    };
    let alias = |name: &str, target: &str| {
        let record = format!("60 CNAME {target}.");
        rule(name, &[&format!("{name}.example")], json!({"answer": {"records": [record]}}))
    };
    spec["rules"] = json!([
        alias("ads", "blocked.example"),
        alias("print", "printer.local"),
        alias("far", "lab.example"),
        rule("no", &["blocked.example"], json!({"block": {}})),
        rule("lab", &["lab.example"], json!({"forward": {"route": "lab"}})),
        rule(
            "printer",
            &["printer.local"],
            json!({"answer": {"records": ["60 A 10.0.0.9"], "otherTypes": "Forward"}})
        ),
    ]);
    let again = "looked at once more for the final name";
    let exists = "answer   NXDOMAIN becomes NODATA, as rule printer has records of printer.local.";
    let aliases = "rule     print (answer) answers with 1 record";

    for (question, expected) in [
        (
            ["ads.example", "A"],
            &[&*format!("rule     no (block) blocks with NXDOMAIN, {again}")][..],
        ),
        (["far.example", "A"], &[&*format!("rule     lab (forward) goes to route lab, {again}")]),
        (
            ["print.example", "A"],
            &[
                aliases,
                &format!("rule     printer (answer) answers with 2 records in all, {again}"),
            ],
        ),
        (["print.example", "AAAA"], &[aliases, exists]),
        (["printer.local", "AAAA"], &["rules    none matches", exists]),
        (["other.local", "AAAA"], &["rules    none matches"]),
    ] {
        let said = explain(&spec, &question).await;
        let is_told = |line: &&str| line.starts_with("rule") || line.starts_with("answer   NX");
        let told: Vec<_> = said.lines().filter(is_told).collect();
        assert!(told.ends_with(expected), "{question:?}: {said}");
    }
}

/// The listener says no before anything else is looked at.
#[tokio::test]
async fn what_the_listener_refuses_is_refused() {
    let spec = spec(&server().await);
    for (qtype, rcode) in [
        ("AXFR", "REFUSED"),
        ("TYPE251", "REFUSED"),
        ("TYPE0", "FORMERR"),
        ("TYPE41", "FORMERR"),
        ("TSIG", "FORMERR"),
    ] {
        let said = explain(&spec, &["www.example", qtype]).await;
        let result =
            format!("result   {rcode} (transfers and pseudo-records are not asked for here)");
        assert!(said.contains(&result) && !said.contains("route"), "{qtype}: {said}");
    }
}

#[tokio::test]
async fn programs_get_json() {
    let server = server().await;
    let spec = spec(&server);

    let told = explain(&spec, &["x.lab.example", "--client", "10.8.0.1", "--output", "json"]).await;

    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["query"]["name"], "x.lab.example.");
    assert_eq!(
        (&told["rules"][0]["rule"], &told["rules"][0]["kind"]),
        (&json!("lab"), &json!("forward"))
    );
    assert_eq!(
        (&told["result"]["source"], &told["result"]["route"]),
        (&json!("upstream"), &json!("lab"))
    );
    assert_eq!(told["result"]["servers"][0]["upstream"], "main");
}

/// What does not run here, or not as it should, is what people want explained.
#[tokio::test]
async fn manifests_for_a_cluster_and_those_with_failing_tests_are_explained() {
    let server = server().await;
    let mut spec = spec(&server);
    spec["tests"] = json!([{"name": "www.example", "expect": {"rule": "ads"}}]);
    assert!(explain(&spec, &["www.example"]).await.contains("what the upstream answers"));

    spec["upstreams"][0]["protocol"] = json!("TLS");
    spec["upstreams"][0]["tls"] = json!({"serverName": "dns.example", "ca": {"configMap": {"name": "corp-ca", "key": "ca.crt"}}});
    let told = explain(&spec, &["printer.example"]).await;
    assert!(told.contains("NOERROR (rule printer)"), "{told}");
    assert!(told.contains("doubt    names of the cluster go to its own DNS"), "{told}");

    spec["lists"] =
        json!([{"name": "ads", "sources": [{"configMap": {"name": "ads", "key": "a"}}]}]);
    spec["rules"][0] =
        json!({"name": "listed", "match": {"names": {"lists": ["ads"]}}, "block": {}});
    let told = explain(&spec, &["www.example"]).await;
    assert!(told.contains("doubt    lists or hosts that cannot be read"), "{told}");
}

#[tokio::test]
async fn a_running_proxy_tells_of_its_cache_and_its_servers() {
    let server = server().await;
    let proxy = Proxy::start(&spec(&server)).await;
    proxy.client().ask("www.old.example", types::A).await;
    let admin = proxy.admin.address.to_string();

    // As where DNSPROXY_FILE is set for `run`.
    let output =
        run(&["explain", "www.old.example", "--admin", &admin, "-f", "/nowhere.yaml"]).await;

    let told = text(&output.stdout);
    assert!(told.contains("NOERROR, fresh, answers"), "{told}{}", text(&output.stderr));
    assert!(told.contains("of main: Healthy"), "{told}");
}

#[tokio::test]
async fn a_test_that_fails_makes_the_manifest_invalid() {
    let server = server().await;
    let mut spec = spec(&server);
    spec["tests"] = json!([
        {"name": "printer.example", "type": "A", "client": "10.1.2.3", "expect": {"rule": "printer", "rcode": "NOERROR", "answers": ["10.0.0.9"]}},
        {"name": "x.lab.example", "client": "10.8.1.1", "expect": {"route": "lab"}},
    ]);
    let folder = folder();
    let file = folder.path().join("dnsproxy.yaml");
    let check = async |spec: &Value| {
        std::fs::write(&file, manifest(spec)).unwrap();
        run(&["check", "-f", &file.to_string_lossy()]).await
    };
    let holds = check(&spec).await;
    assert!(holds.status.success(), "{}", text(&holds.stderr));

    spec["tests"][1]["client"] = json!("10.9.1.1");

    let fails = check(&spec).await;
    assert_eq!(fails.status.code(), Some(1));
    let said = text(&fails.stderr);
    assert!(said.contains("spec.tests[1]: x.lab.example A: route lab is not taken: the upstreams of route default are asked"), "{said}");
    let proxy = Proxy::start(&self::spec(&server)).await;
    proxy.replace_manifest(&manifest(&spec));
    proxy.says("refuses the reload", |line| line.contains("route lab is not taken")).await;
    assert_eq!(
        proxy.client().ask("printer.example", types::A).await.addresses().len(),
        1,
        "the old one serves on"
    );
}

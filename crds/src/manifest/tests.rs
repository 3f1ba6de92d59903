//! What the author of a manifest gets to see.

use proptest::prelude::*;

use super::*;

const MINIMAL: &str = include_str!("../../fixtures/minimal.yaml");
const FULL: &str = include_str!("../../fixtures/full.yaml");

/// A manifest with this `spec`, in flow style, in line 5.
fn with_spec(spec: &str) -> String {
    format!(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata:\n  name: edge\nspec: {spec}\n"
    )
}

fn problems(text: &str) -> Vec<String> {
    let problems = read(text, Place::File).map(|_| Vec::new()).unwrap_or_else(|problems| problems);
    problems
        .iter()
        .map(|problem| match problem.line {
            Some(line) => format!("{line}: {problem}"),
            None => problem.to_string(),
        })
        .collect()
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = read(text, Place::File).unwrap().warnings;
    warnings.iter().map(|warning| format!("{}: {warning}", warning.line.unwrap())).collect()
}

#[test]
fn the_shape_of_a_manifest_is_that_of_the_schema() {
    let upstream = "{name: a, addresses: [192.0.2.1]}";
    let cases = [
        // (why, spec, problems)
        (
            "an unknown field, with what was meant",
            format!("{{upstreams: [{upstream}], route: []}}"),
            vec!["5: spec.route: unknown field, did you mean routes?"],
        ),
        (
            "an unknown field that is like no other",
            format!("{{upstreams: [{upstream}], paused: true}}"),
            vec!["5: spec.paused: unknown field"],
        ),
        (
            "a required field",
            "{routes: []}".into(),
            vec!["5: spec.routes: empty", "5: spec.upstreams: missing"],
        ),
        (
            "a number where a text is wanted",
            "{upstreams: [{name: 9, addresses: [192.0.2.1]}]}".into(),
            vec!["5: spec.upstreams[0].name: the number `9` instead of a text: put it into quotes"],
        ),
        (
            "a text where a number is wanted",
            format!("{{upstreams: [{upstream}], limits: {{maxInFlight: many}}}}"),
            vec!["5: spec.limits.maxInFlight: the text \"many\" instead of a whole number"],
        ),
        (
            "a fraction where a whole number is wanted",
            format!("{{upstreams: [{upstream}], limits: {{maxInFlight: 1.5}}}}"),
            vec!["5: spec.limits.maxInFlight: the number `1.5` instead of a whole number"],
        ),
        (
            "a number where a text with a unit is wanted: in quotes it would be no better",
            format!("{{upstreams: [{upstream}], limits: {{queryDeadline: 4}}, cache: {{size: 1e6}}}}"),
            vec![
                "5: spec.cache.size: not a size: write a number with Ki, Mi, Gi (or k, M, G), for example `64Mi` (`1e6`)",
                "5: spec.limits.queryDeadline: not a duration: write a unit, for example `4s` or `4ms` (`4`)",
                "5: spec.limits.queryDeadline: the number `4` instead of a text",
                "5: spec.cache.size: the number `1e6` instead of a whole number or a text",
            ],
        ),
        (
            "a fingerprint, which is longer than any pin",
            format!("{{upstreams: [{{name: a, addresses: [192.0.2.1], tls: {{pins: [sha256/{}]}}}}]}}", "e3b0c442".repeat(8)),
            vec![
                "5: spec.upstreams[0].tls.pins[0]: not a sha256 pin: this is hexadecimal, perhaps a certificate's fingerprint; `dnsproxy pins HOST:PORT` prints the pin of its key (`sha256/e3b0c442e3b0c442e3b0c442e3b0c442e3b0c442e3b0c442e3b0c442e3b0c442`)",
                "5: spec.upstreams[0].tls.pins[0]: 71 characters, at most 52 may be given",
            ],
        ),
        (
            "an action without a value, which is as good as none",
            format!("{{upstreams: [{upstream}], rules: [{{name: r, match: {{types: [A]}}, block: }}]}}"),
            vec![
                "5: spec.rules[0]: nothing to do: give one of rewrite, answer, block, forward, allow and response, each with a value, as in `block: {}`",
            ],
        ),
        (
            "a text where a list is wanted",
            "{upstreams: [{name: a, addresses: 192.0.2.1}]}".into(),
            vec![
                "5: spec.upstreams[0].addresses: the text \"192.0.2.1\" instead of a list (`[...]`, or lines with `- `)",
            ],
        ),
        (
            "a list where an object is wanted",
            "{upstreams: [[a]]}".into(),
            vec!["5: spec.upstreams[0]: a list instead of an object (`key: value`)"],
        ),
        (
            "nothing where something is required",
            "{upstreams: }".into(),
            vec!["5: spec.upstreams: nothing instead of a list (`[...]`, or lines with `- `)"],
        ),
        (
            "an unknown choice, with what was meant",
            "{upstreams: [{name: a, addresses: [192.0.2.1], protocol: tls}]}".into(),
            vec![
                "5: spec.upstreams[0].protocol: the text \"tls\" is none of TLS, UDP, TCP, did you mean TLS?",
            ],
        ),
        (
            "an unknown policy, with what was meant",
            format!(
                "{{upstreams: [{upstream}], routes: [{{name: r, zones: [.], upstreams: [a], policy: roundrobin}}]}}"
            ),
            vec![
                "5: spec.routes[0].policy: the text \"roundrobin\" is none of Fastest, Sequential, RoundRobin, Random, did you mean RoundRobin?",
            ],
        ),
        (
            "a part of the health check that is none",
            "{upstreams: [{name: a, addresses: [192.0.2.1], healthCheck: {intervall: 1s, failureThreshold: 101}}]}"
                .into(),
            vec![
                "5: spec.upstreams[0].healthCheck.intervall: unknown field, did you mean interval?",
                "5: spec.upstreams[0].healthCheck.failureThreshold: 101 is out of range, at least 1 and at most 100",
            ],
        ),
        (
            "more connections than a server should have, and more queries than a connection has IDs for",
            "{upstreams: [{name: a, addresses: [192.0.2.1], connections: {max: 17, maxInFlight: 8193}}]}".into(),
            vec![
                "5: spec.upstreams[0].connections.max: 17 is out of range, at least 1 and at most 16",
                "5: spec.upstreams[0].connections.maxInFlight: 8193 is out of range, at least 1 and at most 8192",
            ],
        ),
        (
            "claims of resources, which pods here have none of",
            format!("{{upstreams: [{upstream}], workload: {{resources: {{claims: [{{name: gpu}}]}}}}}}"),
            vec!["5: spec.workload.resources.claims: unknown field"],
        ),
        (
            "padding beside TLS",
            "{upstreams: [{name: a, addresses: [192.0.2.1], padding: Disabled}]}".into(),
            vec!["5: spec.upstreams[0].padding: unknown field"],
        ),
        (
            "a number out of its range",
            format!("{{upstreams: [{upstream}], limits: {{ednsBufferSize: 100}}}}"),
            vec![
                "5: spec.limits.ednsBufferSize: 100 is out of range, at least 512 and at most 4096",
            ],
        ),
        (
            "more items than may be",
            format!(
                "{{upstreams: [{upstream}], service: {{clusterIPs: [10.0.0.1, 10.0.0.2, 10.0.0.3]}}}}"
            ),
            vec!["5: spec.service.clusterIPs: 3 items, at most 2 may be given"],
        ),
        (
            "a longer text than may be",
            format!("{{upstreams: [{upstream}], shutdown: {{delay: {}}}}}", "1".repeat(33) + "s"),
            vec!["5: spec.shutdown.delay: 34 characters, at most 32 may be given"],
        ),
        (
            "more than 32 bits",
            format!(
                "{{upstreams: [{upstream}], workload: {{template: {{spec: {{topologySpreadConstraints: [{{maxSkew: 3000000000, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}}]}}}}}}}}"
            ),
            vec![
                "5: spec.workload.template.spec.topologySpreadConstraints[0].maxSkew: 3000000000 is out of range, at least -2147483648 and at most 2147483647",
            ],
        ),
        (
            "a merge key",
            format!("{{upstreams: [{upstream}], <<: {{routes: []}}}}"),
            vec!["5: spec[\"<<\"]: unknown field: merge keys are no part of YAML 1.2"],
        ),
        (
            "a borrowed field that is not among the named ones",
            format!(
                "{{upstreams: [{upstream}], workload: {{template: {{spec: {{hostNetwork: true}}}}}}}}"
            ),
            vec!["5: spec.workload.template.spec.hostNetwork: unknown field"],
        ),
    ];

    for (why, spec, expected) in cases {
        assert_eq!(problems(&with_spec(&spec)), expected, "{why}");
    }
}

#[test]
fn problems_of_shape_and_meaning_come_together_and_hide_what_they_may_have_made() {
    let text = with_spec(
        "
  upstreams:
    - name: a
      addresses: [dns.example]
      protocol: Udp
    - name: b
      addresses: [192.0.2.1]
      tls: {authentication: PinsOnly, pin: []}
  routes:
    - {name: r, zones: [.], upstreams: [a], fallback: [c]}
  access: {allow: [10.0.0.1/8]}",
    );

    let lines: Vec<_> =
        problems(&text).iter().map(|line| line.chars().take(46).collect::<String>()).collect();

    assert_eq!(
        lines,
        [
            "8: spec.upstreams[0].addresses[0]: a host name",
            "9: spec.upstreams[0].protocol: the text \"Udp\" ",
            "12: spec.upstreams[1].tls.pin: unknown field, ",
            "15: spec.access.allow[0]: has bits behind its ",
        ],
        "the missing pins and the weaker fallback may only be consequences"
    );
}

#[test]
fn the_text_itself_has_rules() {
    let start = "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\n";
    let bomb: String =
        (1..30).map(|n| format!("x{n}: &x{n} [*x{m}, *x{m}, *x{m}]\n", m = n - 1)).collect();
    let deep: String = (1..60).map(|n| format!("x{n}: &x{n} [*x{}]\n", n - 1)).collect();
    let cases = [
        // (why, text, the only problem, or its beginning)
        (
            "nothing",
            String::new(),
            "empty: it needs apiVersion: dnsproxy.io/v1alpha1, kind: DnsProxy",
        ),
        ("comments only", "# later\n---\n".into(), "empty: it needs"),
        ("a syntax error", format!("{start}spec: [\n"), "3: unclosed bracket"),
        ("a tab", format!("{start}\tspec: {{}}\n"), "2: while scanning"),
        (
            "a key twice",
            format!("{MINIMAL}\nkind: DnsProxy\n"),
            "10: `kind` stands here twice, first in line 2",
        ),
        (
            "a tag",
            MINIMAL.replace("name: cloudflare", "name: !secret x"),
            "7: the tag !secret has no meaning here",
        ),
        (
            "a key that is no text",
            format!("{MINIMAL}? [a]\n: b\n"),
            "9: a key must be a plain text",
        ),
        (
            "aliases that multiply",
            format!("x0: &x0 [a]\n{bomb}"),
            "11: aliases make this larger than 200000 values",
        ),
        ("aliases that nest", format!("x0: &x0 [a]\n{deep}"), "32: nested deeper than 32 levels"),
        (
            "an alias inside of its anchor",
            "x: &x [*x]\n".into(),
            "1: an alias inside of what it stands for",
        ),
        (
            "brackets upon brackets",
            "[".repeat(100) + &"]".repeat(100),
            "1: nested deeper than 32 levels",
        ),
        ("no end of text", " ".repeat(5 << 20), "1: longer than 4194304 octets"),
        (
            "JSON is YAML",
            "{\"kind\": \"DnsProxy\"}".into(),
            "1: apiVersion: missing: write apiVersion: dnsproxy.io/v1alpha1",
        ),
    ];

    let mut wrong = Vec::new();
    for (why, text, expected) in cases {
        let problems = problems(&text);
        if !problems.first().is_some_and(|first| first.starts_with(expected)) {
            wrong.push((why, problems));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn other_kinds_are_passed_over_when_there_is_a_dnsproxy() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: dns}\n";
    let other = MINIMAL.replace("name: edge", "name: other");
    let text = format!("{namespace}---\n{MINIMAL}---\n{other}");

    let manifests = read(&text, Place::File).unwrap();

    assert_eq!(manifests.proxies.len(), 2);
    assert_eq!(manifests.warnings[0].to_string(), "kind: a Namespace is not looked at");
    assert_eq!(
        read_one(&text, Place::File).unwrap_err()[0].message,
        "2 DnsProxy objects where one can run"
    );
    assert_eq!(
        problems(namespace),
        ["nothing in it is a DnsProxy: it needs apiVersion: dnsproxy.io/v1alpha1, kind: DnsProxy"]
    );
}

#[test]
fn two_objects_of_one_name_are_a_mistake() {
    let elsewhere = MINIMAL.replace("name: edge", "name: edge\n  namespace: resolvers");

    assert_eq!(
        problems(&format!("{MINIMAL}---\n{MINIMAL}")),
        ["13: metadata.name: another object of this text has the same name"]
    );
    assert_eq!(problems(&format!("{MINIMAL}---\n{elsewhere}")), Vec::<String>::new());
}

#[test]
fn our_own_group_is_not_passed_over() {
    let cases = [
        // (why, from, to, problem)
        (
            "another version",
            "v1alpha1",
            "v2",
            "1: apiVersion: no such version, there is dnsproxy.io/v1alpha1",
        ),
        (
            "another spelling",
            "kind: DnsProxy",
            "kind: DNSProxy",
            "2: kind: no such kind in dnsproxy.io, did you mean DnsProxy?",
        ),
        (
            "another group",
            "dnsproxy.io",
            "dns.example",
            "1: apiVersion: a DnsProxy has dnsproxy.io/v1alpha1",
        ),
    ];

    for (why, from, to, problem) in cases {
        assert_eq!(problems(&MINIMAL.replace(from, to)), [problem], "{why}");
    }
}

#[test]
fn what_kubectl_reads_otherwise_is_warned_of() {
    let text = with_spec(
        "
  upstreams:
    - {name: no, addresses: [192.0.2.1]}
  routes:
    - {name: all, zones: [., 'no'], upstreams: [no]}
  limits: {maxInFlight: 010}",
    );

    let expected = |line, path, text, what| {
        format!(
            "{line}: {path}: kubectl reads `{text}` as {what}: put it into quotes, or write it otherwise"
        )
    };
    assert_eq!(
        warnings(&text),
        [
            expected(7, "spec.upstreams[0].name", "no", "a boolean"),
            expected(9, "spec.routes[0].upstreams[0]", "no", "a boolean"),
            expected(10, "spec.limits.maxInFlight", "010", "another number"),
        ],
        "a text in quotes is safe"
    );
}

#[test]
fn fixed_defaults_are_filled_in_where_their_parent_is() {
    let text = with_spec(
        "{upstreams: [{name: a, addresses: [192.0.2.1], timeouts: {query: 1s}, healthCheck: {interval: 1s}}], limits: {}}",
    );

    let spec = read_one(&text, Place::File).unwrap().spec;

    let timeouts = spec.upstreams[0].timeouts.clone().unwrap();
    assert_eq!(timeouts.query.as_deref(), Some("1s"), "what is written stays");
    assert_eq!(timeouts.connect.as_deref(), Some("1s"), "the default of a sibling");
    let check = spec.upstreams[0].health_check.clone().unwrap();
    assert_eq!((check.name.as_deref(), check.type_.as_deref()), (Some("."), Some("NS")));
    assert_eq!(spec.upstreams[0].connections, None, "nobody asked for them");
    assert_eq!(spec.limits.unwrap().max_in_flight, Some(crate::defaults::MAX_IN_FLIGHT));
    assert_eq!(spec.shutdown, None, "an absent parent stays absent, as in the API server");
}

#[test]
fn an_empty_optional_field_is_as_good_as_absent() {
    let text = with_spec(
        "{upstreams: [{name: a, addresses: [192.0.2.1]}], routes: , limits: ~, access: null}",
    );

    let spec = read_one(&text, Place::File).unwrap().spec;

    assert_eq!((spec.routes, spec.limits, spec.access), (None, None, None));
}

#[test]
fn the_metadata_is_optional_in_a_file_and_known_field_by_field() {
    let without = MINIMAL.replace("metadata:\n  name: edge\n", "");
    assert_eq!(read_one(&without, Place::File).unwrap().metadata.name, None);

    let wrong = MINIMAL.replace("  name: edge", "  naem: edge");
    assert_eq!(problems(&wrong), ["4: metadata.naem: unknown field, did you mean name?"]);
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = with_spec(
        "
  upstreams:
    - {name: a, addresses: &both [192.0.2.1, 192.0.2.2]}
    - {name: b, addresses: *both}",
    );

    let spec = read_one(&text, Place::File).unwrap().spec;

    assert_eq!(spec.upstreams[0].addresses, spec.upstreams[1].addresses);
}

#[test]
fn what_is_written_reads_back_without_defaults_or_status() {
    for (name, text) in [("minimal", MINIMAL), ("full", FULL)] {
        let mut proxy = parse_one(text).unwrap();
        let written = write(&proxy);
        assert_eq!(parse_one(&written).unwrap(), proxy, "{name}:\n{written}");
        assert_eq!(write(&parse_one(&written).unwrap()), written, "{name}: always the same text");

        proxy.status = Some(crate::DnsProxyStatus::default());
        proxy.metadata.resource_version = Some("7".into());
        assert_eq!(write(&proxy), written, "{name}: what the API server adds is left out");
    }

    let defaults = with_spec(
        "
  upstreams:
    - name: a
      addresses: [192.0.2.1]
      protocol: TLS
      tls: {serverName: a.example, authentication: PKIX, padding: Enabled}
      connections: {max: 1, idleTimeout: 30s, maxInFlight: 512}
      healthCheck: {name: ., type: NS, failureThreshold: 3, interval: 1s}
  routes:
    - {name: r, zones: [.], upstreams: [a], policy: Fastest, maxInFlight: 4096}
  limits: {queryDeadline: 4s, maxInFlight: 1}",
    );
    let written = write(&parse_one(&defaults).unwrap());
    let spec = &written[written.find("spec:").unwrap()..];
    assert_eq!(
        spec,
        r#"spec:
  upstreams:
    - name: a
      addresses:
        - "192.0.2.1"
      tls:
        serverName: a.example
      connections:
        max: 1
      healthCheck:
        interval: "1s"
  routes:
    - name: r
      zones:
        - "."
      upstreams:
        - a
  limits:
    maxInFlight: 1
"#
    );
}

#[test]
fn every_text_survives_writing() {
    let texts = [
        "no",
        "010",
        "1e3",
        "null",
        "",
        " ",
        "a: b",
        "- a",
        "#",
        "'",
        "\"",
        "a\\b",
        "ü",
        "\u{7f}",
        "\u{2028}",
        "tab\t",
        "lines\nof\ntext\n",
        "lines\nof\ntext",
        "lines\n\n\n",
        " first\nline",
        "last \nline",
        "\n",
        "*a",
        "&a",
        "!a",
        "@a",
        "`a",
        "%a",
        "---",
        "...",
        "0x1f",
        "1:30",
        "2026-11-23",
        "=",
        "<<",
        "~",
        ".",
        ".inf",
        "é\nè",
        "\u{feff}a",
    ];

    for text in texts {
        let many = vec![text; 50];
        let value = serde_json::json!({"outer": {text: [text, {"inner": text}]}, "many": many});
        let written = yaml_text(&value);
        let (documents, problems) = yaml::documents(&written);
        assert!(problems.is_empty(), "{text:?}: {problems:?}\n{written}");
        let outer = documents[0].get("outer").unwrap();
        let yaml::Content::List(items) = &outer.get(text).unwrap().content else {
            panic!("{written}")
        };
        let is_safe = |node: &Node| {
            node.text() == Some(text)
                && matches!(&node.content, yaml::Content::Scalar { is_plain, .. }
                    if !is_plain || (scalar::resolve(text).is_string() && scalar::in_yaml_1_1(text).is_none()))
        };
        assert!(
            is_safe(&items[0]) && is_safe(items[1].get("inner").unwrap()),
            "{text:?}:\n{written}"
        );
        let yaml::Content::List(many) = &documents[0].get("many").unwrap().content else {
            panic!("{written}")
        };
        assert!(many.len() == 50 && many.iter().all(is_safe), "{text:?}:\n{written}");
    }
}

#[test]
fn a_long_list_takes_hardly_more_room_than_in_json() {
    let names: Vec<_> = (0..20_000).map(|it| format!("ads{it}.example.com")).collect();
    let rule =
        serde_json::json!({"name": "ads", "match": {"names": {"exact": &names}}, "block": {}});
    let mut proxy = parse_one(MINIMAL).unwrap();
    proxy.spec.rules = Some(vec![serde_json::from_value(rule).unwrap()]);
    let written = write(&proxy);

    let read = parse_one(&written).unwrap().spec.rules.unwrap().swap_remove(0);
    assert!(read.matches.names.unwrap().exact == Some(names), "it reads back the same");
    let json = serde_json::to_string(&proxy).unwrap();
    assert!(written.len() < json.len() * 11 / 10, "{} and {}", written.len(), json.len());
    assert!(written.lines().all(|line| line.len() <= 140), "lines that can be read");
}

#[test]
fn the_examples_are_sound_and_raise_no_warning() {
    let cluster = [
        include_str!("../../examples/public-resolvers.yaml"),
        include_str!("../../examples/company-zones.yaml"),
        include_str!("../../examples/pinned.yaml"),
    ];
    let file = [
        include_str!("../../examples/public-resolvers.yaml"),
        include_str!("../../examples/pinned.yaml"),
        include_str!("../../examples/single-process.yaml"),
    ];
    let places = cluster
        .map(|text| (Place::Cluster, text))
        .into_iter()
        .chain(file.map(|text| (Place::File, text)));

    for (place, text) in places {
        assert_eq!(
            read(text, place).map(|manifests| manifests.warnings),
            Ok(Vec::new()),
            "{place:?}:\n{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in r"([a-z]{0,4}[:\-&*!|>'\[\]{}#%\n \t,?]{0,3}){0,20}") {
        let _ = read(&text, Place::File);
    }

    #[test]
    fn no_manifest_panics(at in 0..FULL.len(), length in 0_usize..40, with in "[a-z0-9:.{}\\[\\]\"' \n-]{0,12}") {
        // A piece of a sound manifest replaced by noise gets behind the syntax more often than noise alone.
        let mut text = FULL.to_owned();
        if let Some(piece) = text.get(at..(at + length).min(FULL.len())).map(str::len) {
            text.replace_range(at..at + piece, &with);
            let _ = read(&text, Place::Cluster);
        }
    }
}

//! The definition as the API server, kubectl and people who write manifests see it.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;
use serde_json::{Value, json};

use super::*;
use crate::{
    defaults,
    manifest::parse_one,
    units::{ByteSize, Duration, Name, Pin, RecordType},
    validate::{Place, problems},
};

/// Every part of the schema, with its path.
fn parts() -> Vec<(String, JSONSchemaProps)> {
    fn collect(path: &str, schema: &JSONSchemaProps, parts: &mut Vec<(String, JSONSchemaProps)>) {
        parts.push((path.to_owned(), schema.clone()));
        for (key, property) in schema.properties.iter().flatten() {
            collect(&format!("{path}.{key}"), property, parts);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            collect(&format!("{path}[]"), items, parts);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            collect(&format!("{path}{{}}"), values, parts);
        }
    }
    let mut parts = Vec::new();
    collect("", &schema(), &mut parts);
    parts
}

/// The parts that are ours rather than borrowed.
fn own_parts() -> Vec<(String, JSONSchemaProps)> {
    let borrowed = [".spec.workload.resources", ".spec.workload.template.spec"];
    parts()
        .into_iter()
        .filter(|(path, _)| !borrowed.iter().any(|prefix| path.starts_with(prefix)))
        .collect()
}

#[test]
fn the_committed_definition_is_the_generated_one() {
    let committed = include_str!("../../dnsproxies.yaml");

    assert_eq!(committed, custom_resource_definitions(), "run `make generate`");
    assert!(
        committed.len() < 200 * 1024,
        "an object with its annotations has 256 KiB, and Helm 1 MiB for all"
    );
}

#[test]
fn kubectl_finds_names_columns_and_subresources() {
    let definition = custom_resource_definition();
    let version = &definition.spec.versions[0];
    let names = &definition.spec.names;
    let columns: Vec<_> = version
        .additional_printer_columns
        .iter()
        .flatten()
        .map(|column| (&*column.name, &*column.json_path, &*column.type_))
        .collect();

    assert_eq!(definition.metadata.name.as_deref(), Some("dnsproxies.dnsproxy.io"));
    assert_eq!(
        (&*names.kind, &*names.plural, names.short_names.as_deref()),
        ("DnsProxy", "dnsproxies", Some(&["dnsp".to_owned()][..]))
    );
    assert_eq!((&*version.name, version.served, version.storage), ("v1alpha1", true, true));
    assert_eq!(
        columns,
        [
            ("Ready", ".status.conditions[?(@.type==\"Ready\")].status", "string"),
            ("Replicas", ".status.readyReplicas", "integer"),
            ("Address", ".status.clusterIPs[0]", "string"),
            ("Upstreams", ".status.upstreamsReady", "string"),
            ("Age", ".metadata.creationTimestamp", "date"),
        ]
    );
    let subresources = version.subresources.as_ref().unwrap();
    assert!(subresources.status.is_some());
    assert_eq!(
        subresources.scale,
        Some(CustomResourceSubresourceScale {
            spec_replicas_path: ".spec.workload.replicas".into(),
            status_replicas_path: ".status.replicas".into(),
            label_selector_path: Some(".status.selector".into()),
        })
    );
}

#[test]
fn every_list_text_and_map_has_a_bound() {
    for (path, part) in parts() {
        let is_bounded = match part.type_.as_deref() {
            Some("string") => {
                part.max_length.is_some() || part.enum_.is_some() || part.format.is_some()
            }
            Some("array") => part.max_items.is_some(),
            Some("object") => part.max_properties.is_some() || part.additional_properties.is_none(),
            _ => true,
        };
        assert!(is_bounded, "{path}");
    }
}

#[test]
fn a_condition_may_say_as_much_as_those_of_kubernetes() {
    let all = parts();
    let message = all.iter().find(|(path, _)| path == ".status.conditions[].message").unwrap();

    assert_eq!(message.1.max_length, Some(32_768), "metav1.Condition");
}

#[test]
fn integers_have_a_range_and_no_number_is_a_float() {
    for (path, part) in own_parts() {
        assert_ne!(part.type_.as_deref(), Some("number"), "{path}");
        let is_integer = part.type_.as_deref() == Some("integer") && path.starts_with(".spec");
        assert!(!is_integer || (part.minimum.is_some() && part.maximum.is_some()), "{path}");
    }
}

#[test]
fn lists_say_how_they_merge() {
    let by_name = [".spec.upstreams", ".spec.routes", ".spec.lists", ".status.upstreams"];
    for (path, part) in own_parts() {
        if part.type_.as_deref() != Some("array")
            || path.starts_with(".status.dnsConfig")
            || path == ".status.clusterIPs"
        {
            continue;
        }
        let keys = part.x_kubernetes_list_map_keys.unwrap_or_default();
        let expected: &[&str] = match &*path {
            ".status.conditions" => &["type"],
            path if by_name.contains(&path) => &["name"],
            _ => &[],
        };
        assert_eq!(keys, expected, "{path}");
        let list_type = if expected.is_empty() { "atomic" } else { "map" };
        assert_eq!(part.x_kubernetes_list_type.as_deref(), Some(list_type), "{path}");
    }
}

#[test]
fn lists_that_a_deployment_has_by_key_are_so_here() {
    let keyed = parts().into_iter().filter(|(path, _)| path.starts_with(".spec.workload"));
    let keyed = keyed.filter_map(|(path, part)| {
        let keys = part.x_kubernetes_list_map_keys?;
        assert_eq!(part.x_kubernetes_list_type.as_deref(), Some("map"), "{path}");
        Some((path, keys))
    });

    let expected = [
        (".spec.workload.template.spec.imagePullSecrets", vec!["name"]),
        (
            ".spec.workload.template.spec.topologySpreadConstraints",
            vec!["topologyKey", "whenUnsatisfiable"],
        ),
    ];
    let keys = |keys: Vec<&str>| keys.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!(
        keyed.collect::<Vec<_>>(),
        expected.map(|(path, list)| (path.to_owned(), keys(list)))
    );
}

#[test]
fn the_keys_of_a_list_must_be_there() {
    let all = parts();
    for (path, part) in &all {
        let items = all.iter().find(|(other, _)| *other == format!("{path}[]"));
        for key in part.x_kubernetes_list_map_keys.iter().flatten() {
            let required = items.and_then(|(_, items)| items.required.as_ref());
            assert!(required.is_some_and(|required| required.contains(key)), "{path}: {key}");
        }
    }
}

#[test]
fn names_are_camel_case_and_acronyms_keep_one_case() {
    let acronyms = ["DNS", "IP", "TTL", "TCP", "UDP", "TLS", "CA", "EDNS", "URL", "ID"];
    for (path, _) in own_parts() {
        let name = path.rsplit(['.', ']', '}']).next().unwrap_or_default();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '['), "{path}");
        assert!(
            !name.starts_with(|c: char| c.is_ascii_uppercase()),
            "{path}: fields begin in lower case"
        );
        for acronym in acronyms {
            // `Dns`, `dnS`: neither `dns` nor `DNS`, at the border of a word.
            let mixed: String = acronym
                .chars()
                .take(1)
                .chain(acronym.chars().skip(1).map(|c| c.to_ascii_lowercase()))
                .collect();
            let is_mixed = name.match_indices(&mixed).any(|(at, _)| {
                name[at + mixed.len()..]
                    .chars()
                    .next()
                    .is_none_or(|next| !next.is_ascii_lowercase())
            });
            assert!(!is_mixed, "{path}: {mixed} is neither all upper nor all lower case");
        }
    }
}

#[test]
fn choices_are_pascal_case_and_no_boolean_of_yaml_1_1() {
    for (path, part) in own_parts() {
        for choice in part.enum_.iter().flatten().filter_map(|choice| choice.0.as_str()) {
            assert!(
                choice.starts_with(|c: char| c.is_ascii_uppercase()) || choice.starts_with("IPv"),
                "{path}: {choice}"
            );
            assert!(choice.chars().all(|c| c.is_ascii_alphanumeric()), "{path}: {choice}");
            let booleans = ["y", "yes", "on", "true", "n", "no", "off", "false", "null"];
            assert!(!booleans.contains(&&*choice.to_lowercase()), "{path}: {choice}");
        }
    }
}

#[test]
fn every_field_of_the_spec_is_described() {
    for (path, part) in parts() {
        let is_item = path.ends_with([']', '}']) || path.is_empty();
        assert!(is_item || part.description.is_some(), "{path}");
        assert!(
            part.description.iter().all(|text| text.len() < 600),
            "{path}: one thing at a time"
        );
    }
}

#[test]
fn borrowed_descriptions_end_with_their_first_sentence() {
    let cases = [
        ("One. Two.", "One"),
        (
            "Rules (e.g. in the same zone, etc. as others). More.",
            "Rules (e.g. in the same zone, etc. as others)",
        ),
        ("The sum, i.e. All of it. More.", "The sum, i.e. All of it"),
        ("Limits of version 1.2 hold.", "Limits of version 1.2 hold."),
        ("A line.\nAnother one. More.", "A line."),
        ("", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(first_sentence(text), expected, "{text}");
    }

    let cut = |text: &str| text.ends_with("e.g.") || text.ends_with("i.e.");
    let cut = parts().into_iter().filter(|(_, part)| part.description.as_deref().is_some_and(cut));
    assert_eq!(cut.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_schema_has_the_defaults_that_the_constants_say() {
    let found: BTreeMap<String, Value> =
        parts().into_iter().filter_map(|(path, part)| Some((path, part.default?.0))).collect();

    let expected = [
        (".spec.cache.failureTTL", json!("1s")),
        (".spec.cache.maxTTL", json!("1h")),
        (".spec.cache.minTTL", json!("0s")),
        (".spec.cache.mode", json!("Enabled")),
        (".spec.cache.negativeMaxTTL", json!("5m")),
        (".spec.cache.prefetch.minHits", json!(defaults::PREFETCH_MIN_HITS)),
        (".spec.cache.prefetch.mode", json!("Enabled")),
        (".spec.cache.prefetch.remainingPercent", json!(defaults::PREFETCH_REMAINING_PERCENT)),
        (".spec.cache.serveStale.after", json!("1.8s")),
        (".spec.cache.serveStale.maxAge", json!("24h")),
        (".spec.cache.serveStale.mode", json!("Enabled")),
        (".spec.cache.serveStale.ttl", json!("30s")),
        (".spec.clusterDNS.mode", json!("Forward")),
        (".spec.limits.ednsBufferSize", json!(defaults::EDNS_BUFFER_SIZE)),
        (".spec.limits.maxInFlight", json!(defaults::MAX_IN_FLIGHT)),
        (".spec.limits.queryDeadline", json!(defaults::QUERY_DEADLINE.to_string())),
        (".spec.limits.tcpConnections", json!(defaults::TCP_CONNECTIONS)),
        (".spec.limits.tcpConnectionsPerClient", json!(defaults::TCP_CONNECTIONS_PER_CLIENT)),
        (".spec.limits.tcpIdleTimeout", json!(defaults::TCP_IDLE_TIMEOUT.to_string())),
        (".spec.logging.level", json!("Info")),
        (".spec.logging.queries.mode", json!("None")),
        (".spec.logging.queries.oneIn", json!(defaults::ONE_IN)),
        (".spec.routes[].maxInFlight", json!(defaults::ROUTE_IN_FLIGHT)),
        (".spec.responses.any", json!("Minimal")),
        (".spec.responses.privateNames", json!("Local")),
        (".spec.responses.rebindProtection.action", json!("NODATA")),
        (".spec.responses.rebindProtection.mode", json!("Enabled")),
        (".spec.routes[].policy", json!("Fastest")),
        (".spec.rules[].answer.cname", json!("Follow")),
        (".spec.rules[].answer.otherTypes", json!("NODATA")),
        (".spec.rules[].block.ttl", json!(defaults::BLOCK_TTL.to_string())),
        (".spec.hosts.ttl", json!(defaults::HOSTS_TTL.to_string())),
        (".spec.lists[].format", json!("Domains")),
        (".spec.rules[].block.with", json!("NXDOMAIN")),
        (".spec.rules[].rewrite.answers", json!("Restore")),
        (".spec.service.type", json!("ClusterIP")),
        (".spec.shutdown.delay", json!(defaults::SHUTDOWN_DELAY.to_string())),
        (".spec.shutdown.drain", json!(defaults::SHUTDOWN_DRAIN.to_string())),
        (
            ".spec.upstreams[].connections.idleTimeout",
            json!(defaults::CONNECTION_IDLE_TIMEOUT.to_string()),
        ),
        (".spec.upstreams[].connections.max", json!(defaults::CONNECTIONS)),
        (".spec.upstreams[].connections.maxInFlight", json!(defaults::CONNECTION_IN_FLIGHT)),
        (".spec.upstreams[].healthCheck.failureThreshold", json!(defaults::FAILURE_THRESHOLD)),
        (
            ".spec.upstreams[].healthCheck.interval",
            json!(defaults::HEALTH_CHECK_INTERVAL.to_string()),
        ),
        (".spec.upstreams[].healthCheck.name", json!(defaults::HEALTH_CHECK_NAME)),
        (".spec.upstreams[].healthCheck.type", json!(defaults::HEALTH_CHECK_TYPE)),
        (".spec.upstreams[].protocol", json!("TLS")),
        (".spec.upstreams[].timeouts.connect", json!(defaults::CONNECT_TIMEOUT.to_string())),
        (".spec.upstreams[].timeouts.query", json!(defaults::QUERY_TIMEOUT.to_string())),
        (".spec.upstreams[].tls.authentication", json!("PKIX")),
        (".spec.upstreams[].tls.padding", json!("Enabled")),
        (".spec.workload.replicas", json!(defaults::REPLICAS)),
    ];
    assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value)).into());
}

/// `kubectl scale` and autoscalers find no replicas otherwise: the API server fills in what a parent has, and no more.
#[test]
fn every_object_of_a_cluster_has_replicas_and_a_file_need_not() {
    let mut definition = custom_resource_definition();
    let schema = schemas(&mut definition).next().unwrap();
    let workload = at(schema, &["spec", "workload"]).unwrap();
    assert_eq!(workload.default.as_ref().unwrap().0, json!({}));
    assert_eq!(workload.nullable, None, "null would be kept, and not be a default");
    let replicas = at(workload, &["replicas"]).unwrap();
    assert_eq!(replicas.default.as_ref().unwrap().0, json!(defaults::REPLICAS));
    assert_eq!(replicas.nullable, None);

    let file = parse_one(include_str!("../../fixtures/minimal.yaml")).unwrap();
    assert_eq!(file.spec.workload, None);
}

#[test]
fn every_pattern_refuses_what_the_parser_refuses_too() {
    let samples: BTreeMap<&str, fn(&str) -> bool> = BTreeMap::from([
        (Name::PATTERN, (|text| text.parse::<Name>().is_ok()) as fn(&str) -> bool),
        (ByteSize::PATTERN, |text| text.parse::<ByteSize>().is_ok()),
        (Duration::PATTERN, |text| text.parse::<Duration>().is_ok()),
        (Pin::PATTERN, |text| text.parse::<Pin>().is_ok()),
        (RecordType::PATTERN, |text| text.parse::<RecordType>().is_ok()),
        ("^IPv[46]$", |text| matches!(text, "IPv4" | "IPv6")),
    ]);

    for (path, part) in own_parts() {
        let Some(pattern) = part.pattern else { continue };
        assert!(samples.contains_key(&*pattern), "{path}: {pattern} has no parser");
    }
}

/// The rules of the schema that a manifest breaks, as the API server finds them.
fn broken_rules(fields: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec: {{{fields}}}\n"
    );
    let proxy = parse_one(&text).unwrap();
    kube::core::cel::validate_cel(&proxy)
        .map(|()| Vec::new())
        .unwrap_or_else(|errors| errors.to_string().lines().map(ToOwned::to_owned).collect())
}

#[test]
fn the_rules_of_the_schema_refuse_what_validation_refuses() {
    let upstream =
        |fields: &str| format!("upstreams: [{{name: a, addresses: [192.0.2.1]{fields}}}]");
    let pin = "pins: [sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]";
    let cases = [
        // (why, fields, part of the message)
        ("tls without TLS", upstream(", protocol: TCP, tls: {}"), "tls has no meaning"),
        ("no pins", upstream(", tls: {authentication: PinsOnly}"), "needs pins"),
        (
            "authorities nobody asks",
            upstream(&format!(
                ", tls: {{authentication: PinsOnly, {pin}, ca: {{inline: '-----BEGIN CERTIFICATE-----'}}}}"
            )),
            "no meaning for authentication PinsOnly",
        ),
        ("nothing in a source", upstream(", tls: {ca: {}}"), "exactly one of"),
        (
            "two in a source",
            upstream(", tls: {ca: {configMap: {name: a, key: b}, secret: {name: a, key: b}}}"),
            "exactly one of",
        ),
        ("a file", upstream(", tls: {ca: {file: a}}"), "a cluster has no files"),
        (
            "key files",
            upstream(", tls: {clientCertificate: {certificateFile: a, keyFile: b}}"),
            "a cluster has no files",
        ),
        (
            "no client certificate",
            upstream(", tls: {clientCertificate: {}}"),
            "secret must be given",
        ),
        (
            "listeners",
            upstream("") + ", listeners: {dns: {addresses: ['127.0.0.1:53']}}",
            "in a cluster the Service has the ports",
        ),
        (
            "a least TTL that is the larger one",
            upstream("") + ", cache: {minTTL: 90s, maxTTL: 1m}",
            "minTTL is more than maxTTL",
        ),
        ("a class", upstream("") + ", service: {loadBalancerClass: a/b}", "need type LoadBalancer"),
        (
            "a policy",
            upstream("") + ", service: {externalTrafficPolicy: Local}",
            "needs type NodePort or LoadBalancer",
        ),
    ];

    for (why, fields, message) in cases {
        let broken = broken_rules(&fields);
        assert!(broken.iter().any(|rule| rule.contains(message)), "{why}: {broken:?}");
        let text = format!(
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec: {{{fields}}}\n"
        );
        assert!(
            !problems(&parse_one(&text).unwrap(), Place::Cluster).is_empty(),
            "{why}: validation says so, too"
        );
    }
}

#[test]
fn the_rules_of_the_schema_let_sound_manifests_pass() {
    for text in
        [include_str!("../../fixtures/minimal.yaml"), include_str!("../../fixtures/full.yaml")]
    {
        kube::core::cel::validate_cel(&parse_one(text).unwrap()).unwrap();
    }
}

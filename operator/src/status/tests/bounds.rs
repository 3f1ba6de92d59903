//! What the operator writes is taken by the definition of its own kind: the API server refuses a whole
//! status for one text in it that is too long, and nobody is told anything then.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::*;

/// The schema of a status, as the API server has it.
fn schema() -> JSONSchemaProps {
    let versions = dnsproxy_api::custom_resource_definition().spec.versions;
    let schema = versions.into_iter().find_map(|version| version.schema?.open_api_v3_schema);
    schema.unwrap().properties.unwrap().remove("status").unwrap()
}

/// What the API server would refuse of a value, each with its path.
fn refused(path: &str, value: &Value, schema: &JSONSchemaProps) -> Vec<String> {
    let is_over = |count: usize, most: Option<i64>| {
        most.is_some_and(|most| i64::try_from(count).is_ok_and(|count| count > most))
    };
    match value {
        Value::String(text) => {
            let length = text.chars().count();
            let is_long = is_over(length, schema.max_length);
            is_long.then(|| format!("{path}: {length} characters")).into_iter().collect()
        }
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(part)) = &schema.items else {
                return vec![format!("{path}: not in the schema")];
            };
            let is_long = is_over(items.len(), schema.max_items);
            let long = is_long.then(|| format!("{path}: {} items", items.len()));
            let items = items.iter().enumerate();
            let items = items.flat_map(|(n, item)| refused(&format!("{path}[{n}]"), item, part));
            long.into_iter().chain(items).collect()
        }
        Value::Object(members) => {
            let is_long = is_over(members.len(), schema.max_properties);
            let long = is_long.then(|| format!("{path}: {} members", members.len()));
            let members = members.iter().flat_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match member(schema, key) {
                    Some(part) => refused(&path, value, part),
                    None => vec![format!("{path}: not in the schema")],
                }
            });
            long.into_iter().chain(members).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => vec![],
    }
}

fn member<'s>(schema: &'s JSONSchemaProps, key: &str) -> Option<&'s JSONSchemaProps> {
    let known = schema.properties.as_ref().and_then(|properties| properties.get(key));
    known.or(match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    })
}

fn check(why: &str, status: &DnsProxyStatus) {
    let refused = refused("status", &serde_json::to_value(status).unwrap(), &schema());
    assert_eq!(refused, Vec::<String>::new(), "{why}");
}

/// Longer than anything that may stand in a status, and not of single octets.
fn long() -> String {
    "ä word; ".repeat(10_000)
}

/// As many upstreams as a manifest may have, of which every pod says more than fits.
fn failing_upstreams(world: &mut World) {
    let name = |n: u32| format!("u{n:062}");
    let count = dnsproxy_api::bounds::UPSTREAMS;
    let first = world.proxy.spec.upstreams[0].clone();
    world.proxy.spec.upstreams = (0..count)
        .map(|n| dnsproxy_api::v1alpha1::Upstream { name: name(n), ..first.clone() })
        .collect();
    let server = ServerReport {
        address: long(),
        state: "Unhealthy".into(),
        reason: Some(long()),
        message: Some(long()),
    };
    let report = |n| UpstreamReport { name: name(n), servers: vec![server.clone()] };
    for pod in &mut world.pods {
        let upstreams = (0..count).map(report).collect();
        pod.report.as_mut().unwrap().upstreams = Some(UpstreamsReport { upstreams });
    }
}

fn rejected(world: &mut World) {
    let rejected = Rejected { hash: Some(HASH.into()), error: long() };
    world.pods[0].report.as_mut().unwrap().config =
        Some(ConfigReport { rejected: Some(rejected), ..ConfigReport::default() });
}

fn missing(world: &mut World) {
    let reference =
        |n| Reference { kind: Kind::ConfigMap, name: format!("{n:0253}"), key: "k".repeat(253) };
    world.resolved.missing = (0..4096).map(|n| (reference(n), Absence::Key)).collect();
}

/// What makes a status long.
type Change = fn(&mut World);

#[test]
fn no_status_holds_more_than_the_definition_takes() {
    let cases: [(&str, Change); 9] = [
        ("all is well", |_| ()),
        ("many long problems", |world| {
            world.problems = vec![Problem::new(long(), long()); 1000];
        }),
        ("many long warnings", |world| {
            world.warnings = vec![Problem::new(long(), long()); 1000];
        }),
        ("many missing references", missing),
        ("upstreams that fail, with long reasons", failing_upstreams),
        ("a pod that rejects its configuration at length", rejected),
        ("a Deployment that says much", |world| {
            *world = rolling_out(&json!([{
                "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": long(),
            }]));
        }),
        ("an object that is refused at length", |world| {
            let (kind, name) = ("Deployment".into(), "edge".into());
            world.applied.obstacle = Some(ApplyError::Refused { kind, name, message: long() });
        }),
        ("a long domain", |world| {
            let domain = "d".repeat(dnsproxy_api::units::Zone::MAX_LENGTH as usize);
            world.proxy.spec.cluster_dns = Some(dnsproxy_api::v1alpha1::ClusterDns {
                domain: Some(domain),
                ..Default::default()
            });
        }),
    ];

    for (why, change) in cases {
        let mut world = World::new();
        change(&mut world);
        check(why, &world.status());
    }
}

#[test]
fn what_cannot_be_done_is_told_in_what_a_condition_may_hold() {
    let metadata = World::new().proxy.metadata;
    let object = InvalidObject { error: long(), metadata };

    let proxy = World::new().proxy;

    check("unreachable", &unreachable(&proxy, &long(), Timestamp::UNIX_EPOCH));
    check("unreadable", &unreadable(&object, &World::new().status(), Timestamp::UNIX_EPOCH));
}

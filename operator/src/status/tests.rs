use std::sync::Arc;

use dnsproxy_api::{
    v1alpha1::{Condition, UpstreamState},
    validate::Problem,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::{Value, json};

use super::{conditions::find, *};
use crate::{
    apply::ApplyError,
    cluster::Facts,
    fixtures::{self, api_server::ApiServer},
    reports::{ConfigReport, Rejected, Report, ServerReport, UpstreamReport, UpstreamsReport},
    resolve::{Absence, Kind, Reference},
};

mod bounds;

const HASH: &str = "0123456789abcdef";

/// A small world, in which everything is as wanted; each test changes one thing.
struct World {
    proxy: DnsProxy,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    resolved: Resolved,
    applied: Applied,
    pods: Vec<PodState>,
}

impl World {
    fn new() -> Self {
        Self {
            proxy: fixtures::proxy("minimal"),
            problems: vec![],
            warnings: vec![],
            resolved: fixtures::resolved(),
            applied: Applied {
                config_map: Some("edge-1".into()),
                config_hash: Some(HASH.into()),
                deployment: Some(Arc::new(deployment(2))),
                template_since: Some(1),
                service: Some(Arc::new(service())),
                obstacle: None,
            },
            pods: vec![pod("edge-a", HASH, "Healthy", None), pod("edge-b", HASH, "Healthy", None)],
        }
    }

    fn status(&self) -> DnsProxyStatus {
        self.status_at(1000)
    }

    fn status_at(&self, second: i64) -> DnsProxyStatus {
        let Self { proxy, problems, warnings, resolved, applied, pods } = self;
        let [problems, warnings] = [problems, warnings].map(|it| conditions::told(it));
        let (problems, warnings) = (&*problems, &*warnings);
        let observed = Observed { proxy, problems, warnings, resolved, applied, pods };
        status(&observed, Timestamp::from_second(second).unwrap())
    }

    fn condition(&self, type_: &str) -> Condition {
        find(&self.status(), type_).unwrap().clone()
    }

    /// `status reason` of a condition.
    fn verdict(&self, type_: &str) -> String {
        let Condition { status, reason, .. } = self.condition(type_);
        format!("{status} {reason}")
    }
}

fn deployment(ready: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready,
        },
    }))
    .unwrap()
}

fn service() -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "edge"},
        "spec": {"clusterIP": "10.96.0.53", "clusterIPs": ["10.96.0.53", "fd00::53"]},
    }))
    .unwrap()
}

fn pod(name: &str, hash: &str, state: &str, reason: Option<&str>) -> PodState {
    let server = ServerReport {
        address: "192.0.2.9:853".into(),
        state: state.into(),
        reason: reason.map(Into::into),
        message: reason.map(|reason| format!("{reason}: as told by the pod")),
    };
    let upstream = UpstreamReport { name: "quad".into(), servers: vec![server] };
    PodState {
        name: name.into(),
        namespace: "resolvers".into(),
        is_ready: true,
        config_map: Some("edge-1".into()),
        annotation: None,
        report: Some(Report {
            config: Some(ConfigReport { hash: Some(hash.into()), ..ConfigReport::default() }),
            upstreams: Some(UpstreamsReport { upstreams: vec![upstream] }),
            is_silent: false,
        }),
    }
}

#[test]
fn the_address_of_a_service_that_is_gone_is_kept_for_the_next_one() {
    let mut world = World::new();
    let before = world.status();
    assert!(before.cluster_ips.is_some());
    world.proxy.status = Some(before.clone());
    world.applied.service = None;

    let gone = world.status();
    assert_eq!(gone.cluster_ips, before.cluster_ips);
    assert!(gone.dns_config.is_none(), "nobody answers there");
}

#[test]
fn says_all_there_is_to_say() {
    insta::assert_yaml_snapshot!(World::new().status());
}

#[test]
fn an_invalid_manifest_is_not_accepted_and_the_first_problems_are_told() {
    let mut world = World::new();
    world.problems = (0..23)
        .map(|n| Problem {
            path: format!("spec.upstreams[{n}]"),
            line: None,
            message: "wrong".into(),
        })
        .collect();

    let accepted = world.condition("Accepted");
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "Invalid"));
    assert!(accepted.message.starts_with("spec.upstreams[0]: wrong\n"), "{}", accepted.message);
    assert!(
        accepted.message.ends_with("spec.upstreams[19]: wrong\nand 3 more"),
        "{}",
        accepted.message
    );
    assert_eq!(world.verdict("Programmed"), "False NotAccepted");
    assert_eq!(world.verdict("Available"), "True MinimumReplicasAvailable", "what runs goes on");
    assert_eq!(world.verdict("Ready"), "False Invalid");
}

#[test]
fn where_nothing_was_accepted_before_no_pods_are_said_to_go_on() {
    let mut world = World::new();
    world.problems = vec![Problem::new("spec", "wrong")];
    let message = world.condition("Programmed").message;
    assert_eq!(message, "pods go on with the configuration that was accepted before");

    world.applied.deployment = None;
    world.pods.clear();
    let message = world.condition("Programmed").message;
    assert_eq!(message, "there are no pods: no configuration was accepted before");
}

#[test]
fn a_weaker_fallback_is_accepted_and_told() {
    let mut world = World::new();
    assert_eq!(world.condition("Accepted").message, "the manifest is valid");

    let (mut spare, mut routes) = (world.proxy.spec.upstreams[0].clone(), Vec::new());
    spare.name = "spare".to_owned();
    spare.protocol = dnsproxy_api::v1alpha1::Protocol::UDP;
    spare.tls = None;
    routes.push(dnsproxy_api::v1alpha1::Route {
        name: "everything".to_owned(),
        zones: vec![".".to_owned()],
        upstreams: vec![world.proxy.spec.upstreams[0].name.clone()],
        fallback: Some(vec![spare.name.clone()]),
        allow_weaker: true,
        ..Default::default()
    });
    world.proxy.spec.upstreams.push(spare);
    world.proxy.spec.routes = Some(routes);

    let accepted = world.condition("Accepted");
    assert_eq!(accepted.status, "True");
    assert!(
        accepted.message.ends_with("weaker than their own upstreams: everything"),
        "{}",
        accepted.message
    );
}

#[test]
fn what_is_probably_not_meant_is_told_and_accepted() {
    let mut proxy = fixtures::proxy("minimal");
    proxy.spec.upstreams[0].protocol = dnsproxy_api::v1alpha1::Protocol::UDP;
    proxy.spec.upstreams[0].tls = None;
    let mut world = World::new();
    world.warnings =
        crate::validate::check(&proxy, vec![], &fixtures::facts(), fixtures::IMAGE).unwrap();

    let accepted = world.condition("Accepted");
    assert_eq!(accepted.status, "True");
    assert_eq!(
        accepted.message,
        "the manifest is valid, and probably not all of it is meant so:\n\
         spec.upstreams[0].protocol: quad is asked for any name in clear: everybody on the way can read and forge"
    );
}

#[test]
fn nodes_that_may_not_ask_are_told() {
    let mut world = World::new();
    let node = |it: u32| std::net::Ipv4Addr::from_bits(0xc633_6400 + 2 * it);
    let node_addresses = (0..248).map(|it| node(it).into()).collect();
    world.resolved.facts = Facts { node_addresses, ..fixtures::facts() }.into();

    assert_eq!(world.verdict("ResolvedRefs"), "False NetworksLeftOut");
    assert_eq!(
        world.condition("ResolvedRefs").message,
        "networks of the cluster's nodes and pods that may not ask, as there is no room for so \
         many: 1; set spec.access.allow"
    );
}

#[test]
fn a_missing_reference_is_named() {
    let mut world = World::new();
    world.resolved.missing = ["tls.crt", "tls.key"]
        .map(|key| Reference { kind: Kind::Secret, name: "dot-client".into(), key: key.into() })
        .map(|reference| (reference, Absence::Object))
        .into();

    assert_eq!(world.verdict("ResolvedRefs"), "False RefNotFound");
    let message = world.condition("ResolvedRefs").message;
    assert!(message.starts_with("not found: Secret dot-client;"), "{message}");
}

#[test]
fn of_many_missing_references_the_first_ones_are_named() {
    let mut world = World::new();
    let reference = |n: usize| Reference {
        kind: Kind::Secret,
        name: format!("dot-client-{n:02}"),
        key: "tls.crt".into(),
    };
    world.resolved.missing = (0..23).map(|n| (reference(n), Absence::Object)).collect();

    let message = world.condition("ResolvedRefs").message;
    assert!(message.contains(", Secret dot-client-19, and 3 more; what needs it"), "{message}");
}

#[test]
fn a_missing_key_is_named_with_its_object() {
    let mut world = World::new();
    let ca = Reference { kind: Kind::ConfigMap, name: "corp-ca".into(), key: "ca.pem".into() };
    world.resolved.missing = [(ca, Absence::Key)].into();

    assert_eq!(world.verdict("ResolvedRefs"), "False RefNotFound");
    let message = world.condition("ResolvedRefs").message;
    assert!(message.starts_with("not found: key ca.pem of ConfigMap corp-ca;"), "{message}");
    assert_eq!(world.verdict("Ready"), "False RefNotFound");
}

#[test]
fn a_cluster_without_dns_matters_only_where_it_would_be_asked() {
    let mut world = World::new();
    world.resolved.facts = Facts { dns: None, ..fixtures::facts() }.into();
    assert_eq!(world.verdict("ResolvedRefs"), "False ClusterDNSNotFound");

    world.proxy = fixtures::proxy("without_cluster_dns");
    assert_eq!(world.verdict("ResolvedRefs"), "True ResolvedRefs");
}

#[test]
fn programmed_means_every_ready_pod() {
    let mut one_behind = World::new();
    one_behind.pods[1] = pod("edge-b", "other", "Healthy", None);
    assert_eq!(one_behind.verdict("Programmed"), "False Pending");
    assert_eq!(one_behind.status().synced_replicas, Some(1));

    let mut one_silent = World::new();
    one_silent.pods[1].report = Some(Report::default());
    assert_eq!(one_silent.verdict("Programmed"), "False Pending", "it was found a moment ago");
    assert!(is_moving(&one_silent.status()), "it is asked again soon");
    one_silent.pods[1].report = Some(Report { is_silent: true, ..Report::default() });
    assert_eq!(one_silent.verdict("Programmed"), "False Unreported");
    assert_eq!(
        one_silent.condition("Programmed").message,
        "1 of 2 ready pods did not answer on port 8053: is the operator allowed to reach them (NetworkPolicy)?"
    );
    assert!(!is_moving(&one_silent.status()), "it does not pass by itself");

    one_silent.pods[0] = pod("edge-a", "other", "Healthy", None);
    assert_eq!(one_silent.verdict("Programmed"), "False Pending", "the other one is on its way");

    let mut one_starting = one_behind;
    one_starting.pods[1].is_ready = false;
    assert_eq!(one_starting.verdict("Programmed"), "True Programmed", "it serves nobody yet");

    let mut none = World::new();
    none.pods.clear();
    assert_eq!(none.verdict("Programmed"), "False NoReadyPods");
}

#[test]
fn no_pods_where_none_are_wanted_is_at_rest() {
    let mut world = World::new();
    let deployment = json!({
        "metadata": {"generation": 1}, "spec": {"replicas": 0, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1},
    });
    world.applied.deployment = Some(Arc::new(serde_json::from_value(deployment).unwrap()));
    world.pods.clear();

    for type_ in ["Programmed", "Available", "Ready"] {
        assert_eq!(world.verdict(type_), "False ScaledToZero", "{type_}");
    }
    assert!(!is_moving(&world.status()), "nothing is on the way");
}

/// A new image that cannot be pulled: the old pods serve, and report the hash that is wanted.
fn rolling_out(conditions: &Value) -> World {
    let deployment = serde_json::from_value(json!({
        "metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
            "conditions": conditions,
        },
    }));
    let mut world = World::new();
    world.applied.deployment = Some(Arc::new(deployment.unwrap()));
    world.applied.template_since = Some(2);
    world.pods.push(PodState { is_ready: false, report: None, ..pod("edge-c", HASH, "", None) });
    world
}

#[test]
fn a_rollout_is_not_ready_before_the_old_pods_are_gone() {
    let world = rolling_out(&json!([{"type": "Progressing", "status": "True"}]));
    assert_eq!(world.verdict("Programmed"), "False Pending");
    assert_eq!(world.condition("Programmed").message, "1 of 3 pods are of the newest Deployment");
    assert_eq!(world.verdict("Available"), "True MinimumReplicasAvailable", "old pods serve");
    assert_eq!(world.verdict("Ready"), "False Pending");
    assert!(is_moving(&world.status()));

    let mut unseen = World::new();
    let mut newer = deployment(2);
    newer.metadata.generation = Some(2);
    unseen.applied.deployment = Some(Arc::new(newer));
    unseen.applied.template_since = Some(2);
    assert_eq!(unseen.verdict("Ready"), "False Pending", "its status is about the one before");
    unseen.applied.template_since = Some(1);
    assert_eq!(unseen.verdict("Ready"), "True Ready", "only the number of pods was changed");
}

#[test]
fn a_rollout_that_stands_still_says_where_to_look() {
    let world = rolling_out(&json!([{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"edge-1\" has timed out progressing.",
    }]));
    assert_eq!(world.verdict("Programmed"), "False ProgressDeadlineExceeded");
    let message = world.condition("Programmed").message;
    assert!(message.contains("ReplicaSet \"edge-1\" has timed out progressing; "), "{message}");
    assert!(
        message.ends_with(
            "kubectl -n resolvers describe pods -l \
             app.kubernetes.io/instance=edge,app.kubernetes.io/name=dnsproxy"
        ),
        "{message}"
    );
    assert_eq!(world.verdict("Ready"), "False ProgressDeadlineExceeded");
    assert!(!is_moving(&world.status()), "it does not pass by itself");

    let mut first = world;
    first.pods.clear();
    assert_eq!(first.verdict("Programmed"), "False ProgressDeadlineExceeded", "no pod ever was");
}

#[test]
fn a_pod_that_is_replaced_by_one_of_its_kind_is_no_rollout() {
    let mut world = World::new();
    let mut short = deployment(1);
    let status = short.status.as_mut().unwrap();
    (status.replicas, status.updated_replicas) = (Some(1), Some(1));
    world.applied.deployment = Some(Arc::new(short));
    world.pods.pop();

    assert_eq!(world.verdict("Programmed"), "True Programmed");
    assert_eq!(world.verdict("Ready"), "False MinimumReplicasUnavailable", "as ever");
}

#[test]
fn a_pod_that_rejects_the_configuration_says_why() {
    let mut world = World::new();
    let rejected = Rejected { hash: Some(HASH.into()), error: "spec.limits: no".into() };
    world.pods[0].report.as_mut().unwrap().config =
        Some(ConfigReport { hash: Some("old".into()), rejected: Some(rejected), files: vec![] });

    assert_eq!(world.verdict("Programmed"), "False Rejected");
    assert_eq!(
        world.condition("Programmed").message,
        "pod edge-a rejects the configuration: spec.limits: no"
    );
}

#[test]
fn an_obstacle_stands_in_programmed() {
    let mut world = World::new();
    world.applied.obstacle =
        Some(ApplyError::Foreign { kind: "Service".into(), name: "edge".into() });

    assert_eq!(world.verdict("Programmed"), "False Conflict");
    assert_eq!(world.verdict("Ready"), "False Conflict");
}

#[test]
fn available_means_as_many_ready_pods_as_wanted() {
    let mut world = World::new();
    world.applied.deployment = Some(Arc::new(deployment(1)));

    assert_eq!(world.verdict("Available"), "False MinimumReplicasUnavailable");
    assert_eq!(world.condition("Available").message, "1 of 2 pods are ready");
}

#[test]
fn pods_that_are_refused_are_told_at_once() {
    let mut deployment = deployment(1);
    let refused = json!({
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}],
        "readyReplicas": 1,
    });
    deployment.status = Some(serde_json::from_value(refused).unwrap());
    let mut world = World::new();
    world.applied.deployment = Some(Arc::new(deployment));

    assert_eq!(
        world.condition("Available").message,
        "1 of 2 pods are ready; others are refused: exceeded quota: small"
    );
}

#[test]
fn an_upstream_is_as_healthy_as_for_the_pod_that_is_worst_off() {
    let cases = [
        (
            "all pods use it",
            [("Healthy", None), ("Healthy", None)],
            "True Healthy",
            UpstreamState::Healthy,
        ),
        (
            "one looks whether a silence means anything",
            [("Healthy", None), ("Suspect", None)],
            "True Healthy",
            UpstreamState::Healthy,
        ),
        ("all do", [("Suspect", None), ("Suspect", None)], "True Healthy", UpstreamState::Healthy),
        (
            "one has not asked",
            [("Healthy", None), ("Unknown", None)],
            "True Healthy",
            UpstreamState::Healthy,
        ),
        (
            "nobody has asked",
            [("Unknown", None), ("Unknown", None)],
            "Unknown NotAsked",
            UpstreamState::Unknown,
        ),
        (
            "a wrong pin comes before a network that fails",
            [("Unhealthy", Some("connect")), ("Unhealthy", Some("pin_mismatch"))],
            "False PinMismatch",
            UpstreamState::Unhealthy,
        ),
        (
            "a certificate of another name",
            [("Healthy", None), ("Unhealthy", Some("name_mismatch"))],
            "False NameMismatch",
            UpstreamState::Unhealthy,
        ),
        (
            "one that has expired",
            [("Unhealthy", Some("expired")), ("Unhealthy", Some("timeout"))],
            "False CertificateExpired",
            UpstreamState::Unhealthy,
        ),
        (
            "whatever else",
            [("Unhealthy", Some("newer_word")), ("Healthy", None)],
            "False Unreachable",
            UpstreamState::Unhealthy,
        ),
    ];

    for (why, pods, verdict, state) in cases {
        let mut world = World::new();
        world.pods = pods.map(|(state, reason)| pod("edge-a", HASH, state, reason)).into();

        assert_eq!(world.verdict("UpstreamsHealthy"), verdict, "{why}");
        assert_eq!(world.status().upstreams.unwrap()[0].state, state, "{why}");
        assert_eq!(world.verdict("Ready"), "True Ready", "upstreams are not ours: {why}");
    }
}

#[test]
fn one_server_that_answers_is_enough_and_the_other_is_told() {
    let mut world = World::new();
    for pod in &mut world.pods {
        let upstreams = pod.report.as_mut().unwrap().upstreams.as_mut().unwrap();
        upstreams.upstreams[0].servers.push(ServerReport {
            address: "192.0.2.10:853".into(),
            state: "Unhealthy".into(),
            reason: Some("connect".into()),
            message: Some("connection refused".into()),
        });
    }

    let status = world.status();
    let upstream = &status.upstreams.as_ref().unwrap()[0];
    assert_eq!(upstream.state, UpstreamState::Healthy);
    assert_eq!(upstream.reason, None);
    assert_eq!(upstream.message.as_deref(), Some("192.0.2.10:853: connection refused"));
    assert_eq!(status.upstreams_ready.as_deref(), Some("1/1"));
}

#[test]
fn an_upstream_that_nobody_asked_is_not_counted_as_one_that_answers() {
    let mut world = World::new();
    assert_eq!(world.status().upstreams_ready.as_deref(), Some("1/1"));

    world.pods.clear();
    assert_eq!(world.status().upstreams_ready.as_deref(), Some("0/1"));
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let mut world = World::new();
    world.proxy.status = Some(world.status_at(1000));
    assert_eq!(world.status_at(2000), world.status_at(1000), "nothing changed: nothing is written");

    world.pods[1] = pod("edge-b", "other", "Healthy", None);
    let later = world.status_at(2000);
    let time = |type_: &str| find(&later, type_).unwrap().last_transition_time.0.as_second();
    assert_eq!((time("Programmed"), time("Accepted")), (2000, 1000));
}

#[tokio::test]
async fn is_written_only_when_it_differs() {
    let path = "/apis/dnsproxy.io/v1alpha1/namespaces/resolvers/dnsproxies/edge/status";
    let mut world = World::new();
    let new = world.status();
    let (proxy, object) = (world.proxy.clone(), serde_json::to_value(&world.proxy).unwrap());
    let (outcome, asked) = ApiServer::default()
        .with(path, object)
        .during(async |client| patch(&proxy, &new, &client).await)
        .await;
    outcome.unwrap();
    assert_eq!(asked, [format!("PATCH {path}")]);

    world.proxy.status = Some(new.clone());
    let (_, asked) =
        ApiServer::default().during(async |client| patch(&world.proxy, &new, &client).await).await;
    assert_eq!(asked, Vec::<String>::new());
}

#[test]
fn an_object_that_cannot_be_read_keeps_the_time_since_when() {
    let metadata = World::new().proxy.metadata;
    let object = InvalidObject { error: "no QUIC".into(), metadata };
    let at = |second| Timestamp::from_second(second).unwrap();

    let first = unreadable(&object, &World::new().status_at(1000), at(2000));
    let accepted = find(&first, "Accepted").unwrap();
    assert_eq!(accepted.last_transition_time.0, at(2000), "it was true before");
    assert_eq!(unreadable(&object, &first, at(3000)), first, "nothing changed");
}

#[test]
fn what_cannot_be_done_is_told_beside_what_was_seen_last() {
    let mut world = World::new();
    world.proxy.status = Some(world.status_at(1000));
    world.proxy.metadata.generation = Some(4);
    let at = |second| Timestamp::from_second(second).unwrap();

    let new = unreachable(&world.proxy, "cannot apply: no", at(2000));
    let programmed = find(&new, "Programmed").unwrap();
    assert_eq!((&*programmed.status, &*programmed.reason), ("False", "Unreachable"));
    assert_eq!(programmed.message, "cannot apply: no; it is tried again, at least once a minute");
    assert_eq!(programmed.observed_generation, Some(4));
    let ready = find(&new, "Ready").unwrap();
    assert_eq!((&*ready.status, &*ready.reason), ("False", "Unreachable"));
    assert_eq!(new.observed_generation, Some(3), "the rest is about the generation before");
    assert_eq!(find(&new, "Accepted").unwrap().observed_generation, Some(3));
    assert!(!is_moving(&new), "it does not pass by itself");

    world.proxy.status = Some(new.clone());
    let again = unreachable(&world.proxy, "cannot apply: no", at(3000));
    assert_eq!(again, new, "nothing changed: nothing is written");
}

#[tokio::test]
async fn an_object_that_is_gone_is_no_error() {
    let world = World::new();
    let path = "/apis/dnsproxy.io/v1alpha1/namespaces/resolvers/dnsproxies/edge/status";
    let (outcome, _) = ApiServer::default()
        .refusing(path, 404)
        .during(async |client| patch(&world.proxy, &world.status(), &client).await)
        .await;

    assert!(outcome.is_ok());
}

//! The pod: one container that may do nothing but answer queries.
//!
//! It meets the PodSecurity standard `restricted` whatever the manifest says: what the manifest may
//! add (where pods run, their labels) cannot weaken it.

use std::collections::BTreeMap;

use dnsproxy_api::{
    defaults,
    v1alpha1::{PodSpecTemplate, PodTemplate, Resources, TemplateMetadata},
};
use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, Container, ContainerPort, HTTPGetAction, PodAffinityTerm,
        PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
        SeccompProfile, SecurityContext, TopologySpreadConstraint, VolumeMount,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{labels, names};
use crate::validate::ValidatedDnsProxy;

mod volume;

pub(super) fn template(proxy: &ValidatedDnsProxy) -> PodTemplateSpec {
    let workload = proxy.spec.workload.clone().unwrap_or_default();
    let PodTemplate { metadata, spec } = workload.template.unwrap_or_default();
    PodTemplateSpec {
        metadata: Some(template_metadata(proxy, metadata.unwrap_or_default())),
        spec: Some(pod(proxy, spec.unwrap_or_default(), workload.resources)),
    }
}

fn template_metadata(proxy: &ValidatedDnsProxy, added: TemplateMetadata) -> ObjectMeta {
    let TemplateMetadata { mut labels, annotations } = added;
    // Ours win: the Deployment finds its pods by them.
    labels.extend(labels::all(&proxy.name));
    ObjectMeta {
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}

fn pod(proxy: &ValidatedDnsProxy, added: PodSpecTemplate, resources: Option<Resources>) -> PodSpec {
    let PodSpecTemplate {
        affinity,
        image_pull_secrets,
        node_selector,
        priority_class_name,
        runtime_class_name,
        scheduler_name,
        tolerations,
        topology_spread_constraints,
    } = added;
    PodSpec {
        affinity: affinity_of(proxy, affinity, topology_spread_constraints.as_deref()),
        image_pull_secrets,
        node_selector: Some(on_linux(node_selector)),
        priority_class_name,
        runtime_class_name,
        scheduler_name,
        tolerations,
        topology_spread_constraints: Some(spread(proxy, topology_spread_constraints)),
        automount_service_account_token: Some(false),
        containers: vec![container(proxy, resources)],
        // The node's resolver: the cluster's may be asking us.
        dns_policy: Some("Default".to_owned()),
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        service_account_name: Some(names::service_account(proxy)),
        termination_grace_period_seconds: Some(proxy.grace_period),
        volumes: Some(vec![volume::volume(proxy)]),
        ..PodSpec::default()
    }
}

/// The image is for Linux, and a cluster may have nodes of another kind; who says more has reasons.
fn on_linux(mut node_selector: BTreeMap<String, String>) -> BTreeMap<String, String> {
    node_selector.entry("kubernetes.io/os".to_owned()).or_insert_with(|| "linux".to_owned());
    node_selector
}

fn container(proxy: &ValidatedDnsProxy, resources: Option<Resources>) -> Container {
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(proxy.image.clone()),
        args: Some(arguments()),
        ports: Some(vec![
            port(names::DNS_UDP, names::DNS_PORT, "UDP"),
            port(names::DNS_TCP, names::DNS_PORT, "TCP"),
            port(names::ADMIN, names::ADMIN_PORT, "TCP"),
        ]),
        startup_probe: Some(probe("/readyz", STARTUP_PERIOD, STARTUP_FAILURES)),
        readiness_probe: Some(probe("/readyz", READINESS_PERIOD, READINESS_FAILURES)),
        liveness_probe: Some(probe("/livez", LIVENESS_PERIOD, LIVENESS_FAILURES)),
        resources: Some(requirements(resources.unwrap_or_else(default_resources))),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![VolumeMount {
            name: names::VOLUME.to_owned(),
            mount_path: names::DIRECTORY.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn arguments() -> Vec<String> {
    let everywhere = |port: u16| format!("[::]:{port}");
    vec![
        "run".to_owned(),
        "-f".to_owned(),
        format!("{}/{}", names::DIRECTORY, names::FILE),
        "--listen".to_owned(),
        everywhere(names::DNS_PORT),
        "--admin".to_owned(),
        everywhere(names::ADMIN_PORT),
    ]
}

fn port(name: &str, number: u16, protocol: &str) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(names::ADMIN.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What the proxy needs at rest with room for a large configuration; a limit of memory, so that a
/// flood of queries ends in one pod and not in its neighbours. No limit of CPU: it would only delay answers.
fn default_resources() -> Resources {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
            .collect()
    };
    Resources {
        requests: Some(quantities(&[("cpu", "50m"), ("memory", "32Mi")])),
        limits: Some(quantities(&[("memory", defaults::MEMORY_LIMIT)])),
    }
}

fn requirements(resources: Resources) -> ResourceRequirements {
    let Resources { limits, requests } = resources;
    ResourceRequirements { limits, requests, claims: None }
}

/// The user is the image's own, a number: a platform that gives each namespace its own may do so.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// Absent: over nodes, where that is possible; zones are the affinity's. A constraint without a selector means our pods.
fn spread(
    proxy: &ValidatedDnsProxy,
    constraints: Option<Vec<TopologySpreadConstraint>>,
) -> Vec<TopologySpreadConstraint> {
    let constraints = constraints.unwrap_or_else(|| vec![over_nodes()]);
    constraints
        .into_iter()
        .map(|constraint| TopologySpreadConstraint {
            label_selector: constraint.label_selector.or_else(|| Some(our_pods(proxy))),
            ..constraint
        })
        .collect()
}

fn over_nodes() -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        match_label_keys: Some(of_one_rollout()),
        ..TopologySpreadConstraint::default()
    }
}

/// Where nothing was said of how pods spread, those of one zone go to others, too. That is no second constraint: the
/// scheduler gives nodes no score by any constraint when they lack the label of one, and many clusters name no zones.
fn affinity_of(
    proxy: &ValidatedDnsProxy,
    affinity: Option<Affinity>,
    constraints: Option<&[TopologySpreadConstraint]>,
) -> Option<Affinity> {
    if constraints.is_some() {
        return affinity;
    }
    let affinity = affinity.unwrap_or_default();
    let pod_anti_affinity = affinity.pod_anti_affinity.or_else(|| Some(other_zones(proxy)));
    Some(Affinity { pod_anti_affinity, ..affinity })
}

fn other_zones(proxy: &ValidatedDnsProxy) -> PodAntiAffinity {
    let pod_affinity_term = PodAffinityTerm {
        label_selector: Some(our_pods(proxy)),
        match_label_keys: Some(of_one_rollout()),
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        ..PodAffinityTerm::default()
    };
    PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
            pod_affinity_term,
            weight: 100,
        }]),
        ..PodAntiAffinity::default()
    }
}

fn our_pods(proxy: &ValidatedDnsProxy) -> LabelSelector {
    LabelSelector { match_labels: Some(labels::selector(&proxy.name)), ..LabelSelector::default() }
}

/// Pods of the rollout before would make the new ones seem spread.
fn of_one_rollout() -> Vec<String> {
    vec!["pod-template-hash".to_owned()]
}

/// A proxy is ready within a fraction of a second; half a minute is for a node that is busy. Our guess.
const STARTUP_PERIOD: i32 = 1;
const STARTUP_FAILURES: i32 = 30;
/// Out of the Service within 4 s. Our guess.
const READINESS_PERIOD: i32 = 2;
const READINESS_FAILURES: i32 = 2;
/// CoreDNS' manifests wait five periods of 10 s, too, before they restart.
const LIVENESS_PERIOD: i32 = 10;
const LIVENESS_FAILURES: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn pods_run_on_linux_unless_told_otherwise() {
        let selector = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };

        assert_eq!(on_linux(selector(&[])), selector(&[("kubernetes.io/os", "linux")]));
        assert_eq!(
            on_linux(selector(&[("disk", "fast")])),
            selector(&[("disk", "fast"), ("kubernetes.io/os", "linux")])
        );
        let other = selector(&[("kubernetes.io/os", "plan9")]);
        assert_eq!(on_linux(other.clone()), other);
    }

    #[test]
    fn pods_spread_over_nodes_also_where_nodes_name_no_zone() {
        let proxy = fixtures::validated("minimal");
        let spec = |written| pod(&proxy, written, None);
        let keys = |spec: &PodSpec| -> Vec<String> {
            let constraints = spec.topology_spread_constraints.iter().flatten();
            constraints.map(|constraint| constraint.topology_key.clone()).collect()
        };
        let zones = Some(other_zones(&proxy));
        let anti_affinity = |spec: &PodSpec| spec.affinity.clone()?.pod_anti_affinity;

        let untold = spec(PodSpecTemplate::default());
        assert_eq!(keys(&untold), ["kubernetes.io/hostname"], "every node has that label");
        assert_eq!(anti_affinity(&untold), zones);

        let affinity = Affinity { node_affinity: Some(<_>::default()), ..Affinity::default() };
        let affinity =
            spec(PodSpecTemplate { affinity: Some(affinity), ..PodSpecTemplate::default() });
        assert_eq!(anti_affinity(&affinity), zones, "that says nothing of other pods");
        assert!(affinity.affinity.unwrap().node_affinity.is_some());

        let told = spec(PodSpecTemplate {
            topology_spread_constraints: Some(vec![]),
            ..PodSpecTemplate::default()
        });
        assert_eq!((keys(&told), told.affinity), (vec![], None), "as it was written");
    }

    #[test]
    fn what_the_manifest_adds_to_pods_never_replaces_our_labels() {
        let proxy = fixtures::validated("minimal");
        let added = TemplateMetadata {
            labels: [
                (labels::INSTANCE.to_owned(), "other".to_owned()),
                ("team".into(), "net".into()),
            ]
            .into(),
            ..TemplateMetadata::default()
        };

        let labels = template_metadata(&proxy, added).labels.unwrap();
        assert_eq!(labels[labels::INSTANCE], proxy.name);
        assert_eq!(labels["team"], "net");
    }
}

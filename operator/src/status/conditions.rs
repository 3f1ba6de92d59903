//! The conditions, each with the reason that programs read and the message that people read.
//!
//! `Ready` is what `kubectl wait` waits for: the first four. Upstreams are not among them, since they
//! are somebody else's, and whoever depends on this object can do nothing about them.

use dnsproxy_api::{
    DnsProxyStatus,
    v1alpha1::{Condition, UpstreamState, UpstreamStatus},
    validate::{Problem, weaker_fallbacks},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;

use super::{Observed, text, upstreams};
use crate::{
    apply::{
        Rollout,
        rollout::{self, DEADLINE_EXCEEDED},
    },
    render::{labels, names::ADMIN_PORT},
    resolve::{Absence, Reference},
    validate::{domain, lacks_cluster_dns, left_out},
};

/// The manifest is valid.
pub const ACCEPTED: &str = "Accepted";
/// Everything that it refers to is there, object and key, and so is what it leaves to the cluster: its DNS, and room for its
/// networks.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Every ready pod runs its configuration, and none is left of an older Deployment.
pub const PROGRAMMED: &str = "Programmed";
/// There are as many ready pods as wanted.
pub const AVAILABLE: &str = "Available";
/// Upstreams answer all pods.
pub const UPSTREAMS_HEALTHY: &str = "UpstreamsHealthy";
/// The first four.
pub const READY: &str = "Ready";

/// The condition of a type.
#[must_use]
pub fn find<'a>(status: &'a DnsProxyStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// What passes by itself: pods that are starting, or have not loaded their configuration yet.
#[must_use]
pub fn is_progress(condition: &Condition) -> bool {
    condition.type_ == PROGRAMMED && matches!(condition.reason.as_str(), PENDING | NO_READY_PODS)
}

/// What is found about one condition.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: "True", reason, message: message.into() }
    }

    fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: "False", reason, message: message.into() }
    }

    fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: "Unknown", reason, message: message.into() }
    }

    /// The time is that of the last change of `status`, not of the words beside it.
    fn into_condition(
        self,
        previous: Option<&DnsProxyStatus>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Condition {
        let before = previous.and_then(|status| find(status, self.type_));
        let unchanged = before.filter(|condition| condition.status == self.status);
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: text::bounded(self.message, MAX_MESSAGE),
            last_transition_time: unchanged.map_or_else(
                || Time(seconds(now)),
                |condition| condition.last_transition_time.clone(),
            ),
            observed_generation: generation,
        }
    }
}

/// As the API server keeps times, so that what is written reads back equal.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// All conditions, in the order in which they come true.
pub(super) fn all(
    observed: &Observed<'_>,
    upstreams: &[UpstreamStatus],
    now: Timestamp,
) -> Vec<Condition> {
    let first =
        [accepted(observed), resolved_refs(observed), programmed(observed), available(observed)];
    let ready = ready(&first);
    let healthy = upstreams_healthy(upstreams);
    let previous = observed.proxy.status.as_ref();
    let generation = observed.proxy.metadata.generation;
    let findings = first.into_iter().chain([healthy, ready]);
    findings.map(|finding| finding.into_condition(previous, generation, now)).collect()
}

/// For an object that cannot be read: nothing else can be said about it.
pub(super) fn unreadable(
    error: &str,
    before: &DnsProxyStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let message =
        format!("this operator cannot read the object, is it older than the object? {error}");
    let accepted = Finding::no(ACCEPTED, "Unreadable", message.clone());
    let ready = Finding::no(READY, "Unreadable", message);
    [accepted, ready].map(|finding| finding.into_condition(Some(before), generation, now)).into()
}

/// For an object that cannot be reconciled: the conditions before, of which these two do not hold any more.
pub(super) fn unreachable(
    error: &str,
    before: &DnsProxyStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let message = format!("{error}; it is tried again, at least once a minute");
    let programmed = Finding::no(PROGRAMMED, UNREACHABLE, message);
    let ready = ready(std::slice::from_ref(&programmed));
    let mut conditions = before.conditions.clone().unwrap_or_default();
    for finding in [programmed, ready] {
        let new = finding.into_condition(Some(before), generation, now);
        match conditions.iter_mut().find(|condition| condition.type_ == new.type_) {
            Some(condition) => *condition = new,
            None => conditions.push(new),
        }
    }
    conditions
}

fn accepted(observed: &Observed<'_>) -> Finding {
    if observed.problems.is_empty() {
        return Finding::yes(ACCEPTED, "Accepted", valid(observed));
    }
    Finding::no(ACCEPTED, "Invalid", observed.problems.join("\n"))
}

/// As much of problems or warnings as is told, a line each.
#[must_use]
pub fn told(problems: &[Problem]) -> Vec<String> {
    first(problems.iter().map(ToString::to_string).collect())
}

/// The first ones, and how many more there are: those are mended first.
fn first(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(MAX_ITEMS);
    if more > 0 {
        all.truncate(MAX_ITEMS);
        all.push(format!("and {more} more"));
    }
    all
}

/// What was allowed on purpose is said all the same: who reads the status need not have written the manifest.
fn valid(observed: &Observed<'_>) -> String {
    let spec = &observed.proxy.spec;
    let mut said = vec!["the manifest is valid".to_owned()];
    let weaker: Vec<_> = weaker_fallbacks(spec).collect();
    if !weaker.is_empty() {
        said.push(format!(
            "by allowWeaker the fallback of these routes is weaker than their own upstreams: {}",
            weaker.join(", ")
        ));
    }
    let said = said.join("; ");
    match observed.warnings {
        [] => said,
        warnings => {
            format!("{said}, and probably not all of it is meant so:\n{}", warnings.join("\n"))
        }
    }
}

fn resolved_refs(observed: &Observed<'_>) -> Finding {
    let resolved = observed.resolved;
    let missing = resolved.missing.iter();
    let mut missing: Vec<_> =
        missing.map(|(reference, absence)| absent(reference, *absence)).collect();
    missing.dedup();
    if !missing.is_empty() {
        let message = format!(
            "not found: {}; what needs it does not run; add it, or refer to what there is",
            first(missing).join(", ")
        );
        return Finding::no(RESOLVED_REFS, "RefNotFound", message);
    }
    let spec = &observed.proxy.spec;
    if lacks_cluster_dns(spec, &resolved.facts) {
        let message = format!(
            "found no Service of the cluster's DNS: names of {} are treated like any other; set \
             spec.clusterDNS.addresses, or spec.clusterDNS.mode to Disabled",
            domain(spec, &resolved.facts)
        );
        return Finding::no(RESOLVED_REFS, "ClusterDNSNotFound", message);
    }
    let left_out = left_out(spec, &resolved.facts);
    if left_out > 0 {
        let message = format!(
            "networks of the cluster's nodes and pods that may not ask, as there is no room for so many: {left_out}; \
             set spec.access.allow"
        );
        return Finding::no(RESOLVED_REFS, "NetworksLeftOut", message);
    }
    Finding::yes(RESOLVED_REFS, "ResolvedRefs", "everything that the manifest refers to is there")
}

fn absent(reference: &Reference, absence: Absence) -> String {
    let Reference { kind, name, key } = reference;
    match absence {
        Absence::Object => format!("{kind} {name}"),
        Absence::Key => format!("key {key} of {kind} {name}"),
    }
}

fn programmed(observed: &Observed<'_>) -> Finding {
    if !observed.problems.is_empty() {
        let message = match observed.applied.deployment {
            Some(_) => "pods go on with the configuration that was accepted before",
            None => "there are no pods: no configuration was accepted before",
        };
        return Finding::no(PROGRAMMED, "NotAccepted", message);
    }
    if let Some(obstacle) = &observed.applied.obstacle {
        return Finding::no(PROGRAMMED, obstacle.reason(), obstacle.to_string());
    }
    if let Some(message) = rejection(observed) {
        return Finding::no(PROGRAMMED, "Rejected", message);
    }
    // Pods of an older Deployment may report the same configuration: a new image does not change its hash.
    let progress = observed.applied.rollout();
    let (ready, synced) = (observed.ready().count(), observed.synced().count());
    let silent = observed.silent().count();
    let hash = observed.applied.config_hash.as_deref().unwrap_or_default();
    let message = format!("{synced} of {ready} ready pods run configuration {hash}");
    match (progress, ready) {
        (_, 0) if is_scaled_to_zero(observed) => {
            Finding::no(PROGRAMMED, SCALED_TO_ZERO, "no pods are wanted")
        }
        (Rollout::Stalled { message }, _) => {
            Finding::no(PROGRAMMED, DEADLINE_EXCEEDED, stalled(observed, &message))
        }
        (_, 0) => Finding::no(PROGRAMMED, NO_READY_PODS, "no pod is ready"),
        (Rollout::Unseen, _) => Finding::no(PROGRAMMED, PENDING, "the rollout has not begun yet"),
        (Rollout::Underway { updated, replicas }, _) => {
            let message = format!("{updated} of {replicas} pods are of the newest Deployment");
            Finding::no(PROGRAMMED, PENDING, message)
        }
        (Rollout::Done, _) if silent > 0 && synced + silent == ready => unreported(silent, ready),
        (Rollout::Done, _) if synced < ready => Finding::no(PROGRAMMED, PENDING, message),
        (Rollout::Done, _) => Finding::yes(PROGRAMMED, "Programmed", message),
    }
}

/// Nothing is on the way then: it stays so until somebody wants pods.
fn is_scaled_to_zero(observed: &Observed<'_>) -> bool {
    let deployment = observed.applied.deployment.as_ref();
    deployment.and_then(|it| it.spec.as_ref()).and_then(|spec| spec.replicas) == Some(0)
}

/// Nothing but a change ends it, so whoever reads this has to know where to look.
fn stalled(observed: &Observed<'_>, message: &str) -> String {
    let proxy = observed.proxy;
    let (namespace, name) = (proxy.namespace().unwrap_or_default(), proxy.name_any());
    format!(
        "the rollout does not go on: {message}; ready pods serve meanwhile; see why others do not \
         start: kubectl -n {namespace} describe pods -l {}",
        labels::selector_text(&name)
    )
}

/// Where nothing is on the way, silence is no progress: it may last until somebody lets the operator through.
fn unreported(silent: usize, ready: usize) -> Finding {
    let message = format!(
        "{silent} of {ready} ready pods did not answer on port {ADMIN_PORT}: is the operator allowed to reach \
         them (NetworkPolicy)?"
    );
    Finding::no(PROGRAMMED, "Unreported", message)
}

/// What a pod has against the configuration that it should run.
fn rejection(observed: &Observed<'_>) -> Option<String> {
    let wanted = observed.applied.config_hash.as_deref()?;
    observed.ready().find_map(|pod| {
        let rejected = pod.report.as_ref()?.config.as_ref()?.rejected.as_ref()?;
        let is_wanted = rejected.hash.as_deref() == Some(wanted);
        is_wanted.then(|| format!("pod {} rejects the configuration: {}", pod.name, rejected.error))
    })
}

fn available(observed: &Observed<'_>) -> Finding {
    let Some(deployment) = &observed.applied.deployment else {
        return Finding::no(AVAILABLE, "NoWorkload", "there is no Deployment");
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    let ready =
        deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let message = format!("{ready} of {wanted} pods are ready");
    let refused = deployment.status.as_ref().and_then(rollout::refusal);
    match wanted {
        0 => Finding::no(AVAILABLE, SCALED_TO_ZERO, "no pods are wanted"),
        _ if ready >= wanted => Finding::yes(AVAILABLE, "MinimumReplicasAvailable", message),
        _ => Finding::no(AVAILABLE, "MinimumReplicasUnavailable", join(message, refused)),
    }
}

/// More pods may be on the way, or may never come: whoever reads this need not wait to see which.
fn join(message: String, refused: Option<&str>) -> String {
    match refused {
        Some(refused) => format!("{message}; others are refused: {refused}"),
        None => message,
    }
}

fn upstreams_healthy(upstreams: &[UpstreamStatus]) -> Finding {
    let unhealthy: Vec<_> =
        upstreams.iter().filter(|upstream| upstream.state == UpstreamState::Unhealthy).collect();
    if let Some(reason) = unhealthy.iter().map(|upstream| upstreams::reason_of(upstream)).min() {
        let message = unhealthy.iter().map(|upstream| {
            format!("{}: {}", upstream.name, upstream.message.as_deref().unwrap_or_default())
        });
        let message = message.collect::<Vec<_>>().join("\n");
        return Finding::no(UPSTREAMS_HEALTHY, reason.as_str(), message);
    }
    if upstreams.iter().any(|upstream| upstream.state == UpstreamState::Healthy) {
        return Finding::yes(UPSTREAMS_HEALTHY, "Healthy", "every upstream that was asked answers");
    }
    Finding::unknown(UPSTREAMS_HEALTHY, "NotAsked", "no pod has asked an upstream yet")
}

fn ready(first: &[Finding]) -> Finding {
    match first.iter().find(|finding| finding.status != "True") {
        Some(cause) => {
            Finding::no(READY, cause.reason, format!("{}: {}", cause.type_, cause.message))
        }
        None => Finding::yes(READY, "Ready", "accepted, resolved, programmed and available"),
    }
}

/// The cluster does not do what it is asked, and may later.
pub const UNREACHABLE: &str = "Unreachable";
/// Pods run another configuration than they should, or are still to be replaced.
const PENDING: &str = "Pending";
/// There is no pod that could run it.
const NO_READY_PODS: &str = "NoReadyPods";
/// Nobody wants a pod that could run it.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";

/// Of problems and missing references; more would not help anybody. Our guess.
const MAX_ITEMS: usize = 20;
/// In octets: an eighth of what a condition may hold, and as much as anybody reads in a terminal. Our guess.
const MAX_MESSAGE: usize = 4096;

//! Hastening: a changed annotation makes the kubelet look at a pod's volumes at once, where it would
//! otherwise take up to a minute or more to deliver what has changed.
//!
//! The kubelet may look before its own watch has seen the change, so it is asked again every two
//! seconds for as long as the pod has something else than it should, later and later if that does not
//! help. What a ConfigMap or Secret holds that the manifest refers to is unknown, and so is whether a pod has
//! it: after a change the kubelet is asked until it must have seen it. Only where the operator may annotate pods: the chart grants that for this one annotation.

use std::{collections::BTreeMap, time::Duration};

use dnsproxy_api::DnsProxy;
use futures::{StreamExt as _, stream};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::Applied;
use crate::{
    context::Context,
    reports::{ConfigReport, PodState},
    resolve::{Absence, Reference},
};

/// The annotation: the hash of the configuration that the pod should run, when the kubelet was asked
/// last, and how often before.
pub const ANNOTATION: &str = "dnsproxy.io/config-hash";

/// What pods should have.
struct Wanted<'a> {
    /// The hash of the configuration.
    hash: &'a str,
    /// The ConfigMap with the configuration.
    config_map: &'a str,
    /// What the configuration refers to, and does not exist.
    missing: &'a BTreeMap<Reference, Absence>,
    /// When the last change was, in seconds, of what the configuration refers to; none if that was long ago.
    changed: Option<i64>,
}

impl Wanted<'_> {
    /// Whether there was a change since then.
    fn is_newer(&self, then: i64) -> bool {
        self.changed.is_some_and(|changed| changed > then)
    }
}

/// Annotates the pods that do not have what they should, and tells whether any is to be looked at again
/// soon. A failure is no more than a delay.
pub async fn pods(
    proxy: &DnsProxy,
    pods: &[PodState],
    applied: &Applied,
    missing: &BTreeMap<Reference, Absence>,
    context: &Context,
) -> bool {
    let (Some(hash), Some(config_map)) = (&applied.config_hash, &applied.config_map) else {
        return false;
    };
    if !context.settings.fast_reload {
        return false;
    }
    let now = Timestamp::now();
    let changed = changed(proxy, missing, now, context);
    let wanted = Wanted { hash, config_map, missing, changed };
    let behind: Vec<_> = pods.iter().filter(|pod| is_behind(pod, &wanted)).collect();
    annotate_due(&behind, &wanted, now, context).await;
    behind.iter().any(|pod| is_asked_often(pod.annotation.as_deref(), &wanted))
}

/// What is gone is no change that pods should have soon: it may come back.
fn changed(
    proxy: &DnsProxy,
    missing: &BTreeMap<Reference, Absence>,
    now: Timestamp,
    context: &Context,
) -> Option<i64> {
    let references = Reference::all(&proxy.spec);
    let present = references.iter().filter(|reference| !missing.contains_key(reference));
    let namespace = proxy.namespace().unwrap_or_default();
    let age = context.found.unchanged_for(&namespace, present, Instant::now())?;
    (age < DELIVERED_ANYWAY).then(|| now.as_second().saturating_sub_unsigned(age.as_secs()))
}

async fn annotate_due(
    behind: &[&PodState],
    wanted: &Wanted<'_>,
    now: Timestamp,
    context: &Context,
) {
    let mut due = Vec::new();
    for pod in behind {
        if let Some(value) = next(pod.annotation.as_deref(), wanted, now) {
            due.push(annotate(pod, value, context));
        }
    }
    let () = stream::iter(due).buffer_unordered(CONCURRENCY).collect().await;
}

/// Whether the kubelet has something for this pod that it has not delivered: a configuration that the
/// pod has not seen, a file that now exists, or one that may be another one now.
fn is_behind(pod: &PodState, wanted: &Wanted<'_>) -> bool {
    let Wanted { hash, config_map, missing, changed } = *wanted;
    let report = pod.report.as_ref().and_then(|report| report.config.as_ref());
    let Some(ConfigReport { hash: loaded, rejected, files }) = report else { return false };
    if pod.config_map.as_deref() != Some(config_map) {
        return false;
    }
    let rejected = rejected.as_ref().and_then(|rejected| rejected.hash.as_deref());
    let asked = pod.annotation.as_deref().and_then(|value| parse(value, hash));
    let is_settled = |changed: i64| {
        asked.is_some_and(|(last, _)| last >= changed.saturating_add(SEEN_BY_KUBELET))
    };
    if changed.is_some_and(|changed| !is_settled(changed)) {
        return true;
    }
    if loaded.as_deref() != Some(hash) {
        return rejected != Some(hash);
    }
    let is_missing = |path: &str| missing.keys().any(|reference| reference.file() == path);
    files.iter().any(|file| file.sha256.is_none() && !is_missing(&file.path))
}

async fn annotate(pod: &PodState, value: String, context: &Context) {
    let api = Api::<Pod>::namespaced(context.client.clone(), &pod.namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: value}}}));
    let params =
        PatchParams { field_manager: Some(crate::NAME.to_owned()), ..PatchParams::default() };
    if let Err(error) = api.patch_metadata(&pod.name, &params, &patch).await {
        tracing::warn!(pod = %pod.name, %error, "cannot annotate, what changed will come later");
    }
}

/// The annotation's next value, when it is time for one.
fn next(current: Option<&str>, wanted: &Wanted<'_>, now: Timestamp) -> Option<String> {
    let (hash, now) = (wanted.hash, now.as_second());
    let Some((last, times)) = current.and_then(|value| parse(value, hash)) else {
        return Some(format!("{hash}.{now}.0"));
    };
    let (pause, times) =
        if wanted.is_newer(last) { (AGAIN_AFTER, 0) } else { (pause(times), times + 1) };
    (now >= last.saturating_add(pause)).then(|| format!("{hash}.{now}.{times}"))
}

/// Whether the kubelet is still asked without a longer pause: what has not come by then may never come.
fn is_asked_often(current: Option<&str>, wanted: &Wanted<'_>) -> bool {
    let asked = current.and_then(|value| parse(value, wanted.hash));
    asked.is_none_or(|(last, times)| times < PATIENCE || wanted.is_newer(last))
}

/// The seconds until the kubelet is asked again.
fn pause(times: u32) -> i64 {
    let doublings = times.saturating_sub(PATIENCE).min(MAX_DOUBLINGS);
    AGAIN_AFTER << doublings
}

fn parse(value: &str, hash: &str) -> Option<(i64, u32)> {
    let (last, times) = value.strip_prefix(hash)?.strip_prefix('.')?.split_once('.')?;
    Some((last.parse().ok()?, times.parse::<u32>().ok()?.min(PATIENCE + MAX_DOUBLINGS)))
}

/// In seconds; we saw the kubelet's watch seldom later than one.
const AGAIN_AFTER: i64 = 2;
/// In seconds: so long after a change the kubelet's watch has seen it.
const SEEN_BY_KUBELET: i64 = 3;
/// The kubelet looks at all volumes at least every minute and a half.
const DELIVERED_ANYWAY: Duration = Duration::from_secs(90);
/// So often without a longer pause: half a minute, more than a busy node takes. Our guess.
const PATIENCE: u32 = 15;
/// Up to eight minutes: a key that an existing object does not have never comes, and not every object tells
/// which it has.
const MAX_DOUBLINGS: u32 = 8;
/// Pods of one object that are annotated at the same time. Our guess.
const CONCURRENCY: usize = 8;

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;
    use crate::{
        fixtures::{self, api_server::ApiServer},
        reports::{FileReport, Rejected, Report},
        resolve::Kind,
    };

    fn ca() -> Reference {
        Reference { kind: Kind::ConfigMap, name: "ca".into(), key: "ca.crt".into() }
    }

    fn pod(hash: &str, rejected: Option<&str>, sha256: Option<&str>) -> PodState {
        let config = ConfigReport {
            hash: Some(hash.into()),
            rejected: rejected.map(|hash| Rejected { hash: Some(hash.into()), error: "no".into() }),
            files: vec![FileReport { path: ca().file(), sha256: sha256.map(Into::into) }],
        };
        PodState {
            config_map: Some("edge-1".into()),
            report: Some(Report { config: Some(config), ..Report::default() }),
            ..PodState::default()
        }
    }

    fn wanted(missing: &BTreeMap<Reference, Absence>, changed: Option<i64>) -> Wanted<'_> {
        Wanted { hash: "abc", config_map: "edge-1", missing, changed }
    }

    #[test]
    fn is_repeated_every_two_seconds_and_later_less_often() {
        let missing = BTreeMap::new();
        let cases = [
            ("never asked", None, 100, Some("abc.100.0")),
            ("asked for another configuration", Some("old.99.3"), 100, Some("abc.100.0")),
            ("something unreadable", Some("abc"), 100, Some("abc.100.0")),
            ("just asked", Some("abc.100.0"), 101, None),
            ("two seconds later", Some("abc.100.0"), 102, Some("abc.102.1")),
            ("a long time later", Some("abc.100.1"), 1000, Some("abc.1000.2")),
            ("often enough: the pause grows", Some("abc.100.17"), 107, None),
            ("but it ends", Some("abc.100.17"), 108, Some("abc.108.18")),
            ("and it is bounded", Some("abc.100.4000000000"), 612, Some("abc.612.24")),
        ];

        for (why, current, now, expected) in cases {
            let now = Timestamp::from_second(now).unwrap();
            let next = next(current, &wanted(&missing, Some(50)), now);
            assert_eq!(next.as_deref(), expected, "{why}");
        }
        let wanted = wanted(&missing, Some(101));
        for (why, now, expected) in [
            ("what it refers to changed since", 102, Some("abc.102.0")),
            ("but it was just asked", 101, None),
        ] {
            let next = next(Some("abc.100.17"), &wanted, Timestamp::from_second(now).unwrap());
            assert_eq!(next.as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_behind_for_a_moment_after_what_it_refers_to_changed() {
        let (missing, all) = (BTreeMap::new(), Some("1"));
        let cases = [
            ("never asked", None, true),
            ("asked before", Some("abc.99.1"), true),
            ("asked at once: the kubelet may not have seen it", Some("abc.100.0"), true),
            ("asked when it must have seen it", Some("abc.103.1"), false),
        ];

        for (why, annotation, expected) in cases {
            let pod = |rejected| PodState {
                annotation: annotation.map(Into::into),
                ..pod("abc", rejected, all)
            };
            let wanted = wanted(&missing, Some(100));
            assert_eq!(is_behind(&pod(None), &wanted), expected, "{why}");
            assert_eq!(is_behind(&pod(Some("abc")), &wanted), expected, "{why}: rejected before");
        }
    }

    #[tokio::test]
    async fn a_change_of_what_a_manifest_refers_to_hastens_pods_and_a_removal_does_not() {
        let proxy = fixtures::proxy("full");
        let ca = Reference { kind: Kind::ConfigMap, name: "corp-ca".into(), key: "ca.crt".into() };
        assert!(Reference::all(&proxy.spec).contains(&ca));
        let version = |version: &str| ObjectMeta {
            name: Some(ca.name.clone()),
            namespace: proxy.namespace(),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        let applied = Applied {
            config_hash: Some("abc".into()),
            config_map: Some("edge-1".into()),
            ..Applied::default()
        };
        let pods = [PodState { name: "edge-a".into(), ..pod("abc", None, Some("1")) }];
        let cases = [
            ("nothing happened", "1", false, false),
            ("it changed", "2", false, true),
            ("it is gone", "2", true, false),
        ];

        for (why, heard, is_missing, expected) in cases {
            let missing = is_missing.then(|| (ca.clone(), Absence::Object)).into_iter().collect();
            let (_, asked) = ApiServer::default()
                .during(async |client| {
                    let mut context = fixtures::context(client);
                    context.settings.fast_reload = true;
                    context.found.follow(Kind::ConfigMap, &version("1"));
                    context.found.forget(Kind::ConfigMap, &version(heard), Instant::now());
                    super::pods(&proxy, &pods, &applied, &missing, &context).await
                })
                .await;
            assert_eq!(asked.iter().any(|line| line.starts_with("PATCH")), expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_behind_when_the_kubelet_has_something_for_it() {
        let ca = ca();
        let mut replaced = pod("old", None, None);
        replaced.config_map = Some("edge-0".into());
        let cases = [
            ("it has all", pod("abc", None, Some("1")), false, false),
            ("another configuration", pod("old", None, Some("1")), false, true),
            (
                "it has seen it, and does not want it",
                pod("old", Some("abc"), Some("1")),
                false,
                false,
            ),
            ("it did not want the one before", pod("old", Some("older"), Some("1")), false, true),
            ("a file that exists is not there", pod("abc", None, None), false, true),
            ("its successor has what it lacks", replaced, false, false),
            ("a file is not there because there is none", pod("abc", None, None), true, false),
        ];

        for (why, pod, is_missing, expected) in cases {
            let missing = is_missing.then(|| (ca.clone(), Absence::Key)).into_iter().collect();
            assert_eq!(is_behind(&pod, &wanted(&missing, None)), expected, "{why}");
        }
    }

    #[tokio::test]
    async fn a_file_that_does_not_come_is_looked_for_less_often() {
        let now = Timestamp::now().as_second();
        let cases = [
            ("never asked", None, true),
            ("asked a few times", Some(format!("abc.{now}.14")), true),
            ("asked for half a minute", Some(format!("abc.{now}.15")), false),
        ];
        let applied = Applied {
            config_hash: Some("abc".into()),
            config_map: Some("edge-1".into()),
            ..Applied::default()
        };

        for (why, annotation, expected) in cases {
            let pods = [PodState { annotation, ..pod("abc", None, None) }];
            let (is_soon, _) = ApiServer::default()
                .during(async |client| {
                    let mut context = fixtures::context(client);
                    context.settings.fast_reload = true;
                    super::pods(
                        &fixtures::proxy("minimal"),
                        &pods,
                        &applied,
                        &BTreeMap::new(),
                        &context,
                    )
                    .await
                })
                .await;
            assert_eq!(is_soon, expected, "{why}");
        }
    }
}

//! Hastening: a changed annotation makes the kubelet look at a pod's volumes at once, where it would
//! otherwise take up to a minute or more to deliver a changed ConfigMap.
//!
//! The kubelet may look before its own watch has seen the change, so it is asked again every
//! [`AGAIN_AFTER`] for as long as the pod runs another configuration, up to [`TIMES`] times. Only
//! where the operator may annotate pods: the chart grants that for this one annotation.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::Applied;
use crate::{context::Context, reports::PodState};

/// The annotation: the hash of the configuration that the pod should run, when it was first asked for,
/// and how often since.
pub const ANNOTATION: &str = "dnsproxy.io/config-hash";

/// Annotates the pods that run another configuration than they should. A failure is no more than a delay.
pub async fn pods(pods: &[PodState], applied: &Applied, context: &Context) {
    if !context.settings.fast_reload {
        return;
    }
    let (Some(hash), Some(config_map)) = (&applied.config_hash, &applied.config_map) else {
        return;
    };
    let now = Timestamp::now();
    let mut due = Vec::new();
    for pod in pods.iter().filter(|pod| is_behind(pod, hash, config_map)) {
        if let Some(value) = next(pod.annotation.as_deref(), hash, now) {
            due.push(annotate(pod, value, context));
        }
    }
    let () = stream::iter(due).buffer_unordered(CONCURRENCY).collect().await;
}

fn is_behind(pod: &PodState, hash: &str, config_map: &str) -> bool {
    let Some(config) = pod.report.as_ref().and_then(|report| report.config.as_ref()) else {
        return false;
    };
    let is_refused =
        config.rejected.as_ref().is_some_and(|rejected| rejected.hash.as_deref() == Some(hash));
    pod.config_map.as_deref() == Some(config_map)
        && config.hash.as_deref() != Some(hash)
        && !is_refused
}

async fn annotate(pod: &PodState, value: String, context: &Context) {
    let api = Api::<Pod>::namespaced(context.client.clone(), &pod.namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: value}}}));
    let params =
        PatchParams { field_manager: Some(crate::NAME.to_owned()), ..PatchParams::default() };
    if let Err(error) = api.patch_metadata(&pod.name, &params, &patch).await {
        tracing::warn!(pod = %pod.name, %error, "cannot annotate, its configuration will come later");
    }
}

/// The annotation's next value, when it is time for one.
fn next(current: Option<&str>, hash: &str, now: Timestamp) -> Option<String> {
    let now = now.as_second();
    let Some((first, times)) = current.and_then(|value| parse(value, hash)) else {
        return Some(format!("{hash}.{now}.0"));
    };
    let due = first + (times + 1) * AGAIN_AFTER.as_secs().cast_signed();
    (times < TIMES && now >= due).then(|| format!("{hash}.{first}.{}", times + 1))
}

fn parse(value: &str, hash: &str) -> Option<(i64, i64)> {
    let (first, times) = value.strip_prefix(hash)?.strip_prefix('.')?.split_once('.')?;
    Some((first.parse().ok()?, times.parse().ok()?))
}

/// Our measurement: the kubelet's watch is seldom later than a second.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A minute's worth: by then the kubelet's own period has come.
const TIMES: i64 = 30;
/// Pods of one object that are annotated at the same time. Our guess.
const CONCURRENCY: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_repeated_every_two_seconds_while_the_hash_is_another() {
        let cases = [
            ("never asked", None, 100, Some("abc.100.0")),
            ("asked for another configuration", Some("old.40.3"), 100, Some("abc.100.0")),
            ("something unreadable", Some("abc"), 100, Some("abc.100.0")),
            ("just asked", Some("abc.100.0"), 101, None),
            ("two seconds later", Some("abc.100.0"), 102, Some("abc.100.1")),
            ("asked again just now", Some("abc.100.1"), 103, None),
            ("asked often enough", Some("abc.100.30"), 200, None),
        ];

        for (why, current, now, expected) in cases {
            let now = Timestamp::from_second(now).unwrap();
            assert_eq!(next(current, "abc", now).as_deref(), expected, "{why}");
        }
    }
}

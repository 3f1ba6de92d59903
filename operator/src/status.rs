//! Status: from what was applied and what the pods report to conditions, and one patch.
//!
//! Everything is computed afresh each time and carries the generation that it is about; only the time
//! of a condition's last transition is taken from the status before. Nothing is written when nothing
//! differs.

use dnsproxy_api::{
    DnsProxy, DnsProxyStatus,
    v1alpha1::{DnsConfig, DnsConfigOption},
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ApiResource, DynamicObject, PartialObjectMeta, Patch, PatchParams},
    core::error_boundary::InvalidObject,
};
use serde_json::{Value, json};

use crate::{
    apply::Applied,
    cluster::dns,
    render::labels,
    reports::PodState,
    resolve::Resolved,
    validate::{domain, forwards_to_cluster},
};

pub mod conditions;
mod text;
mod upstreams;

/// What one reconcile saw.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The object.
    pub proxy: &'a DnsProxy,
    /// What is wrong with its manifest, as it is told.
    pub problems: &'a [String],
    /// What is allowed in it and probably not meant, as it is told.
    pub warnings: &'a [String],
    /// What is known beyond it.
    pub resolved: &'a Resolved,
    /// What is there.
    pub applied: &'a Applied,
    /// The pods that are not ending.
    pub pods: &'a [PodState],
}

/// Why the status was not written.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not take it")]
pub struct StatusError(#[source] kube::Error);

/// The whole status, at this moment.
#[must_use]
pub fn status(observed: &Observed<'_>, now: Timestamp) -> DnsProxyStatus {
    let Observed { proxy, problems: _, warnings: _, resolved: _, applied, pods: _ } = observed;
    let workload = applied.deployment.as_ref().and_then(|deployment| deployment.status.clone());
    let workload = workload.unwrap_or_default();
    let upstreams = upstreams::of(observed);
    DnsProxyStatus {
        observed_generation: proxy.metadata.generation,
        config_hash: applied.config_hash.clone(),
        selector: Some(labels::selector_text(&proxy.name_any())),
        replicas: Some(workload.replicas.unwrap_or_default()),
        ready_replicas: Some(workload.ready_replicas.unwrap_or_default()),
        synced_replicas: i32::try_from(observed.synced().count()).ok(),
        cluster_ips: observed.cluster_ips().or_else(|| observed.cluster_ips_before()),
        dns_config: dns_config(observed),
        upstreams_ready: Some(upstreams::ready(&upstreams)),
        conditions: Some(conditions::all(observed, &upstreams, now)),
        upstreams: Some(upstreams),
    }
}

impl Observed<'_> {
    /// The pods that clients are sent to.
    fn ready(&self) -> impl Iterator<Item = &PodState> {
        self.pods.iter().filter(|pod| pod.is_ready)
    }

    /// Those of them that run the configuration that they should.
    fn synced(&self) -> impl Iterator<Item = &PodState> {
        let wanted = self.applied.config_hash.as_ref();
        self.ready().filter(move |pod| {
            let config = pod.report.as_ref().and_then(|report| report.config.as_ref());
            wanted.is_some() && config.and_then(|config| config.hash.as_ref()) == wanted
        })
    }

    /// Those of them that have not said for a while what they run.
    fn silent(&self) -> impl Iterator<Item = &PodState> {
        self.ready().filter(|pod| pod.report.as_ref().is_some_and(|report| report.is_silent))
    }

    /// Those of the Service that there was: the next one gets them.
    fn cluster_ips_before(&self) -> Option<Vec<String>> {
        self.proxy.status.as_ref()?.cluster_ips.clone()
    }

    fn cluster_ips(&self) -> Option<Vec<String>> {
        let service = self.applied.service.as_ref()?;
        let addresses = dns::cluster_ips(service).into_iter();
        Some(addresses.map(|address| address.to_string()).collect())
    }
}

/// The status before, and that nothing newer can be found out or done. Only what says so is about the newest
/// generation.
#[must_use]
pub fn unreachable(proxy: &DnsProxy, error: &str, now: Timestamp) -> DnsProxyStatus {
    let before = proxy.status.clone().unwrap_or_default();
    let conditions = conditions::unreachable(error, &before, proxy.metadata.generation, now);
    DnsProxyStatus { conditions: Some(conditions), ..before }
}

/// What a pod's `dnsConfig` needs. The reader's own namespace comes first in `searches`: only the
/// reader knows it.
fn dns_config(observed: &Observed<'_>) -> Option<DnsConfig> {
    let spec = &observed.proxy.spec;
    let domain = domain(spec, &observed.resolved.facts);
    let searches =
        if forwards_to_cluster(spec) { vec![format!("svc.{domain}"), domain] } else { vec![] };
    let ndots = if searches.is_empty() { "1" } else { NDOTS };
    Some(DnsConfig {
        nameservers: observed.cluster_ips()?,
        searches,
        options: vec![DnsConfigOption { name: "ndots".to_owned(), value: Some(ndots.to_owned()) }],
    })
}

/// Whether pods are on their way to what they should run.
#[must_use]
pub fn is_moving(status: &DnsProxyStatus) -> bool {
    conditions::find(status, conditions::PROGRAMMED).is_some_and(conditions::is_progress)
}

/// Writes the status, if it differs.
///
/// # Errors
/// When the API server does not take it.
pub async fn patch(
    proxy: &DnsProxy,
    new: &DnsProxyStatus,
    client: &Client,
) -> Result<(), StatusError> {
    if proxy.status.as_ref() == Some(new) {
        return Ok(());
    }
    let api = Api::<DnsProxy>::namespaced(client.clone(), &proxy.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": DnsProxy::api_version(&()),
        "kind": DnsProxy::kind(&()),
        "status": new,
    });
    let params = PatchParams::apply(crate::NAME).force();
    ignore_gone(api.patch_status(&proxy.name_any(), &params, &Patch::Apply(body)).await.map(drop))
}

/// Says that an object cannot be read, and gives whether that is news. What else its status says, about
/// what runs, stays.
///
/// # Errors
/// When the API server does not say what the status is, or does not take it.
pub async fn patch_unreadable(
    object: &InvalidObject,
    client: &Client,
) -> Result<bool, StatusError> {
    let metadata = &object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let Some(before) = told(&namespace, &name, client).await? else { return Ok(false) };
    let new = unreadable(object, &before, Timestamp::now());
    if new == before {
        return Ok(false);
    }
    // Only the metadata comes back: the rest is what could not be read.
    let api = Api::<PartialObjectMeta<DnsProxy>>::namespaced(client.clone(), &namespace);
    let body = json!({"status": new});
    let params =
        PatchParams { field_manager: Some(crate::NAME.to_owned()), ..PatchParams::default() };
    ignore_gone(api.patch_status(&name, &params, &Patch::Merge(body)).await.map(drop))?;
    Ok(true)
}

fn unreadable(object: &InvalidObject, before: &DnsProxyStatus, now: Timestamp) -> DnsProxyStatus {
    let generation = object.metadata.generation;
    DnsProxyStatus {
        observed_generation: generation,
        conditions: Some(conditions::unreadable(&object.error, before, generation, now)),
        ..DnsProxyStatus::default()
    }
}

/// What the status says of what [`unreadable`] says; none when the object is gone. The rest of it may be
/// what cannot be read.
async fn told(
    namespace: &str,
    name: &str,
    client: &Client,
) -> Result<Option<DnsProxyStatus>, StatusError> {
    let kind = ApiResource::erase::<DnsProxy>(&());
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind);
    let object = match api.get_status(name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        outcome => outcome.map_err(StatusError)?,
    };
    let status = object.data.get("status").cloned().unwrap_or_default();
    let conditions = status.get("conditions").cloned().unwrap_or_default();
    Ok(Some(DnsProxyStatus {
        observed_generation: status.get("observedGeneration").and_then(Value::as_i64),
        conditions: serde_json::from_value(conditions).ok(),
        ..DnsProxyStatus::default()
    }))
}

fn ignore_gone(outcome: Result<(), kube::Error>) -> Result<(), StatusError> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome.map_err(StatusError),
    }
}

/// What the kubelet gives pods (kubernetes.io, "DNS for Services and Pods").
const NDOTS: &str = "5";

#[cfg(test)]
mod tests;

//! From a valid `DnsProxy` to the objects that run it. Pure: the same input, the same objects.
//!
//! One kind a file. What is not rendered is not ours: others may set it, and it stays.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    digest::{self, CONFIG_DIGITS},
    validate::ValidatedDnsProxy,
};

pub mod config_map;
mod deployment;
pub mod labels;
mod manifest;
pub mod names;
mod pod;
mod pod_disruption_budget;
mod service;
mod service_account;

/// Everything that runs one `DnsProxy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// Who the pods are: nobody in particular.
    pub service_account: ServiceAccount,
    /// What the pods read.
    pub config_map: ConfigMap,
    /// The pods.
    pub deployment: Deployment,
    /// Where clients ask.
    pub service: Service,
    /// How many pods may go at a time, where there are several.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// The hash of what the pods read; they report it back.
    pub config_hash: String,
}

/// Renders all objects of one `DnsProxy`.
#[must_use]
pub fn render(proxy: &ValidatedDnsProxy) -> Manifests {
    let text = manifest::text(proxy);
    Manifests {
        service_account: service_account::service_account(proxy),
        deployment: deployment::deployment(proxy),
        service: service::service(proxy),
        pod_disruption_budget: pod_disruption_budget::pod_disruption_budget(proxy),
        config_hash: digest::sha256(text.as_bytes(), CONFIG_DIGITS),
        config_map: config_map::config_map(proxy, text),
    }
}

/// How large the text is that the pods read, in octets.
#[must_use]
pub fn text_size(proxy: &ValidatedDnsProxy) -> usize {
    manifest::text(proxy).len()
}

/// The metadata of an object that belongs to the `DnsProxy` and has its name.
fn metadata(proxy: &ValidatedDnsProxy) -> ObjectMeta {
    ObjectMeta {
        name: Some(proxy.name.clone()),
        namespace: Some(proxy.namespace.clone()),
        labels: Some(labels::all(&proxy.name)),
        owner_references: Some(vec![proxy.owner.clone()]),
        ..ObjectMeta::default()
    }
}

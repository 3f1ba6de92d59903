//! Applying: makes the cluster's objects what was rendered.
//!
//! Server-side apply with force: every field that was rendered is put back, what others added stays.
//! An object of the same name that is not ours is never taken over; one that we made and that lost its owner
//! (`kubectl delete --cascade=orphan`) is, by a DnsProxy that lives. Nothing is sent when nothing differs, so that
//! at rest nothing is written.
//!
//! The order is argued: pods need their identity and their configuration, so these come first, and
//! what stops one of them stops what follows. The Service comes after them, and the PodDisruptionBudget last, which
//! nothing but the removal of old ConfigMaps waits for.

use std::{fmt::Debug, sync::Arc};

use dnsproxy_api::DnsProxy;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{PartialObjectMeta, Patch, PatchParams},
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Serialize, de::DeserializeOwned};

pub use memory::Memory;
pub use rollout::Rollout;

use crate::{context::Context, render::Manifests, status::conditions::UNREACHABLE};

mod address;
pub mod hasten;
mod memory;
mod ports;
mod prune;
pub mod rollout;

/// What is there after applying.
#[derive(Debug, Default)]
pub struct Applied {
    /// The ConfigMap that pods should read; none when the manifest was not accepted.
    pub config_map: Option<String>,
    /// The hash of the configuration that pods should run.
    pub config_hash: Option<String>,
    /// The workload, when there is one.
    pub deployment: Option<Arc<Deployment>>,
    /// Since which of its generations its pods have been what they are; none: since the newest.
    pub template_since: Option<i64>,
    /// The address, when there is one.
    pub service: Option<Arc<Service>>,
    /// What stopped the rest.
    pub obstacle: Option<ApplyError>,
}

/// Why an object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// There is an object of that name, and it is not ours.
    #[error("{kind} {name} exists and belongs to somebody else: remove it, or rename the DnsProxy")]
    Foreign {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
    },
    /// The API server refuses the object as it is.
    #[error("{kind} {name} is refused: {message}")]
    Refused {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What the API server said.
        message: String,
    },
    /// The API server did not do what it was asked.
    #[error("the API server does not take {kind} {name}")]
    Api {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// Why not.
        source: kube::Error,
    },
}

impl ApplyError {
    /// Whether it stays so until somebody changes something; otherwise another try may do.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::Refused { .. } => true,
            Self::Api { .. } => false,
        }
    }

    /// The reason in the condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "Conflict",
            Self::Refused { .. } => "Refused",
            Self::Api { .. } => UNREACHABLE,
        }
    }
}

impl Applied {
    /// What runs, untouched: all there is of a manifest that was not accepted.
    #[must_use]
    pub fn running(proxy: &DnsProxy, context: &Context) -> Self {
        let name = proxy.name_any();
        let namespace = proxy.namespace().unwrap_or_default();
        let owned = &context.owned;
        let deployment = of(&owned.deployments, &namespace, &name, proxy);
        Self {
            config_map: None,
            config_hash: proxy.status.as_ref().and_then(|status| status.config_hash.clone()),
            template_since: deployment.as_deref().map(|it| context.memory.template_since(it)),
            deployment,
            service: of(&owned.services, &namespace, &name, proxy),
            obstacle: None,
        }
    }

    /// How far the pods are replaced.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        let Some(deployment) = self.deployment.as_deref() else { return Rollout::Unseen };
        let newest = deployment.metadata.generation;
        Rollout::of(deployment, self.template_since.or(newest).unwrap_or_default())
    }
}

fn of<K>(store: &Store<K>, namespace: &str, name: &str, proxy: &DnsProxy) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let object = store.get(&ObjectRef::new(name).within(namespace))?;
    let is_ours =
        object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid(proxy));
    is_ours.then_some(object)
}

fn uid(proxy: &DnsProxy) -> String {
    proxy.uid().unwrap_or_default()
}

/// Applies everything, in order, up to what stands in the way.
///
/// # Errors
/// When the API server does not do what it may do later.
pub async fn apply(
    proxy: &DnsProxy,
    manifests: &Manifests,
    context: &Context,
) -> Result<Applied, ApplyError> {
    let mut applied = Applied {
        config_map: manifests.config_map.metadata.name.clone(),
        config_hash: Some(manifests.config_hash.clone()),
        ..Applied::running(proxy, context)
    };
    match in_order(proxy, manifests, context, &mut applied).await {
        Ok(()) => prune::config_maps(manifests, &applied, context).await?,
        Err(error) if error.is_lasting() => applied.obstacle = Some(error),
        Err(error) => return Err(error),
    }
    Ok(applied)
}

async fn in_order(
    proxy: &DnsProxy,
    manifests: &Manifests,
    context: &Context,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let Manifests {
        service_account,
        config_map,
        deployment,
        service,
        pod_disruption_budget,
        config_hash: _,
    } = manifests;
    let owned = &context.owned;
    converge(context, &owned.service_accounts, service_account).await?;
    converge(context, &owned.config_maps, config_map).await?;
    let living = converge(context, &owned.deployments, deployment).await?;
    applied.template_since = Some(context.memory.template_since(&living));
    applied.deployment = Some(living);
    if applied.service.is_none() {
        address::give_back(proxy, service, context).await?;
    }
    applied.service = Some(converge(context, &owned.services, service).await?);
    match pod_disruption_budget {
        Some(budget) => converge(context, &owned.pod_disruption_budgets, budget).await.map(|_| ()),
        None => prune::pod_disruption_budget(deployment, context).await,
    }
}

async fn converge<K>(context: &Context, store: &Store<K>, desired: &K) -> Result<Arc<K>, ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Serialize + 'static,
{
    let name = desired.name_any();
    let api =
        Api::<K>::namespaced(context.client.clone(), &desired.namespace().unwrap_or_default());
    let live = match store.get(&ObjectRef::from_obj(desired)) {
        Some(live) => Some(live),
        // What is not ours is not in the store.
        None => api.get_opt(&name).await.map_err(|error| failed(desired, error))?.map(Arc::new),
    };
    if let Some(live) = live {
        if !has_same_owner(&*live, desired) && !may_adopt(context, &api, &*live, desired).await? {
            return Err(ApplyError::Foreign { kind: K::kind(&()).into_owned(), name });
        }
        if context.memory.is_unchanged(desired, &*live) {
            return Ok(live);
        }
        if let Some(patch) = ports::edited_back(desired, &*live) {
            let params = PatchParams {
                field_manager: Some(crate::NAME.to_owned()),
                ..PatchParams::default()
            };
            let edited = api.patch(&name, &params, &Patch::Strategic(patch)).await;
            edited.map_err(|error| failed(desired, error))?;
            tracing::debug!(kind = %K::kind(&()), %name, "edited back");
        }
    }
    let params = PatchParams::apply(crate::NAME).force();
    let applied = api.patch(&name, &params, &Patch::Apply(desired)).await;
    let applied = applied.map_err(|error| failed(desired, error))?;
    tracing::debug!(kind = %K::kind(&()), %name, "applied");
    context.metrics.applied(&K::kind(&()));
    context.memory.remember(desired, &applied);
    Ok(Arc::new(applied))
}

fn has_same_owner<K: Resource>(live: &K, desired: &K) -> bool {
    controller(live) == controller(desired)
}

fn controller<K: Resource>(object: &K) -> Option<&str> {
    owner(object).map(|owner| owner.uid.as_str())
}

fn owner<K: Resource>(object: &K) -> Option<&OwnerReference> {
    let mut owners = object.meta().owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

async fn may_adopt<K>(
    context: &Context,
    api: &Api<K>,
    live: &K,
    desired: &K,
) -> Result<bool, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    Ok(is_orphan(api, live, desired).await? && is_owner_living(context, desired).await?)
}

/// Whether the `DnsProxy` is there, and is to stay. The watch may be late: its objects may have just been orphaned, and
/// the garbage collector would delete with a dying owner what was to be kept.
async fn is_owner_living<K>(context: &Context, desired: &K) -> Result<bool, ApplyError>
where
    K: Resource<DynamicType = ()>,
{
    let Some(owner) = owner(desired) else { return Ok(false) };
    let namespace = desired.meta().namespace.as_deref().unwrap_or_default();
    // Only the metadata matters, and it can be read of a newer version, too.
    let api = Api::<PartialObjectMeta<DnsProxy>>::namespaced(context.client.clone(), namespace);
    match api.get_status(&owner.name).await {
        Ok(proxy) => {
            let PartialObjectMeta { metadata, .. } = proxy;
            let is_same = metadata.uid.as_ref() == Some(&owner.uid);
            Ok(is_same && metadata.deletion_timestamp.is_none())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed(desired, error)),
    }
}

/// Whether it looks as if we made it for a `DnsProxy` of this name that is gone: nobody owns it, it has all our labels,
/// and among those who manage its fields are we. That is no proof, since anybody may write labels and name themselves
/// as we do: it keeps us from what somebody made without thinking of us. Who could make such an object in this
/// namespace gains nothing by its adoption: what we write to it is what the `DnsProxy` says.
async fn is_orphan<K>(api: &Api<K>, live: &K, desired: &K) -> Result<bool, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // What is rendered has our labels and no others.
    let has_labels =
        desired.labels().iter().all(|(label, value)| live.labels().get(label) == Some(value));
    if controller(live).is_some() || !has_labels {
        return Ok(false);
    }
    // Stores do not keep who manages what.
    let metadata = api.get_metadata_opt(&desired.name_any()).await;
    let metadata = metadata.map_err(|error| failed(desired, error))?;
    Ok(metadata.is_some_and(|object| {
        let mut managers = object.managed_fields().iter();
        managers.any(|manager| manager.manager.as_deref() == Some(crate::NAME))
    }))
}

fn failed<K: Resource<DynamicType = ()>>(object: &K, error: kube::Error) -> ApplyError {
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    match error {
        kube::Error::Api(status) if REFUSALS.contains(&status.code) => {
            ApplyError::Refused { kind, name, message: status.message.clone() }
        }
        source => ApplyError::Api { kind, name, source },
    }
}

/// Bad request, forbidden (by a quota or an admission policy), invalid (an immutable field, an address
/// that is taken).
const REFUSALS: [u16; 3] = [400, 403, 422];

#[cfg(test)]
mod tests;

//! Watches: what is seen of the cluster, kept in stores.
//!
//! A watch gives two things: a store to read from, and the stream that fills it, which whoever is
//! triggered by it has to poll. What nobody reads is dropped before it is stored.

use std::{fmt::Debug, sync::Arc, time::Duration};

use backon::ExponentialBuilder;
use dnsproxy_api::DnsProxy;
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, store::WriterDropped},
        utils::{self, Backoff as _},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::OnceCell, time::Instant};

use crate::render::labels;

/// Where `DnsProxy` objects are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// In every namespace.
    All,
    /// In this one.
    Namespace(String),
}

impl Scope {
    /// An API of this scope.
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::All => Api::all(client),
            Self::Namespace(namespace) => Api::namespaced(client, namespace),
        }
    }
}

/// The objects that changed, deleted ones included.
pub type Changes<K> = BoxStream<'static, watcher::Result<K>>;

/// Watches one kind. The stream backs off after errors and never ends.
pub fn watch<K>(api: Api<K>, config: watcher::Config, trim: fn(&mut K)) -> (Store<K>, Changes<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes =
        watcher(api, config).backoff(backoff()).modify(trim).reflect(writer).touched_objects();
    (store, changes.boxed())
}

/// How long a watch waits after an error. An API server that is back is heard within [`LONGEST`] and as much again by
/// jitter: the runtime's own thirty seconds would leave everybody blind for longer than most API servers restart.
pub fn backoff() -> Backoff {
    let builder = ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(LONGEST);
    Backoff { pauses: builder.without_max_times().with_jitter().into(), last: None }
}

/// Pauses that grow until there was no error for a while.
///
/// A watch says that it begins before it knows whether it may: that is no reason to take its errors for the first ones.
pub struct Backoff {
    pauses: watcher::ExponentialBackoff,
    last: Option<Instant>,
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > CALM) {
            self.pauses.reset();
        }
        self.last = Some(now);
        self.pauses.next()
    }
}

impl utils::Backoff for Backoff {
    fn reset(&mut self) {}
}

/// Drops what only the API server needs.
pub fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// What the operator made, and the pods that came of it: found by label.
#[derive(Clone)]
pub struct Owned {
    /// The configurations.
    pub config_maps: Store<ConfigMap>,
    /// The workloads.
    pub deployments: Store<Deployment>,
    /// How many pods may go at a time.
    pub pod_disruption_budgets: Store<PodDisruptionBudget>,
    /// The pods; a Deployment's ReplicaSets own them.
    pub pods: Store<Pod>,
    /// The pods' identities.
    pub service_accounts: Store<ServiceAccount>,
    /// The addresses.
    pub services: Store<Service>,
    /// Whether all of them hold what there was at the start.
    pub is_ready: Arc<OnceCell<()>>,
}

/// The streams that fill [`Owned`].
pub struct OwnedChanges {
    /// Of the configurations.
    pub config_maps: Changes<ConfigMap>,
    /// Of the workloads.
    pub deployments: Changes<Deployment>,
    /// Of the budgets.
    pub pod_disruption_budgets: Changes<PodDisruptionBudget>,
    /// Of the pods.
    pub pods: Changes<Pod>,
    /// Of the pods' identities.
    pub service_accounts: Changes<ServiceAccount>,
    /// Of the addresses.
    pub services: Changes<Service>,
}

impl Owned {
    /// Watches what carries the operator's label.
    #[must_use]
    pub fn watch(client: &Client, scope: &Scope) -> (Self, OwnedChanges) {
        let ours = watcher::Config::default().labels(labels::OURS);
        let (config_maps, changed_config_maps) =
            watch(scope.api(client.clone()), ours.clone(), trim);
        let (deployments, changed_deployments) =
            watch(scope.api(client.clone()), ours.clone(), trim);
        let (pod_disruption_budgets, changed_budgets) =
            watch(scope.api(client.clone()), ours.clone(), trim);
        let (pods, changed_pods) = watch(scope.api(client.clone()), ours.clone(), trim);
        let (service_accounts, changed_accounts) =
            watch(scope.api(client.clone()), ours.clone(), trim);
        let (services, changed_services) = watch(scope.api(client.clone()), ours, trim);
        (
            Self {
                config_maps,
                deployments,
                pod_disruption_budgets,
                pods,
                service_accounts,
                services,
                is_ready: Arc::default(),
            },
            OwnedChanges {
                config_maps: changed_config_maps,
                deployments: changed_deployments,
                pod_disruption_budgets: changed_budgets,
                pods: changed_pods,
                service_accounts: changed_accounts,
                services: changed_services,
            },
        )
    }

    /// Waits until every store holds what there was at the start.
    ///
    /// A store wakes one of those who wait for it, the last one; the other reconciles of a start would
    /// wait for ever. So one waits for the stores, and all for that one.
    ///
    /// # Errors
    /// When a stream was dropped before: the operator is ending.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.is_ready.get_or_try_init(|| self.all_stores()).await.copied()
    }

    async fn all_stores(&self) -> Result<(), WriterDropped> {
        let Self {
            config_maps,
            deployments,
            pod_disruption_budgets,
            pods,
            service_accounts,
            services,
            is_ready: _,
        } = self;
        config_maps.wait_until_ready().await?;
        deployments.wait_until_ready().await?;
        pod_disruption_budgets.wait_until_ready().await?;
        pods.wait_until_ready().await?;
        service_accounts.wait_until_ready().await?;
        services.wait_until_ready().await
    }

    /// The pods of one object.
    #[must_use]
    pub fn pods_of(&self, proxy: &DnsProxy) -> Vec<Arc<Pod>> {
        let (namespace, name) = (proxy.namespace(), proxy.name_any());
        self.pods.state_filter(|pod| {
            pod.namespace() == namespace && pod.labels().get(labels::INSTANCE) == Some(&name)
        })
    }
}

/// As client-go begins.
const FIRST: Duration = Duration::from_millis(800);
/// Of one of a dozen watches, so that a server in trouble is asked less than three times a second. Our guess.
const LONGEST: Duration = Duration::from_secs(5);
/// After so long without an error the next one is a first one: the longest pause with its jitter, and a slow list. Our guess.
const CALM: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {

    use futures::{future, stream::FuturesUnordered};

    use super::*;
    use crate::fixtures::api_server::ApiServer;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A store that its watch has not filled yet, and what fills it.
    fn unfilled<K>() -> (Store<K>, impl FnOnce())
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        let (store, mut writer) = reflector::store();
        let fill = move || {
            writer.apply_watcher_event(&watcher::Event::Init);
            writer.apply_watcher_event(&watcher::Event::InitDone);
        };
        (store, fill)
    }

    #[tokio::test]
    async fn every_reconcile_of_a_start_goes_on_once_the_stores_are_filled() {
        let (config_maps, fill_config_maps) = unfilled();
        let (deployments, fill_deployments) = unfilled();
        let (pod_disruption_budgets, fill_budgets) = unfilled();
        let (pods, fill_pods) = unfilled();
        let (service_accounts, fill_service_accounts) = unfilled();
        let (services, fill_services) = unfilled();
        let is_ready = Arc::default();
        let owned = Owned {
            config_maps,
            deployments,
            pod_disruption_budgets,
            pods,
            service_accounts,
            services,
            is_ready,
        };
        let fill = async {
            tokio::task::yield_now().await;
            fill_config_maps();
            fill_deployments();
            fill_budgets();
            fill_pods();
            fill_service_accounts();
            fill_services();
        };

        // As in the controller, each has a waker of its own.
        let waiting: FuturesUnordered<_> = (0..3).map(|_| owned.ready()).collect();
        let all = tokio::time::timeout(PATIENCE, waiting.collect::<Vec<_>>());
        let (woken, ()) = future::join(all, fill).await;

        assert!(woken.is_ok_and(|all| all.iter().all(Result::is_ok)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_be_listed_is_asked_for_less_and_less_often() {
        let (pauses, _) = ApiServer::default()
            .during(async |client| {
                let api = Api::<Pod>::all(client);
                let (_store, mut changes) = watch(api, watcher::Config::default(), trim);
                let mut pauses = Vec::new();
                for _ in 0..6 {
                    let start = Instant::now();
                    assert!(changes.next().await.unwrap().is_err());
                    pauses.push(start.elapsed());
                }
                pauses
            })
            .await;

        assert!(pauses[5] >= LONGEST, "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_after_a_calm_is_a_first_one() {
        let mut backoff = backoff();
        let grown: Vec<_> = backoff.by_ref().take(5).collect();
        assert!(grown[4] >= LONGEST, "{grown:?}");

        tokio::time::advance(CALM / 2).await;
        backoff.reset();
        assert!(backoff.next().unwrap() >= LONGEST, "a watch that works again may fail again");
        tokio::time::advance(CALM + FIRST).await;
        assert!(backoff.next().unwrap() <= 2 * FIRST);
    }
}

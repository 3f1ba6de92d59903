//! What all `DnsProxy` objects share: the cluster's own DNS, its domain and its networks.
//!
//! Followed in one place for the whole process, and published as [`Facts`] only when they differ, so
//! that a node's heartbeat is not a reason to reconcile anything.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, future, stream};
use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use kube::{
    Api, Client,
    runtime::{reflector::Store, watcher},
};
use tokio::sync::watch;

use crate::watches::{self, Changes, trim};

pub mod dns;
pub mod networks;

/// What is known about the cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// The cluster's own DNS, when there is one.
    pub dns: Option<dns::Server>,
    /// The cluster's domain.
    pub domain: String,
    /// Where Services have their addresses.
    pub service_networks: Vec<IpNet>,
    /// Where pods have their addresses.
    pub pod_networks: Vec<IpNet>,
    /// Where nodes are reached inside the cluster.
    pub node_addresses: Vec<IpAddr>,
}

/// The facts, once they are known.
pub type Published = watch::Receiver<Option<Arc<Facts>>>;

/// Follows the cluster for as long as it is polled.
///
/// `domain` is the cluster's domain: it cannot change while the cluster lives.
pub async fn follow(client: Client, domain: String, facts: watch::Sender<Option<Arc<Facts>>>) {
    let (stores, changes) = Stores::watch(&client).await;
    let mut changes = changes.ready_chunks(MAX_CHANGES);
    let ready = stores.ready();
    tokio::pin!(ready);
    // Before every store is filled, facts would be wrong: an unseen Service is not a missing one.
    loop {
        tokio::select! {
            () = &mut ready => break,
            _ = changes.next() => {}
        }
    }
    loop {
        publish(&facts, stores.facts(&domain));
        if changes.next().await.is_none() {
            return;
        }
    }
}

fn publish(facts: &watch::Sender<Option<Arc<Facts>>>, new: Facts) {
    facts.send_if_modified(|published| {
        let differs = published.as_deref() != Some(&new);
        if differs {
            log(&new);
            *published = Some(Arc::new(new));
        }
        differs
    });
}

fn log(facts: &Facts) {
    let Facts { dns, domain, service_networks, pod_networks, node_addresses } = facts;
    let (dns, nodes) = (dns.as_ref().map(|server| &server.service), node_addresses.len());
    let pod_networks = pod_networks.get(..MAX_LOGGED).unwrap_or(pod_networks);
    tracing::info!(?dns, %domain, ?service_networks, ?pod_networks, nodes, "the cluster as it is seen");
}

struct Stores {
    services: Vec<Store<Service>>,
    endpoint_slices: Vec<Store<EndpointSlice>>,
    nodes: Store<Node>,
    service_cidrs: Option<Store<ServiceCIDR>>,
}

impl Stores {
    async fn watch(client: &Client) -> (Self, impl Stream<Item = ()> + use<>) {
        let mut ticks = stream::SelectAll::new();
        let config = watcher::Config::default;
        let services = dns::NAMESPACES.map(|namespace| {
            watched(Api::namespaced(client.clone(), namespace), config(), trim, &mut ticks)
        });
        let endpoint_slices = dns::NAMESPACES.map(|namespace| {
            watched(Api::namespaced(client.clone(), namespace), config(), trim, &mut ticks)
        });
        let nodes = watched(Api::all(client.clone()), config(), networks::trim_node, &mut ticks);
        let service_cidrs = serves_service_cidrs(client)
            .await
            .then(|| watched(Api::all(client.clone()), config(), trim, &mut ticks));
        let stores = Self {
            services: services.into(),
            endpoint_slices: endpoint_slices.into(),
            nodes,
            service_cidrs,
        };
        (stores, ticks)
    }

    async fn ready(&self) {
        let Self { services, endpoint_slices, nodes, service_cidrs } = self;
        let services = services.iter().map(Store::wait_until_ready);
        let slices = endpoint_slices.iter().map(Store::wait_until_ready);
        let cidrs = service_cidrs.iter().map(Store::wait_until_ready);
        // A dropped stream ends the caller, too: nobody is left to be told.
        let _ = future::join4(
            future::join_all(services),
            future::join_all(slices),
            future::join_all(cidrs),
            nodes.wait_until_ready(),
        )
        .await;
    }

    fn facts(&self, domain: &str) -> Facts {
        let Self { services, endpoint_slices, nodes, service_cidrs } = self;
        let services: Vec<_> = services.iter().flat_map(Store::state).collect();
        let slices: Vec<_> = endpoint_slices.iter().flat_map(Store::state).collect();
        let cidrs: Vec<_> = service_cidrs.iter().flat_map(Store::state).collect();
        let nodes = nodes.state();
        let dns = dns::find(&services, &slices);
        Facts {
            service_networks: networks::of_services(&cidrs, dns.as_ref()),
            pod_networks: networks::of_pods(&nodes),
            node_addresses: networks::of_nodes(&nodes),
            domain: domain.to_owned(),
            dns,
        }
    }
}

type Ticks = stream::SelectAll<stream::BoxStream<'static, ()>>;

fn watched<K>(api: Api<K>, config: watcher::Config, trim: fn(&mut K), ticks: &mut Ticks) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, changes): (_, Changes<K>) = watches::watch(api, config, trim);
    let kind = K::kind(&());
    let quiet = changes.map(move |change| {
        if let Err(error) = change {
            tracing::warn!(%kind, %error, "watch interrupted");
        }
    });
    ticks.push(quiet.boxed());
    store
}

/// ServiceCIDR objects came with Kubernetes 1.33; to watch them earlier would fail for ever. Asked until there is an
/// answer: to go on without would mean to guess the network of Services for as long as the operator runs.
async fn serves_service_cidrs(client: &Client) -> bool {
    let group = <ServiceCIDR as k8s_openapi::Resource>::API_VERSION;
    let mut pause = FIRST_PAUSE;
    loop {
        match client.list_api_group_resources(group).await {
            Ok(list) => {
                return list.resources.iter().any(|resource| resource.kind == "ServiceCIDR");
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return false,
            Err(error) if is_denied(&error) => {
                tracing::warn!(%error, "may not ask whether the API has ServiceCIDR objects, goes on as if it had none");
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot ask whether the API has ServiceCIDR objects");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Some clusters close discovery even to their own ServiceAccounts. That does not pass by itself, and must not keep the
/// operator from its work.
fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

/// Our guess: a restarting API server is back after a few of these.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Networks of pods that are logged; our guess, of more the first ones tell where pods are.
const MAX_LOGGED: usize = 8;
/// How many changes are looked at in one go; more wait in their watches. Our guess: nodes of a large
/// cluster report about that often in a minute.
const MAX_CHANGES: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::api_server::ApiServer;

    const GROUP: &str = "/apis/networking.k8s.io/v1";

    /// Whether a server that has this kind has ServiceCIDR objects, and how often it was asked.
    async fn asked(kind: &str, failures: u32) -> (bool, usize) {
        let resource = json!({
            "name": "x", "singularName": "", "kind": kind, "namespaced": false, "verbs": ["list"],
        });
        let group = json!({
            "kind": "APIResourceList", "groupVersion": "networking.k8s.io/v1", "resources": [resource],
        });
        let server = ApiServer::default().with(GROUP, group).failing(GROUP, failures);
        let (serves, asked) =
            server.during(async |client| serves_service_cidrs(&client).await).await;
        (serves, asked.len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_kinds_are_asked_for_until_there_is_an_answer() {
        assert_eq!(asked("ServiceCIDR", 0).await, (true, 1));
        assert_eq!(asked("Ingress", 0).await, (false, 1), "it is older");
        assert_eq!(asked("ServiceCIDR", 9).await, (true, 10), "an API server in trouble");
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_ask_goes_on_without() {
        for code in [401, 403] {
            let server = ApiServer::default().denying(GROUP, code);
            let (serves, asked) =
                server.during(async |client| serves_service_cidrs(&client).await).await;
            assert_eq!((serves, asked.len()), (false, 1), "{code}");
        }
    }

    #[tokio::test]
    async fn an_api_server_without_the_group_has_none() {
        let (serves, _) =
            ApiServer::default().during(async |client| serves_service_cidrs(&client).await).await;
        assert!(!serves);
    }
}

//! Objects for tests, read like those of users and through the real validation.

use std::sync::Arc;

use dnsproxy_api::DnsProxy;
use kube::{
    Client, Resource,
    runtime::{
        reflector::{self, Store},
        watcher,
    },
};
use tokio::sync::watch;

use crate::{
    apply::Memory,
    cluster::{Facts, dns::Server},
    context::{Context, Settings},
    controller::Backoff,
    events::Recorders,
    metrics::Metrics,
    reports::Reports,
    resolve::Resolved,
    validate::{ValidatedDnsProxy, check, filled_in, memory::Verdicts},
    watches::Owned,
};

pub(crate) mod api_server;

/// The fixtures that are valid.
pub(crate) const VALID: [&str; 3] = ["minimal", "full", "without_cluster_dns"];

/// The image of objects that do not name one.
pub(crate) const IMAGE: &str = "registry.example/dnsproxy:1";

/// A fixture, as the API server would give it.
pub(crate) fn proxy(name: &str) -> DnsProxy {
    let text = match name {
        "minimal" => include_str!("fixtures/minimal.yaml"),
        "full" => include_str!("fixtures/full.yaml"),
        "without_cluster_dns" => include_str!("fixtures/without_cluster_dns.yaml"),
        "invalid" => include_str!("fixtures/invalid.yaml"),
        other => panic!("no fixture {other}"),
    };
    let mut proxy = dnsproxy_api::manifest::parse_one(text).unwrap();
    proxy.metadata.uid = Some("6f3c0f2e-5d1f-4c59-9b1a-0c9d5b8a7e11".into());
    proxy.metadata.generation = Some(3);
    proxy
}

/// A fixture, validated in an ordinary cluster.
pub(crate) fn validated(name: &str) -> ValidatedDnsProxy {
    filled_in_after_check(&proxy(name), IMAGE)
}

/// An object, validated in an ordinary cluster, with this image where it names none.
pub(crate) fn filled_in_after_check(proxy: &DnsProxy, image: &str) -> ValidatedDnsProxy {
    check(proxy, vec![], &facts(), image).unwrap();
    filled_in(proxy, &facts(), image)
}

/// What is known in an ordinary cluster.
pub(crate) fn resolved() -> Resolved {
    Resolved { facts: facts().into(), ..Resolved::default() }
}

/// An ordinary cluster.
pub(crate) fn facts() -> Facts {
    Facts {
        dns: Some(Server {
            service: "kube-system/kube-dns".into(),
            addresses: vec!["10.96.0.10".into()],
            endpoints: vec!["10.244.0.2".parse().unwrap(), "10.244.0.3".parse().unwrap()],
        }),
        domain: "cluster.local".into(),
        service_networks: vec!["10.96.0.0/16".parse().unwrap()],
        pod_networks: vec!["10.244.0.0/16".parse().unwrap()],
        node_addresses: vec!["172.18.0.2".parse().unwrap()],
    }
}

/// What every reconcile shares, with an API server that is not there.
pub(crate) fn context(client: Client) -> Context {
    let (_, facts) = watch::channel(Some(Arc::new(facts())));
    Context {
        settings: Settings { image: IMAGE.into(), fast_reload: false },
        facts,
        owned: Owned {
            config_maps: filled([]),
            deployments: filled([]),
            pod_disruption_budgets: filled([]),
            pods: filled([]),
            service_accounts: filled([]),
            services: filled([]),
            is_ready: Arc::default(),
        },
        found: Arc::default(),
        memory: Memory::default(),
        verdicts: Verdicts::default(),
        reports: Reports::default(),
        recorders: Recorders::new(client.clone()),
        metrics: Metrics::default(),
        backoff: Backoff::default(),
        client,
    }
}

/// A store whose watch has seen exactly these.
pub(crate) fn filled<K>(objects: impl IntoIterator<Item = K>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
    store
}

//! The pods' own reports: which configuration each runs, and which upstreams answer it.
//!
//! Asked over each pod's admin port. A pod that does not answer for a while is a pod without a report,
//! never an error: what follows from that is decided in [`crate::status`]. Pods say what whoever runs them likes:
//! no more is kept of it than a report can be (`report`, `bounded`).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dnsproxy_api::DnsProxy;
use futures::{StreamExt as _, future, stream};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{apply::hasten, context::Context, render::names};

mod bounded;
mod report;

pub use report::{
    ConfigReport, FileReport, Rejected, Report, ServerReport, UpstreamReport, UpstreamsReport,
};

/// One pod, as the API server and the pod itself describe it.
#[derive(Clone, Debug, Default)]
pub struct PodState {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// Whether clients are sent to it.
    pub is_ready: bool,
    /// The ConfigMap that it reads.
    pub config_map: Option<String>,
    /// What it was last asked to run.
    pub annotation: Option<String>,
    /// What it says about itself; only ready pods are asked.
    pub report: Option<Report>,
}

/// Asks pods, and keeps what each said last.
#[derive(Debug)]
pub struct Reports {
    client: Client<HttpConnector, Empty<axum::body::Bytes>>,
    last: Mutex<HashMap<ObjectRef<Pod>, Last>>,
}

/// What a pod said last, each part for itself.
#[derive(Debug)]
struct Last {
    config: Part<ConfigReport>,
    upstreams: Part<UpstreamsReport>,
}

/// A part of a report.
#[derive(Debug)]
struct Part<T> {
    told: Option<T>,
    /// When it was told, or was asked for first.
    at: Instant,
}

impl<T: Clone> Part<T> {
    fn new(now: Instant) -> Self {
        Self { told: None, at: now }
    }

    /// What counts now: what is said, or was said a moment ago.
    fn hear(&mut self, said: Option<T>, now: Instant) -> Option<T> {
        if said.is_some() {
            *self = Self { told: said, at: now };
        } else if self.is_overdue(now) {
            self.told = None;
        }
        self.told.clone()
    }

    fn is_overdue(&self, now: Instant) -> bool {
        now - self.at >= PATIENCE
    }
}

impl Default for Reports {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, last: Mutex::default() }
    }
}

impl Reports {
    /// What the pod says, or said a moment ago.
    async fn of(&self, pod: ObjectRef<Pod>, admin: SocketAddr, deadline: Instant) -> Report {
        let asked = future::join(self.read(admin, "config"), self.read(admin, "upstreams"));
        let (config, upstreams) = timeout_at(deadline, asked).await.unwrap_or_default();
        self.or_last(pod, config, upstreams, Instant::now())
    }

    /// A short silence says nothing: packets get lost, pods are busy for a moment, and the network to a new one takes
    /// its time. Looks come as events do, so that their number says nothing, either.
    fn or_last(
        &self,
        pod: ObjectRef<Pod>,
        config: Option<ConfigReport>,
        upstreams: Option<UpstreamsReport>,
        now: Instant,
    ) -> Report {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Last { config: Part::new(now), upstreams: Part::new(now) };
        let last = all.entry(pod).or_insert_with(new);
        let config = last.config.hear(config, now);
        let upstreams = last.upstreams.hear(upstreams, now);
        Report { is_silent: last.config.is_overdue(now), config, upstreams }
    }

    /// Forgets what pods said that are gone, so that there are never more of them than pods.
    fn forget(&self, pods: &Store<Pod>) {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > pods.len() {
            all.retain(|pod, _| pods.get(pod).is_some());
        }
    }

    async fn read<T: DeserializeOwned>(&self, admin: SocketAddr, path: &str) -> Option<T> {
        let uri = format!("http://{admin}/{path}").parse().ok()?;
        let text = timeout(TIMEOUT, async {
            let response = self.client.get(uri).await.ok()?;
            let is_success = response.status().is_success();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await.ok()?;
            is_success.then(|| body.to_bytes())
        });
        serde_json::from_slice(&text.await.ok()??).ok()
    }
}

/// The object's pods that are not ending, each with its report.
pub async fn collect(proxy: &DnsProxy, context: &Context) -> Vec<PodState> {
    let deadline = Instant::now() + BUDGET;
    let pods = context.owned.pods_of(proxy);
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let asked: Vec<_> = living.map(|pod| ask(pod.clone(), deadline, context)).collect();
    let states = stream::iter(asked).buffered(CONCURRENCY).collect().await;
    context.reports.forget(&context.owned.pods);
    states
}

async fn ask(pod: Arc<Pod>, deadline: Instant, context: &Context) -> PodState {
    let mut state = state(&pod);
    if let (true, Some(address)) = (state.is_ready, address(&pod)) {
        let pod = ObjectRef::from_obj(&*pod);
        state.report = Some(context.reports.of(pod, address, deadline).await);
    }
    state
}

fn state(pod: &Pod) -> PodState {
    PodState {
        name: pod.name_any(),
        namespace: pod.namespace().unwrap_or_default(),
        is_ready: is_ready(pod),
        config_map: config_map_of(pod),
        annotation: pod.annotations().get(hasten::ANNOTATION).cloned(),
        report: None,
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn address(pod: &Pod) -> Option<SocketAddr> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(address, names::ADMIN_PORT))
}

/// The ConfigMap that a pod reads its configuration from.
#[must_use]
pub fn config_map_of(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == names::VOLUME)?;
    let sources = volume.projected.as_ref()?.sources.as_ref()?;
    sources.first()?.config_map.as_ref().map(|projection| projection.name.clone())
}

/// For each of connecting and answering; a pod in the same cluster takes a few milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);
/// For all pods of one object, of which there may be hundreds that are silent: a third of what a reconcile may take.
const BUDGET: Duration = Duration::from_secs(10);
/// So long a pod may be silent, and counts as it was: three looks at rest. Our guess.
const PATIENCE: Duration = Duration::from_secs(15);
/// Far more than the report of 64 upstreams with 16 servers each.
const MAX_BODY: usize = 1 << 20;
/// Pods of one object that are asked at the same time. Our guess.
const CONCURRENCY: usize = 16;

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::{
        report::{ERROR, FILES, MESSAGE, SERVERS, UPSTREAMS, WORD},
        *,
    };
    use crate::fixtures;

    /// What is read of a pod that answers so.
    async fn read(router: Router) -> Report {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reports = Reports::default();
        let deadline = Instant::now() + BUDGET;
        tokio::select! {
            report = reports.of(pod(), address, deadline) => report,
            _ = axum::serve(listener, router) => panic!("the pod is gone"),
        }
    }

    fn pod() -> ObjectRef<Pod> {
        ObjectRef::new("edge-a").within("resolvers")
    }

    fn said(hash: &str) -> Option<ConfigReport> {
        Some(ConfigReport { hash: Some(hash.into()), ..ConfigReport::default() })
    }

    #[tokio::test]
    async fn a_report_of_another_version_is_read_as_far_as_it_is_known() {
        let config = r#"{"hash": "abc", "loadedAt": "2026-01-01T00:00:00Z", "rejected": null, "newer": [1]}"#;
        let upstreams = r#"{"upstreams": [{"name": "quad", "newer": 1, "servers": [{"address": "192.0.2.9:853"}]}]}"#;
        let pod = Router::new()
            .route("/config", get(move || async move { config }))
            .route("/upstreams", get(move || async move { upstreams }));

        let report = read(pod).await;
        assert_eq!(report.config.unwrap().hash.as_deref(), Some("abc"));
        assert_eq!(report.upstreams.unwrap().upstreams[0].servers[0].address, "192.0.2.9:853");
    }

    #[tokio::test]
    async fn a_pod_that_does_not_say_it_is_without_a_report() {
        let huge = format!(r#"{{"hash": "{}"}}"#, "a".repeat(MAX_BODY));
        let pod = Router::new().route("/config", get(move || async move { huge.clone() }));

        let report = read(pod).await;
        assert!(report.config.is_none(), "more than a report can be");
        assert!(report.upstreams.is_none(), "not found");
    }

    #[tokio::test]
    async fn no_more_is_kept_of_what_a_pod_says_than_a_report_can_be() {
        let many = |item: &str| vec![item; MAX_BODY / 2 / (item.len() + 1)].join(",");
        let (files, servers, long) = (many("{}"), many("{}"), "ä".repeat(MAX_BODY / 16));
        let config = format!(
            r#"{{"files": [{files}], "rejected": {{"hash": "{long}", "error": "{long}"}}}}"#
        );
        let server = format!(r#"{{"address": "{long}", "message": "{long}"}}"#);
        let upstreams = format!(r#"{{"upstreams": [{{"servers": [{server},{servers}]}}]}}"#);
        let pod = Router::new()
            .route("/config", get(move || async move { config }))
            .route("/upstreams", get(move || async move { upstreams }));

        let report = read(pod).await;
        let ConfigReport { hash: _, rejected, files } = report.config.unwrap();
        let Rejected { hash, error } = rejected.unwrap();
        assert_eq!((files.len(), hash.unwrap().len(), error.len()), (FILES, WORD, ERROR));
        let servers = &report.upstreams.unwrap().upstreams[0].servers;
        assert_eq!(servers.len(), SERVERS);
        assert_eq!(servers[0].address.len(), WORD);
        assert_eq!(servers[0].message.as_ref().unwrap().len(), MESSAGE);

        let many: UpstreamsReport =
            serde_json::from_str(&format!(r#"{{"upstreams": [{}]}}"#, many("{}"))).unwrap();
        assert_eq!(many.upstreams.len(), UPSTREAMS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_hangs_is_not_waited_for() {
        let pod = Router::new().fallback(get(async || std::future::pending::<()>().await));

        let report = read(pod).await;
        assert!(report.config.is_none() && report.upstreams.is_none());
    }

    #[test]
    fn a_pod_that_is_silent_for_a_moment_counts_as_it_was() {
        let (reports, start) = (Reports::default(), Instant::now());
        let all = || Some(UpstreamsReport::default());
        let cases = [
            // (why, second, what is said, what counts)
            ("it never said anything, and was just found", 0, (None, None), (None, false, false)),
            ("many looks within a moment", 1, (None, None), (None, false, false)),
            ("and again", 1, (None, None), (None, false, false)),
            ("that is no moment", 15, (None, None), (None, false, true)),
            ("it speaks", 16, (said("a"), all()), (Some("a"), true, false)),
            ("a moment", 30, (None, None), (Some("a"), true, false)),
            (
                "a half answer counts as far as it goes",
                30,
                (said("b"), None),
                (Some("b"), true, false),
            ),
            ("each half has its own time", 31, (None, None), (Some("b"), false, false)),
            ("both are over", 45, (None, None), (None, false, true)),
        ];

        for (why, second, (config, upstreams), expected) in cases {
            let now = start + Duration::from_secs(second);
            let Report { config, upstreams, is_silent } =
                reports.or_last(pod(), config, upstreams, now);
            let hash = config.and_then(|config| config.hash);
            assert_eq!((hash.as_deref(), upstreams.is_some(), is_silent), expected, "{why}");
        }
    }

    #[test]
    fn what_a_pod_said_is_forgotten_with_the_pod() {
        let (reports, now) = (Reports::default(), Instant::now());
        reports.or_last(pod(), said("a"), None, now);
        reports.forget(&fixtures::filled([]));

        assert!(reports.or_last(pod(), None, None, now).config.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn many_silent_pods_are_not_waited_for_one_by_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reports, start) = (Reports::default(), Instant::now());
        for _ in 0..100 {
            reports.of(pod(), address, start + BUDGET).await;
        }

        assert!(start.elapsed() <= BUDGET + TIMEOUT, "{:?}", start.elapsed());
    }
}

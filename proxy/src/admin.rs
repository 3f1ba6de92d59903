//! The admin endpoints: health, metrics, what runs, and the cache, which is all that can be changed here.
//!
//! `/readyz` depends on nothing outside of the process, so that an upstream's trouble never takes the
//! proxy out of a Service (a proxy without upstreams still says why it cannot answer). The connections are
//! those of [`server`], which bounds them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{cache::Cache, config::status::ConfigStatus, pipeline::Pipeline};

pub mod cache;
mod explain;

mod local;
mod server;

pub use local::CHANGE;

/// What the endpoints show.
#[derive(Clone)]
pub struct Admin {
    /// All metrics.
    pub registry: Arc<Registry>,
    /// What decides about queries.
    pub pipeline: watch::Receiver<Arc<Pipeline>>,
    /// What is kept.
    pub cache: Arc<Cache>,
    /// Which configuration runs.
    pub config: watch::Receiver<ConfigStatus>,
    /// Whether queries should come here.
    pub readiness: Arc<Readiness>,
}

/// Whether queries should come here.
#[derive(Debug, Default)]
pub struct Readiness {
    is_serving: AtomicBool,
    is_draining: AtomicBool,
}

impl Readiness {
    /// The listeners are bound and the manifest is loaded.
    pub fn set_serving(&self) {
        self.is_serving.store(true, Ordering::Relaxed);
    }

    /// The process is about to end.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// What is missing; `None` when nothing is.
    fn missing(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else if self.is_serving.load(Ordering::Relaxed) {
            None
        } else {
            Some("listeners are not bound yet")
        }
    }
}

/// Opens the socket of the endpoints; where the host has no IPv6, `[::]` becomes `0.0.0.0`.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) =>
        {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

impl Admin {
    /// Serves until `stop`.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/healthz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/config", get(config))
            .route("/upstreams", get(upstreams))
            .merge(cache::routes())
            .merge(explain::routes())
            .with_state(self);
        let served = server::serve(listener, router, stop).await;
        if let Err(error) = &served {
            tracing::error!(%error, "the admin endpoints cannot be reached any more");
        }
        served
    }
}

impl FromRef<Admin> for Arc<Cache> {
    fn from_ref(admin: &Admin) -> Self {
        Self::clone(&admin.cache)
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.readiness.missing() {
        None => "ok\n".into_response(),
        Some(missing) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn config(State(admin): State<Admin>) -> Response {
    Json(admin.config.borrow().clone()).into_response()
}

async fn upstreams(State(admin): State<Admin>) -> Response {
    let pipeline = admin.pipeline.borrow().clone();
    Json(serde_json::json!({ "upstreams": pipeline.upstreams.report() })).into_response()
}

//! The operator's own endpoints: `/livez`, `/readyz`, `/metrics`.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{cluster::Published, metrics::Metrics};

/// Why the endpoints could not be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the admin endpoints on {address}")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the endpoints' address.
///
/// # Errors
/// When it is taken, or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| AdminError { address, source })?;
    tracing::info!(%address, "admin");
    Ok(listener)
}

/// Serves until `token` is cancelled.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    facts: Published,
    metrics: Metrics,
    token: CancellationToken,
) -> io::Result<()> {
    let router = router(facts, metrics);
    axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await
}

fn router(facts: Published, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(facts))
        .route("/metrics", get(render).with_state(metrics))
}

/// Ready once the cluster was seen: before that nothing is reconciled.
async fn readyz(State(facts): State<Published>) -> (StatusCode, &'static str) {
    if facts.borrow().is_some() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "missing: the watches of the cluster's DNS and nodes")
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text())
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

//! The operator's own endpoints: `/livez`, `/readyz`, `/metrics`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

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

/// Binds the endpoints' address; where the node has no IPv6, `[::]` becomes `0.0.0.0`.
///
/// # Errors
/// When it is taken, or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    let bound = match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(other) => TcpListener::bind(other).await,
            None => Err(error),
        },
        bound => bound,
    };
    let listener = bound.map_err(|source| AdminError { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "admin");
    Ok(listener)
}

/// What to bind instead, when that failed for want of IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    let lacks_ipv6 = error.raw_os_error() == Some(EAFNOSUPPORT);
    (is_any && lacks_ipv6).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
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
        .route("/readyz", get(readyz).with_state((facts, metrics.clone())))
        .route("/metrics", get(render).with_state(metrics))
}

/// Ready once the cluster was seen: before that nothing is reconciled. Who waits for another operator to end is ready, since a
/// rollout ends that one only then; but not who cannot see whether there is another one.
async fn readyz(
    State((facts, metrics)): State<(Published, Metrics)>,
) -> (StatusCode, &'static str) {
    const MISSING: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    if facts.borrow().is_none() {
        (MISSING, "missing: the watches of the cluster's DNS and nodes")
    } else if !metrics.knows_leaders() {
        (MISSING, "missing: the lease, which cannot be read or written; the log says why")
    } else if metrics.is_leading() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::OK, "ok: standing by, without the lease")
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text())
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Linux's number for an address family that the kernel does not have (asm-generic/errno.h).
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_ipv6_is_served_over_ipv4() {
        let cases = [
            ("no IPv6", "[::]:8080", EAFNOSUPPORT, Some("0.0.0.0:8080")),
            ("this very address was wanted", "[::1]:8080", EAFNOSUPPORT, None),
            ("no IPv4 either", "0.0.0.0:8080", EAFNOSUPPORT, None),
            ("EADDRINUSE: the port is taken", "[::]:8080", 98, None),
        ];

        for (why, address, error, expected) in cases {
            let error = io::Error::from_raw_os_error(error);
            let other = without_ipv6(address.parse().unwrap(), &error);
            assert_eq!(other, expected.map(|address| address.parse().unwrap()), "{why}");
        }
    }
}

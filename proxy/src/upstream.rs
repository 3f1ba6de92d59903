//! The resolvers behind the proxy: one question goes to the servers of its route until one answers.
//!
//! This file puts together what a manifest says; the parts decide (RFC 7766, RFC 7858 and RFC 5452 bind them):
//!
//! - `route`: which servers, by the longest zone.
//! - `search`: in which order, and how often; those that failed, says `health`, come last.
//! - `server`: one exchange: `udp`, or a `connection` that `dial` made and `tls` secured.
//! - `verifier`, `pins`, `certificate`: whether a server is who it should be.
//! - `pending`: which answer belongs to which question.
//!
//! There is no way from a TLS upstream to plain text: its `dial::Security` is decided when it is built.
//! Caching, and what a client is told, are left to the pipeline.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use crate::{
    message::{Layout, Question, Request},
    shutdown::Tasks,
};

mod certificate;
mod connection;
mod dial;
mod error;
mod failure;
mod health;
mod metrics;
mod pending;
mod pins;
mod random;
mod report;
mod route;
mod search;
mod server;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod udp;
mod verifier;

pub use certificate::Certificate;
pub use error::{ExchangeError, HandshakeError, MaterialError};
pub use failure::{Attempt, Failure};
pub use health::State;
pub use metrics::Metrics;
pub use pins::Pin;
pub use report::{ServerReport, UpstreamReport};
pub use route::Route;
pub use settings::{
    Authentication, ClientCertificate, ConnectionLimits, HealthCheck, Policy, Roots, RouteSettings,
    Secret, TlsSettings, Transport, UpstreamSettings,
};
pub use verifier::Verifier;

use dial::{Dialer, Security};
use health::Health;
use route::Zones;
use search::Search;
use server::{Core, Server};
use tls::TlsClient;

/// All upstreams and routes of one manifest.
#[derive(Debug)]
pub struct Upstreams {
    upstreams: Vec<Arc<Upstream>>,
    routes: Vec<Arc<Route>>,
    zones: Zones,
}

/// One resolver service with its servers.
#[derive(Debug)]
struct Upstream {
    settings: UpstreamSettings,
    servers: Vec<Arc<Server>>,
}

/// What an upstream answered.
#[derive(Debug)]
pub struct Answer {
    /// The message as it came.
    pub message: Vec<u8>,
    /// Where its parts are.
    pub layout: Layout,
    /// The name of the upstream.
    pub upstream: Arc<str>,
    /// The server.
    pub server: SocketAddr,
    /// Whether it came from an authenticated server over an encrypted connection.
    pub is_secure: bool,
}

impl Upstreams {
    /// Makes a manifest's upstreams. Those with the settings of a previous one go on as they are; those that
    /// cannot be set up fail each query with the reason.
    pub fn build(
        previous: Option<&Self>,
        upstreams: Vec<UpstreamSettings>,
        routes: Vec<RouteSettings>,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Self {
        let known = previous.map_or(&[][..], |previous| &previous.upstreams);
        let upstreams: Vec<_> = upstreams
            .into_iter()
            .map(|settings| {
                let same = known.iter().find(|upstream| upstream.settings == settings);
                same.cloned().unwrap_or_else(|| Arc::new(Upstream::new(settings, metrics, tasks)))
            })
            .collect();
        let mut zones = Zones::default();
        for (index, route) in routes.iter().enumerate() {
            route.zones.iter().for_each(|zone| zones.insert(zone, index));
        }
        let routes =
            routes.into_iter().map(|settings| Arc::new(compile(settings, &upstreams))).collect();
        Self { upstreams, routes, zones }
    }

    /// The route for a question, by the longest zone.
    pub fn route(&self, question: &Question) -> Option<&Arc<Route>> {
        self.routes.get(self.zones.find(question)?)
    }

    /// Asks the servers of a route, one after the other, until one has an answer.
    pub async fn exchange(
        &self,
        route: &Route,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        Search::new(request, deadline).run(route).await
    }

    /// What is known of the servers.
    pub fn report(&self) -> Vec<UpstreamReport> {
        self.upstreams.iter().map(|upstream| report::of(upstream)).collect()
    }
}

impl Upstream {
    fn new(settings: UpstreamSettings, metrics: &Metrics, tasks: &Tasks) -> Self {
        let security = match &settings.transport {
            Transport::Tls(tls) => match TlsClient::new(tls) {
                Ok(client) => Security::Tls(Arc::new(client)),
                Err(error) => Security::Unusable(error),
            },
            Transport::Tcp | Transport::Udp => Security::None,
        };
        let upstream_series = metrics.upstream(&settings.name);
        let servers = settings.servers.iter().map(|&address| {
            let security = security.clone();
            let core = Core {
                upstream: Arc::clone(&settings.name),
                dialer: Dialer { address, security, limit: settings.connect_timeout },
                is_udp: settings.transport == Transport::Udp,
                query_timeout: settings.query_timeout,
                udp_payload: settings.udp_payload,
                health: Health::unknown(),
                series: metrics.server(&settings.name, address),
                upstream_series: Arc::clone(&upstream_series),
            };
            Arc::new(Server::new(core, tasks.clone()))
        });
        Self { servers: servers.collect(), settings }
    }
}

fn compile(settings: RouteSettings, upstreams: &[Arc<Upstream>]) -> Route {
    let servers_of = |names: &[Arc<str>]| {
        let wanted = names.iter().flat_map(|name| {
            upstreams.iter().filter(move |upstream| upstream.settings.name == *name)
        });
        wanted.flat_map(|upstream| upstream.servers.iter().cloned()).collect()
    };
    Route {
        servers: servers_of(&settings.upstreams),
        fallback: servers_of(&settings.fallback),
        name: settings.name,
    }
}

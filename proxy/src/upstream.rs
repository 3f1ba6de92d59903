//! The resolvers behind the proxy: one question goes to the servers of its route until one answers.
//!
//! This file puts together what a manifest says; the parts decide (RFC 7766, RFC 7858 and RFC 5452 bind them):
//!
//! - `route`: which servers, by the longest zone, and which of them is next, by policy.
//! - `search`: when to ask the next one, and how often, from what `health` and `latency` know.
//! - `exchange`: one question to one `server`: by `udp`, or on a `connection` of its `pool`.
//! - `dial`, `tls`, `verifier`, `pins`, `certificate`: making a connection, if the server is who it should be.
//! - `pending`: which answer belongs to which question.
//! - `keep`, `probe`, `loops`: looking after the servers while nobody asks.
//!
//! There is no way from a TLS upstream to plain text: its `dial::Security` is decided when it is built.
//! Caching, and what a client is told, are left to the pipeline.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    message::{Layout, Name, Question, Request},
    shutdown::Tasks,
};

mod budget;
mod certificate;
mod connection;
mod dial;
mod error;
mod exchange;
mod failure;
mod health;
mod keep;
mod latency;
mod loops;
mod metrics;
mod pending;
mod pins;
mod placement;
mod pool;
mod probe;
mod random;
mod report;
mod route;
mod search;
mod server;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
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
pub use placement::Placement;
pub use random::prepare as prepare_random;
pub use report::{ServerReport, UpstreamReport};
pub use route::{Route, Zones};
pub use settings::{
    Authentication, ClientCertificate, ConnectionLimits, HealthCheck, Policy, Roots, RouteSettings,
    Secret, TlsSettings, Transport, UpstreamSettings,
};
pub use verifier::Verifier;

use dial::{Dialer, MAX_HANDSHAKES, Security};
use health::Health;
use latency::Latency;
use loops::LoopProbes;
use search::Search;
use server::{Core, Server, TimeLimits};
use tls::TlsClient;

/// All upstreams and routes of one manifest.
#[derive(Debug)]
pub struct Upstreams {
    routing: Arc<Routing>,
    probes: LoopProbes,
    /// Ends those who look after the servers.
    kept: CancellationToken,
}

/// What is looked up for a question.
#[derive(Debug)]
struct Routing {
    upstreams: Vec<Arc<Upstream>>,
    routes: Vec<Arc<Route>>,
    zones: Zones,
    identity: u64,
}

/// What all upstreams of the process share, whatever their manifest.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Where they count.
    pub metrics: Metrics,
    /// Who waits for their tasks at the end.
    pub tasks: Tasks,
    /// On which threads their connections live.
    pub placement: Placement,
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
        surroundings: &Surroundings,
    ) -> Self {
        let probes = previous.map(|previous| &previous.probes);
        let previous = previous.map(|previous| &*previous.routing);
        let known = previous.map_or(&[][..], |previous| &previous.upstreams);
        let upstreams: Vec<_> = upstreams
            .into_iter()
            .map(|settings| {
                let same = known.iter().find(|upstream| upstream.settings == settings);
                same.cloned().unwrap_or_else(|| Arc::new(Upstream::new(settings, surroundings)))
            })
            .collect();
        let known = previous.map_or(&[][..], |previous| &previous.routes);
        let mut built = Self::of(upstreams, routes, known, surroundings);
        // A question that is out comes back to the present configuration.
        if let Some(probes) = probes {
            built.probes = probes.clone();
        }
        built
    }

    fn of(
        upstreams: Vec<Arc<Upstream>>,
        routes: Vec<RouteSettings>,
        known: &[Arc<Route>],
        surroundings: &Surroundings,
    ) -> Self {
        let zones = Zones::of(&routes);
        let routes: Vec<_> = (routes.into_iter())
            .map(|settings| Arc::new(compile(settings, &upstreams, known)))
            .collect();
        let identity = identity_of_all(&routes);
        let routing = Arc::new(Routing { upstreams, routes, zones, identity });
        let probes = LoopProbes::default();
        Self { routing, probes, kept: surroundings.tasks.token().child_token() }
    }

    /// Has the servers looked after from now on, as long as this value lives.
    pub fn keep(&self, tasks: &Tasks) {
        let routing = Arc::downgrade(&self.routing);
        tasks.spawn(keep::keep(routing, self.probes.clone(), self.kept.clone()));
    }

    /// The route for a question, by the longest zone.
    pub fn route(&self, question: &Question<'_>) -> Option<&Arc<Route>> {
        self.routing.routes.get(self.routing.zones.find(question)?)
    }

    /// The route with this index, in the order of the manifest.
    pub fn route_at(&self, index: usize) -> Option<&Arc<Route>> {
        self.routing.routes.get(index)
    }

    /// A hash of which names go to whom: for answers that any route may have had a part in.
    pub fn identity(&self) -> u64 {
        self.routing.identity
    }

    /// Whether a client's question is one of our own that has come back. Then the server that it was sent to is
    /// taken out.
    pub fn stop_loop(&self, question: &Question<'_>, now: Instant) -> bool {
        self.probes.stop(question, now)
    }

    /// Asks the servers of a route until one has an answer. Where none can be connected to, `may_wait` tells whether to wait for
    /// one that may be back before long.
    pub async fn exchange(
        &self,
        route: &Route,
        request: Arc<Request>,
        deadline: Instant,
        may_wait: impl Fn() -> bool + Send + Sync,
    ) -> Result<Answer, Failure> {
        let mut search = Search::new(route, request, deadline, &may_wait);
        search.run().await
    }

    /// What is known of the servers.
    pub fn report(&self) -> Vec<UpstreamReport> {
        self.routing.upstreams.iter().map(|upstream| report::of(upstream)).collect()
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.kept.cancel();
    }
}

impl Upstream {
    fn new(settings: UpstreamSettings, surroundings: &Surroundings) -> Self {
        let (security, is_padded) = match &settings.transport {
            Transport::Tls(tls) => match TlsClient::new(tls) {
                Ok(client) => (Security::Tls(Arc::new(client)), tls.is_padded),
                Err(error) => (Security::Unusable(error), tls.is_padded),
            },
            Transport::Tcp | Transport::Udp => (Security::None, false),
        };
        Self::with(settings, &security, is_padded, surroundings)
    }

    fn with(
        settings: UpstreamSettings,
        security: &Security,
        is_padded: bool,
        surroundings: &Surroundings,
    ) -> Self {
        let Surroundings { metrics, tasks, placement } = surroundings;
        let upstream_series = metrics.upstream(&settings.name);
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let limits =
            TimeLimits { connect: settings.connect_timeout, query: settings.query_timeout };
        let servers = settings.servers.iter().map(|&address| {
            let (security, handshakes) = (security.clone(), Arc::clone(&handshakes));
            let series = metrics.server(&settings.name, address);
            let core = Core {
                upstream: Arc::clone(&settings.name),
                dialer: Dialer { address, security, limit: limits.connect, handshakes },
                is_udp: settings.transport == Transport::Udp,
                is_padded,
                udp_payload: settings.udp_payload,
                limits,
                connections: settings.connections.clone(),
                health: Health::unknown(settings.health_check.failure_threshold),
                health_check: settings.health_check.clone(),
                latency: Latency::default(),
                resends: Arc::default(),
                term: series.begin_term(),
                series,
                upstream_series: Arc::clone(&upstream_series),
            };
            Arc::new(Server::new(core, tasks.clone(), placement.clone()))
        });
        Self { servers: servers.collect(), settings }
    }
}

/// Makes a route; the questions that wait on one of the same name count for it.
fn compile(settings: RouteSettings, upstreams: &[Arc<Upstream>], known: &[Arc<Route>]) -> Route {
    let servers_of = |names: &[Arc<str>]| {
        let wanted = names.iter().flat_map(|name| {
            upstreams.iter().filter(move |upstream| upstream.settings.name == *name)
        });
        wanted.flat_map(|upstream| upstream.servers.iter().cloned()).collect()
    };
    let predecessor = known.iter().find(|route| *route.name() == settings.name);
    let in_flight = predecessor.map(|route| Arc::clone(route.in_flight())).unwrap_or_default();
    let (own, fallback) = (servers_of(&settings.upstreams), servers_of(&settings.fallback));
    let identity = identity(&settings, upstreams);
    Route::new(settings, own, fallback, in_flight, identity)
}

/// See [`Upstreams::identity`]. The names of routes count, since rules refer to them.
fn identity_of_all(routes: &[Arc<Route>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for route in routes {
        let zones: Vec<_> = route.settings.zones.iter().map(Name::to_folded).collect();
        (route.name(), zones, route.identity()).hash(&mut hasher);
    }
    hasher.finish()
}

/// See [`Route::identity`]. The same for the same settings, whatever their names.
fn identity(route: &RouteSettings, upstreams: &[Arc<Upstream>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for names in [&route.upstreams, &route.fallback] {
        for name in names {
            let named = upstreams.iter().map(|upstream| &upstream.settings);
            for UpstreamSettings { servers, transport, .. } in
                named.filter(|settings| settings.name == *name)
            {
                (servers, transport).hash(&mut hasher);
            }
        }
        names.len().hash(&mut hasher);
    }
    hasher.finish()
}

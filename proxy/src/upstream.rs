//! The resolvers behind the proxy: one question goes to the servers of its route until one answers.
//!
//! [`Upstreams::exchange`] decides who is asked, in which order and how often (RFC 7766, RFC 7858 and RFC
//! 5452 bind the rest):
//!
//! - [`route`]: which servers, by the longest zone.
//! - [`health`]: those that failed are asked last.
//! - [`server`]: one exchange: [`udp`], or a [`connection`] that [`dial`] made and [`tls`] secured.
//! - [`verifier`], [`pins`], [`certificate`]: whether a server is who it should be.
//! - [`pending`]: which answer belongs to which question.
//!
//! There is no way from a TLS upstream to plain text: its [`dial::Security`] is decided when it is built.
//! Caching, and what a client is told, are left to the pipeline.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use crate::{
    message::{Layout, Question, Rcode, Request, edns::ExtendedError},
    shutdown::Tasks,
};

mod certificate;
mod connection;
mod dial;
mod error;
mod health;
mod metrics;
mod pending;
mod pins;
mod random;
mod report;
mod route;
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
pub use error::{Attempt, ExchangeError, HandshakeError, MaterialError};
pub use health::State;
pub use metrics::Metrics;
pub use pins::Pin;
pub use report::{ServerReport, UpstreamReport};
pub use route::Route;
pub use settings::{
    Authentication, ClientCertificate, Roots, RouteSettings, Secret, TlsSettings, Transport,
    UpstreamSettings,
};
pub use verifier::Verifier;

use dial::{Dialer, Security};
use health::Health;
use pending::Response;
use route::Zones;
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
        let mut search =
            Search { request, deadline, tried: Vec::new(), failures: Vec::new(), bad: None };
        if let Some(answer) = search.run(route).await {
            return Ok(answer);
        }
        search.bad.ok_or(Failure { attempts: search.failures })
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

/// One question on its way through the servers of a route.
struct Search<'s> {
    request: &'s Request,
    deadline: Instant,
    /// The servers that were asked.
    tried: Vec<&'s Arc<Server>>,
    failures: Vec<Attempt>,
    /// The first answer that is none, to be given when nobody has a better one.
    bad: Option<Answer>,
}

impl<'s> Search<'s> {
    /// First the servers that are up. When all are known to be out of reach, the fallback. What failed before
    /// is tried last.
    async fn run(&mut self, route: &'s Route) -> Option<Answer> {
        let Route { name: _, servers, fallback } = route;
        if let Some(answer) = self.ask(servers, |server, now| server.is_up(now), MAX_TRIES).await {
            return Some(answer);
        }
        if self.may_fall_back(servers) {
            // The fallback may take one try more than the route's own servers have used up.
            let limit = MAX_TRIES.max(self.tried.len() + 1);
            if let Some(answer) = self.ask(fallback, |server, now| server.is_up(now), limit).await {
                return Some(answer);
            }
        }
        if let Some(answer) = self.ask(servers, |_, _| true, MAX_TRIES).await {
            return Some(answer);
        }
        if self.may_fall_back(servers) {
            self.ask(fallback, |_, _| true, MAX_TRIES).await
        } else {
            None
        }
    }

    /// After transport failures of all servers, never for an rcode.
    fn may_fall_back(&self, servers: &[Arc<Server>]) -> bool {
        let now = Instant::now();
        self.bad.is_none()
            && self.failures.iter().all(|failure| failure.error.is_transport())
            && servers.iter().all(|server| self.was_tried(server) || !server.is_up(now))
    }

    async fn ask(
        &mut self,
        servers: &'s [Arc<Server>],
        is_wanted: impl Fn(&Server, Instant) -> bool,
        limit: usize,
    ) -> Option<Answer> {
        for server in servers {
            let now = Instant::now();
            if self.tried.len() >= limit || now >= self.deadline {
                return None;
            }
            if self.was_tried(server) || !is_wanted(server, now) {
                continue;
            }
            if let Some(answer) = self.ask_one(server).await {
                return Some(answer);
            }
        }
        None
    }

    async fn ask_one(&mut self, server: &'s Arc<Server>) -> Option<Answer> {
        self.tried.push(server);
        let Core { upstream, dialer, .. } = &*server.core;
        let (upstream, address) = (Arc::clone(upstream), dialer.address);
        match server.exchange(self.request, self.deadline).await {
            Ok((Response { message, layout }, rcode)) => {
                let is_final = is_final(rcode, &message, &layout);
                let is_secure = matches!(dialer.security, Security::Tls(_));
                let answer = Answer { message, layout, upstream, server: address, is_secure };
                if is_final {
                    return Some(answer);
                }
                self.bad.get_or_insert(answer);
            }
            Err(error) => self.failures.push(Attempt { upstream, server: address, error }),
        }
        None
    }

    fn was_tried(&self, server: &Arc<Server>) -> bool {
        self.tried.iter().any(|tried| Arc::ptr_eq(tried, server))
    }
}

/// How many servers one query may ask: so that no query is multiplied without bound.
const MAX_TRIES: usize = 3;

/// Whether no other server is asked: it is an answer, or the refusal to give a forged one, which must not be
/// shopped around until somebody gives it (RFC 8914 section 4).
fn is_final(rcode: Rcode, message: &[u8], layout: &Layout) -> bool {
    const YXDOMAIN: Rcode = Rcode(6);
    matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN | YXDOMAIN)
        || layout
            .edns(message)
            .is_some_and(|edns| edns.extended_errors().any(|error| error.is_validation_failure()))
}

/// Why no server of a route answered.
#[derive(Debug)]
pub struct Failure {
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
}

impl Failure {
    /// What a client is told (RFC 8914 sections 4.23 and 4.24).
    pub fn ede(&self) -> ExtendedError {
        let Some(Attempt { upstream, server, error }) = self.telling() else {
            return ExtendedError::new(ExtendedError::OTHER, "limits.queryDeadline is over");
        };
        let code = match error {
            ExchangeError::Local(_) | ExchangeError::InFlight(_) => ExtendedError::OTHER,
            reached if reached.was_reached() => ExtendedError::NETWORK_ERROR,
            _ => ExtendedError::NO_REACHABLE_AUTHORITY,
        };
        ExtendedError::new(code, format!("upstream {upstream} {server}: {error}"))
    }

    /// The word for the reason in logs.
    pub fn reason(&self) -> &'static str {
        self.telling().map_or("deadline", |attempt| attempt.error.reason())
    }

    /// The failure that says most: a server that is not who it should be, else the first one.
    pub fn telling(&self) -> Option<&Attempt> {
        let is_identity = |attempt: &&Attempt| matches!(attempt.error, ExchangeError::Handshake(_));
        self.attempts.iter().find(is_identity).or(self.attempts.first())
    }
}

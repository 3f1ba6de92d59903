//! Who is asked, in which order, and how often, until one question has an answer.
//!
//! Servers that are up come first, in the order of the manifest; then the fallback, when none of the others can
//! be reached; then those that failed before. SERVFAIL and its like are answers of last resort.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Answer, Attempt, Failure,
    dial::Security,
    pending::Response,
    route::Route,
    server::{Core, Server},
};
use crate::message::{Layout, Rcode, Request};

/// One question on its way through the servers of a route.
pub(super) struct Search<'s> {
    request: &'s Request,
    deadline: Instant,
    /// The servers that were asked.
    tried: Vec<&'s Arc<Server>>,
    failures: Vec<Attempt>,
    /// The first answer that is none, to be given when nobody has a better one.
    bad: Option<Answer>,
}

impl<'s> Search<'s> {
    pub(super) fn new(request: &'s Request, deadline: Instant) -> Self {
        Self { request, deadline, tried: Vec::new(), failures: Vec::new(), bad: None }
    }

    /// Asks until there is an answer; without one the best bad answer is given, or the reasons why there is
    /// none.
    pub(super) async fn run(mut self, route: &'s Route) -> Result<Answer, Failure> {
        let answer = self.find(route).await.or(self.bad);
        answer.ok_or(Failure { attempts: self.failures })
    }

    async fn find(&mut self, route: &'s Route) -> Option<Answer> {
        let Route { name: _, servers, fallback } = route;
        if let Some(answer) = self.ask(servers, Server::is_up, MAX_TRIES).await {
            return Some(answer);
        }
        if self.may_fall_back(servers) {
            // The fallback gets a try even where the route's own servers have used up all.
            let limit = MAX_TRIES.max(self.tried.len() + 1);
            if let Some(answer) = self.ask(fallback, Server::is_up, limit).await {
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
            && servers.iter().all(|server| self.was_tried(server) || server.is_out_of_reach(now))
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

//! Which server is asked next, if any.
//!
//! Servers that are up come first; then the fallback, when none of the others can be reached; then those that
//! failed before. Among those that stand alike [`crate::upstream::route`] chooses.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Search, Server, Standing, Try};

impl<'s> Search<'s> {
    /// The next server, as long as there may be one more.
    pub(super) fn next_server(&self, now: Instant) -> Option<&'s Arc<Server>> {
        let route = self.route;
        let may_try = self.may_ask_another(now);
        // The fallback gets a try even where the route's own servers have used up all.
        let has_fallen_back = self.tries.iter().any(|tried| route.is_fallback(tried.server));
        let may_fall_back = now < self.deadline
            && (may_try || !has_fallen_back)
            && !route.fallback.is_empty()
            && self.may_fall_back();
        // Where somebody has answered, however badly, nobody waits for those that cannot be reached.
        let worst = if self.bad.is_some() { Standing::Doubtful } else { Standing::Down };
        let own = |worst| may_try.then(|| self.next_of(&route.servers, worst, now)).flatten();
        let spare =
            |worst| may_fall_back.then(|| self.next_of(&route.fallback, worst, now)).flatten();
        own(Standing::Up)
            .or_else(|| spare(Standing::Up))
            .or_else(|| own(worst))
            .or_else(|| spare(Standing::Down))
    }

    /// The next one of these servers that was not asked yet.
    pub(super) fn next_of(
        &self,
        servers: &'s [Arc<Server>],
        worst: Standing,
        now: Instant,
    ) -> Option<&'s Arc<Server>> {
        let is_excluded = |server: &Arc<Server>| {
            self.was_tried(server) || (self.bad.is_some() && server.is_out_of_reach())
        };
        self.route.next(servers, self.draw, worst, is_excluded, now)
    }

    /// A server that gave a message that was no answer, once. Where nobody else has anything, that need not be all that it has
    /// to say.
    pub(super) fn once_garbled(&self) -> Option<&'s Arc<Server>> {
        self.tried_once(|tried| tried.is_garbled)
    }

    /// A server from which nothing came in its time, and from which something has come since; unless others want the places.
    pub(super) fn once_silent(&self) -> Option<&'s Arc<Server>> {
        let is_crowded = |server: &Server| self.route.is_half_full() || server.is_half_full();
        self.tried_once(|tried| {
            let is_back = |ended| !tried.server.health().is_silent_since(ended);
            tried.timed_out.is_some_and(is_back) && !is_crowded(tried.server)
        })
    }

    fn tried_once(&self, is_wanted: impl Fn(&Try<'_>) -> bool) -> Option<&'s Arc<Server>> {
        let times =
            |server| self.tries.iter().filter(|tried| Arc::ptr_eq(tried.server, server)).count();
        let found = self.tries.iter().find(|tried| is_wanted(tried) && times(tried.server) == 1);
        found.map(|tried| tried.server)
    }

    /// Whether one more may be asked, and there is time for it.
    pub(super) fn may_ask_another(&self, now: Instant) -> bool {
        self.tries.len() < MAX_TRIES && now < self.deadline
    }

    /// After transport failures of all servers, never for an rcode; and never because of one silence: names
    /// are slow, and a fallback may be weaker.
    fn may_fall_back(&self) -> bool {
        let has_failed = |server: &Arc<Server>| {
            server.is_out_of_reach()
                || self.tries.iter().any(|tried| {
                    Arc::ptr_eq(tried.server, server)
                        && (tried.is_over() || (tried.gave_nothing && server.is_deaf()))
                })
        };
        self.bad.is_none()
            && self.failures.iter().all(|failure| failure.error.is_transport())
            && self.route.servers.iter().all(has_failed)
    }

    fn was_tried(&self, server: &Arc<Server>) -> bool {
        self.tries.iter().any(|tried| Arc::ptr_eq(tried.server, server))
    }
}

/// How many servers one query may ask: so that no query is multiplied without bound.
const MAX_TRIES: usize = 3;

//! Nobody can be connected to, and that for a moment only: a server that is started again, or another one behind the same
//! address, may be there before the query's time is over.

use tokio::time::Instant;

use super::Search;
use crate::upstream::error::ExchangeError;

impl Search<'_> {
    /// Plans to ask once more, where that may be of use: nobody has answered, however badly, and the outage is new. Half of
    /// the time is for that, so that whoever is there then has as much for the answer, and half of the places.
    pub(super) fn plan_to_ask_again(&mut self, now: Instant) {
        let is_time_left =
            now < self.begun + self.deadline.saturating_duration_since(self.begun) / 2;
        let is_all_in_vain = !self.is_asking()
            && self.bad.is_none()
            && self.failures.iter().map(|failure| &failure.error).all(ExchangeError::is_refusal);
        if is_time_left && is_all_in_vain && !self.route.is_half_full() {
            let tries = self.route.all().filter_map(|server| server.health().next_try(now));
            self.again = tries.min().filter(|_| (self.may_wait)());
        }
    }

    /// Begins anew. What the tries before have failed of is forgotten, as long as there are others.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.again = None;
        self.tries.clear();
        if let Some(server) = self.next_server(now) {
            self.failures.clear();
            self.ask(server, false, now);
        }
    }
}

//! Nobody can be connected to, and that for a moment only: a server that is started again, or another one behind the same
//! address, may be there before the query's time is over. So may one behind something that takes its connections, and closes
//! them while it is away; which is told from one that closes them because of the question by what becomes of a probe.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Search, Server};
use crate::upstream::{
    error::ExchangeError,
    failure::Attempt,
    health::{PAUSE, Standing},
};

impl<'s> Search<'s> {
    /// Plans to ask once more, where that may be of use: nobody has answered, however badly, and the outage is new. Half of
    /// the time is for that, so that whoever is there then has as much for the answer, and half of the places.
    pub(super) fn plan_to_ask_again(&mut self, now: Instant) {
        let is_time_left =
            now < self.begun + self.deadline.saturating_duration_since(self.begun) / 2;
        let is_all_in_vain = !self.is_asking()
            && self.bad.is_none()
            && self.failures.iter().all(|it| is_in_vain(&it.error) || self.is_closed_on_all(it));
        if is_time_left && is_all_in_vain && !self.route.is_half_full() {
            let tries = self.route.all().filter_map(|server| server.health().next_try(now));
            self.again = tries.min().or_else(|| self.until_there_is_a_place(now));
            self.is_unsure = self.again.is_none() && self.is_one_being_found_out();
            if self.is_unsure {
                self.again = Some(now + LOOK);
            }
            self.again.take_if(|_| !(self.may_wait)());
        }
    }

    /// Whether the server has closed connections under the question, and has answered nobody since that was asked.
    fn is_closed_on_all(&self, Attempt { server, error, .. }: &Attempt) -> bool {
        let mut servers = self.route.all();
        let asked = servers.find(|known| known.address() == *server);
        error.is_closed() && asked.is_some_and(|asked| asked.health().is_silent_since(self.begun))
    }

    /// Whether nobody knows yet if one of them is to blame, or the question.
    fn is_one_being_found_out(&self) -> bool {
        self.rounds == 0 && self.route.all().any(|server| server.is_suspect())
    }

    /// All who have waited come at once.
    fn until_there_is_a_place(&self, now: Instant) -> Option<Instant> {
        let is_over = |error: &ExchangeError| matches!(error, ExchangeError::InFlight(_));
        let is_crowded = self.failures.iter().any(|failure| is_over(&failure.error));
        (self.rounds > 0 && is_crowded).then(|| now + PAUSE)
    }

    /// Asks one server. What it has failed of before is forgotten, and does not count: it was not asked.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.again = None;
        if mem::take(&mut self.is_unsure) {
            return self.plan_to_ask_again(now);
        }
        let Some(server) = self.one_that_may_be_back(now) else { return };
        self.rounds += 1;
        if server.may_look(now) {
            self.tries.clear();
            self.failures.retain(|failure| failure.server != server.address());
            self.ask(server, false, now);
        } else {
            self.plan_to_ask_again(now);
        }
    }

    /// The first one that is up by now, or the next one.
    fn one_that_may_be_back(&self, now: Instant) -> Option<&'s Arc<Server>> {
        let route = self.route;
        let servers = || route.all().filter(|server| server.standing(now) != Standing::Out);
        let up = servers().find(|server| server.standing(now) == Standing::Up);
        up.or_else(|| servers().nth(self.rounds % servers().count().max(1)))
    }

    /// Whether a failure is one of those that ask again without anybody having been asked.
    pub(super) fn is_again_in_vain(&self, error: &ExchangeError) -> bool {
        self.rounds > 0 && is_in_vain(error)
    }
}

/// Whether the question did not even leave.
fn is_in_vain(error: &ExchangeError) -> bool {
    error.is_refusal() || matches!(error, ExchangeError::InFlight(_))
}

/// How often it is looked whether a probe has told: our guess. It takes a few handshakes.
const LOOK: Duration = Duration::from_millis(10);

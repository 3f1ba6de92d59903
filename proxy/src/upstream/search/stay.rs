//! Whether a server that has had its time is waited for all the same, since nobody else has anything.

use std::time::Duration;

use tokio::time::Instant;

use super::{Exchange, SILENCE, Search, Server, Step};

impl Search<'_> {
    /// Whether a slow answer is all that there may be: the server is alive, nobody else is left, and nobody waits for the places
    /// that are kept for it.
    pub(super) fn is_last_hope(&self, server: &Server, exchange: &Exchange, now: Instant) -> bool {
        self.bad.is_none()
            && (!self.may_ask_another(now) || self.once_garbled().is_none())
            && !server.health().is_silent_since(exchange.started())
            // Also one that is about to be tried again: that may be beside.
            && self.next_server(now).is_none_or(|next| next.is_out_of_reach())
            && !self.route.is_half_full()
            && !server.is_half_full()
    }

    /// Goes on to wait, until the deadline. One that is down is tried beside it; and where nothing came at all, all datagrams
    /// may have been lost, or the answer be stuck behind another one.
    pub(super) fn stay(&mut self, index: usize, exchange: Exchange, now: Instant) {
        let Some(attempt) = self.tries.get_mut(index) else { return };
        let (is_apart, is_unheard) =
            (exchange.is_apart(), exchange.is_unheard() || exchange.is_on_suspect());
        attempt.exchange = Some(exchange);
        attempt.next = Step::Stay;
        let server = attempt.server;
        if self.next_server(now).is_some() {
            self.fail_over(server, SILENCE, now);
        } else if let Some(back) = self.once_silent().filter(|_| self.may_ask_another(now)) {
            self.ask(back, false, now);
        } else if is_unheard && is_apart && !server.may_open_another(now) {
            // Its connection may be dead; or it is slow, or what sticks, and would take along those on another one. When it
            // has waited for long it is dead, or gone for good.
            if let Some(attempt) = self.tries.get_mut(index) {
                attempt.probe_at = Some(now + LAST_LOOK);
            }
        } else if is_unheard && self.may_ask_another(now) {
            self.ask(server, false, now);
        }
    }

    /// Looks once more at the connection of one that stays.
    pub(super) fn look_at_one_that_stays(&mut self, index: usize) {
        let Some(attempt) = self.tries.get_mut(index) else { return };
        if attempt.probe_at.take().is_some() {
            attempt.server.probe();
        }
    }

    /// There is something to be given, if nobody else has anything better at once.
    pub(super) fn end_those_that_stay(&mut self, now: Instant) {
        for index in 0..self.tries.len() {
            if self.tries.get(index).is_some_and(|tried| tried.next == Step::Stay) {
                self.time_out(index, now);
            }
        }
    }
}

/// How long after its time one that stays is looked at for the last time: a name that is as slow as that has answered by then, and
/// there is time for another connection.
const LAST_LOOK: Duration = Duration::from_secs(1);

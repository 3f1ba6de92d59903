//! Where a question goes: on one of the connections that there are, or on one that has to be made.
//!
//! The first good one carries everything until it is half full. Questions that connections were closed under are to be
//! apart, and go round the connections (RFC 7766 section 6.2.4 has them asked again).

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Inner;
use crate::upstream::{
    connection::{Connection, Load},
    error::ExchangeError,
    settings::ConnectionLimits,
};

/// What connection a question is to have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::upstream) enum Wanted {
    /// The one where it is answered soonest.
    Best,
    /// Another one than the question before, of those that want the same.
    InTurn,
    /// One that the next questions do not go to.
    Apart,
}

/// What a place is chosen by.
#[derive(Clone, Copy)]
pub(super) struct Terms<'l> {
    pub(super) limits: &'l ConnectionLimits,
    pub(super) held_up_after: Duration,
    /// Whether the server is known to answer out of order.
    pub(super) is_unordered: bool,
    pub(super) now: Instant,
}

impl Terms<'_> {
    /// Whether one question seems to hold up the others on a connection, or several at a server that reads no more at a time.
    fn is_held_up(&self, load: Load) -> bool {
        let is_by_one = load.silence >= self.held_up_after;
        (is_by_one && (!self.is_unordered || self.is_in_order(load)))
            || load.unread_for >= self.held_up_after
    }

    /// Whether one has held up others on it, whatever the server did on other ones.
    fn is_in_order(&self, load: Load) -> bool {
        load.held_up_for >= self.held_up_after
    }
}

/// Where a question goes.
#[derive(Debug)]
pub(in crate::upstream) struct Place {
    pub(in crate::upstream) connection: Arc<Connection>,
    /// A connection that somebody has to make: this one, or one more.
    pub(in crate::upstream) to_open: Option<Arc<Connection>>,
}

impl Inner {
    /// Where the answer comes soonest.
    pub(super) fn place_on_best(
        &mut self,
        terms: Terms<'_>,
        may_open: impl Fn() -> Result<(), ExchangeError>,
    ) -> Result<Place, ExchangeError> {
        let Terms { limits, now, .. } = terms;
        if let Some(good) = self.connections.iter().find(|known| known.is_good(terms)) {
            return Ok(Place::on(good));
        }
        self.forget_ended();
        let may_add = self.may_add(now);
        let Some((best, load)) = self.best(terms) else {
            if !may_add && self.has_open(now) {
                return Err(ExchangeError::InFlight(limits.max_in_flight));
            }
            return self.place_on_new(terms, may_open);
        };
        self.heed_order(terms);
        let is_held_up = Terms { is_unordered: self.is_unordered, ..terms }.is_held_up(load);
        // An old one goes when there is another one in its place.
        let is_wanted = load.is_old
            || ((is_crowded(load, limits) || is_held_up) && self.count_in_use() < limits.max);
        let to_open = (is_wanted && may_add && !self.is_opening() && may_open().is_ok())
            .then(|| self.open(limits, now));
        Ok(Place { connection: best, to_open })
    }

    /// What the connections say about whether the server answers out of order: one where it does not is believed.
    fn heed_order(&mut self, terms: Terms<'_>) {
        let mut loads = self.connections.iter().filter_map(|known| known.load(terms.now));
        if loads.any(|load| terms.is_in_order(load)) {
            self.forget_unordered();
        } else {
            self.is_unordered |= self.connections.iter().any(|known| known.is_unordered());
        }
    }

    /// For a question that connections were closed under: one after the other goes to another connection, of as many
    /// as there may be. So one that connections are closed because of has fewer around it each time, as long as those
    /// elsewhere are answered meanwhile.
    pub(super) fn place_in_turn(
        &mut self,
        terms: Terms<'_>,
        may_open: impl Fn() -> Result<(), ExchangeError>,
    ) -> Option<Place> {
        let Terms { limits, now, .. } = terms;
        self.forget_ended();
        // Else two might be put together on a new one each time.
        if self.connections.is_empty() {
            self.turn = 0;
        }
        let nth = self.turn % limits.max.max(1);
        self.turn = self.turn.wrapping_add(1);
        let has_room = |load: Load| load.in_flight < limits.max_in_flight;
        let known = self.connections.iter();
        let mut usable = known.filter(|known| known.load(now).is_some_and(has_room));
        if let Some(connection) = usable.nth(nth) {
            return Some(Place::on(connection));
        }
        (self.may_grow(limits, now) && may_open().is_ok())
            .then(|| Place::on_new(self.open(limits, now)))
    }

    /// For a question that may be the reason why nothing came on a connection: on a new one, or else on the last one, as others
    /// go to the first one.
    pub(super) fn place_apart(
        &mut self,
        terms: Terms<'_>,
        may_open: impl Fn() -> Result<(), ExchangeError>,
    ) -> Option<Place> {
        let Terms { limits, now, .. } = terms;
        self.forget_ended();
        if self.may_grow(limits, now) && may_open().is_ok() {
            return Some(Place::on_new(self.open(limits, now)));
        }
        let has_room = |load: Load| load.in_flight < limits.max_in_flight;
        let mut latest = self.connections.iter().rev();
        latest.find(|known| known.load(now).is_some_and(has_room)).map(Place::on)
    }

    /// The connection for the next question: open, not held up, not old, not crowded, and then the first one, so that
    /// questions that leave together leave in one record.
    fn best(&self, terms: Terms<'_>) -> Option<(Arc<Connection>, Load)> {
        let Terms { limits, now, .. } = terms;
        let loads = self.connections.iter().filter_map(|known| Some((known, known.load(now)?)));
        let with_room = loads.filter(|(_, load)| load.in_flight < limits.max_in_flight);
        let (connection, load) = with_room.min_by_key(|(_, load)| {
            let is_held_up = terms.is_held_up(*load);
            let is_crowded = is_crowded(*load, limits);
            let in_flight = if is_held_up || is_crowded { load.in_flight } else { 0 };
            (!load.is_open, is_held_up, load.is_old, is_crowded, in_flight)
        })?;
        Some((Arc::clone(connection), load))
    }

    /// A place where no connection is good: on a new one, instead of a suspect one where there are as many as there may
    /// be. One that was made just now is not given up: a server that takes connections and says nothing must not be
    /// sent one after the other.
    fn place_on_new(
        &mut self,
        Terms { limits, now, .. }: Terms<'_>,
        may_open: impl FnOnce() -> Result<(), ExchangeError>,
    ) -> Result<Place, ExchangeError> {
        if self.count_in_use() < limits.max {
            may_open()?;
            return Ok(Place::on_new(self.open(limits, now)));
        }
        if let Some(unwanted) = self.once_more(limits, false) {
            return Ok(Place::on(unwanted));
        }
        let suspects = || self.connections.iter().filter(|known| known.is_suspect());
        // A slow question has longer to come to its end.
        let least_age = |known: &Connection| match limits.max > 1 && self.spared.has(known, now) {
            true => 2 * SPARED,
            false => SPARED,
        };
        let mut dead = suspects().filter(|known| !known.is_younger_than(least_age(known), now));
        let Some(dead) = dead.next().cloned() else {
            let first = self.once_more(limits, true).or_else(|| suspects().next());
            return first.map(Place::on).ok_or(ExchangeError::InFlight(limits.max_in_flight));
        };
        may_open()?;
        self.connections.retain(|known| !Arc::ptr_eq(known, &dead));
        self.spared.add(&dead, now);
        // Who still waits there asks again on the new one.
        dead.replace();
        Ok(Place::on_new(self.open(limits, now)))
    }

    /// A connection that the server wants closed, where there are as many as there may be: one that is short of places must not
    /// have to give us more of them while it has slow questions to answer.
    fn once_more(&self, limits: &ConnectionLimits, is_suspect: bool) -> Option<&Arc<Connection>> {
        let mut latest = self.connections.iter().rev();
        latest.find(|known| known.take_once_more(limits.max_in_flight, is_suspect))
    }
}

impl Place {
    fn on(connection: &Arc<Connection>) -> Self {
        Self { connection: Arc::clone(connection), to_open: None }
    }

    fn on_new(connection: Arc<Connection>) -> Self {
        Self { connection: Arc::clone(&connection), to_open: Some(connection) }
    }
}

impl Connection {
    /// Whether it can have the next question, and nothing else need be thought of: which is the rule.
    fn is_good(&self, terms: Terms<'_>) -> bool {
        self.load(terms.now).is_some_and(|load| {
            load.is_open
                && !load.is_old
                && !terms.is_held_up(load)
                && !is_crowded(load, terms.limits)
        })
    }
}

fn is_crowded(load: Load, limits: &ConnectionLimits) -> bool {
    load.is_holding || load.in_flight >= limits.max_in_flight.div_ceil(2)
}

/// How long a connection lives at least: our guess, so that no server is sent more than a few in a second.
const SPARED: Duration = Duration::from_millis(500);

//! The connections of one server: few, long-lived, each for many questions.
//!
//! The first one carries everything until it is half full; then another one is made. One that is old goes
//! when there is another one in its place, one that is suspect is replaced at once. Where a server has never
//! answered out of order, and nothing comes for longer than usual, one question may hold up those behind it: another
//! connection is made, and the next ones go there. Whoever needs a connection that is still being made waits for that one:
//! there is never more than one attempt at a time, but for questions that are to be apart.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    connection::{Connection, LEAST_IDLE, Load},
    error::ExchangeError,
    settings::ConnectionLimits,
};

/// The connections of one server; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: Vec<Arc<Connection>>,
    /// Whose turn it is, for questions that are to be apart.
    turn: usize,
    /// When the server last gave us no connection beside those that we have.
    refused: Option<Instant>,
    idle_ends: IdleEnds,
    /// Whether the last connection was not to be idle for long, as the server had said.
    is_brief: bool,
    /// Whether the server has answered out of order, so that no question holds up others.
    is_unordered: bool,
}

/// After how long the server closes a connection on which nothing happens, which few tell (RFC 7828).
#[derive(Debug, Default)]
struct IdleEnds {
    last: Option<Duration>,
    /// Known once two in a row took about as long: one alone may have another reason.
    limit: Option<Duration>,
}

/// What connection a question is to have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// The one where it is answered soonest.
    Best,
    /// Another one than the question before, of those that want the same.
    InTurn,
}

/// What a place is chosen by.
#[derive(Clone, Copy)]
struct Terms<'l> {
    limits: &'l ConnectionLimits,
    held_up_after: Duration,
    now: Instant,
}

/// Where a question goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    /// A connection that somebody has to make: this one, or one more.
    pub(super) to_open: Option<Arc<Connection>>,
}

impl Pool {
    /// Finds a place for one more question. `may_open` says why no connection may be made now; those where a question seems to
    /// hold up the others for `held_up_after` are avoided.
    pub(super) fn place(
        &self,
        wanted: Wanted,
        limits: &ConnectionLimits,
        held_up_after: Duration,
        may_open: impl Fn() -> Result<(), ExchangeError>,
        now: Instant,
    ) -> Result<Place, ExchangeError> {
        let mut inner = self.lock();
        let held_up_after = if inner.is_unordered { Duration::MAX } else { held_up_after };
        let terms = Terms { limits, held_up_after, now };
        let place = match wanted {
            Wanted::Best => None,
            Wanted::InTurn => inner.place_in_turn(terms, &may_open),
        };
        place.map_or_else(|| inner.place_on_best(terms, &may_open), Ok)
    }

    /// A new connection, when there is none that could be used for a while; somebody has to make it. None where it would be
    /// closed before long.
    pub(super) fn prepare(
        &self,
        limits: &ConnectionLimits,
        now: Instant,
    ) -> Option<Arc<Connection>> {
        let mut inner = self.lock();
        if inner.is_brief(limits) {
            return None;
        }
        let may_add = inner.may_add(now);
        let connections = &mut inner.connections;
        connections.retain(|connection| !connection.is_ended());
        let is_ready = |load: Load| !load.is_old;
        if connections.iter().filter_map(|known| known.load(now)).any(is_ready) {
            return None;
        }
        let may_grow = connections.is_empty() || may_add;
        let is_full = count_taking(connections) >= limits.max;
        let is_being_made = connections.iter().any(|connection| connection.is_connecting());
        (may_grow && !is_full && !is_being_made).then(|| open(connections, limits, now))
    }

    /// The server gave us no connection beside those that we have. Tells whether that is news.
    pub(super) fn note_refused(&self, now: Instant) -> bool {
        self.lock().refused.replace(now).is_none()
    }

    /// A connection is open.
    pub(super) fn note_opened(&self, now: Instant) {
        self.lock().refused = None;
        self.retire_old(now);
    }

    /// A connection has ended: what the server let it be idle holds for the next one, until that one has other news.
    pub(super) fn note_end(&self, connection: &Connection) {
        let mut inner = self.lock();
        inner.is_brief = connection.is_brief().unwrap_or(inner.is_brief);
        inner.is_unordered |= connection.is_unordered();
    }

    /// The server has closed a connection on which nothing had happened for so long.
    pub(super) fn note_idle_end(&self, idle: Duration) {
        self.lock().idle_ends.note(idle);
    }

    /// Old ones go when their last answer has come.
    pub(super) fn retire_old(&self, now: Instant) {
        for connection in &self.lock().connections {
            if connection.load(now).is_some_and(|load| load.is_old) {
                connection.retire();
            }
        }
    }

    /// Those that were silent for too long.
    pub(super) fn suspects(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.iter().filter(|known| known.is_suspect()).cloned().collect()
    }

    /// The server has answered on one connection: those that are silent all the same are dead, and who waits there
    /// asks again.
    pub(super) fn end_suspects(&self) {
        let mut inner = self.lock();
        let suspects: Vec<_> =
            inner.connections.extract_if(.., |known| known.is_suspect()).collect();
        drop(inner);
        suspects.iter().for_each(|connection| connection.end(&ExchangeError::ClosedAround));
    }

    /// Whether there is no open connection, and one has been in the making for so long.
    pub(super) fn is_slow_to_open(&self, limit: Duration, now: Instant) -> bool {
        let Inner { connections, .. } = &*self.lock();
        let is_open = |known: &Arc<Connection>| known.load(now).is_some_and(|load| load.is_open);
        !connections.iter().any(is_open)
            && connections.iter().any(|known| known.is_slow_to_open(limit, now))
    }

    /// No connection takes questions any more.
    pub(super) fn retire_all(&self) {
        self.lock().connections.drain(..).for_each(|connection| connection.retire());
    }

    /// Whether a question would find an open connection.
    pub(super) fn is_warm(&self, now: Instant) -> bool {
        let Inner { connections, .. } = &*self.lock();
        connections.iter().filter_map(|connection| connection.load(now)).any(|load| load.is_open)
    }

    /// Whether connections are closed as soon as they are idle.
    pub(super) fn is_brief(&self, limits: &ConnectionLimits) -> bool {
        self.lock().is_brief(limits)
    }

    /// Whether half of the questions wait that there may be.
    pub(super) fn is_half_full(&self, limits: &ConnectionLimits) -> bool {
        let waiting: usize = self.lock().connections.iter().map(|known| known.waiting()).sum();
        waiting >= limits.max * limits.max_in_flight / 2
    }

    /// Whether there are connections, and nothing happens on any of them.
    pub(super) fn is_quiet_for(&self, interval: Duration, now: Instant) -> bool {
        let Inner { connections, idle_ends, .. } = &*self.lock();
        let interval = idle_ends.limit.map_or(interval, |limit| interval.min(limit / 2));
        let mut alive = connections.iter().filter(|connection| !connection.is_ended()).peekable();
        alive.peek().is_some() && alive.all(|connection| connection.is_quiet_for(interval, now))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn place_on_best(
        &mut self,
        terms: Terms<'_>,
        may_open: impl Fn() -> Result<(), ExchangeError>,
    ) -> Result<Place, ExchangeError> {
        let Terms { limits, now, .. } = terms;
        if let Some(good) = self.connections.iter().find(|known| known.is_good(terms)) {
            return Ok(Place { connection: Arc::clone(good), to_open: None });
        }
        let may_add = self.may_add(now);
        let connections = &mut self.connections;
        connections.retain(|connection| !connection.is_ended());
        let Some((best, load)) = best(connections, terms) else {
            let is_open = |known: &Arc<Connection>| known.load(now).is_some_and(|it| it.is_open);
            if !may_add && connections.iter().any(is_open) {
                return Err(ExchangeError::InFlight(limits.max_in_flight));
            }
            return place_on_new(connections, limits, may_open, now);
        };
        self.is_unordered |= connections.iter().any(|known| known.is_unordered());
        let is_held_up = load.silence >= terms.held_up_after && !self.is_unordered;
        // An old one goes when there is another one in its place.
        let is_wanted = load.is_old
            || ((is_crowded(load, limits) || is_held_up) && count_taking(connections) < limits.max);
        let is_being_made = || connections.iter().any(|connection| connection.is_connecting());
        let to_open = (is_wanted && may_add && !is_being_made() && may_open().is_ok())
            .then(|| open(connections, limits, now));
        Ok(Place { connection: best, to_open })
    }

    /// For a question that connections were closed under: one after the other goes to another connection, of as many
    /// as there may be. So one that connections are closed because of has fewer around it each time, as long as those
    /// elsewhere are answered meanwhile.
    fn place_in_turn(
        &mut self,
        terms: Terms<'_>,
        may_open: impl Fn() -> Result<(), ExchangeError>,
    ) -> Option<Place> {
        let Terms { limits, now, .. } = terms;
        let Self { connections, turn, .. } = self;
        connections.retain(|connection| !connection.is_ended());
        // Else two might be put together on a new one each time.
        if connections.is_empty() {
            *turn = 0;
        }
        let has_room = |load: Load| load.in_flight < limits.max_in_flight;
        let mut usable = connections.iter().filter(|known| known.load(now).is_some_and(has_room));
        let nth = *turn % limits.max.max(1);
        *turn = turn.wrapping_add(1);
        if let Some(connection) = usable.nth(nth).map(Arc::clone) {
            return Some(Place { connection, to_open: None });
        }
        let may_grow = connections.is_empty() || self.may_add(now);
        let may_be_made = may_grow && count_taking(&self.connections) < limits.max;
        (may_be_made && may_open().is_ok()).then(|| {
            let connection = open(&mut self.connections, limits, now);
            Place { connection: Arc::clone(&connection), to_open: Some(connection) }
        })
    }

    fn is_brief(&self, limits: &ConnectionLimits) -> bool {
        self.is_brief || limits.idle_timeout < LEAST_IDLE
    }

    /// Whether one connection more may be tried for, beside others.
    fn may_add(&self, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused + REFUSAL_PAUSE <= now)
    }
}

impl IdleEnds {
    fn note(&mut self, idle: Duration) {
        let is_same = |last: Duration| last.abs_diff(idle) <= last / 8;
        let is_known = self.last.is_some_and(is_same) && idle >= LEAST_IDLE;
        // What does not agree had another reason, or shows that the server has changed its mind: it is learnt anew.
        self.limit = is_known.then_some(idle);
        self.last = Some(idle);
    }
}

/// How long a server that gave us no further connection is not asked for one: our guess. Those that there are go on.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// The connection for the next question: open, not held up, not old, not crowded, and then the first one, so that questions
/// that leave together leave in one record.
fn best(connections: &[Arc<Connection>], terms: Terms<'_>) -> Option<(Arc<Connection>, Load)> {
    let Terms { limits, held_up_after, now } = terms;
    let loads = connections.iter().filter_map(|known| Some((known, known.load(now)?)));
    let with_room = loads.filter(|(_, load)| load.in_flight < limits.max_in_flight);
    let (connection, load) = with_room.min_by_key(|(_, load)| {
        let (is_held_up, is_crowded) = (load.silence >= held_up_after, is_crowded(*load, limits));
        let in_flight = if is_held_up || is_crowded { load.in_flight } else { 0 };
        (!load.is_open, is_held_up, load.is_old, is_crowded, in_flight)
    })?;
    Some((Arc::clone(connection), load))
}

impl Connection {
    /// Whether it can have the next question, and nothing else need be thought of: which is the rule.
    fn is_good(&self, Terms { limits, held_up_after, now }: Terms<'_>) -> bool {
        self.load(now).is_some_and(|load| {
            load.is_open
                && !load.is_old
                && load.silence < held_up_after
                && !is_crowded(load, limits)
        })
    }
}

fn is_crowded(load: Load, limits: &ConnectionLimits) -> bool {
    load.in_flight >= limits.max_in_flight.div_ceil(2)
}

/// A place where no connection is good: on a new one, instead of a suspect one where there are as many as there may
/// be. One that was made just now is not given up: a server that takes connections and says nothing must not be
/// sent one after the other.
fn place_on_new(
    connections: &mut Vec<Arc<Connection>>,
    limits: &ConnectionLimits,
    may_open: impl FnOnce() -> Result<(), ExchangeError>,
    now: Instant,
) -> Result<Place, ExchangeError> {
    if count_taking(connections) >= limits.max {
        let suspect = connections.iter().position(|known| known.is_suspect());
        let Some(suspect) = suspect else {
            return Err(ExchangeError::InFlight(limits.max_in_flight));
        };
        let known = connections.get(suspect).filter(|known| known.is_younger_than(SPARED, now));
        if let Some(connection) = known.map(Arc::clone) {
            return Ok(Place { connection, to_open: None });
        }
        may_open()?;
        // Who still waits there asks again on the new one.
        connections.remove(suspect).end(&ExchangeError::ClosedAround);
    } else {
        may_open()?;
    }
    let connection = open(connections, limits, now);
    Ok(Place { connection: Arc::clone(&connection), to_open: Some(connection) })
}

/// How long a connection lives at least: our guess, so that no server is sent more than a few in a second.
const SPARED: Duration = Duration::from_millis(500);

fn count_taking(connections: &[Arc<Connection>]) -> usize {
    connections.iter().filter(|connection| connection.is_taking()).count()
}

fn open(
    connections: &mut Vec<Arc<Connection>>,
    limits: &ConnectionLimits,
    now: Instant,
) -> Arc<Connection> {
    let connection = Arc::new(Connection::new(limits, now));
    connections.push(Arc::clone(&connection));
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_time_is_learnt_from_two_ends_alike_and_forgotten_with_one_that_is_not() {
        let millis = |millis| Duration::from_millis(millis);
        let mut ends = IdleEnds::default();
        let cases = [
            // (after so many milliseconds, what is known then)
            (4000, None),
            (4100, Some(4100)),
            (4200, Some(4200)),
            (900, None),
            (950, None),
            (4000, None),
            (2000, None),
            (2000, Some(2000)),
        ];

        for (index, (idle, expected)) in cases.into_iter().enumerate() {
            ends.note(millis(idle));
            assert_eq!(ends.limit, expected.map(millis), "end {index}");
        }
    }

    #[test]
    fn where_no_connection_is_left_two_questions_that_are_apart_get_one_each() {
        let (pool, limits, now) = (Pool::default(), ConnectionLimits::default(), Instant::now());
        let held_up_after = Duration::from_millis(100);
        let place = || {
            let place = pool.place(Wanted::InTurn, &limits, held_up_after, || Ok(()), now);
            place.unwrap().connection
        };
        for before in 0..4 {
            let earlier: Vec<_> = (0..before).map(|_| place()).collect();
            let end_all = || {
                let Inner { connections, .. } = &*pool.lock();
                connections.iter().for_each(|known| known.end(&ExchangeError::Closed));
            };
            end_all();
            drop(earlier);

            assert!(!Arc::ptr_eq(&place(), &place()), "after {before} turns");
            end_all();
        }
    }
}

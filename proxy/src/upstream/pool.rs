//! The connections of one server: few, long-lived, each for many questions.
//!
//! The first one carries everything until it is half full; then another one is made (`place`). One that is old goes
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
    connection::{Connection, LEAST_IDLE},
    error::ExchangeError,
    settings::ConnectionLimits,
};

mod cuts;
mod idle;
mod place;
mod spared;

pub(super) use place::Wanted;

use cuts::Cuts;
use idle::IdleEnds;
use place::{Place, Terms};
use spared::Spared;

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
    /// When it has answered us last while older questions were out.
    overtaken: Option<Instant>,
    /// When all connections were asked last whether they live.
    asked_all: Option<Instant>,
    cuts: Cuts,
    spared: Spared,
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
        let terms = Terms { limits, held_up_after, is_unordered: inner.is_unordered, now };
        let place = match wanted {
            Wanted::Best => None,
            Wanted::Apart => inner.place_apart(terms, &may_open),
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
        inner.forget_ended();
        let mut loads = inner.connections.iter().filter_map(|known| known.load(now));
        let is_ready = loads.any(|load| !load.is_old);
        let may_be_made = !is_ready && !inner.is_opening() && inner.may_grow(limits, now);
        may_be_made.then(|| inner.open(limits, now))
    }

    /// Whether there may be one connection more.
    pub(super) fn may_grow(&self, limits: &ConnectionLimits, now: Instant) -> bool {
        self.lock().may_grow(limits, now)
    }

    /// Whether all connections may be asked whether they live: not once more within `pause`.
    pub(super) fn may_ask_all(&self, pause: Duration, now: Instant) -> bool {
        let mut inner = self.lock();
        let may_ask = inner.asked_all.is_none_or(|asked| asked + pause <= now);
        if may_ask {
            inner.asked_all = Some(now);
        }
        may_ask
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

    /// Whether nothing has come on one for so long while somebody waits, and it was not checked for `pause`.
    pub(super) fn is_due_for_check(&self, limit: Duration, pause: Duration, now: Instant) -> bool {
        self.lock().connections.iter().any(|known| known.is_due_for_check(limit, pause, now))
    }

    /// Those that are open, and that nobody suspects.
    pub(super) fn unsuspected(&self, now: Instant) -> Vec<Arc<Connection>> {
        let known = &self.lock().connections;
        let is_open = |known: &&Arc<Connection>| known.load(now).is_some_and(|load| load.is_open);
        known.iter().filter(is_open).cloned().collect()
    }

    /// The server has answered on one connection: those of `hailed` that are silent all the same are dead, and who waits there
    /// asks again. One may be alive all the same, and its first question slow: with the next one only the others ask again.
    /// And where questions are taken in order, one that has been silent for less than `patience` may be busy.
    pub(super) fn end_suspects(&self, hailed: &[Arc<Connection>], patience: Duration) {
        let (now, is_unordered) = (Instant::now(), self.seems_unordered());
        let mut inner = self.lock();
        let Inner { connections, spared, .. } = &mut *inner;
        let is_silent = |known: &mut Arc<Connection>| {
            known.is_suspect()
                && hailed.iter().any(|hailed| Arc::ptr_eq(hailed, known))
                && (is_unordered || known.is_silent_for(patience, now))
        };
        let silent = connections.extract_if(.., is_silent);
        let is_slow = |known: &Arc<Connection>| !is_unordered && spared.has(known, now);
        let (slow, suspects): (Vec<_>, Vec<_>) = silent.partition(is_slow);
        connections.extend(slow.iter().cloned());
        suspects.iter().for_each(|dead| spared.add(dead, now));
        // Not even what was asked last was answered there, so an older question may have held it up; unless none did elsewhere.
        let has_overtaken = inner.overtaken.is_some_and(|overtaken| now < overtaken + patience);
        if !has_overtaken && suspects.iter().any(|dead| !dead.is_unordered()) {
            inner.forget_unordered();
        }
        drop(inner);
        slow.iter().for_each(|connection| connection.end_others(&ExchangeError::ClosedAround));
        suspects.iter().for_each(|connection| connection.replace());
    }

    /// Whether there is no open connection, and one has been in the making for so long.
    pub(super) fn is_slow_to_open(&self, limit: Duration, now: Instant) -> bool {
        let inner = self.lock();
        !inner.has_open(now)
            && inner.connections.iter().any(|known| known.is_slow_to_open(limit, now))
    }

    /// No connection takes questions any more.
    pub(super) fn retire_all(&self) {
        self.lock().connections.drain(..).for_each(|connection| connection.retire());
    }

    /// Whether a question would find an open connection.
    pub(super) fn is_warm(&self, now: Instant) -> bool {
        self.lock().has_open(now)
    }

    /// The server has answered us while older questions were out on the same connection: it drops them, or is about them still.
    pub(super) fn note_overtaking(&self, now: Instant) {
        self.lock().overtaken = Some(now);
    }

    /// Whether the server seems to answer in any order, so that no question is in the way of another.
    pub(super) fn seems_unordered(&self) -> bool {
        let inner = self.lock();
        inner.overtaken.is_some()
            || inner.is_unordered
            || inner.connections.iter().any(|known| known.is_unordered())
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

    /// How many are open beside those that replace them, for who waits there.
    #[cfg(test)]
    pub(super) fn worn(&self) -> usize {
        let known = &self.lock().connections;
        known.iter().filter(|known| !known.is_ended() && known.is_worn()).count()
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
    fn is_brief(&self, limits: &ConnectionLimits) -> bool {
        self.is_brief || limits.idle_timeout < LEAST_IDLE
    }

    /// Whether one connection more may be tried for, beside others.
    fn may_add(&self, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused + REFUSAL_PAUSE <= now)
    }

    /// The same within the limit, and for the first one as well.
    fn may_grow(&self, limits: &ConnectionLimits, now: Instant) -> bool {
        (self.connections.is_empty() || self.may_add(now)) && self.count_in_use() < limits.max
    }

    fn has_open(&self, now: Instant) -> bool {
        self.connections.iter().filter_map(|known| known.load(now)).any(|load| load.is_open)
    }

    fn is_opening(&self) -> bool {
        self.connections.iter().any(|known| known.is_connecting())
    }

    fn count_in_use(&self) -> usize {
        self.connections.iter().filter(|known| known.is_in_use()).count()
    }

    fn open(&mut self, limits: &ConnectionLimits, now: Instant) -> Arc<Connection> {
        // The new one is instead of those.
        self.connections.iter().for_each(|known| known.retire_if_useless());
        // Where answers come in any order, nobody can tell which questions the server has heard of.
        let expected = self.cuts.expected.filter(|_| !self.is_unordered);
        let connection = Arc::new(Connection::new(limits, expected, now));
        self.connections.push(Arc::clone(&connection));
        connection
    }

    /// Another one may stand behind the address by now.
    fn forget_unordered(&mut self) {
        (self.is_unordered, self.overtaken) = (false, None);
    }

    fn forget_ended(&mut self) {
        for ended in self.connections.extract_if(.., |known| known.is_ended()) {
            self.cuts.note(ended.kind_of_end());
        }
    }
}

/// How long a server that gave us no further connection is not asked for one: our guess. Those that there are go on.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::{
        shutdown::Tasks,
        upstream::{connection::drive, metrics::Metrics},
    };

    /// A pool, and its connections, which are open; the other ends.
    async fn with_open<const N: usize>(
        limits: &ConnectionLimits,
        tasks: &Tasks,
    ) -> (Pool, [Arc<Connection>; N], [DuplexStream; N]) {
        let pool = Pool::default();
        let series = Metrics::default().server(&"lab".into(), "192.0.2.1:853".parse().unwrap());
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..N).map(|_| duplex(64)).unzip();
        let mut connections = Vec::new();
        for stream in ours {
            let known = pool.lock().open(limits, Instant::now());
            let driver =
                drive(Arc::clone(&known), stream, Arc::clone(&series), tasks.token().clone());
            tasks.spawn(driver.map(drop));
            while known.is_connecting() {
                tokio::task::yield_now().await;
            }
            connections.push(known);
        }
        (pool, connections.try_into().unwrap(), theirs.try_into().unwrap())
    }

    #[tokio::test]
    async fn only_those_end_that_were_asked_whether_they_live() {
        let tasks = Tasks::default();
        let (pool, [asked, other], _theirs) = with_open(&ConnectionLimits::default(), &tasks).await;
        assert!(asked.suspect() && other.suspect());

        pool.end_suspects(&[Arc::clone(&asked)], Duration::ZERO);

        assert!(asked.is_ended() && !other.is_ended());
    }

    #[tokio::test]
    async fn a_suspect_connection_on_which_nobody_waits_makes_room_for_another_one() {
        let (tasks, now) = (Tasks::default(), Instant::now());
        let limits = ConnectionLimits { max: 1, ..ConnectionLimits::default() };
        let (pool, [known], _theirs) = with_open(&limits, &tasks).await;
        assert!(!pool.may_grow(&limits, now) && known.suspect());

        assert!(pool.may_grow(&limits, now));
        pool.lock().open(&limits, now);
        while !known.is_ended() {
            tokio::task::yield_now().await;
        }
    }

    /// A dead connection says nothing against what another one has shown a moment ago.
    #[tokio::test]
    async fn that_answers_come_in_any_order_is_forgotten_with_a_dead_connection_unless_it_is_news()
    {
        for (patience, expected) in [(Duration::from_secs(9), true), (Duration::ZERO, false)] {
            let tasks = Tasks::default();
            let (pool, [dead], _theirs) = with_open(&ConnectionLimits::default(), &tasks).await;
            pool.note_overtaking(Instant::now());
            assert!(dead.suspect());

            pool.end_suspects(&[Arc::clone(&dead)], patience);

            assert!(dead.is_ended());
            assert_eq!(pool.seems_unordered(), expected, "{patience:?}");
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

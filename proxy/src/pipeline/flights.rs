//! Equal questions that wait at the same time share one exchange.
//!
//! That spares the upstream, and whoever would forge its answer gets one try and not as many as there are clients
//! (CVE-2020-25686 is about resolvers that asked once for each). Questions are equal when no answer could tell them
//! apart: name without regard to case, type, class, RD, CD, DO, and the scope, which says where they would go.
//!
//! An exchange belongs to all who wait for it, over all workers: it goes on until it has an outcome, or until the
//! last one has left.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::RandomState,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use foldhash::fast::FixedState;

use self::waiters::{Seat, Waiters};
use super::{inquiry::Inquiry, waiting::Outcome};
use crate::{cache::Key, message::name::keyed_hash};

mod waiters;

/// An exchange that is on its way; clones wait for the same one.
pub(super) struct Flight {
    shared: Arc<Shared>,
    /// Since it was polled first.
    seat: Option<Seat>,
}

/// What those who wait share. It is also whom the exchange wakes where there are several, and so may be held by the exchange:
/// the last one who waits ends that.
struct Shared {
    stage: Mutex<Stage>,
    waiters: Waiters,
    /// How many flights there are.
    flights: AtomicUsize,
}

enum Stage {
    On {
        exchange: Exchange,
        _landing: Landing,
    },
    Over(Outcome),
    /// Nobody waits any more.
    GivenUp,
}

type Exchange = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// The exchanges that are on their way, of the whole process. Each is held by at least one query that waits, and
/// those are bounded by `limits.maxInFlight`.
pub struct Flights {
    shards: [Mutex<Shard>; SHARDS],
    /// Unknown to clients, so that none can make others' questions meet in one place.
    seed: RandomState,
    /// Tells a flight from the next one in its place.
    next: AtomicU64,
}

/// By a hash that nobody can foresee, so this one need not be.
type Shard = HashMap<u64, Known, FixedState>;

/// So many that workers seldom meet.
const SHARDS: usize = 16;

struct Known {
    number: u64,
    inquiry: Inquiry,
    flight: Weak<Shared>,
}

/// Takes a flight off the list at its end, however that comes.
struct Landing {
    flights: Arc<Flights>,
    hash: u64,
    number: u64,
}

impl Flights {
    /// The exchange for a question: the one that is on its way, or else the one that is made of `exchange`. Also
    /// tells whether it is that one.
    pub(super) fn join<F>(
        self: &Arc<Self>,
        inquiry: Inquiry,
        exchange: impl FnOnce(Inquiry) -> F,
    ) -> (Flight, bool)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let hash = inquiry.hash().unwrap_or_else(|| self.hash(&inquiry));
        let mut known = self.shard(hash);
        let found = known.get(&hash);
        let is_taken = found.is_some_and(|found| !found.inquiry.is_same(&inquiry));
        let same = found.filter(|_| !is_taken).and_then(|found| found.flight.upgrade());
        if let Some(flight) = same.and_then(Flight::one_more) {
            return (flight, false);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { flights: Arc::clone(self), hash, number };
        let stage = Stage::On { exchange: Box::pin(exchange(inquiry.clone())), _landing: landing };
        let shared = Arc::new(Shared {
            stage: Mutex::new(stage),
            waiters: Waiters::default(),
            flights: AtomicUsize::new(1),
        });
        // Two questions of one hash: the second one goes alone.
        if !is_taken {
            let flight = Arc::downgrade(&shared);
            known.insert(hash, Known { number, inquiry, flight });
        }
        drop(known);
        (Flight { shared, seat: None }, true)
    }

    /// Of a question that has no place in the cache.
    fn hash(&self, inquiry: &Inquiry) -> u64 {
        let Key { name, qtype, qclass, dnssec_ok, checking_disabled, scope } = inquiry.key();
        let flags = [inquiry.request.recursion_desired, dnssec_ok, checking_disabled];
        let flags = flags.into_iter().fold(0, |flags, flag| flags << 1 | u64::from(flag));
        let kind = u64::from(qtype.0) << 32 | u64::from(qclass.0) << 16 | flags;
        keyed_hash(&self.seed, name, [kind, scope.0])
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        let [first, ..] = &self.shards;
        self.shards.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is woken first goes on with the exchange, for all; so one that is never polled again holds up nobody.
impl Future for Flight {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { shared, seat } = &mut *self;
        let mut stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let exchange = match &mut *stage {
            Stage::On { exchange, .. } => exchange,
            Stage::Over(outcome) => return Poll::Ready(outcome.clone()),
            // Not while this one waits.
            Stage::GivenUp => return Poll::Pending,
        };
        let polled = if shared.waiters.take_seat(seat, cx.waker()) {
            exchange.as_mut().poll(cx)
        } else {
            let all = Waker::from(Arc::clone(shared));
            exchange.as_mut().poll(&mut Context::from_waker(&all))
        };
        if let Poll::Ready(outcome) = &polled {
            *stage = Stage::Over(outcome.clone());
            drop(stage);
            shared.waiters.wake_others(seat.take());
        }
        polled
    }
}

impl Flight {
    /// One more that waits; `None` where the last one has left meanwhile.
    fn one_more(shared: Arc<Shared>) -> Option<Self> {
        let more = |flights: usize| (flights > 0).then_some(flights + 1);
        let before = shared.flights.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        before.is_ok().then_some(Self { shared, seat: None })
    }
}

impl Clone for Flight {
    fn clone(&self) -> Self {
        self.shared.flights.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), seat: None }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Self { shared, seat } = self;
        if let Some(seat) = seat.take() {
            shared.waiters.leave(seat);
        }
        if shared.flights.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner);
            let last = mem::replace(&mut *stage, Stage::GivenUp);
            drop(stage);
            // Outside of the lock: it leaves the list of flights.
            drop(last);
        }
    }
}

/// The exchange goes on, and all who wait for it are told.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.waiters.wake_all();
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut known = self.flights.shard(self.hash);
        if known.get(&self.hash).is_some_and(|known| known.number == self.number) {
            known.remove(&self.hash);
        }
    }
}

impl Default for Flights {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, seed: RandomState::new(), next: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

#[cfg(test)]
mod tests;

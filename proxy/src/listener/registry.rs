//! Which clients have TCP connections open, and how many they may have (RFC 7766 section 6.2.2).
//!
//! When the process has as many as it may, the one that is idle longest makes room for a new one, so that
//! clients that hold connections cannot lock others out. One client that has all it may gets no more. A client that may not ask
//! has its refusal, where there is a place to spare: none makes room for it, and it makes room before all others. What is
//! counted is what is open: a connection that was told to close counts until it has.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ListenerMetrics,
    holdings::{Holding, Holdings},
};
use crate::access::Prefix;

/// Connections that were told to close and are still open: so many there may be beyond the limit. They close
/// within a moment, so that only a storm of new ones meets this bound: our guess.
const MAX_LEAVING: usize = 256;

/// A search for idle connections looks at all of them, so it finds some for the next new ones as well: our guess.
const FOUND_AT_ONCE: usize = 64;

/// How long not to search again where none was idle, in microseconds: our guess.
const SEARCH_PAUSE: u64 = 10_000;

/// The open TCP connections of the whole process.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    metrics: ListenerMetrics,
    holdings: Holdings,
    /// However many the manifest allows.
    most: usize,
    start: Instant,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    /// Those that were not told to close.
    staying: HashMap<u64, Arc<Activity>>,
    /// Those among them of clients that could not ask when they connected.
    unwelcome: BTreeSet<u64>,
    by_client: HashMap<Prefix, u32>,
    leaving: usize,
    /// The ones that were idle longest when all were searched, in that order, and since when. One that still is is idle
    /// longer than whoever became idle later.
    idlest: VecDeque<(u64, u64)>,
    /// When they may be searched again.
    next_search: u64,
}

/// What one connection tells about itself, without a lock.
#[derive(Debug)]
pub(super) struct Activity {
    /// By [`Connections::now`], when it became idle; [`BUSY`] while queries wait.
    idle_since: AtomicU64,
    evicted: CancellationToken,
}

const BUSY: u64 = u64::MAX;

/// A place among the open connections; dropping it gives the place back.
#[derive(Debug)]
pub struct Admission {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
    client: Prefix,
    holding: Holding,
    id: u64,
}

impl Connections {
    /// No connection is open. There may be at most so many, and all together may hold so many octets.
    pub fn new(metrics: ListenerMetrics, most: usize, held: usize) -> Arc<Self> {
        let holdings = Holdings::new(metrics.held(), held);
        let (open, start) = (Mutex::default(), Instant::now());
        Arc::new(Self { open, metrics, holdings, most, start })
    }

    /// Takes a place for a new connection of `client`, which may ask or not; `None` when the client has `per_client`
    /// already, or none of the `total` places can be made free for it.
    pub fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        is_welcome: bool,
        total: usize,
        per_client: u32,
    ) -> Option<Admission> {
        let client = Prefix::of(client);
        let total = total.min(self.most);
        let mut open = self.lock();
        let held = open.by_client.get(&client).copied().unwrap_or_default();
        let mut has_room =
            || open.staying.len() < total || (is_welcome && open.make_room(self.now()));
        if held >= per_client || !has_room() {
            self.metrics.count_refused();
            return None;
        }
        let activity = Arc::new(Activity {
            idle_since: AtomicU64::new(self.now()),
            evicted: CancellationToken::new(),
        });
        let id = open.next_id;
        open.next_id += 1;
        open.staying.insert(id, Arc::clone(&activity));
        if !is_welcome {
            open.unwelcome.insert(id);
        }
        open.by_client.insert(client, held + 1);
        self.metrics.set_connections(open.len());
        let holding = self.holdings.begin();
        Some(Admission { connections: Arc::clone(self), activity, client, holding, id })
    }

    fn release(&self, admission: &Admission) {
        let mut open = self.lock();
        if open.staying.remove(&admission.id).is_none() {
            open.leaving -= 1;
        }
        open.unwelcome.remove(&admission.id);
        if let Some(held) = open.by_client.get_mut(&admission.client) {
            *held -= 1;
            if *held == 0 {
                open.by_client.remove(&admission.client);
            }
        }
        self.metrics.set_connections(open.len());
    }

    /// Microseconds from the start of the process.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(BUSY - 1)
    }

    /// Nothing inside the lock can leave it half changed, so a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn len(&self) -> usize {
        self.staying.len() + self.leaving
    }

    /// Asks a connection to close: one of a client that may not ask, whose refusal waits for nobody, or the one that is idle longest.
    fn make_room(&mut self, now: u64) -> bool {
        if self.leaving >= MAX_LEAVING {
            return false;
        }
        let unwelcome = self.unwelcome.pop_first();
        let idlest = unwelcome.or_else(|| self.next_idlest()).or_else(|| self.search(now));
        let Some(id) = idlest else { return false };
        let Some(activity) = self.staying.remove(&id) else { return false };
        activity.evicted.cancel();
        self.leaving += 1;
        true
    }

    /// The next of those that were found, if it did nothing meanwhile.
    fn next_idlest(&mut self) -> Option<u64> {
        while let Some((since, id)) = self.idlest.pop_front() {
            if self.staying.get(&id).is_some_and(|it| it.idle_since() == since) {
                return Some(id);
            }
        }
        None
    }

    /// Looks at all of them, and says which is idle longest.
    fn search(&mut self, now: u64) -> Option<u64> {
        if now < self.next_search {
            return None;
        }
        let all = self.staying.iter().map(|(id, activity)| (activity.idle_since(), *id));
        let mut idle: Vec<_> = all.filter(|(since, _)| *since != BUSY).collect();
        if idle.len() > FOUND_AT_ONCE {
            idle.select_nth_unstable(FOUND_AT_ONCE);
            idle.truncate(FOUND_AT_ONCE);
        }
        idle.sort_unstable();
        self.idlest = idle.into();
        // It was idle a moment ago, which is all that can be known.
        let first = self.idlest.pop_front();
        if first.is_none() {
            self.next_search = now + SEARCH_PAUSE;
        }
        first.map(|(_, id)| id)
    }
}

impl Activity {
    fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }
}

impl Admission {
    /// Queries wait for an answer: the connection is not idle.
    pub fn busy(&self) {
        self.activity.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// No query waits any more.
    pub fn idle(&self) {
        self.activity.idle_since.store(self.connections.now(), Ordering::Relaxed);
    }

    /// What the connection holds.
    pub(super) fn holding(&mut self) -> &mut Holding {
        &mut self.holding
    }

    /// Whether it may hold much, or has to be given up; `is_stalled` is while its client takes nothing.
    pub(super) fn is_fair(&self, is_stalled: bool) -> bool {
        self.holding.is_fair(self.connections.metrics.open(), is_stalled)
    }

    /// The connection is given up, since it holds more than it may.
    pub(super) fn give_up(&self) {
        self.connections.metrics.count_given_up();
    }

    /// Ends when the connection should close to make room.
    pub async fn evicted(&self) {
        self.activity.evicted.cancelled().await;
    }

    /// Whether the connection should close to make room.
    pub fn is_evicted(&self) -> bool {
        self.activity.evicted.is_cancelled()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.connections.release(self);
    }
}

#[cfg(test)]
mod tests;

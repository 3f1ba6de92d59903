//! Which clients have TCP connections open, and how many they may have (RFC 7766 section 6.2.2).
//!
//! When the process has as many as it may, the one that is idle longest makes room for a new one, so that
//! clients that hold connections cannot lock others out. One client that has all it may gets no more. What is
//! counted is what is open: a connection that was told to close counts until it has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ListenerMetrics;
use crate::access::Prefix;

/// Connections that were told to close and are still open: so many there may be beyond the limit. They close
/// within a moment, so that only a storm of new ones meets this bound: our guess.
const MAX_LEAVING: usize = 256;

/// The open TCP connections of the whole process.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    metrics: ListenerMetrics,
    start: Instant,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<Activity>>,
    by_client: HashMap<Prefix, u32>,
    leaving: usize,
}

/// What one connection tells about itself, without a lock.
#[derive(Debug)]
pub(super) struct Activity {
    /// Microseconds from the start of the process to when it became idle; [`BUSY`] while queries wait.
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
    id: u64,
}

impl Connections {
    /// No connection is open.
    pub fn new(metrics: ListenerMetrics) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), metrics, start: Instant::now() })
    }

    /// Takes a place for a new connection of `client`; `None` when the client has `per_client` already,
    /// or all `total` places are busy.
    pub fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        total: usize,
        per_client: u32,
    ) -> Option<Admission> {
        let client = Prefix::of(client);
        let mut open = self.lock();
        let held = open.by_client.get(&client).copied().unwrap_or_default();
        if held >= per_client || !open.has_room(total) {
            self.metrics.count_refused();
            return None;
        }
        let activity = Arc::new(Activity {
            idle_since: AtomicU64::new(self.now()),
            evicted: CancellationToken::new(),
        });
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, Arc::clone(&activity));
        open.by_client.insert(client, held + 1);
        self.metrics.set_connections(open.by_id.len());
        Some(Admission { connections: Arc::clone(self), activity, client, id })
    }

    fn release(&self, admission: &Admission) {
        let mut open = self.lock();
        open.by_id.remove(&admission.id);
        if admission.is_evicted() {
            open.leaving -= 1;
        }
        if let Some(held) = open.by_client.get_mut(&admission.client) {
            *held -= 1;
            if *held == 0 {
                open.by_client.remove(&admission.client);
            }
        }
        self.metrics.set_connections(open.by_id.len());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(BUSY - 1)
    }

    /// Nothing inside the lock can leave it half changed, so a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether there is a place for one connection more, or one was made.
    fn has_room(&mut self, total: usize) -> bool {
        self.by_id.len() - self.leaving < total
            || (self.leaving < MAX_LEAVING && self.evict_the_idlest())
    }

    /// Asks the connection that is idle longest to close.
    fn evict_the_idlest(&mut self) -> bool {
        let idle_since = |activity: &Activity| activity.idle_since.load(Ordering::Relaxed);
        let staying = self.by_id.values().filter(|activity| !activity.evicted.is_cancelled());
        let Some(activity) = staying.min_by_key(|activity| idle_since(activity)) else {
            return false;
        };
        if idle_since(activity) == BUSY {
            return false;
        }
        activity.evicted.cancel();
        self.leaving += 1;
        true
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
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;

    fn connections() -> Arc<Connections> {
        Connections::new(ListenerMetrics::register(&mut Registry::default()))
    }

    fn client(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_gets_no_more_than_its_share_and_others_still_do() {
        let connections = connections();
        let held: Vec<_> = (0..2).filter_map(|_| connections.admit(client(1), 10, 2)).collect();

        assert_eq!(held.len(), 2);
        assert!(connections.admit(client(1), 10, 2).is_none(), "its share is used up");
        assert!(connections.admit(client(2), 10, 2).is_some(), "another client is not concerned");
        drop(held);
        assert!(connections.admit(client(1), 10, 2).is_some(), "closed connections count no more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_is_idle_longest_makes_room() {
        let connections = connections();
        let idle_longest = connections.admit(client(1), 2, 9).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let idle = connections.admit(client(2), 2, 9).unwrap();

        let new = connections.admit(client(3), 2, 9);

        assert!(new.is_some());
        idle_longest.evicted().await;
        assert!(tokio::time::timeout(Duration::from_secs(9), idle.evicted()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_longer_is_longer() {
        let connections = connections();
        let mut open = Vec::new();
        for _ in 0..20 {
            open.extend(connections.admit(client(1), 20, 99));
            tokio::time::advance(Duration::from_micros(10)).await;
        }

        let new = connections.admit(client(2), 20, 99);
        let evicted: Vec<bool> = open.iter().map(Admission::is_evicted).collect();
        assert!(new.is_some() && evicted[0], "the first one: {evicted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_told_to_close_counts_until_it_has() {
        let connections = connections();
        let open = || connections.metrics.connections();
        let told = connections.admit(client(1), 1, 9).unwrap();

        let new = connections.admit(client(2), 1, 9).unwrap();
        assert!(told.is_evicted() && !new.is_evicted());
        assert_eq!(open(), 2);
        drop(told);
        assert_eq!(open(), 1);
        let newer = connections.admit(client(3), 1, 9);
        assert!(new.is_evicted() && newer.is_some(), "its place was the only one");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_told_to_close_are_no_endless_reserve() {
        let connections = connections();
        let held: Vec<_> =
            (0..1000).map_while(|_| connections.admit(client(1), 2, u32::MAX)).collect();

        assert_eq!(held.len(), 2 + MAX_LEAVING);
        drop(held);
        assert!(connections.admit(client(1), 2, u32::MAX).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_host_is_one_client() {
        let connections = connections();
        let of = |address: &str| connections.admit(address.parse().unwrap(), 9, 1);
        let first = of("2001:db8::1");

        assert!(first.is_some());
        assert!(of("2001:db8::2").is_none(), "the same /64 (as for the rate limit)");
        assert!(of("2001:db8:0:1::1").is_some(), "another one");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_with_waiting_queries_are_never_closed_for_room() {
        let connections = connections();
        let busy = connections.admit(client(1), 1, 9).unwrap();
        busy.busy();

        assert!(connections.admit(client(2), 1, 9).is_none());
        busy.idle();
        assert!(connections.admit(client(2), 1, 9).is_some());
    }
}

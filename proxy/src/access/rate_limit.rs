//! A token bucket per client.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Prefix;

/// Spreads the clients, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// Clients remembered per shard. Beyond it the ones with full buckets are forgotten, which changes nothing
/// for them; when there are none, new clients go unlimited rather than unserved. Our guess.
const MAX_CLIENTS: usize = 4096;

/// How often a full shard is searched for clients to forget: a flood of forged sources would have it searched
/// for each of them. Until the next time, new clients go unlimited. Our guess.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How much each client may ask.
#[derive(Debug)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Prefix, Bucket>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    /// So many queries a second, and so many at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self {
            per_second: per_second.into(),
            burst: burst.into(),
            hasher: RandomState::new(),
            shards,
        }
    }

    /// Whether these are its numbers.
    pub fn is(&self, per_second: u32, burst: u32) -> bool {
        (self.per_second, self.burst) == (per_second.into(), burst.into())
    }

    /// Takes a token for one query of `client`; `false` when it has none.
    pub fn takes(&self, client: IpAddr, now: Instant) -> bool {
        let prefix = Prefix::of(client);
        let shard = usize::try_from(self.hasher.hash_one(prefix)).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(shard) else { return true };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if !shard.buckets.contains_key(&prefix) && !self.has_room(&mut shard, now) {
            return true;
        }
        let new = Bucket { tokens: self.burst, filled: now };
        let bucket = shard.buckets.entry(prefix).or_insert(new);
        *bucket = self.refilled(*bucket, now);
        let has_token = bucket.tokens >= 1.0;
        if has_token {
            bucket.tokens -= 1.0;
        }
        has_token
    }

    /// Whether one client more can be remembered, or room was made.
    fn has_room(&self, shard: &mut Shard, now: Instant) -> bool {
        let is_due = |swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL;
        if shard.buckets.len() >= MAX_CLIENTS && shard.swept.is_none_or(is_due) {
            shard.swept = Some(now);
            shard.buckets.retain(|_, bucket| self.refilled(*bucket, now).tokens < self.burst);
        }
        shard.buckets.len() < MAX_CLIENTS
    }

    fn refilled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        let tokens = (bucket.tokens + elapsed * self.per_second).min(self.burst);
        // Workers tell the time once for many queries: it must not be told twice by turns.
        Bucket { tokens, filled: bucket.filled.max(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(limit: &RateLimit) -> usize {
        limit.shards.iter().map(|shard| shard.lock().unwrap().buckets.len()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_gets_its_burst_and_then_its_rate() {
        let limit = RateLimit::new(10, 3);
        let client = IpAddr::from([192, 0, 2, 1]);
        let start = Instant::now();

        let burst = (0..5).filter(|_| limit.takes(client, start)).count();
        assert_eq!(burst, 3, "the burst, and no more at once");
        assert!(
            limit.takes(client, start + Duration::from_millis(100)),
            "a tenth of a second is one query"
        );
        assert!(!limit.takes(client, start + Duration::from_millis(100)));
        assert!(limit.takes([192, 0, 2, 2].into(), start), "another client has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn workers_that_do_not_tell_the_same_time_give_nothing_away() {
        let limit = RateLimit::new(500, 10);
        let client = IpAddr::from([192, 0, 2, 1]);
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_millis(10));

        let times = [late, early].into_iter().cycle().take(1000);
        assert_eq!(times.filter(|now| limit.takes(client, *now)).count(), 10, "the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_host_cannot_multiply_itself() {
        let limit = RateLimit::new(1, 1);
        let now = Instant::now();

        assert!(limit.takes("2001:db8::1".parse().unwrap(), now));
        assert!(!limit.takes("2001:db8::2".parse().unwrap(), now), "the same /64");
        assert!(limit.takes("2001:db8:0:1::1".parse().unwrap(), now), "another /64");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_however_many_clients_ask() {
        let limit = RateLimit::new(1, 2);
        let now = Instant::now();
        for client in 0..200_000_u32 {
            limit.takes(IpAddr::from(client.to_be_bytes()), now);
        }
        assert!(remembered(&limit) <= SHARDS * MAX_CLIENTS, "{}", remembered(&limit));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_sources_has_a_full_shard_searched_now_and_then_only() {
        let limit = RateLimit::new(1000, 1);
        let start = Instant::now();
        let flood = |first: u8, now| {
            for client in 0..200_000_u32 {
                let [_, b, c, d] = client.to_be_bytes();
                limit.takes([first, b, c, d].into(), now);
            }
        };
        flood(1, start);
        let all = SHARDS * MAX_CLIENTS;
        assert_eq!(remembered(&limit), all, "full, and searched in vain");

        // By now all buckets are full again, so a search would find them.
        let soon = start + SWEEP_INTERVAL / 2;
        let unknown = |last| IpAddr::from([2, 0, 0, last]);
        assert!((0..=255).all(|last| limit.takes(unknown(last), soon)), "unlimited for now");
        assert_eq!(remembered(&limit), all, "nobody was looked for");
        (0..=255).for_each(|last| {
            limit.takes(unknown(last), start + SWEEP_INTERVAL);
        });
        assert!(remembered(&limit) <= 256, "{}", remembered(&limit));
    }
}

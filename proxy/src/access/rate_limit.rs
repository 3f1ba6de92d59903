//! A token bucket per client.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::Prefix;

/// Spreads the clients, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// Clients remembered per shard. Beyond it the ones with full buckets are forgotten, which changes nothing
/// for them; when there are none, new clients go unlimited rather than unserved. Our guess.
const MAX_CLIENTS: usize = 4096;

/// How much each client may ask.
#[derive(Debug)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    hasher: RandomState,
    shards: [Mutex<HashMap<Prefix, Bucket>>; SHARDS],
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
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&prefix) {
            buckets.retain(|_, bucket| self.refilled(*bucket, now).tokens < self.burst);
            if buckets.len() >= MAX_CLIENTS {
                return true;
            }
        }
        let bucket = buckets.entry(prefix).or_insert(Bucket { tokens: self.burst, filled: now });
        *bucket = self.refilled(*bucket, now);
        let has_token = bucket.tokens >= 1.0;
        if has_token {
            bucket.tokens -= 1.0;
        }
        has_token
    }

    fn refilled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        Bucket { tokens: (bucket.tokens + elapsed * self.per_second).min(self.burst), filled: now }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
        let remembered: usize = limit.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(remembered <= SHARDS * MAX_CLIENTS, "{remembered}");
    }
}

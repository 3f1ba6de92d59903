//! Machines that sleep. Answers age by a clock that stands still meanwhile (CLOCK_MONOTONIC): what was fresh before would be
//! so afterwards, hours later and maybe in another network.

use std::{sync::Arc, time::Duration};

use nix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use super::{Cache, Filter};

/// Empties a cache each time the machine has slept. Never returns.
pub async fn watch(cache: Arc<Cache>) {
    watch_by(slept, &cache).await;
}

async fn watch_by(slept: impl Fn() -> Duration, cache: &Cache) {
    let mut known = slept();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = slept();
        let news = now.saturating_sub(known);
        known = now;
        if news >= LEAST {
            let entries = cache.flush(&Filter::default());
            tracing::info!(
                seconds = news.as_secs(),
                entries,
                "the machine has slept, the cache is emptied"
            );
        }
    }
}

/// For how long the machine has slept since it was started.
fn slept() -> Duration {
    let now = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    let awake = now(ClockId::CLOCK_MONOTONIC);
    now(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
}

/// How long after it old answers may be given at most: our guess, less than a network takes to be there again.
const TICK: Duration = Duration::from_secs(1);

/// What is less is lost between the two clocks, or no TTL.
const LEAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use prometheus_client::registry::Registry;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::cache::{Bounds, CacheMetrics, testing::Upstream};

    #[tokio::test(start_paused = true)]
    async fn what_was_kept_before_the_machine_slept_is_forgotten() {
        let cache = Cache::new(1 << 20, CacheMetrics::register(&mut Registry::default()));
        let entry = Upstream::address("a.example.", 3600).entry(&Bounds::NONE, Instant::now());
        let (slept, entries) =
            (AtomicU64::new(7_000), || cache.entries(&Filter::default(), 9, Instant::now()).len());
        let watching = watch_by(|| Duration::from_millis(slept.load(Ordering::Relaxed)), &cache);
        let checking = async {
            for (more, expected) in [(0, 1), (900, 1), (1_000, 0), (0, 1), (3_600_000, 0)] {
                cache.insert(&entry);
                slept.fetch_add(more, Ordering::Relaxed);
                sleep(2 * TICK).await;
                assert_eq!(entries(), expected, "{more} ms");
            }
        };
        tokio::select! {
            () = watching => {}
            done = timeout(Duration::from_secs(60), checking) => done.unwrap(),
        }
    }

    #[test]
    fn a_machine_that_is_awake_sleeps_no_more() {
        let before = slept();
        assert!(slept().abs_diff(before) < LEAST);
    }
}

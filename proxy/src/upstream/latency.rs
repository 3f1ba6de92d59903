//! How long a server takes to answer: smoothed, for the choice among servers, and as percentiles, for when an
//! answer is late.
//!
//! The smoothed time of a server that was not asked for a while loses weight, so that it is asked again now
//! and then: a server that has become fast is found, at the price of one query. The percentiles are those of
//! the last one or two thousand answers.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What is known of one server's speed.
#[derive(Debug, Default)]
pub(super) struct Latency {
    inner: Mutex<Inner>,
    /// In microseconds, so that who asks need not wait; 0 while too little is known.
    p50: AtomicU64,
    p95: AtomicU64,
    p99: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Smoothed, in seconds, and when it was measured last.
    smoothed: Option<(f64, Instant)>,
    histogram: Histogram,
    /// What the last health checks took.
    checks: VecDeque<Duration>,
    /// Answers in a row that were none.
    failures: u32,
}

impl Latency {
    /// An answer to a client's question took so long.
    pub(super) fn observe(&self, took: Duration, now: Instant) {
        let mut inner = self.inner();
        inner.smooth(took, now);
        inner.failures = 0;
        inner.histogram.add(took);
        if inner.histogram.total.is_multiple_of(SAMPLES_PER_UPDATE) {
            self.p50.store(inner.histogram.percentile(50), Ordering::Relaxed);
            self.p95.store(inner.histogram.percentile(95), Ordering::Relaxed);
            self.p99.store(inner.histogram.percentile(99), Ordering::Relaxed);
        }
    }

    /// An answer came that is none, such as SERVFAIL: however fast it was, it is worth a slow one. Not so the refusal to give a
    /// forged one, unless the server gives nothing else: then it is its own clock or anchor that is wrong.
    pub(super) fn observe_failure(&self, is_refusal: bool, cost: Duration, now: Instant) {
        let mut inner = self.inner();
        inner.failures = inner.failures.saturating_add(1);
        if !is_refusal || inner.failures > MAX_REFUSALS {
            inner.smooth(cost, now);
        }
    }

    /// No answer has come for so long, and it is not waited for any more: it would have taken longer. Without this a server that
    /// others answer for each time would keep the good name that it once had.
    pub(super) fn observe_late(&self, waited: Duration, now: Instant) {
        let mut inner = self.inner();
        if inner.smoothed.is_none_or(|(old, _)| old < waited.as_secs_f64()) {
            inner.smooth(waited, now);
        }
    }

    /// A question is on its way: until it is answered, one is enough to find out.
    pub(super) fn note_asked(&self, now: Instant) {
        if let Some((_, measured)) = &mut self.inner().smoothed {
            *measured = now;
        }
    }

    /// A probe took so long. It says less than a client's question, so it counts only where nothing else is
    /// known of late.
    pub(super) fn observe_probe(&self, took: Duration, now: Instant) {
        let mut inner = self.inner();
        if inner.smoothed.is_none_or(|(_, measured)| measured + RECENT <= now) {
            inner.smoothed = Some((took.as_secs_f64(), now));
        }
    }

    /// A health check was answered after so long.
    pub(super) fn observe_check(&self, took: Duration) {
        let checks = &mut self.inner().checks;
        checks.truncate(MAX_CHECKS - 1);
        checks.push_front(took);
    }

    /// What a health check usually takes, and no less than half of all answers. `None` while none was answered.
    pub(super) fn usual_check(&self) -> Option<Duration> {
        let mut checks = Vec::from(self.inner().checks.clone());
        checks.sort_unstable();
        let usual = checks.get(checks.len() / 2).copied();
        usual.map(|usual| usual.max(self.p50().unwrap_or_default()))
    }

    /// What an answer is expected to take; the older the knowledge, the less. `None` when nothing is known.
    pub(super) fn expected(&self, now: Instant) -> Option<Duration> {
        let (smoothed, measured) = self.inner().smoothed?;
        let age = now.saturating_duration_since(measured).as_secs_f64();
        Some(Duration::from_secs_f64(smoothed * (-age / HALF_LIFE.as_secs_f64()).exp2()))
    }

    /// Whether nothing was measured of late.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.inner().smoothed.is_none_or(|(_, measured)| measured + RECENT <= now)
    }

    /// The time within which half of all answers come; `None` while too little is known.
    pub(super) fn p50(&self) -> Option<Duration> {
        let micros = self.p50.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The time within which 95 of 100 answers come; `None` while too little is known.
    pub(super) fn p95(&self) -> Option<Duration> {
        let micros = self.p95.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The time within which 99 of 100 answers come; zero while too little is known.
    pub(super) fn p99(&self) -> Duration {
        Duration::from_micros(self.p99.load(Ordering::Relaxed))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our guess: more than one client asks for in a row while others ask as well.
const MAX_REFUSALS: u32 = 8;

impl Inner {
    fn smooth(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let smoothed = self.smoothed.map_or(took, |(old, _)| old + (took - old) * GAIN);
        self.smoothed = Some((smoothed, now));
    }
}

/// Counts of answers by their time, each bucket half as wide again as or a third wider than the one before.
#[derive(Debug)]
struct Histogram {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(took)) {
            *count += 1;
            self.total += 1;
        }
        if self.total >= MAX_SAMPLES {
            self.forget_half();
        }
    }

    fn forget_half(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.total = self.counts.iter().sum();
    }

    /// The end of the bucket that the answer of this rank is in, in microseconds.
    fn percentile(&self, percent: u32) -> u64 {
        let rank = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        end_of(index.unwrap_or(BUCKETS - 1))
    }
}

/// Two buckets for each doubling from 64 microseconds; what is below is in the first one.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(SHORTEST);
    let doublings = micros.ilog2();
    let is_upper_half = micros >> (doublings - 1) & 1;
    let index = u64::from(doublings - SHORTEST.ilog2()) * 2 + is_upper_half;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

fn end_of(index: usize) -> u64 {
    let start = SHORTEST << (index / 2);
    if index.is_multiple_of(2) { start + start / 2 } else { start * 2 }
}

/// The first bucket begins here, in microseconds: nothing is faster over a network.
const SHORTEST: u64 = 64;

/// Up to 16 seconds, four query deadlines.
const BUCKETS: usize = 36;

/// How many answers are remembered; at this number half of them are forgotten. Our guess: enough for a p99.
const MAX_SAMPLES: u32 = 2048;

/// Percentiles are looked up anew after so many answers, and not known before.
const SAMPLES_PER_UPDATE: u32 = 32;

/// The weight of a new answer: that of TCP's smoothed round-trip time (RFC 6298 section 2).
const GAIN: f64 = 0.125;

/// After so long without an answer a server counts as twice as fast. Our guess: a server that is three times
/// slower than the best is asked about three times a minute.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// So few that what is long ago is forgotten, and enough that two in trouble say nothing.
const MAX_CHECKS: usize = 5;

/// For so long what clients measured counts more than what a probe did: our guess.
const RECENT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for index in 0..BUCKETS - 1 {
            let end = Duration::from_micros(end_of(index));
            assert_eq!(bucket(end - Duration::from_micros(1)), index, "just before {end:?}");
            assert_eq!(bucket(end), index + 1, "at {end:?}");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_last_answers() {
        let (latency, now) = (Latency::default(), Instant::now());
        latency.observe(millis(1), now);
        assert_eq!(latency.p95(), None, "one answer says nothing about the others");

        for answer in 0..1024 {
            latency.observe(millis(if answer % 25 == 0 { 400 } else { 4 }), now);
        }
        let (p95, p99) = (latency.p95().unwrap(), latency.p99());
        assert!(p95 >= millis(4) && p95 <= millis(8), "{p95:?}");
        assert!(p99 >= millis(400) && p99 <= millis(600), "{p99:?}");

        for _ in 0..20_000 {
            latency.observe(millis(4), now);
        }
        assert!(latency.p99() <= millis(8), "what is long ago is forgotten: {:?}", latency.p99());
    }

    #[test]
    fn a_server_that_is_not_asked_becomes_attractive_until_it_is_measured() {
        let (latency, start) = (Latency::default(), Instant::now());
        assert_eq!(latency.expected(start), None);
        latency.observe(millis(40), start);
        assert_eq!(latency.expected(start), Some(millis(40)));

        let later = start + HALF_LIFE;
        assert_eq!(latency.expected(later), Some(millis(20)), "half after one half-life");
        latency.observe(millis(40), later);
        assert_eq!(latency.expected(later), Some(millis(40)), "a new answer settles it");
    }

    #[test]
    fn one_question_is_enough_to_find_out() {
        let (latency, start) = (Latency::default(), Instant::now());
        latency.observe(millis(400), start);
        let later = start + HALF_LIFE * 7;
        assert!(latency.expected(later).unwrap() < millis(5));

        latency.note_asked(later);

        assert_eq!(latency.expected(later), Some(millis(400)), "until the answer is there");
    }

    #[test]
    fn a_fast_refusal_is_no_fast_answer() {
        let (latency, now) = (Latency::default(), Instant::now());
        (0..64).for_each(|_| latency.observe_failure(false, millis(2000), now));
        assert_eq!(latency.expected(now), Some(millis(2000)));
        assert_eq!(latency.p95(), None, "and says nothing about when an answer is late");
    }

    #[test]
    fn what_a_check_usually_takes_is_known_once_one_was_answered_and_no_less_than_half_of_all_answers()
     {
        let (latency, now) = (Latency::default(), Instant::now());
        (0..64).for_each(|_| latency.observe(millis(4), now));
        assert_eq!(latency.usual_check(), None, "it may never be answered");

        [20, 900, 20].iter().for_each(|took| latency.observe_check(millis(*took)));
        assert_eq!(latency.usual_check(), Some(millis(20)), "two of three");
        (0..MAX_CHECKS).for_each(|_| latency.observe_check(millis(1)));
        assert_eq!(latency.usual_check(), latency.p50(), "what is long ago is forgotten");
    }

    #[test]
    fn a_probe_counts_only_where_clients_have_not_measured() {
        let (latency, start) = (Latency::default(), Instant::now());
        latency.observe_probe(millis(5), start);
        assert_eq!(latency.expected(start), Some(millis(5)));

        latency.observe(millis(45), start);
        latency.observe_probe(millis(1), start + millis(10));
        assert!(latency.expected(start).unwrap() > millis(9), "clients know better");
        assert!(!latency.is_stale(start + millis(10)));

        let later = start + RECENT;
        assert!(latency.is_stale(later));
        latency.observe_probe(millis(1), later);
        assert_eq!(latency.expected(later), Some(millis(1)), "it was too long ago");
    }
}

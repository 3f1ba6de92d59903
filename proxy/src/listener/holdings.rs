//! What the TCP connections of clients hold in memory: queries that were read, and replies that clients do not take.
//!
//! Each alone is bounded, and there may be many: a few clients that ask for much and take nothing would have the
//! memory of all. So there is a limit for all together. Over it, each may still hold an equal part of it, which is
//! enough for a query and its reply; who holds more and does not take it is given up (RFC 7766 section 10).

use prometheus_client::metrics::gauge::Gauge;

/// What all connections hold together; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Holdings {
    octets: Gauge,
    limit: usize,
}

/// What one connection holds; dropping it gives that back.
#[derive(Debug)]
pub(super) struct Holding {
    all: Holdings,
    octets: usize,
}

/// The octets that all connections may hold, in a process that may have so much memory, or as much as there is.
pub fn limit(memory: Option<u64>) -> usize {
    let eighth = memory.and_then(|memory| usize::try_from(memory / 8).ok());
    eighth.unwrap_or(MAX_TOGETHER).clamp(MIN_TOGETHER, MAX_TOGETHER)
}

impl Holdings {
    /// Nothing is held yet of at most `limit` octets; `octets` is where it shows.
    pub(super) fn new(octets: Gauge, limit: usize) -> Self {
        Self { octets, limit }
    }

    /// Another connection, which holds nothing yet.
    pub(super) fn begin(&self) -> Holding {
        Holding { all: self.clone(), octets: 0 }
    }
}

impl Holding {
    /// It holds so many octets now. Tells whether it may, where `places` connections may be open.
    pub(super) fn set(&mut self, octets: usize, places: usize) -> bool {
        let change = signed(octets) - signed(self.octets);
        self.octets = octets;
        let all = match change {
            0 => self.all.octets.get(),
            change => self.all.octets.inc_by(change) + change,
        };
        let share = self.all.limit / places.max(1);
        octets <= share || (octets <= MAX_EACH && all <= signed(self.all.limit))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.all.octets.dec_by(signed(self.octets));
    }
}

fn signed(octets: usize) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

/// Of one connection: our guess, some of the longest messages each way.
const MAX_EACH: usize = 512 << 10;

/// Of all: our guess. Unbound's `stream-wait-size` is 4 MB.
const MIN_TOGETHER: usize = 1 << 20;
const MAX_TOGETHER: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 100;
    const LIMIT: usize = 1 << 20;
    const SHARE: usize = LIMIT / PLACES;

    fn holdings() -> Holdings {
        Holdings::new(Gauge::default(), LIMIT)
    }

    #[test]
    fn over_the_limit_of_all_each_may_have_an_equal_part_of_it() {
        let holdings = holdings();
        let [mut first, mut second, mut third] = [(); 3].map(|()| holdings.begin());

        assert!(first.set(MAX_EACH, PLACES) && second.set(LIMIT - MAX_EACH, PLACES), "just all");
        assert!(third.set(SHARE, PLACES), "its part");
        assert!(!third.set(SHARE + 1, PLACES), "more than its part");
        assert!(!first.set(MAX_EACH, PLACES), "whoever has more");
        drop(second);
        assert!(third.set(SHARE + 1, PLACES), "there is room again");
        drop((first, third));
        assert_eq!(holdings.octets.get(), 0);
    }

    #[test]
    fn one_alone_may_not_have_all() {
        let holdings = holdings();
        let mut holding = holdings.begin();

        assert!(holding.set(MAX_EACH, PLACES));
        assert!(!holding.set(MAX_EACH + 1, PLACES));
    }

    #[test]
    fn the_limit_is_an_eighth_of_what_the_process_may_have() {
        let cases = [
            ("the pods' own", Some(128 << 20), 16 << 20),
            ("very little", Some(1 << 20), MIN_TOGETHER),
            ("a lot", Some(64 << 30), MAX_TOGETHER),
            ("no limit", None, MAX_TOGETHER),
        ];

        for (why, memory, expected) in cases {
            assert_eq!(limit(memory), expected, "{why}");
        }
    }
}

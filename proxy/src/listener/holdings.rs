//! What the TCP connections of clients hold in memory: queries that were read, and replies that clients do not take.
//!
//! Each alone is bounded by numbers, and there may be many, with long answers: a few clients that ask for much and take nothing
//! would have the memory of all. So there is a limit for all together. Over it, each may still hold its part; who holds more
//! and does not take it is given up (RFC 7766 section 10).

use std::time::Duration;

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
    /// It holds so many octets now.
    pub(super) fn set(&mut self, octets: usize) {
        let change = signed(octets) - signed(self.octets);
        self.octets = octets;
        if change != 0 {
            self.all.octets.inc_by(change);
        }
    }

    /// Whether it is so much that it may be too much, and somebody has to look at it now and then.
    pub(super) fn is_much(&self) -> bool {
        self.octets > LITTLE
    }

    /// Whether it may hold what [is much](Self::is_much), among so many connections, where its client takes octets or has
    /// not taken one for [`PATIENCE`].
    pub(super) fn is_fair(&self, connections: usize, is_stalled: bool) -> bool {
        let is_over = self.all.octets.get() > signed(self.all.limit);
        let share = self.all.limit / 2 / connections.max(1);
        !(is_over && self.octets > share) && !(is_stalled && (is_over || self.octets > MAX_STALLED))
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

/// How long a client may take nothing, where there is something for it: our guess, many round trips.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody is given up for that: a reply of usual size.
const LITTLE: usize = 8 << 10;

/// Of one connection of which the client takes nothing: our guess, some of the longest messages each way.
const MAX_STALLED: usize = 512 << 10;

/// Of all: our guess. Unbound's `stream-wait-size` is 4 MB.
const MIN_TOGETHER: usize = 1 << 20;
const MAX_TOGETHER: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 << 20;

    fn holdings() -> Holdings {
        Holdings::new(Gauge::default(), LIMIT)
    }

    fn holding(holdings: &Holdings, octets: usize) -> Holding {
        let mut holding = holdings.begin();
        holding.set(octets);
        holding
    }

    #[test]
    fn over_the_limit_of_all_those_go_that_hold_more_than_their_part() {
        let holdings = holdings();
        let hog = holding(&holdings, LIMIT);
        let mut other = holding(&holdings, LITTLE);
        assert!(!hog.is_fair(100, false), "it has it all");
        assert!(!other.is_much(), "a little is nothing");

        other.set(LIMIT / 200);
        assert!(other.is_fair(100, false), "half of an equal part");
        assert!(!other.is_fair(100, true), "which nobody takes");
        other.set(LIMIT / 200 + 1);
        assert!(!other.is_fair(100, false), "more than that");
        drop(hog);
        assert!(other.is_fair(100, true), "there is room again");
        drop(other);
        assert_eq!(holdings.octets.get(), 0);
    }

    #[test]
    fn one_that_takes_what_it_asked_for_may_have_much_of_it() {
        let holdings = holdings();
        let holding = holding(&holdings, MAX_STALLED + 1);

        assert!(holding.is_fair(100, false));
        assert!(!holding.is_fair(100, true), "it takes nothing");
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

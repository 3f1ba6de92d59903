//! After how long a server closes a connection on which nothing happens, which few tell (RFC 7828).
//!
//! It is learnt from the ends of idle connections, so that those that are to be kept are asked on in time.

use std::time::Duration;

use crate::upstream::connection::LEAST_IDLE;

/// After how long a server closes what is idle.
#[derive(Debug, Default)]
pub(super) struct IdleEnds {
    last: Option<Duration>,
    /// Known once two in a row took about as long: one alone may have another reason.
    pub(super) limit: Option<Duration>,
}

impl IdleEnds {
    pub(super) fn note(&mut self, idle: Duration) {
        let is_same = |last: Duration| last.abs_diff(idle) <= last / 8;
        let is_known = self.last.is_some_and(is_same) && idle >= LEAST_IDLE;
        // What does not agree had another reason, or shows that the server has changed its mind: it is learnt anew.
        self.limit = is_known.then_some(idle);
        self.last = Some(idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_time_is_learnt_from_two_ends_alike_and_forgotten_with_one_that_is_not() {
        let millis = |millis| Duration::from_millis(millis);
        let mut ends = IdleEnds::default();
        let cases = [
            // (after so many milliseconds, what is known then)
            (4000, None),
            (4100, Some(4100)),
            (4200, Some(4200)),
            (900, None),
            (950, None),
            (4000, None),
            (2000, None),
            (2000, Some(2000)),
        ];

        for (index, (idle, expected)) in cases.into_iter().enumerate() {
            ends.note(millis(idle));
            assert_eq!(ends.limit, expected.map(millis), "end {index}");
        }
    }
}

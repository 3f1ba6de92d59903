//! Since when questions have been out that the server has not come to.
//!
//! Some servers read so many questions of a connection at a time, and answer those in any order. Where slow names have taken all
//! of these places, the others wait behind them.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// When some of the questions were sent behind the last one that was answered, the oldest one first.
#[derive(Debug, Default)]
pub(super) struct Unread(VecDeque<(u16, Instant)>);

impl Unread {
    pub(super) fn note_sent(&mut self, id: u16, now: Instant) {
        let is_due = self.0.back().is_none_or(|(_, last)| *last + STEP <= now);
        if is_due && self.0.len() < MOST {
            self.0.push_back((id, now));
        }
    }

    /// The server has come to this one, and so to those before.
    pub(super) fn note_answered(&mut self, id: u16) {
        let is_read = |(sent, _): &mut (u16, Instant)| id.wrapping_sub(*sent) <= u16::MAX / 2;
        while self.0.pop_front_if(is_read).is_some() {}
    }

    /// For how long the first one has waited on a connection that is open since then.
    pub(super) fn waits(&self, since: Instant, now: Instant) -> Duration {
        self.0
            .front()
            .map_or(Duration::ZERO, |(_, sent)| now.saturating_duration_since(since.max(*sent)))
    }
}

/// How exactly it is known: our guess. It is about ten times as long.
const STEP: Duration = Duration::from_millis(10);

/// The first ones are enough.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_been_read_when_it_or_a_later_one_is_answered() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut unread = Unread::default();
        // Across the end of the IDs.
        unread.note_sent(65_535, at(0));
        unread.note_sent(0, at(5));
        unread.note_sent(1, at(20));
        let waits = |unread: &Unread| unread.waits(begun, at(100)).as_millis();
        assert_eq!(waits(&unread), 100);
        assert_eq!(unread.waits(at(70), at(100)).as_millis(), 30, "it was open no sooner");

        unread.note_answered(65_530);
        assert_eq!(waits(&unread), 100, "an earlier one says nothing");
        unread.note_answered(0);
        assert_eq!(waits(&unread), 80);
        unread.note_answered(1);
        assert_eq!(waits(&unread), 0);
    }
}

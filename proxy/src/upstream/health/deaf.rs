//! Deaf servers: they answer probes, and none of the clients' questions that others answer.
//!
//! Such a server has lost its own way to the names, and seems well otherwise. It is left alone for a while that doubles,
//! and then has one question of a client again, whose answer clears everything.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{Health, Inner, back_off};

impl Health {
    /// The server gave nothing for a client's question that was begun at `begun` and that another server has answered. One
    /// that answers probes and nothing else has lost its own way to the names. What was going on already when the last one
    /// was counted counts with it.
    pub(in crate::upstream) fn left_unanswered(&self, begun: Instant, now: Instant) {
        let mut inner = self.inner();
        if inner.unanswered_at.is_none_or(|counted| counted <= begun) {
            inner.unanswered = inner.unanswered.saturating_add(1);
            inner.unanswered_at = Some(now);
            self.is_deaf.store(inner.unanswered >= self.threshold, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(in crate::upstream) fn left_unanswered_in_a_row(&self) -> u32 {
        self.inner().unanswered
    }

    /// It has answered a client's question.
    pub(super) fn forget_unanswered(&self, inner: &mut Inner) {
        if inner.unanswered > 0 {
            inner.unanswered = 0;
            inner.unanswered_at = None;
            self.is_deaf.store(false, Ordering::Relaxed);
        }
    }

    /// A client's question goes to it. One is enough to find out whether it is still deaf.
    pub(in crate::upstream) fn asked(&self, now: Instant) {
        if self.is_deaf() {
            self.inner().unanswered_at = Some(now);
        }
    }

    /// Whether it answers no client's question that others answer.
    pub(in crate::upstream) fn is_deaf(&self) -> bool {
        self.is_deaf.load(Ordering::Relaxed)
    }

    /// Whether it is deaf and was asked in vain a moment ago: for longer each time, up to half a minute.
    pub(in crate::upstream) fn is_left_alone(&self, now: Instant) -> bool {
        if !self.is_deaf() {
            return false;
        }
        let inner = self.inner();
        let pause = back_off(inner.unanswered, self.threshold, 0.5);
        inner.unanswered_at.is_some_and(|asked| now < asked + pause)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_is_deaf_when_others_answer_what_it_leaves_three_times_in_a_row() {
        let (health, start) = (Health::unknown(3), Instant::now());
        let at = |number: u64| start + Duration::from_millis(number * 100);
        let leave = |begun, count: usize| {
            (0..count).for_each(|_| health.left_unanswered(at(begun), at(begun + 1)));
        };
        leave(0, 10);
        leave(1, 10);
        assert!(!health.is_deaf(), "ten at a time have one cause");
        leave(2, 1);
        assert!(health.is_deaf() && health.is_left_alone(at(12)));
        assert!(!health.is_left_alone(at(13)), "it may have a question again");
        leave(13, 1);
        assert!(health.is_left_alone(at(33)), "for longer each time");

        health.answered(false, at(14));
        assert!(health.is_deaf(), "a probe's answer says nothing about names");
        health.answered(true, at(14));
        assert!(!health.is_deaf());
        leave(20, 1);
        assert!(!health.is_deaf(), "from the start");
    }
}

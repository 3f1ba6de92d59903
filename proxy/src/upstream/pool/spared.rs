//! Questions that connections were ended under, since nothing came there while the server lives.
//!
//! The connection was dead, or a server that takes questions in order is busy with a slow one. To end its next connection as well
//! would have the server begin anew each time, and never come to the end. That one may be dead, too, so it has only as long
//! as a name usually takes at most.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use crate::{message::Request, upstream::connection::Connection};

/// Those that still wait, and when; they are as few as the ends of connections within the time of a query.
#[derive(Debug, Default)]
pub(super) struct Spared(Vec<(Weak<Request>, Instant)>);

/// Longer than a server has for an answer by default, and so short that there is time for another connection within the deadline.
const SECOND_CHANCE: Duration = Duration::from_secs(3);

impl Spared {
    /// The connection is ended under its first question.
    pub(super) fn add(&mut self, connection: &Connection, now: Instant) {
        self.0
            .retain(|(request, ended)| request.strong_count() > 0 && now < *ended + SECOND_CHANCE);
        let first = connection.oldest_request();
        self.0.extend(first.map(|first| (Arc::downgrade(&first), now)));
    }

    /// Whether one was ended under the first question of this one a while ago.
    pub(super) fn has(&self, connection: &Connection, now: Instant) -> bool {
        let first = connection.oldest_request();
        first.is_some_and(|first| {
            self.0.iter().any(|(known, ended)| {
                known.as_ptr() == Arc::as_ptr(&first) && now < *ended + SECOND_CHANCE
            })
        })
    }
}

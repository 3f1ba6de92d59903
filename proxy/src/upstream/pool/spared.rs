//! Questions that connections were ended under, since nothing came there while the server lives.
//!
//! The connection was dead, or a server that takes questions in order is busy with a slow one. To end its next connection as well
//! would have the server begin anew each time, and never come to the end.

use std::sync::{Arc, Weak};

use crate::{message::Request, upstream::connection::Connection};

/// Those that still wait; they are as few as the ends of connections within the time of a query.
#[derive(Debug, Default)]
pub(super) struct Spared(Vec<Weak<Request>>);

impl Spared {
    /// The connection is ended under its first question.
    pub(super) fn add(&mut self, connection: &Connection) {
        self.0.retain(|request| request.strong_count() > 0);
        self.0.extend(connection.oldest_request().as_ref().map(Arc::downgrade));
    }

    /// Whether one was ended under the first question of this one before.
    pub(super) fn has(&self, connection: &Connection) -> bool {
        let first = connection.oldest_request();
        first.is_some_and(|first| self.0.iter().any(|known| known.as_ptr() == Arc::as_ptr(&first)))
    }
}

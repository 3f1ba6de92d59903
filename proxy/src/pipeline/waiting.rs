//! A query that waits for an upstream, and what it gets.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep_until};

use super::{Job, Pipeline, Source, flights::Flight};
use crate::{cache::Entry, limits::Place};

/// What came of an exchange, for all who wait for it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, or why there is none.
    pub entry: Entry,
    /// Who gave it; `None` when nobody did.
    pub upstream: Option<Arc<str>>,
    /// Where it came from.
    pub source: Source,
    /// Whether the upstreams failed, whatever rules made of that.
    pub is_failure: bool,
}

/// A reply that is still being made. It comes at the latest when the exchange is over, which has a deadline.
pub struct Answer {
    flight: Flight,
    stale: Option<Spare>,
    query: Option<Waiting>,
    places: Option<Places>,
}

/// A reply that can be written.
pub struct Finished {
    query: Waiting,
    outcome: Outcome,
    source: Source,
}

/// The query, and who decides about it.
pub(super) struct Waiting {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) job: Job<'static>,
}

/// Places among the queries that wait: in the process, and on the route.
pub(super) type Places = (Place, Place);

/// An answer that has expired, and when it is given all the same (RFC 8767 section 5).
struct Spare {
    entry: Entry,
    due: Pin<Box<Sleep>>,
}

impl Answer {
    pub(super) fn new(
        query: Waiting,
        places: Places,
        flight: Flight,
        stale: Option<Entry>,
    ) -> Self {
        let after = query.pipeline.caching.as_ref().and_then(|caching| caching.stale_after);
        let stale = stale.zip(after).map(|(entry, after)| Spare {
            entry,
            due: Box::pin(sleep_until(query.job.started + after)),
        });
        Self { flight, stale, query: Some(query), places: Some(places) }
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<(Outcome, Source)> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.flight).poll(cx) {
            return Poll::Ready(match self.stale.take().filter(|_| outcome.is_failure) {
                Some(Spare { entry, .. }) => given_stale(entry),
                None => {
                    let source = outcome.source;
                    (outcome, source)
                }
            });
        }
        let is_due =
            self.stale.as_mut().is_some_and(|stale| stale.due.as_mut().poll(cx).is_ready());
        match self.stale.take_if(|_| is_due) {
            Some(Spare { entry, .. }) => {
                self.see_to_the_end();
                Poll::Ready(given_stale(entry))
            }
            None => Poll::Pending,
        }
    }

    /// Whoever asks next should get what the upstream has to say (RFC 8767 section 5).
    fn see_to_the_end(&mut self) {
        if let Some(Waiting { pipeline, .. }) = &self.query {
            pipeline.see_to_the_end(self.flight.clone(), self.places.take());
        }
    }
}

/// From now on it is given at once, until there is a better one.
fn given_stale(entry: Entry) -> (Outcome, Source) {
    entry.note_given_stale();
    let (upstream, source) = (None, Source::Stale);
    (Outcome { entry, upstream, source, is_failure: false }, source)
}

impl Future for Answer {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        match self.poll_outcome(cx) {
            Poll::Ready((outcome, source)) => match self.query.take() {
                Some(query) => Poll::Ready(Finished { query, outcome, source }),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Finished {
    /// Writes the reply into an empty buffer.
    pub fn write(self, out: &mut Vec<u8>) {
        let Self { query: Waiting { pipeline, job }, outcome, source } = self;
        let Outcome { entry, upstream, .. } = outcome;
        pipeline.give(&job, &entry, source, upstream.as_deref(), out);
    }
}

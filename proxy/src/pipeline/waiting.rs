//! A query that waits for an upstream, and what it gets.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Job, Pipeline, Source, flights::Flight};
use crate::{
    cache::Entry,
    limits::Place,
    listener::Client,
    message::{Header, Query, Request, query::ClientEdns},
};

/// What came of an exchange, for all who wait for it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The answer, or why there is none.
    pub(super) entry: Entry,
    /// Who gave it; `None` when nobody did.
    pub(super) upstream: Option<Arc<str>>,
    /// Where it came from.
    pub(super) source: Source,
}

/// A reply that is still being made. It comes at the latest when the exchange is over, which has a deadline.
pub struct Answer {
    awaited: Awaited,
    query: Option<Waiting>,
    places: Option<Places>,
}

/// A reply that can be written.
pub struct Finished {
    query: Waiting,
    outcome: Outcome,
}

/// The query, and who decides about it.
pub(super) struct Waiting {
    pipeline: Arc<Pipeline>,
    /// With the name as this client spells it.
    request: Arc<Request>,
    header: Header,
    edns: Option<ClientEdns>,
    client: Client,
    started: Instant,
}

/// Places among the queries that wait: in the process, and on the route.
pub(super) type Places = (Place, Place);

/// An exchange, or what is given when it fails or takes too long.
pub(super) struct Awaited {
    flight: Flight,
    spare: Option<Spare>,
}

/// An answer that has expired, and when it is given all the same (RFC 8767 section 5).
pub(super) struct Spare {
    entry: Entry,
    due: Pin<Box<Sleep>>,
}

impl Spare {
    pub(super) fn new(entry: Entry, due: Instant) -> Self {
        Self { entry, due: Box::pin(sleep_until(due)) }
    }

    /// For a while it is given at once, or until there is a better one.
    fn give(self) -> Outcome {
        let Self { entry, due: _ } = self;
        entry.note_given_stale(Instant::now());
        Outcome { entry, upstream: None, source: Source::Stale }
    }
}

impl Waiting {
    /// A query that waits for what comes of its own request.
    pub(super) fn new(pipeline: Arc<Pipeline>, job: &Job<'_>, request: Arc<Request>) -> Self {
        let Job { query: Query { header, question: _, edns }, client, started } = job;
        let (header, edns, client, started) = (*header, *edns, *client, *started);
        Self { pipeline, request, header, edns, client, started }
    }
}

impl Awaited {
    pub(super) fn new(flight: Flight, spare: Option<Spare>) -> Self {
        Self { flight, spare }
    }
}

impl Future for Awaited {
    /// With the exchange, when it is not over: whoever asks next should get what the upstream has to say (RFC 8767
    /// section 5).
    type Output = (Outcome, Option<Flight>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.flight).poll(cx) {
            let spare = self.spare.take().filter(|_| outcome.entry.is_failure());
            return Poll::Ready((spare.map_or(outcome, Spare::give), None));
        }
        match self.spare.take_if(|spare| spare.due.as_mut().poll(cx).is_ready()) {
            Some(spare) => Poll::Ready((spare.give(), Some(self.flight.clone()))),
            None => Poll::Pending,
        }
    }
}

impl Answer {
    pub(super) fn new(
        query: Waiting,
        places: Places,
        flight: Flight,
        stale: Option<Entry>,
    ) -> Self {
        let spare = query.pipeline.spare(stale, query.started);
        Self { awaited: Awaited::new(flight, spare), query: Some(query), places: Some(places) }
    }
}

impl Future for Answer {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let Poll::Ready((outcome, left)) = Pin::new(&mut self.awaited).poll(cx) else {
            return Poll::Pending;
        };
        let Some(query) = self.query.take() else { return Poll::Pending };
        if let Some(flight) = left {
            query.pipeline.see_to_the_end(flight, self.places.take());
        }
        Poll::Ready(Finished { query, outcome })
    }
}

impl Finished {
    /// How many octets its answer has.
    pub fn octets(&self) -> usize {
        self.outcome.entry.message().len()
    }

    /// Writes the reply into an empty buffer.
    pub fn write(self, out: &mut Vec<u8>) {
        let Self { query, outcome: Outcome { entry, upstream, source } } = self;
        let Waiting { pipeline, request, header, edns, client, started } = query;
        let query = Query { header, question: request.question.as_ref(), edns };
        let job = Job { query, client, started };
        pipeline.give(&job, &entry, source, upstream.as_deref(), out);
    }
}

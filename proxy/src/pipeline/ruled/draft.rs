//! An answer that is being made of several: of records that rules give, and of what was looked up.
//!
//! It has the end's response code, and the aliases of all parts before it. Its TTLs are right for one moment: what is
//! older has aged until then, and what is stale makes all of it stale, unless its end failed.

use std::sync::Arc;

use tokio::time::Instant;

use super::{TOO_LONG, no_name};
use crate::{
    message::{
        Question, Rcode,
        edns::{self, ExtendedError},
        response::{Record, Response},
    },
    pipeline::{Source, waiting::Outcome},
    rules::{Step, answer},
};

/// An answer that was made.
pub(super) struct Made {
    pub(super) message: Vec<u8>,
    /// And whether an upstream failed, whatever became of that.
    pub(super) code: (Rcode, bool),
    pub(super) errors: Vec<u8>,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) source: Source,
    /// From when its TTLs are.
    pub(super) since: Instant,
}

/// One that is being made.
pub(super) struct Draft {
    pub(super) response: Response,
    rcode: Rcode,
    /// Whether an upstream failed.
    is_failure: bool,
    errors: Vec<u8>,
    upstream: Option<Arc<str>>,
    source: Source,
    /// When its TTLs were, or are, those that are left.
    since: Instant,
}

impl Draft {
    /// The records that a rule gives.
    pub(super) fn given(question: &Question<'static>, given: &[Record], rule: &str) -> Self {
        let mut response = Response::empty(question.clone());
        let [answers, ..] = &mut response.sections;
        answers.extend_from_slice(given);
        Self::own(response, Rcode::NOERROR, &forged(rule))
    }

    /// What was made here.
    pub(super) fn own(response: Response, rcode: Rcode, reason: &ExtendedError) -> Self {
        let mut errors = Vec::new();
        edns::encode_error(reason, &mut errors);
        let (upstream, source, since) = (None, Source::Rule, Instant::now());
        Self { response, rcode, is_failure: false, errors, upstream, source, since }
    }

    /// What came of looking a question up, its TTLs as they are now.
    pub(super) fn of(outcome: &Outcome, question: &Question<'static>) -> Result<Self, String> {
        let Outcome { entry, upstream, source } = outcome;
        let malformed = |_| "the answer is malformed".to_owned();
        let mut response = Response::read(entry.message()).map_err(malformed)?;
        // The denial of a name, which answers every type, may have come for another one.
        response.question = question.clone();
        let is_aged_later = *source == Source::Stale || entry.is_failure();
        let since = if is_aged_later { entry.stored() } else { Instant::now() };
        let age = entry.age(since);
        response.records_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        Ok(Self {
            response,
            rcode: entry.rcode(),
            is_failure: entry.is_failure(),
            errors: entry.errors().to_vec(),
            upstream: upstream.clone(),
            source: *source,
            since,
        })
    }

    /// Goes on with what is at the end of the aliases so far.
    pub(super) fn append(&mut self, part: Self) {
        let Self { response, rcode, is_failure, errors, upstream, source, since } = part;
        let [answers, authorities, additionals] = response.sections;
        let [own_answers, own_authorities, own_additionals] = &mut self.response.sections;
        let is_stale = [self.source, source].contains(&Source::Stale);
        for record in &mut *own_answers {
            match self.source {
                // There is no end that they could be served with.
                Source::Stale if is_failure => record.ttl = 0,
                _ if is_stale => {}
                _ => record.ttl = record.ttl.saturating_sub(seconds(self.since, since)),
            }
        }
        own_answers.extend(answers);
        *own_authorities = authorities;
        *own_additionals = additionals;
        self.response.header.flags &= response.header.flags;
        self.rcode = rcode;
        self.is_failure = is_failure;
        self.errors.extend(errors);
        self.upstream = upstream.or_else(|| self.upstream.take());
        // All of it is as old as its oldest part; but without its end, it is what the end is.
        (self.source, self.since) = if is_stale && !is_failure {
            (Source::Stale, self.since.min(since))
        } else {
            (source, since)
        };
    }

    /// Does what rules want done to all of it.
    pub(super) fn change(&mut self, steps: &[Step]) -> Result<(), String> {
        answer::undo(steps, &mut self.response, &mut self.rcode).map_err(no_name)
    }

    /// What rules want of all of it, as a message.
    pub(super) fn finish(mut self, steps: &[Step]) -> Result<Made, String> {
        self.change(steps)?;
        let Self { response, rcode, is_failure, errors, upstream, source, since } = self;
        let message = response.write().map_err(|_| TOO_LONG.to_owned())?;
        Ok(Made { message, code: (rcode, is_failure), errors, upstream, source, since })
    }
}

fn forged(rule: &str) -> ExtendedError {
    ExtendedError::new(ExtendedError::FORGED, format!("rule {rule}"))
}

/// Whole seconds from one moment to a later one.
fn seconds(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_secs()).unwrap_or(u32::MAX)
}

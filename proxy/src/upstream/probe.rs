//! Looking after a server: is it alive, does it lead back to us?
//!
//! A probe asks what `healthCheck` says over the same transport as everybody, so it makes the connection that
//! clients will use, and what comes of it counts for the server's health like any answer. There is one at a
//! time and server.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    connection::Asked, error::ExchangeError, exchange::Exchange, health::Standing,
    loops::LoopProbes, pending::Response, pool::Pool, server::Server,
};
use crate::message::{Name, Qclass, Qtype, Question, Request};

impl Server {
    /// Asks the server whether it is alive, unless somebody does already.
    pub(super) fn probe(self: &Arc<Self>) {
        if self.is_probed.swap(true, Ordering::AcqRel) {
            return;
        }
        let server = Arc::clone(self);
        self.tasks().spawn(async move {
            let probed = Probed(&server);
            let check = server.health_check();
            for _ in 0..MAX_ROUNDS {
                let is_alive = ask(&server, request(check.name.clone(), check.qtype), true).await;
                // Those that fell silent meanwhile were not asked.
                if !is_alive || server.pool().suspects().is_empty() {
                    break;
                }
            }
            drop(probed);
        });
    }

    /// Asks what may come back to us, and waits whether it does.
    pub(super) fn probe_for_loop(self: &Arc<Self>, zone: &Name<'_>, probes: &LoopProbes) {
        let Some((name, watch)) = probes.begin(self, zone) else { return };
        let server = Arc::clone(self);
        self.tasks().spawn(async move {
            let begun = Instant::now();
            // Some servers have no answer to such a question, and are well.
            if ask(&server, request(name, Qtype::HINFO), false).await {
                server.note_no_loop(begun);
            }
            drop(watch);
        });
    }

    /// Whether nobody knows whether it is back.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        self.health().standing(now) == Standing::Doubtful
    }

    /// Whether its connection is to be kept, and nothing was heard for a while: soon enough that neither side closes it as idle.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.health().standing(now) == Standing::Up
            && !self.is_udp()
            && self.pool().is_quiet_for(self.health_check().interval, now)
    }
}

/// The place of the one who probes; given back whatever happens.
struct Probed<'s>(&'s Server);

impl Drop for Probed<'_> {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::Release);
    }
}

fn request(name: Name<'static>, qtype: Qtype) -> Arc<Request> {
    let question = Question { name, qtype, qclass: Qclass::IN };
    Arc::new(Request {
        question,
        recursion_desired: true,
        checking_disabled: false,
        dnssec_ok: false,
    })
}

/// Asks, and tells whether any answer came. That none came counts for the server's health when the question is decisive.
async fn ask(server: &Arc<Server>, request: Arc<Request>, is_decisive: bool) -> bool {
    let started = Instant::now();
    let mut hails = hail(server, &request, started);
    let mut hailed: Vec<_> = hails.iter().map(|asked| Arc::clone(asked.connection())).collect();
    // One of them would have to go for a new connection.
    if hails.len() >= server.max_connections() {
        hear(&mut hails, server.pool(), server.patience()).await;
    }
    let mut exchange = Exchange::start(server, &request, started);
    let limits = server.limits();
    let end = started + limits.connect + limits.query;
    let mut answer = poll_while_heard(&mut exchange, server.patience(), end).await;
    while answer.is_none() && is_decisive && exchange.suspect() {
        server.suspect();
        let now = Instant::now();
        if !exchange.is_among_others() || now >= end {
            break;
        }
        // What is stuck behind somebody's question says nothing about the server: a fresh connection does.
        hailed.extend(exchange.connection().map(Arc::clone));
        exchange = Exchange::start(server, &request, now);
        answer = poll_while_heard(&mut exchange, server.patience(), end).await;
    }
    if answer.is_none() {
        answer = poll_until(&mut exchange, end).await;
    }
    let result = answer.unwrap_or(Err(ExchangeError::Timeout(limits.query)));
    if is_decisive || result.is_ok() {
        let begun = if result.is_ok() { exchange.sent() } else { started };
        server.note_probe(result.as_ref(), begun, Instant::now());
    }
    if result.is_ok() {
        // As much time again, for those that are alive all the same.
        hear(&mut hails, server.pool(), started.elapsed()).await;
        server.pool().end_suspects(&hailed);
    }
    result.is_ok()
}

/// Asks on the connections that are suspect. One that is alive, with slow names only, answers and is suspect no
/// more; so it is not ended, and nobody there has to ask again.
fn hail(server: &Server, request: &Arc<Request>, now: Instant) -> Vec<Asked> {
    let suspects = server.pool().suspects();
    let asked = suspects.iter().map(|way| way.ask(request, Some(server.edns_of_streams()), now));
    asked.filter_map(Result::ok).collect()
}

/// Waits until all have answered, or for so long. Those that have are heard no more.
async fn hear(hails: &mut Vec<Asked>, pool: &Pool, limit: Duration) {
    let all = poll_fn(|cx| {
        hails.retain_mut(|asked| {
            let is_behind = asked.is_behind_another();
            let answer = asked.poll(cx);
            if is_behind && matches!(answer, Poll::Ready(Ok(_))) {
                pool.note_overtaking();
            }
            answer.is_pending()
        });
        if hails.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(limit, all).await.ok();
}

/// Waits for the answer as long as the way it went is not silent for longer than `patience`.
async fn poll_while_heard(exchange: &mut Exchange, patience: Duration, end: Instant) -> Outcome {
    loop {
        let look = end.min(exchange.silent_since() + patience);
        let answer = poll_until(exchange, look).await;
        let is_silent = || exchange.silent_since() + patience <= look;
        if answer.is_some() || look == end || is_silent() {
            return answer;
        }
    }
}

async fn poll_until(exchange: &mut Exchange, end: Instant) -> Outcome {
    let answer = timeout_at(end, poll_fn(|cx| exchange.poll(cx))).await.ok()?;
    Some(answer.map(|(response, _)| response))
}

/// How often one who probes begins anew because of connections that fell silent meanwhile.
const MAX_ROUNDS: usize = 3;

/// What came, when something came.
type Outcome = Option<Result<Response, ExchangeError>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{connection::Connection, settings::ConnectionLimits, testing::request};

    #[tokio::test(start_paused = true)]
    async fn who_has_answered_is_heard_no_more() {
        let now = Instant::now();
        let [gone, silent] =
            [(); 2].map(|()| Arc::new(Connection::new(&ConnectionLimits::default(), None, now)));
        let asked =
            [&gone, &silent].map(|way| way.ask(&request("a.example.").into(), None, now).unwrap());
        let mut hails = Vec::from(asked);
        gone.end(&ExchangeError::Closed);

        hear(&mut hails, &Pool::default(), Duration::from_millis(100)).await;
        assert_eq!(hails.len(), 1);
        hear(&mut hails, &Pool::default(), Duration::from_millis(100)).await;
        assert_eq!(hails.len(), 1, "the silent one is waited for again");
    }
}

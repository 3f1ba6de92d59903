//! Looking after a server: is it alive, does it lead back to us?
//!
//! A probe asks what `healthCheck` says over the same transport as everybody, so it makes the connection that
//! clients will use, and what comes of it counts for the server's health like any answer. There is one at a
//! time and server.

use std::{
    future::poll_fn,
    mem,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    connection::{Asked, Connection},
    error::ExchangeError,
    exchange::Exchange,
    health::Standing,
    loops::LoopProbes,
    pending::Response,
    pool::Pool,
    server::Server,
};
use crate::message::{Name, Qclass, Qtype, Question, Request};

impl Server {
    /// Asks the server whether it is alive, unless somebody does already.
    pub(super) fn probe(self: &Arc<Self>) {
        if !self.is_probed.swap(true, Ordering::AcqRel) {
            let server = Arc::clone(self);
            self.tasks().spawn(async move { Probed(server).probe(false).await });
        }
    }

    /// Asks on connections that are silent, though not for longer than names may take, whether they are dead. Where questions
    /// are taken in order nothing would tell.
    pub(super) fn check_silent(self: &Arc<Self>, now: Instant) {
        let (limit, pause) = (self.patience_with_checks(), self.patience());
        let is_of_use = !self.is_udp() && limit < pause && self.pool().seems_unordered();
        if !is_of_use || !self.pool().is_due_for_check(limit, pause, now) {
            return;
        }
        if !self.is_probed.swap(true, Ordering::AcqRel) {
            let server = Arc::clone(self);
            self.tasks().spawn(async move { Probed(server).check(limit).await });
        }
    }

    /// Asks what health checks ask, to know how long that takes. Nobody doubts the server, so if there is no answer, or the
    /// connection is closed instead, that says nothing; and who does doubt it meanwhile need not wait for this.
    pub(super) fn time_check(self: &Arc<Self>) {
        let server = Arc::clone(self);
        self.tasks().spawn(async move {
            if let Some(sent) = server.ask_aside(server.check_request(), Instant::now()).await {
                server.latency().observe_check(sent.elapsed());
            }
        });
    }

    /// Asks what may come back to us, and waits whether it does.
    pub(super) fn probe_for_loop(self: &Arc<Self>, zone: &Name<'_>, probes: &LoopProbes) {
        let Some((name, watch)) = probes.begin(self, zone) else { return };
        let server = Arc::clone(self);
        self.tasks().spawn(async move {
            let begun = Instant::now();
            // Some servers have no answer to such a question, and are well.
            if server.ask_aside(request(name, Qtype::HINFO), begun).await.is_some() {
                server.note_no_loop(begun);
            }
            drop(watch);
        });
    }

    /// Asks what counts for the server's health if it is answered, and else not. Tells when that was sent which was answered.
    async fn ask_aside(self: &Arc<Self>, request: Arc<Request>, now: Instant) -> Option<Instant> {
        let limits = self.limits();
        let mut asked = vec![Exchange::start(self, &request, false, now)];
        let answer = poll_until(&mut asked, now + limits.connect + limits.query).await;
        let Some((sent, Ok(response))) = answer else { return None };
        self.note_probe(Ok(&response), sent, Instant::now());
        Some(sent)
    }

    /// What health checks ask.
    fn check_request(&self) -> Arc<Request> {
        let check = self.health_check();
        request(check.name.clone(), check.qtype)
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
struct Probed(Arc<Server>);

impl Drop for Probed {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::Release);
    }
}

impl Probed {
    /// Asks the server whether it is alive. The other connections were asked already where the suspect ones were checked.
    async fn probe(self, mut is_checked: bool) {
        let Self(server) = &self;
        let pool = server.pool();
        let (longest, usual) = (server.patience(), server.patience_with_checks());
        let patience = match pool.seems_unordered() {
            // Nobody is known to wait for anything, so nothing is in a hurry.
            _ if pool.suspects().is_empty() => longest,
            true => usual,
            // A check may have to wait for those before it; and who waits must have time left.
            false => usual.max(longest / 2),
        };
        let mut known = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let mut hails = hail(server, &pool.suspects(), &server.check_request());
            if !hails.is_empty() {
                let is_checked = mem::take(&mut is_checked);
                look_for_more(server, &server.check_request(), &mut hails, is_checked, patience)
                    .await;
            }
            known.extend(hails.iter().map(|asked| Arc::clone(asked.connection())));
            let is_alive = ask(server, server.check_request(), hails, patience).await;
            // Those that fell silent meanwhile were not asked.
            let is_known =
                |way: &Arc<Connection>| known.iter().any(|known| Arc::ptr_eq(known, way));
            if !is_alive || pool.suspects().iter().all(is_known) {
                break;
            }
        }
    }

    /// Asks on all connections whether they are dead.
    async fn check(self, limit: Duration) {
        let Self(server) = &self;
        let (edns, now) = (Some(server.edns_of_streams()), Instant::now());
        let ways = server.pool().unsuspected(now).into_iter();
        let asked = ways.filter_map(|way| way.check(&server.check_request(), edns, now).ok());
        let mut asked: Vec<_> = asked.collect();
        hear(&mut asked, server.pool(), limit).await;
        if suspect_those_unheard(&asked) {
            drop(asked);
            server.suspect();
            self.probe(true).await;
        }
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

/// Asks whether the server is alive, and tells whether any answer came; that none came counts for its health. Then connections
/// are ended that have no answer for those who `hail`. No connection may be silent for longer than `patience`.
async fn ask(
    server: &Arc<Server>,
    request: Arc<Request>,
    mut hails: Vec<Asked>,
    patience: Duration,
) -> bool {
    let started = Instant::now();
    let limits = server.limits();
    let end = started + limits.connect + limits.query;
    let mut asked = vec![Exchange::start(server, &request, false, started)];
    let mut answer = poll_while_heard(&mut asked, patience, end).await;
    while answer.is_none() && Instant::now() < end && asked.len() <= server.max_connections() {
        // One that is being made has a limit of its own.
        if let Some(last) = asked.last().filter(|last| last.suspect()) {
            server.suspect();
            if !last.is_among_others() {
                break;
            }
            // What is stuck behind somebody's question says nothing about the server: a fresh connection does.
            asked.push(Exchange::start(server, &request, false, Instant::now()));
        }
        answer = poll_while_heard(&mut asked, patience, end).await;
    }
    if answer.is_none() {
        answer = poll_until(&mut asked, end).await;
    }
    let (begun, result) = answer.unwrap_or((started, Err(ExchangeError::Timeout(limits.query))));
    server.note_probe(result.as_ref(), begun, Instant::now());
    if result.is_ok() {
        server.latency().observe_check(begun.elapsed());
        // As much time again, for those that are alive all the same.
        hear(&mut hails, server.pool(), begun.elapsed()).await;
        let silent = hails.iter().map(Asked::connection);
        let silent = silent.chain(asked.iter().filter_map(Exchange::connection));
        let silent: Vec<_> = silent.map(Arc::clone).collect();
        server.pool().end_suspects(&silent, server.patience());
    }
    result.is_ok()
}

/// Asks on connections that are or may be suspect. One that is alive, with slow names only, answers and is suspect no
/// more; so it is not ended, and nobody there has to ask again.
fn hail(server: &Server, ways: &[Arc<Connection>], request: &Arc<Request>) -> Vec<Asked> {
    let (edns, now) = (Some(server.edns_of_streams()), Instant::now());
    ways.iter().filter_map(|way| way.ask(request, edns, now).ok()).collect()
}

/// Where one connection is silent, the others may be dead as well: asks on all of them until one has answered. If none has in
/// time, they are suspect, and it is for a new one to tell; but for those where it may be behind a slow question.
async fn look_for_more(
    server: &Server,
    request: &Arc<Request>,
    hails: &mut Vec<Asked>,
    is_checked: bool,
    patience: Duration,
) {
    let (pool, started, limit) = (server.pool(), Instant::now(), server.patience_with_checks());
    if !is_checked && pool.may_ask_all(ASK_ALL_PAUSE, started) {
        let mut asked = hail(server, &pool.unsuspected(started), request);
        if !asked.is_empty() && timeout(limit, hear_one(&mut asked, pool)).await.is_err() {
            let is_unordered = pool.seems_unordered();
            asked.retain(|asked| is_unordered || !asked.is_behind_another());
            suspect_those_unheard(&asked);
        }
        asked.retain(|asked| asked.connection().is_suspect());
        hails.extend(asked);
    }
    // One of them would have to go for a new connection.
    if hails.len() >= server.max_connections() {
        hear(hails, pool, patience.saturating_sub(started.elapsed())).await;
    }
}

/// Nothing at all has come on those: tells whether there are any.
fn suspect_those_unheard(asked: &[Asked]) -> bool {
    let unheard = asked.iter().filter(|asked| !asked.is_alive_since());
    unheard.filter(|asked| asked.connection().suspect()).count() > 0
}

/// Waits until all have answered, or for so long. Those that have are heard no more.
async fn hear(asked: &mut Vec<Asked>, pool: &Pool, limit: Duration) {
    let all = async {
        while !asked.is_empty() {
            hear_one(asked, pool).await;
        }
    };
    timeout(limit, all).await.ok();
}

/// Waits until one of them has answered, or some at a time.
async fn hear_one(asked: &mut Vec<Asked>, pool: &Pool) {
    poll_fn(|cx| {
        let count = asked.len();
        asked.retain_mut(|asked| {
            let is_behind = asked.is_behind_another();
            let answer = asked.poll(cx);
            if is_behind && matches!(answer, Poll::Ready(Ok(_))) {
                pool.note_overtaking(Instant::now());
            }
            answer.is_pending()
        });
        if asked.len() < count { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits for an answer as long as the way that the last one went is not silent for longer than `patience`, from now on.
async fn poll_while_heard(
    asked: &mut Vec<Exchange>,
    patience: Duration,
    end: Instant,
) -> Option<Outcome> {
    let begun = Instant::now();
    loop {
        let silent_since = asked.last().map_or(begun, Exchange::silent_since);
        let look = end.min(silent_since.max(begun) + patience);
        let answer = poll_until(asked, look).await;
        let is_silent = || asked.last().is_none_or(|last| last.silent_since() + patience <= look);
        if answer.is_some() || look == end || is_silent() {
            return answer;
        }
    }
}

/// An answer to any of them, or the failure of the last one. Whoever has ended is asked no more.
async fn poll_until(asked: &mut Vec<Exchange>, end: Instant) -> Option<Outcome> {
    let any = poll_fn(|cx| {
        for index in (0..asked.len()).rev() {
            let Some(exchange) = asked.get_mut(index) else { continue };
            let Poll::Ready(answer) = exchange.poll(cx) else { continue };
            let (sent, is_last) = (exchange.sent(), index + 1 == asked.len());
            asked.remove(index);
            if answer.is_ok() || is_last {
                return Poll::Ready((sent, answer.map(|(response, _)| response)));
            }
        }
        Poll::Pending
    });
    timeout_at(end, any).await.ok()
}

/// Where connections fall silent again and again, not all are asked each time: our guess.
const ASK_ALL_PAUSE: Duration = Duration::from_secs(1);

/// How often one who probes begins anew because of connections that fell silent meanwhile.
const MAX_ROUNDS: usize = 3;

/// What came, and when was asked for it.
type Outcome = (Instant, Result<Response, ExchangeError>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{settings::ConnectionLimits, testing::request};

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

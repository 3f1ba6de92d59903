//! Keeping the servers of routes in use ready: connected before a client asks, and looked at when in doubt.
//!
//! For a minute after a question the best two servers of a route stay warm, and quiet or failing ones are
//! probed. A route that nobody uses costs nothing. A new one counts as used, so that the first query
//! finds a connection.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Routing, health::Standing, loops::LoopProbes, random, route::Route, server::Server};
use crate::message::Name;

/// Looks after the routes until they are no longer wanted, or `stop`.
pub(super) async fn keep(routing: Weak<Routing>, probes: LoopProbes, stop: CancellationToken) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut loops = LoopChecks::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Some(routing) = routing.upgrade() else { return };
        let now = Instant::now();
        for route in routing.routes.iter().filter(|route| route.is_in_use(now)) {
            look_after(route, now);
            loops.check(route, &probes, now);
        }
    }
}

fn look_after(route: &Route, now: Instant) {
    let best = route.best(WARM, now);
    best.iter().for_each(|server| server.warm(now));
    // The others may close what they have.
    let quiet = best.into_iter().filter(|server| server.is_quiet(now));
    let doubtful = route.all().filter(|server| server.is_doubtful(now));
    route.all().for_each(|server| server.check_silent(now));
    let unknown = route.servers.iter().filter(|server| route.wants_to_know(server, now));
    for server in quiet.chain(doubtful).chain(unknown) {
        server.probe();
    }
}

impl Route {
    /// The servers that questions go to first.
    fn best(&self, count: usize, now: Instant) -> Vec<&Arc<Server>> {
        let mut best: Vec<&Arc<Server>> = Vec::with_capacity(count);
        let draw = self.turn();
        while best.len() < count {
            let is_known =
                |server: &Arc<Server>| best.iter().any(|known| Arc::ptr_eq(known, server));
            let next = self.next(&self.servers, draw, Standing::Doubtful, is_known, now);
            let Some(next) = next else { break };
            best.push(next);
        }
        best
    }

    /// Whether a server may be faster than those that are warm, and nobody has looked of late.
    fn wants_to_know(&self, server: &Server, now: Instant) -> bool {
        self.is_by_speed()
            && self.servers.len() > WARM
            && server.standing(now) == Standing::Up
            && (server.is_udp() || !server.is_warm(now))
            && server.latency().is_stale(now)
    }
}

/// When each server is asked next whether it leads back to us.
#[derive(Debug, Default)]
struct LoopChecks {
    due: Vec<(Weak<Server>, Instant)>,
}

impl LoopChecks {
    fn check(&mut self, route: &Route, probes: &LoopProbes, now: Instant) {
        self.due.retain(|(server, _)| server.strong_count() > 0);
        let root = Name::root();
        let zone = route.settings.zones.first().unwrap_or(&root);
        for server in route.all() {
            let is_looping = server.health().is_looping();
            let is_ready = server.is_warm(now) || is_looping;
            let pause = if is_looping { RECHECK } else { CHECK };
            if is_ready && self.is_due(server, pause, now) {
                server.probe_for_loop(zone, probes);
                // Who is always busy would never be asked how long that takes.
                if server.latency().usual_check().is_none() {
                    server.time_check();
                }
            }
        }
    }

    fn is_due(&mut self, server: &Arc<Server>, pause: Duration, now: Instant) -> bool {
        let known = self.due.iter_mut().find(|(known, _)| known.as_ptr() == Arc::as_ptr(server));
        let Some((_, due)) = known else {
            self.due.push((Arc::downgrade(server), now + FIRST_CHECK));
            return false;
        };
        // Sooner than was planned, when the server has been taken out since.
        *due = (*due).min(now + pause.mul_f64(LATEST));
        let is_due = *due <= now;
        if is_due {
            *due = now + pause.mul_f64(1.0 + random::fraction() * (LATEST - 1.0));
        }
        is_due
    }
}

/// Up to a quarter later than asked for, lest all pods ask at once.
const LATEST: f64 = 1.25;

/// How long after its first connection a server is asked whether it leads back to us: long enough that what
/// stands behind it has started, too. Our guess.
const FIRST_CHECK: Duration = Duration::from_secs(2);

/// How often routes are looked at: our guess, so that a lost connection is replaced before it is missed.
const TICK: Duration = Duration::from_millis(250);

/// The best one is asked, the second one is there when it fails.
const WARM: usize = 2;

/// How often a server is asked whether it leads back to us: our guess, for loops that come up while we run.
const CHECK: Duration = Duration::from_secs(300);

/// How often a server that does is asked whether it still does.
const RECHECK: Duration = Duration::from_secs(30);

//! Keeping the servers of routes in use ready: connected before a client asks, and looked at when in doubt.
//!
//! For a minute after a question the best two servers of a route stay warm, and quiet or failing ones are
//! probed. A route that nobody uses costs nothing. A new one counts as used, so that the first query
//! finds a connection.

use std::{
    collections::HashMap,
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
    for server in route.best(WARM, now) {
        server.warm(now);
    }
    let unknown = route.servers.iter().filter(|server| route.wants_to_know(server, now));
    for server in route.all().filter(|server| server.wants_probe(now)).chain(unknown) {
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
            && !server.is_warm(now)
            && server.latency().is_stale(now)
    }
}

/// When each server of each route is asked next whether it leads back to us.
#[derive(Debug, Default)]
struct LoopChecks {
    /// By the address in memory, which no other server has as long as the check is there, and the name of the route.
    checks: HashMap<(usize, Arc<str>), LoopCheck>,
}

#[derive(Debug)]
struct LoopCheck {
    server: Weak<Server>,
    due: Instant,
    /// How often it was asked. A server may lead back for one zone only, so they take turns.
    turn: usize,
}

impl LoopChecks {
    fn check(&mut self, route: &Route, probes: &LoopProbes, now: Instant) {
        self.checks.retain(|_, check| check.server.strong_count() > 0);
        for server in route.all() {
            let looping = server.health().looping_zone();
            if server.is_warm(now) || looping.is_some() {
                let check = self.of(server, route, now);
                if let Some(zone) = check.due_zone(&route.settings.zones, looping, now) {
                    server.probe_for_loop(&zone, probes);
                }
            }
        }
    }

    fn of(&mut self, server: &Arc<Server>, route: &Route, now: Instant) -> &mut LoopCheck {
        let key = (Arc::as_ptr(server).addr(), Arc::clone(route.name()));
        let first =
            || LoopCheck { server: Arc::downgrade(server), due: now + FIRST_CHECK, turn: 0 };
        self.checks.entry(key).or_insert_with(first)
    }
}

impl LoopCheck {
    /// The zone of which a name is to be asked now: that for which the server leads back, until it does no more, else the next
    /// one.
    fn due_zone(
        &mut self,
        zones: &[Name<'static>],
        looping: Option<Name<'static>>,
        now: Instant,
    ) -> Option<Name<'static>> {
        if looping.is_some() {
            // Sooner than was planned, when the server has been taken out since.
            self.due = self.due.min(now + RECHECK.mul_f64(LATEST));
        }
        if self.due > now {
            return None;
        }
        let is_looping = looping.is_some();
        let zone = looping.or_else(|| zones.get(self.turn % zones.len().max(1)).cloned());
        self.turn += usize::from(!is_looping);
        let pause = match is_looping {
            true => RECHECK,
            // Each of them soon, at first.
            false if self.turn < zones.len() => FIRST_CHECK,
            false => CHECK,
        };
        self.due = now + pause.mul_f64(1.0 + random::fraction() * (LATEST - 1.0));
        Some(zone.unwrap_or_else(Name::root))
    }
}

/// Up to a quarter later than asked for, lest all pods ask at once.
const LATEST: f64 = 1.25;

/// How long after its first connection a server is asked whether it leads back to us, and then between its zones: long enough
/// that what stands behind it has started, too. Our guess.
const FIRST_CHECK: Duration = Duration::from_secs(2);

/// How often routes are looked at: our guess, so that a lost connection is replaced before it is missed.
const TICK: Duration = Duration::from_millis(250);

/// The best one is asked, the second one is there when it fails.
const WARM: usize = 2;

/// How often a server is asked whether it leads back to us: our guess, for loops that come up while we run.
const CHECK: Duration = Duration::from_secs(300);

/// How often a server that does is asked whether it still does.
const RECHECK: Duration = Duration::from_secs(30);

//! Which route a question takes: the one with the longest zone, by labels; and who is asked next on it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;
use tokio::time::Instant;

use super::{
    budget::HedgeBudget,
    health::Standing,
    random,
    server::Server,
    settings::{Policy, RouteSettings},
};
use crate::{
    explain::ServerStep,
    limits::{InFlight, Place},
    message::{Name, Qtype, Question, name::MAX_NAME_LEN},
};

/// The servers that a question of some zones goes to.
#[derive(Debug)]
pub struct Route {
    pub(super) settings: RouteSettings,
    /// In the order of the manifest.
    pub(super) servers: Vec<Arc<Server>>,
    /// Those that are asked when none of the others can be reached.
    pub(super) fallback: Vec<Arc<Server>>,
    pub(super) hedges: HedgeBudget,
    in_flight: Arc<InFlight>,
    /// Whose turn it is, for [`Policy::RoundRobin`].
    turn: AtomicUsize,
    identity: u64,
    start: Instant,
    /// Milliseconds from `start` to the last question.
    used: AtomicU64,
}

impl Route {
    /// A route, with the questions that wait on its predecessor.
    pub(super) fn new(
        settings: RouteSettings,
        servers: Vec<Arc<Server>>,
        fallback: Vec<Arc<Server>>,
        in_flight: Arc<InFlight>,
        identity: u64,
    ) -> Self {
        Self {
            settings,
            servers,
            fallback,
            hedges: HedgeBudget::default(),
            in_flight,
            turn: AtomicUsize::new(0),
            identity,
            start: Instant::now(),
            used: AtomicU64::new(0),
        }
    }

    /// The name that logs use.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// A hash of who its upstreams are: where they are, how they are spoken to and what proves who they are. Answers
    /// of other upstreams are other answers.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether it is for every name that has no other route.
    pub fn is_for_all(&self) -> bool {
        self.settings.zones.iter().any(|zone| zone.as_wire().len() == 1)
    }

    /// A place for one more question, unless `maxInFlight` of this route wait.
    pub fn enter(&self) -> Option<Place> {
        self.in_flight.enter(self.settings.max_in_flight)
    }

    /// Whether so many wait that places are dear.
    pub(super) fn is_half_full(&self) -> bool {
        self.in_flight.count() >= self.settings.max_in_flight / 2
    }

    pub(super) fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// A client asks.
    pub(super) fn note_use(&self, now: Instant) {
        self.hedges.earn();
        let millis = u64::try_from((now - self.start).as_millis()).unwrap_or(u64::MAX);
        self.used.store(millis, Ordering::Relaxed);
    }

    /// Whether a client asked of late; a new route is about to be.
    pub(super) fn is_in_use(&self, now: Instant) -> bool {
        let used = self.start + Duration::from_millis(self.used.load(Ordering::Relaxed));
        now < used + IN_USE
    }

    /// Its own servers and those of the fallback.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().chain(&self.fallback)
    }

    /// Whether a server is one of the fallback.
    pub(super) fn is_fallback(&self, server: &Arc<Server>) -> bool {
        self.fallback.iter().any(|spare| Arc::ptr_eq(spare, server))
    }

    /// Whether the servers' speed matters.
    pub(super) fn is_by_speed(&self) -> bool {
        self.settings.policy == Policy::Fastest
    }

    /// Whose turn it is, without taking it.
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// A number for [`Self::next`], drawn once per question.
    pub(super) fn draw(&self) -> usize {
        match self.settings.policy {
            Policy::Fastest | Policy::Sequential => 0,
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed),
            Policy::Random => random::below(self.servers.len()),
        }
    }

    /// The same, for people.
    pub fn servers_in_order(&self, now: Instant) -> Vec<ServerStep> {
        let step = |server: &Arc<Server>| ServerStep {
            upstream: server.upstream().to_string(),
            address: server.address().to_string(),
            state: format!("{:?}", server.health().snapshot().state),
        };
        self.order(now).into_iter().map(step).collect()
    }

    /// The servers in the order in which they would be asked now, those of the fallback last.
    pub(super) fn order(&self, now: Instant) -> Vec<&Arc<Server>> {
        let mut order: Vec<&Arc<Server>> = Vec::new();
        for servers in [&self.servers, &self.fallback] {
            let is_known = |known: &[&Arc<Server>], server: &Arc<Server>| {
                known.iter().any(|other| Arc::ptr_eq(other, server))
            };
            while let Some(next) = self.next(
                servers,
                self.turn(),
                Standing::Down,
                |server| is_known(&order, server),
                now,
            ) {
                order.push(next);
            }
        }
        order
    }

    /// Of these servers the one to ask next: the best by policy of those with the best standing, at worst
    /// `worst`, that are not excluded.
    pub(super) fn next<'r>(
        &self,
        servers: &'r [Arc<Server>],
        draw: usize,
        worst: Standing,
        is_excluded: impl Fn(&Arc<Server>) -> bool,
        now: Instant,
    ) -> Option<&'r Arc<Server>> {
        let count = servers.len();
        let key = |index: usize, server: &Server| match self.settings.policy {
            Policy::Fastest => (!server.is_ready(now), server.latency().expected(now), index),
            Policy::Sequential => (false, None, index),
            // Each server has its turn first; after it the others in a circle.
            Policy::RoundRobin | Policy::Random => {
                (false, None, (index + count - draw % count) % count)
            }
        };
        let candidates = servers.iter().enumerate().filter(|(_, server)| !is_excluded(server));
        let standing = candidates.map(|(index, server)| (server.standing(now), index, server));
        standing
            .filter(|(standing, _, _)| *standing <= worst)
            // Where there is one alone, nobody need know how it compares.
            .min_by(|(standing, index, server), (other_standing, other_index, other)| {
                let by_key = || key(*index, server).cmp(&key(*other_index, other));
                standing.cmp(other_standing).then_with(by_key)
            })
            .map(|(_, _, server)| server)
    }
}

/// For so long after a question a route's best servers are kept warm.
const IN_USE: Duration = Duration::from_secs(60);

/// Finds a zone's route. Zones are looked up whole, in lower case, so that no name is compared twice.
#[derive(Debug, Default)]
pub struct Zones {
    /// Looked up for each query; only the author of a manifest adds zones, so nobody could gain from a known seed.
    routes: HashMap<Box<[u8]>, usize, FixedState>,
    /// Octets of the longest zone: what is longer need not be looked up, which is all but "." by default.
    longest: usize,
    /// The names that there are because of a zone: each zone and the names above it, all but ".".
    implied: HashSet<Box<[u8]>, FixedState>,
}

impl Zones {
    /// The zones of these routes.
    pub fn of(routes: &[RouteSettings]) -> Self {
        let mut zones = Self::default();
        for (index, route) in routes.iter().enumerate() {
            route.zones.iter().for_each(|zone| zones.insert(zone, index));
        }
        zones
    }

    /// Sends a zone to the route with this index. The first one to claim a zone keeps it.
    pub fn insert(&mut self, zone: &Name<'_>, route: usize) {
        let zone = zone.to_folded();
        self.longest = self.longest.max(zone.len());
        for name in suffixes(&zone).filter(|name| *name != ROOT) {
            if !self.implied.insert(name.into()) {
                break;
            }
        }
        self.routes.entry(zone).or_insert(route);
    }

    /// Whether a name is a zone, or above one: then there is such a name, whatever its own records are (RFC 8020 section 2).
    pub fn imply(&self, name: &Name<'_>) -> bool {
        let mut buffer = [0; MAX_NAME_LEN];
        self.implied.contains(name.fold(&mut buffer))
    }

    /// The index of the route for a question.
    pub fn find(&self, question: &Question<'_>) -> Option<usize> {
        self.longest(question).map(|(_, route)| route)
    }

    /// The octets of the zone that a question is in.
    pub fn zone_len(&self, question: &Question<'_>) -> Option<usize> {
        self.longest(question).map(|(len, _)| len)
    }

    fn longest(&self, question: &Question<'_>) -> Option<(usize, usize)> {
        if self.longest == ROOT.len() {
            return Some((ROOT.len(), *self.routes.get(ROOT)?));
        }
        let mut buffer = [0; MAX_NAME_LEN];
        let folded = question.name.fold(&mut buffer);
        // DS belongs to the parent's side of a zone cut (RFC 4035 section 3.1.4.1).
        let skipped = usize::from(question.qtype == Qtype::DS && folded.len() > 1);
        suffixes(folded)
            .skip(skipped)
            .filter(|zone| zone.len() <= self.longest)
            .find_map(|zone| Some((zone.len(), *self.routes.get(zone)?)))
    }
}

/// The zone of all names.
const ROOT: &[u8] = &[0];

/// A name in wire form and each of its ancestors, the longest first.
fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors((!wire.is_empty()).then_some(wire), |name| match name.first() {
        None | Some(0) => None,
        Some(&len) => name.get(1 + usize::from(len)..),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Qclass;

    fn find(zones: &Zones, name: &str, qtype: Qtype) -> Option<usize> {
        zones.find(&Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN })
    }

    #[test]
    fn the_longest_zone_is_found_whatever_the_order_in_which_they_came() {
        let zones = ["long.corp.example.", "corp.example.", "."].map(|zone| zone.parse().unwrap());
        let cases = [
            ("a.long.corp.example.", Qtype::A, 0),
            ("LONG.corp.example.", Qtype::A, 0),
            ("long.corp.example.", Qtype::DS, 1),
            ("xlong.corp.example.", Qtype::A, 1),
            ("a.much.longer.name.than.any.zone.example.", Qtype::A, 2),
            (".", Qtype::DS, 2),
        ];

        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut table = Zones::default();
            for index in order {
                let zone: &Name<'_> = &zones[index];
                table.insert(zone, index);
            }
            for (name, qtype, expected) in cases {
                assert_eq!(find(&table, name, qtype), Some(expected), "{name} {qtype} {order:?}");
            }
        }
        assert_eq!(find(&Zones::default(), "a.example.", Qtype::A), None);
    }

    #[test]
    fn zones_and_the_names_above_them_exist() {
        let mut table = Zones::default();
        for zone in [".", "b.corp.Local.", "a.corp.local."] {
            table.insert(&zone.parse().unwrap(), 0);
        }
        let cases = [
            ("local.", true),
            ("CORP.local.", true),
            ("b.corp.local.", true),
            ("x.b.corp.local.", false),
            ("c.corp.local.", false),
            (".", false),
        ];
        for (name, expected) in cases {
            assert_eq!(table.imply(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn with_nothing_but_the_root_all_names_are_in_it() {
        let mut table = Zones::default();
        table.insert(&".".parse().unwrap(), 3);

        for (name, qtype) in [("a.b.example.", Qtype::A), ("example.", Qtype::DS), (".", Qtype::DS)]
        {
            assert_eq!(find(&table, name, qtype), Some(3), "{name} {qtype}");
        }
    }
}

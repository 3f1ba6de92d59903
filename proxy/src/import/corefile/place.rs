//! Blocks among one another: which names are whose, and which routes are made of what they say.

use std::collections::BTreeMap;

use dnsproxy_api::{bounds, v1alpha1::Source};

use super::{
    asked::{Share, Shares},
    cache,
    forward::Forward,
    leads::Lead,
    syntax::{Block, Directive},
    ttls::Changes,
    zones,
};
use crate::import::Draft;

/// The zones of each block; a zone is that of the first block that has it, as here every port has all zones. Blocks for some
/// clients alone, or for a transport that is not served, come behind all others.
pub(super) fn own_zones<'b>(
    blocks: &'b [Block],
    draft: &mut Draft,
) -> Vec<(&'b Block, Vec<String>)> {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    let mut own = Vec::new();
    let is_served = |key: &String| !key.contains("://") || key.starts_with("dns://");
    let is_for_all =
        |block: &Block| block.has("view").is_none() && block.keys.iter().any(is_served);
    let (first, last): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| is_for_all(block));
    for block in first.into_iter().chain(last) {
        let (left, lost): (Vec<_>, Vec<_>) =
            zones::of_all(&block.keys).into_iter().partition(|zone| !owners.contains_key(zone));
        for zone in lost {
            let owner = owners.get(&zone).copied().unwrap_or_default();
            let reason = format!(
                "the block of line {owner} is for this zone, on every port; what this one says about it is left out"
            );
            draft.note(block.line, zone, reason);
        }
        owners.extend(left.iter().map(|zone| (zone.clone(), block.line)));
        if !left.is_empty() {
            own.push((block, left));
        }
    }
    own.sort_by_key(|(block, _)| block.line);
    own
}

/// A block, and what it says about whom to ask.
pub(super) struct Read<'b> {
    pub(super) block: &'b Block,
    pub(super) zones: Vec<String>,
    pub(super) forwards: Vec<Forward<'b>>,
    /// Whether names of its `hosts` are those of `spec.hosts`.
    pub(super) is_listed: bool,
    /// What it changes of TTLs.
    pub(super) changes: Changes,
}

impl Read<'_> {
    /// The first `forward` that takes a name.
    pub(super) fn first_for(&self, name: &str) -> Option<usize> {
        self.forwards.iter().position(|forward| forward.takes(name))
    }
}

/// The route of each `forward` of each block; none where it cannot be asked from here.
pub(super) type Routes = Vec<Vec<Option<Taken>>>;

/// The route of a `forward`.
pub(super) struct Taken {
    route: String,
    /// Whether it has more zones than a route may, so that rules lead to it.
    is_ruled: bool,
}

/// Where names of a share go in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way<'r> {
    /// Nobody is asked for them.
    Nobody,
    /// To the route that has their zone.
    Zone,
    /// To this route, by a rule.
    Rule(&'r str),
}

pub(super) fn routes(
    read: &[Read<'_>],
    shares: &Shares,
    leads: &[Vec<Lead>],
    draft: &mut Draft,
) -> Routes {
    let mut routes = Vec::new();
    for (index, Read { zones, forwards, block: _, is_listed: _, changes: _ }) in
        read.iter().enumerate()
    {
        let mut made = Vec::new();
        for (number, forward) in forwards.iter().enumerate() {
            let directive = forward.directive;
            let taken = shares.zones(index, number);
            let is_led = |leads: &Vec<Lead>| leads.iter().any(|lead| lead.forward == number);
            if taken.is_empty() && !leads.get(index).is_some_and(is_led) {
                let reason = format!(
                    "left out: no name in {} comes to it, as another `forward` or another block takes them, or `except` leaves them out",
                    zones::listed(zones)
                );
                draft.note(directive.line, directive.text(), reason);
                made.push(None);
                continue;
            }
            let is_ruled = taken.len() > bounds::ZONES as usize;
            match forward.route(taken, draft) {
                Ok(route) => {
                    draft.carry();
                    made.push(Some(Taken { route, is_ruled }));
                }
                Err(reason) => {
                    draft.note(directive.line, directive.text(), reason);
                    made.push(None);
                }
            }
        }
        routes.push(made);
    }
    routes
}

/// What is known of all blocks.
pub(super) struct Whole {
    pub(super) shares: Shares,
    pub(super) routes: Routes,
    pub(super) leads: Vec<Vec<Lead>>,
    /// How many blocks have names in `spec.hosts`.
    pub(super) listed: usize,
    pub(super) has_rewrites: bool,
    /// The line and the zones of each block with an `acl`.
    pub(super) acls: Vec<(usize, Vec<String>)>,
}

/// One block among the others: which names are its own, and who is asked for them.
pub(super) struct Place<'r, 'b> {
    pub(super) index: usize,
    pub(super) read: &'r Read<'b>,
    pub(super) whole: &'r Whole,
    /// What it has put into `spec.hosts`, once its rules are written.
    pub(super) hosts: &'r [Source],
}

impl Place<'_, '_> {
    pub(super) fn zones(&self) -> &[String] {
        &self.read.zones
    }

    /// Whether a query for a name is for this block.
    pub(super) fn has(&self, name: &str) -> bool {
        self.whole.shares.at(name).is_some_and(|share| share.block == self.index)
    }

    /// Whether a query for a name is for this block, or for its part with zones of another depth.
    pub(super) fn has_in_some_part(&self, name: &str) -> bool {
        self.whole.shares.at(name).is_some_and(|share| share.line == self.read.block.line)
    }

    /// The TTL of an answer of its own about a name, or about every name, as clients have it.
    pub(super) fn ttl(&self, name: Option<&str>, ttl: u32) -> u32 {
        self.read.changes.ttl(name, self.cached(ttl))
    }

    /// The TTL of an answer of its own, once the cache of the block has had it.
    fn cached(&self, ttl: u32) -> u32 {
        let mut caches = self.read.block.directives.iter().filter(|it| it.name == "cache");
        let bounds = caches.next().and_then(cache::ttl);
        bounds.map_or(ttl, |(least, most)| ttl.max(least).min(most))
    }

    /// The shares of one of its zones, the deepest first, but for those that go the same way as the one around them.
    pub(super) fn shares(&self, zone: &str) -> Vec<(&Share, Way<'_>)> {
        let around = |share: &Share| self.whole.shares.around(share).filter(|it| it.of == zone);
        let shares = self.whole.shares.of_zone(zone).map(|share| (share, self.way(share)));
        let shares = shares
            .filter(|(share, way)| around(share).is_none_or(|around| self.way(around) != *way));
        shares.collect()
    }

    fn way(&self, share: &Share) -> Way<'_> {
        match self.taken(share) {
            None => Way::Nobody,
            Some(Taken { route, is_ruled }) if *is_ruled || self.has_hosts_of_others() => {
                Way::Rule(route)
            }
            Some(_) => Way::Zone,
        }
    }

    /// Whether a route has the zone of a share, without a rule.
    pub(super) fn is_routed(&self, share: &Share) -> bool {
        self.taken(share).is_some_and(|taken| !taken.is_ruled)
    }

    /// Whether names of this block are in `spec.hosts` by chance alone: what forwards by a rule does not look there.
    pub(super) fn has_hosts_of_others(&self) -> bool {
        self.whole.listed > 0 && !self.read.is_listed
    }

    fn taken(&self, share: &Share) -> Option<&Taken> {
        self.whole.routes.get(share.block)?.get(share.forward?)?.as_ref()
    }

    pub(super) fn route(&self, block: usize, forward: usize) -> Option<&String> {
        Some(&self.whole.routes.get(block)?.get(forward)?.as_ref()?.route)
    }

    /// The zones into which names are rewritten, and the routes for them.
    pub(super) fn leads(&self) -> impl Iterator<Item = (String, String)> {
        let leads = self.whole.leads.get(self.index).into_iter().flatten();
        leads.filter_map(|lead| {
            let route = self.route(self.index, lead.forward)?;
            Some((lead.zone.clone(), route.clone()))
        })
    }

    /// The `forward` that leaves a zone out.
    pub(super) fn except(&self, zone: &str) -> Option<&Directive> {
        let mut forwards = self.read.forwards.iter();
        forwards.find(|it| zones::have(&it.except, zone)).map(|it| it.directive)
    }
}

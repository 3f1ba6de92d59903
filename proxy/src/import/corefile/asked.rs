//! Who is asked for which names: there the block with the longest zone is for a query, and in it the first `forward`
//! that takes the name, however long its zone is. Here the longest zone of all routes wins.
//!
//! Each zone that stands anywhere, of a block, of a `forward` or behind `except`, begins a share: the names in it that
//! are in no deeper one. For all names of a share the same servers are asked, so routes are made of shares.

use std::{cmp::Reverse, collections::HashMap};

use dnsproxy_api::units::Zone;

use super::{place::Read, zones};

/// The names of a zone that are in no deeper one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Share {
    pub(super) zone: String,
    /// The block that they are of.
    pub(super) block: usize,
    /// The line of that block.
    pub(super) line: usize,
    /// The zone of that block.
    pub(super) of: String,
    /// The `forward` of the block that takes them.
    pub(super) forward: Option<usize>,
}

/// All shares, the deepest first.
#[derive(Debug)]
pub(super) struct Shares {
    all: Vec<Share>,
    /// Where that of a zone is.
    at: HashMap<String, usize>,
    /// Where those of a block's zone are.
    of: HashMap<String, Vec<usize>>,
}

impl Shares {
    pub(super) fn of(read: &[Read<'_>]) -> Self {
        let owners = read.iter().enumerate();
        let owners = owners.flat_map(|(block, it)| it.zones.iter().map(move |of| (&**of, block)));
        let owners: HashMap<&str, usize> = owners.collect();
        let own = read.iter().flat_map(|it| &it.zones);
        let forwards = || read.iter().flat_map(|it| &it.forwards);
        let from = forwards().map(|forward| &forward.from);
        let except = forwards().flat_map(|forward| &forward.except);
        let all = own.chain(from).chain(except).filter(|zone| zone.parse::<Zone>().is_ok());
        let mut all: Vec<_> = all.cloned().collect();
        all.sort_by_cached_key(|zone| (Reverse(zones::depth(zone)), zone.clone()));
        all.dedup();
        let all: Vec<_> =
            all.into_iter().filter_map(|zone| Share::of(zone, read, &owners)).collect();
        let at = all.iter().enumerate().map(|(at, share)| (share.zone.clone(), at)).collect();
        let mut of = HashMap::<_, Vec<_>>::new();
        for (at, share) in all.iter().enumerate() {
            of.entry(share.of.clone()).or_default().push(at);
        }
        Self { all, at, of }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Share> {
        self.all.iter()
    }

    /// Those that a zone of a block has, the deepest first.
    pub(super) fn of_zone(&self, zone: &str) -> impl Iterator<Item = &Share> {
        self.of.get(zone).into_iter().flatten().filter_map(|at| self.all.get(*at))
    }

    /// The share that a name is in.
    pub(super) fn at(&self, name: &str) -> Option<&Share> {
        zones::upwards(name).find_map(|zone| self.all.get(*self.at.get(zone)?))
    }

    /// The share around one.
    pub(super) fn around(&self, share: &Share) -> Option<&Share> {
        zones::upwards(&share.zone).nth(1).and_then(|above| self.at(above))
    }

    /// The zones that the route of a `forward` is for.
    pub(super) fn zones(&self, block: usize, forward: usize) -> Vec<String> {
        let is_asked = |share: &Share| share.block == block && share.forward == Some(forward);
        let begins = |share: &&Share| is_asked(share) && !self.around(share).is_some_and(is_asked);
        let mut zones: Vec<_> = self.iter().filter(begins).map(|it| it.zone.clone()).collect();
        zones.reverse();
        zones
    }
}

impl Share {
    fn of(zone: String, read: &[Read<'_>], owners: &HashMap<&str, usize>) -> Option<Self> {
        let owner = |of| Some((*owners.get(of)?, of));
        let (block, of) = zones::upwards(&zone).find_map(owner)?;
        let of = of.to_owned();
        let read = read.get(block)?;
        let (line, forward) = (read.block.line, read.first_for(&zone));
        Some(Self { block, line, of, forward, zone })
    }
}

//! Who is asked for which names: there the block with the longest zone is for a query, and in it the first `forward`
//! that takes the name, however long its zone is. Here the longest zone of all routes wins.
//!
//! Each zone that stands anywhere, of a block, of a `forward` or behind `except`, begins a share: the names in it that
//! are in no deeper one. For all names of a share the same servers are asked, so routes are made of shares.

use std::cmp::Reverse;

use super::{place::Read, zones};

/// The names of a zone that are in no deeper one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Share {
    pub(super) zone: String,
    /// The block that they are of.
    pub(super) block: usize,
    /// The zone of that block.
    pub(super) of: String,
    /// The `forward` of the block that takes them.
    pub(super) forward: Option<usize>,
}

/// All shares, the deepest first.
#[derive(Debug)]
pub(super) struct Shares(Vec<Share>);

impl Shares {
    pub(super) fn of(read: &[Read<'_>]) -> Self {
        let own = read.iter().flat_map(|it| &it.zones);
        let forwards = || read.iter().flat_map(|it| &it.forwards);
        let from = forwards().map(|forward| &forward.from);
        let except = forwards().flat_map(|forward| &forward.except);
        let mut all: Vec<_> = own.chain(from).chain(except).cloned().collect();
        all.sort_by_key(|zone| (Reverse(zones::depth(zone)), zone.clone()));
        all.dedup();
        Self(all.into_iter().filter_map(|zone| Share::of(zone, read)).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Share> {
        self.0.iter()
    }

    /// The share that a name is in.
    pub(super) fn at(&self, name: &str) -> Option<&Share> {
        self.0.iter().find(|share| zones::is_within(name, &share.zone))
    }

    /// The share around one.
    pub(super) fn around(&self, share: &Share) -> Option<&Share> {
        let is_around = |it: &&Share| *it != share && zones::is_within(&share.zone, &it.zone);
        self.0.iter().find(is_around)
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
    fn of(zone: String, read: &[Read<'_>]) -> Option<Self> {
        let own = read.iter().enumerate().flat_map(|(block, it)| {
            it.zones.iter().filter(|of| zones::is_within(&zone, of)).map(move |of| (block, of))
        });
        let (block, of) = own.max_by_key(|(_, of)| zones::depth(of))?;
        let forward = read.get(block).and_then(|it| it.first_for(&zone));
        Some(Self { block, of: of.clone(), forward, zone })
    }
}

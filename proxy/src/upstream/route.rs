//! Which route a question takes: the one with the longest zone, by labels.

use std::{collections::HashMap, sync::Arc};

use super::server::Server;
use crate::message::{Name, Qtype, Question, name::MAX_NAME_LEN};

/// The servers that a question of some zones goes to.
#[derive(Debug)]
pub struct Route {
    pub(super) name: Arc<str>,
    /// In the order in which they are asked.
    pub(super) servers: Vec<Arc<Server>>,
    /// Those that are asked when none of the others can be reached.
    pub(super) fallback: Vec<Arc<Server>>,
}

impl Route {
    /// The name that logs use.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// Finds a zone's route. Zones are looked up whole, in lower case, so that no name is compared twice.
#[derive(Debug, Default)]
pub(super) struct Zones {
    routes: HashMap<Box<[u8]>, usize>,
}

impl Zones {
    /// Sends a zone to the route with this index. The first one to claim a zone keeps it.
    pub(super) fn insert(&mut self, zone: &Name, route: usize) {
        self.routes.entry(zone.to_folded()).or_insert(route);
    }

    /// The index of the route for a question.
    pub(super) fn find(&self, question: &Question) -> Option<usize> {
        let mut folded = [0; MAX_NAME_LEN];
        let wire = question.name.as_wire();
        let folded = folded.get_mut(..wire.len())?;
        folded.copy_from_slice(wire);
        folded.make_ascii_lowercase();
        // DS belongs to the parent's side of a zone cut (RFC 4035 section 3.1.4.1).
        let skipped = usize::from(question.qtype == Qtype::DS && wire.len() > 1);
        suffixes(folded).skip(skipped).find_map(|zone| self.routes.get(zone).copied())
    }
}

/// A name in wire form and each of its ancestors, the longest first.
fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors((!wire.is_empty()).then_some(wire), |name| match name.first() {
        None | Some(0) => None,
        Some(&len) => name.get(1 + usize::from(len)..),
    })
}

//! Which domains need rules: a route is enough where no rule decides about names of a domain before.

use std::collections::HashSet;

use super::{Domain, Pattern, Private, upwards};

/// For each domain, the longest first, whether it needs a rule. Each with its route, and whether that has the domain as
/// a zone.
pub(super) fn needing(
    domains: &[(&Pattern, &Domain)],
    routes: &[Option<(String, bool)>],
    private: &Private,
) -> Vec<bool> {
    let mut ruled = Ruled::of(domains);
    // The shortest first: what has a rule would decide about longer ones that have a route alone.
    let mut needing = vec![false; domains.len()];
    for (((pattern, _), route), needs_rule) in domains.iter().zip(routes).zip(&mut needing).rev() {
        let has_zone = matches!(route, Some((_, true)));
        *needs_rule = !has_zone || ruled.meets(pattern) || private.rules_over(pattern.hint());
        if *needs_rule {
            ruled.add(pattern);
        }
    }
    needing
}

/// The domains about which rules decide. There may be many thousands, so they are looked up and not tried.
#[derive(Default)]
struct Ruled<'p> {
    zones: HashSet<&'p str>,
    /// What is above one of them.
    above: HashSet<&'p str>,
    others: Vec<&'p Pattern>,
}

impl<'p> Ruled<'p> {
    /// Those that get a rule whatever the others do.
    fn of(domains: &[(&'p Pattern, &'p Domain)]) -> Self {
        let mut ruled = Self::default();
        let own = domains.iter().filter(|(_, it)| !it.is_asked() || !it.addresses.is_empty());
        own.for_each(|(pattern, _)| ruled.add(pattern));
        ruled
    }

    fn add(&mut self, pattern: &'p Pattern) {
        match pattern {
            Pattern::Zone(zone) | Pattern::Below(zone) => {
                self.zones.insert(zone);
                self.above.extend(upwards(zone).skip(1));
            }
            other => self.others.push(other),
        }
    }

    /// Whether a rule may decide about names of a pattern.
    fn meets(&self, pattern: &Pattern) -> bool {
        let is_met = match pattern {
            Pattern::Zone(zone) | Pattern::Below(zone) => {
                self.above.contains(&**zone) || upwards(zone).any(|zone| self.zones.contains(zone))
            }
            _ => true,
        };
        is_met || self.others.iter().any(|other| other.meets(pattern))
    }
}

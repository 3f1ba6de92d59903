//! When a question has to be answered, as the plan has it; and so, what nobody promises.

use std::time::Duration;

use super::plan::{Condition, Cut, Kind, Phase, Plan};

impl Plan {
    /// Whether a question at this time finds a server that was well for a while and stays so until its deadline.
    pub(super) fn has_one_that_is_well(&self, at: Duration) -> bool {
        // Three are asked.
        if self.servers.len() > 3 {
            return false;
        }
        let is_failing = |phases: &Vec<Phase>| {
            let phases = during(phases, at, at + DEADLINE);
            phases.iter().any(|phase| matches!(phase.condition, Condition::Fails(_)))
        };
        let is_bad_beside = self.servers.iter().chain(&self.spares).any(is_failing);
        let known = if is_bad_beside { KNOWN_BESIDE_BAD_ONES } else { KNOWN };
        let is_well = |phases: &Vec<Phase>| self.is_well(phases, at, known);
        let is_gone = |phases: &Vec<Phase>| is_gone(phases, at);
        self.servers.iter().any(is_well)
            || (self.servers.iter().all(is_gone) && self.spares.iter().any(is_well))
    }

    /// Its connections may be cut, but not twice.
    fn is_well(&self, phases: &[Phase], at: Duration, known: Duration) -> bool {
        let (since, until) = (at.saturating_sub(KNOWN), at + DEADLINE);
        let cuts = phases.iter().filter(|phase| phase.cut != Cut::None);
        let cuts = cuts.filter(|phase| since <= phase.from && phase.from <= until);
        let phases = during(phases, at.saturating_sub(known), until);
        cuts.count() <= 1 && phases.iter().all(|phase| self.is_good(phase.condition))
    }

    fn is_good(&self, condition: Condition) -> bool {
        let has = |kinds: &[Kind]| self.load.has(kinds);
        let is_closing = has(&[Kind::Closing, Kind::ClosingLater]);
        match condition {
            // With one connection nobody can be apart from what sticks; and where names are slow it is seldom seen in time who is it.
            _ if has(&[Kind::Stuck]) && (self.max == 1 || has(&[Kind::Slow, Kind::Never])) => false,
            // With one connection nobody can be apart from a name that it is closed on.
            _ if self.max == 1 && is_closing => false,
            // As long as nothing is answered between the ends of connections, questions are soon given up, if some are apart.
            _ if is_closing && has(&[Kind::Slow, Kind::Never, Kind::Stuck]) => false,
            Condition::Well(millis) => millis <= if is_closing { 20 } else { 400 },
            Condition::Grants(_) | Condition::ClosesIdle(_) => true,
            // Each slow name takes up a connection.
            Condition::InOrder(_) => !is_closing && !has(&[Kind::Slow]),
            Condition::ClosesAfter(_) => !is_closing && !has(&[Kind::Slow, Kind::Never]),
            Condition::Refuses
            | Condition::Hangs
            | Condition::Mute
            | Condition::Deaf
            | Condition::Fails(_)
            | Condition::Garbles
            | Condition::Closes => false,
        }
    }

    /// Whether servers cannot be connected to now and then.
    pub(super) fn has_refusals(&self) -> bool {
        let mut phases = self.servers.iter().flatten();
        phases.any(|phase| matches!(phase.condition, Condition::Refuses | Condition::Hangs))
    }

    /// How each server was about then.
    pub(super) fn around(&self, at: Duration) -> String {
        let describe = |phases: &Vec<Phase>| {
            let phases = during(phases, at.saturating_sub(KNOWN), at + DEADLINE);
            let phases = phases.iter().map(|Phase { from, condition, cut }| {
                format!("{:.3} {condition:?} {cut:?}", from.as_secs_f64())
            });
            phases.collect::<Vec<_>>().join(", ")
        };
        let all = self.servers.iter().chain(&self.spares).map(describe);
        all.collect::<Vec<_>>().join(" | ")
    }
}

/// Whether nobody reaches it, and that for some time: then the fallback is asked.
fn is_gone(phases: &[Phase], at: Duration) -> bool {
    during(phases, at.saturating_sub(KNOWN), at + DEADLINE).iter().all(|phase| {
        matches!(phase.condition, Condition::Refuses | Condition::Hangs | Condition::Mute)
    })
}

/// The phases that are at that time.
fn during(phases: &[Phase], from: Duration, until: Duration) -> Vec<&Phase> {
    let ends = phases.iter().skip(1).map(|phase| phase.from).chain([Duration::MAX]);
    let during = phases.iter().zip(ends).filter(|(phase, end)| *end >= from && phase.from <= until);
    during.map(|(phase, _)| phase).collect()
}

pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// How long a server has to be well until that must be known.
const KNOWN: Duration = Duration::from_secs(5);

/// Where another one has bad answers, nobody waits for one that is not known to be back: that takes as long as its back-off.
const KNOWN_BESIDE_BAD_ONES: Duration = Duration::from_secs(45);

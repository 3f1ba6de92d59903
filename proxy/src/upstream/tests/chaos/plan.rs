//! What happens in one run, drawn from its seed: a route, a load, and what becomes of each server when.

use std::time::Duration;

use super::{Policy, random::seeded};

mod faults;

pub(super) use faults::{Condition, Cut, Phase};

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) policy: Policy,
    /// Connections to each server.
    pub(super) max: usize,
    pub(super) max_in_flight: usize,
    pub(super) load: Load,
    /// Of the route's own servers.
    pub(super) servers: Vec<Vec<Phase>>,
    /// Of those of the fallback.
    pub(super) spares: Vec<Vec<Phase>>,
    /// When all faults have ended.
    pub(super) calm: Duration,
}

/// How many of which names are asked for in a second.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) rates: Vec<(Kind, f64)>,
    /// So many quick names come at once, now and then.
    pub(super) burst: u64,
}

/// What a name is like, at all servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Quick,
    /// Nobody waits for the answer to the end.
    Left,
    /// It takes its time.
    Slow,
    Never,
    /// The server is at a loss: SERVFAIL.
    Bad,
    /// Connections are closed on it.
    Closing,
    /// The same, a while later.
    ClosingLater,
    /// Nothing comes on its connection any more.
    Stuck,
    Garbled,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let load = Load::draw(dice);
        // Long for a trickle, and not too many questions for a flood.
        let longest = if dice.has_luck(10) { 900.0 } else { 150.0 };
        let calm = Duration::from_secs_f64((4000.0 / load.rate()).clamp(15.0, longest));
        let (count, spares) = (dice.pick(&[1, 1, 2, 2, 3, 3, 5]), dice.pick(&[0, 0, 1]));
        let pace = dice.spread(0.3, 1.0);
        let mut servers: Vec<_> = (0..count).map(|_| faults::draw(dice, calm, pace)).collect();
        let spares = (0..spares).map(|_| faults::draw(dice, calm, 1.0)).collect();
        if dice.has_luck(30) {
            faults::have_outage(dice, &mut servers, calm);
        }
        let policies = [Policy::Fastest, Policy::Sequential, Policy::RoundRobin, Policy::Random];
        Self {
            seed,
            policy: dice.pick(&policies),
            max: dice.pick(&[1, 2, 2, 2, 4, 8]),
            // Nobody is to find all connections full.
            max_in_flight: if load.rate() < 50.0 { dice.pick(&[128, 512]) } else { 512 },
            load,
            servers,
            spares,
            calm,
        }
    }

    pub(super) fn in_words(&self) -> String {
        let Self { seed: _, policy, max, max_in_flight, load, servers, spares, calm } = self;
        let (servers, spares) = (servers.len(), spares.len());
        format!(
            "{servers} servers and {spares}, {policy:?}, max {max}, {max_in_flight} in flight, {load:?}, calm at {calm:?}"
        )
    }
}

impl Load {
    fn draw(dice: &mut Dice) -> Self {
        let mut rates = vec![(Kind::Quick, dice.spread(0.3, 300.0))];
        for (kind, percent, most) in [
            (Kind::Left, 20, 20.0),
            (Kind::Slow, 40, 10.0),
            (Kind::Never, 40, 10.0),
            (Kind::Bad, 30, 30.0),
            (Kind::Closing, 30, 1.0),
            (Kind::ClosingLater, 20, 1.0),
            (Kind::Stuck, 20, 0.3),
            (Kind::Garbled, 20, 5.0),
        ] {
            if dice.has_luck(percent) {
                rates.push((kind, dice.spread(0.05, most)));
            }
        }
        let burst = if dice.has_luck(30) { 2 + dice.below(60) } else { 0 };
        Self { rates, burst }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rates.iter().map(|(_, rate)| rate).sum()
    }

    pub(super) fn has(&self, kinds: &[Kind]) -> bool {
        self.rates.iter().any(|(kind, _)| kinds.contains(kind))
    }
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Quick,
        Self::Left,
        Self::Slow,
        Self::Never,
        Self::Bad,
        Self::Closing,
        Self::ClosingLater,
        Self::Stuck,
        Self::Garbled,
    ];

    /// What its names begin with.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Left => "left",
            Self::Slow => "slow",
            Self::Never => "never",
            Self::Bad => "bad",
            Self::Closing => "closing",
            Self::ClosingLater => "later",
            Self::Stuck => "stuck",
            Self::Garbled => "garbled",
        }
    }
}

/// A course of numbers that a seed begins.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(mut seed: u64) -> Self {
        Self(seeded::step(&mut seed))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        seeded::step(&mut self.0) % end
    }

    pub(super) fn has_luck(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number in 0..1.
    pub(super) fn fraction(&mut self) -> f64 {
        let high = u32::try_from(seeded::step(&mut self.0) >> 32).unwrap();
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// Between these bounds, as likely in each doubling.
    pub(super) fn spread(&mut self, least: f64, most: f64) -> f64 {
        least * (most / least).powf(self.fraction())
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

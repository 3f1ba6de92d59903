//! How many queries more than clients ask may be sent to find a faster answer.
//!
//! Each query of a client earns a part of one more, so those stay below that part of all queries; what is
//! saved up is bounded, so that a quiet hour does not pay for a storm.

use std::sync::atomic::{AtomicU32, Ordering};

/// The hedges that a route may still make. Five of a hundred: a hedge is sent after the p95, so more would be for servers that all
/// slow down at a time, and load is what they need least.
pub(super) type HedgeBudget = Budget<5>;

/// The datagrams that a server may still be sent again before half of its time is over. Enough for a network that loses a fifth of
/// them each way, and few enough that a server that is late with all is not buried: our guess.
pub(super) type ResendBudget = Budget<50>;

/// What may still be sent, in hundredths; `EARNED` of them for each query.
#[derive(Debug, Default)]
pub(super) struct Budget<const EARNED: u32>(AtomicU32);

impl<const EARNED: u32> Budget<EARNED> {
    /// A client asks.
    pub(super) fn earn(&self) {
        // A full one is the usual state, and then nothing is written.
        self.change(|saved| (saved < MAX_SAVED).then(|| saved + EARNED));
    }

    /// Takes the right to one more, when there is one.
    pub(super) fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(COST))
    }

    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

const COST: u32 = 100;

/// Ten at once: our guess.
const MAX_SAVED: u32 = 10 * COST;

#[cfg(test)]
mod tests {
    use super::*;

    fn hedges(budget: &HedgeBudget) -> u32 {
        (0..).take_while(|_| budget.spend()).count().try_into().unwrap()
    }

    #[test]
    fn five_of_a_hundred_queries_may_be_hedged() {
        let budget = HedgeBudget::default();
        assert_eq!(hedges(&budget), 0, "nothing is earned yet");

        let mut made = 0;
        for _ in 0..10_000 {
            budget.earn();
            made += hedges(&budget);
        }
        assert_eq!(made, 500);
    }

    #[test]
    fn savings_are_bounded() {
        let budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(hedges(&budget), 10);
    }
}

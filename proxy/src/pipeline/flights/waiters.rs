//! Who is told that an exchange goes on.
//!
//! One that waits alone, which is the rule, is told itself. Where there are several, all are told each time: one of
//! them may not be polled for a while, or never again, as where a client takes no answers.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use smallvec::SmallVec;

/// Those who wait for one exchange.
#[derive(Default)]
pub(super) struct Waiters {
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    /// In order.
    taken: SmallVec<[(Seat, Waker); 1]>,
}

/// A place among those who wait.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Seat(u64);

impl Waiters {
    /// Notes who waits, and tells whether nobody else does.
    pub(super) fn take_seat(&self, own: &mut Option<Seat>, waker: &Waker) -> bool {
        let mut seats = self.seats();
        let Seats { next, taken } = &mut *seats;
        let at = own.and_then(|own| place(taken, own));
        let known = at.and_then(|at| taken.get_mut(at));
        let outdated = match known {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(mem::replace(known, waker.clone())),
            None => {
                let seat = *own.insert(Seat(*next));
                *next += 1;
                taken.push((seat, waker.clone()));
                None
            }
        };
        let is_alone = taken.len() == 1;
        drop(seats);
        // Outside of the lock: a waker that goes may take along whom it would have woken.
        drop(outdated);
        is_alone
    }

    /// Tells all.
    pub(super) fn wake_all(&self) {
        let wakers = self.wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Clones, so that nobody is woken inside of the lock.
    fn wakers(&self) -> SmallVec<[Waker; 4]> {
        self.seats().taken.iter().map(|(_, waker)| waker.clone()).collect()
    }

    /// Gives a place back.
    pub(super) fn leave(&self, own: Seat) {
        let mut seats = self.seats();
        let left = place(&seats.taken, own).map(|at| seats.taken.remove(at));
        drop(seats);
        // Outside of the lock, too.
        drop(left);
    }

    /// The exchange is over: the others come for its outcome.
    pub(super) fn wake_others(&self, own: Option<Seat>) {
        let taken = mem::take(&mut self.seats().taken);
        for (seat, waker) in taken {
            if Some(seat) != own {
                waker.wake();
            }
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.seats().taken.len()
    }

    /// Nothing inside the lock can leave it half changed, so a poisoned one is still good.
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(taken: &[(Seat, Waker)], own: Seat) -> Option<usize> {
    taken.binary_search_by_key(&own, |(seat, _)| *seat).ok()
}

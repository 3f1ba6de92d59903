//! The bounds of one process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The bounds that hold for queries and connections; the manifest's `limits`, with its defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The time within which every query is answered.
    pub query_deadline: Duration,
    /// Queries that wait for an upstream.
    pub max_in_flight: usize,
    /// Open TCP connections of clients.
    pub tcp_connections: usize,
    /// Open TCP connections of one client.
    pub tcp_connections_per_client: u32,
    /// How long a TCP connection of a client may be idle.
    pub tcp_idle_timeout: Duration,
    /// The largest UDP message that is sent or asked for, in octets.
    pub edns_buffer_size: u16,
}

/// How many queries wait for an upstream.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
}

/// A place among the waiting queries; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    in_flight: Arc<InFlight>,
}

impl InFlight {
    /// Takes a place, unless `max` are taken.
    pub fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let place = Place { in_flight: Arc::clone(self) };
        (before < max).then_some(place)
    }

    /// How many places are taken.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_refused_one_is_never_held() {
        let in_flight = Arc::new(InFlight::default());
        let held = in_flight.enter(1);

        assert!(held.is_some());
        assert!(in_flight.enter(1).is_none());
        assert_eq!(in_flight.count(), 1);
        drop(held);
        assert!(in_flight.enter(1).is_some());
    }
}

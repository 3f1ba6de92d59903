//! What the listeners count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Transport;

/// The listeners' families; clones share them.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    errors: [Counter; 2],
    connections: Gauge,
    refused: Counter,
    held: Gauge,
    given_up: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TransportLabel {
    transport: &'static str,
}

impl ListenerMetrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let errors = Family::<TransportLabel, Counter>::default();
        registry.register(
            "dnsproxy_listener_errors",
            "Errors while receiving, accepting or sending",
            errors.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "dnsproxy_tcp_connections",
            "Open TCP connections of clients",
            connections.clone(),
        );
        let refused = Counter::default();
        registry.register(
            "dnsproxy_tcp_connections_refused",
            "TCP connections of clients that were closed at once, since there was no place for them",
            refused.clone(),
        );
        let held = Gauge::default();
        registry.register(
            "dnsproxy_tcp_held_bytes",
            "What the TCP connections of clients hold: queries that were read, replies that were not taken",
            held.clone(),
        );
        let given_up = Counter::default();
        registry.register(
            "dnsproxy_tcp_connections_given_up",
            "TCP connections of clients that were closed, since they held too much that their clients did not take",
            given_up.clone(),
        );
        let errors = Transport::ALL.map(|transport| {
            errors.get_or_create(&TransportLabel { transport: transport.label() }).clone()
        });
        Self { errors, connections, refused, held, given_up }
    }

    /// Counts an error of one receive, accept or send.
    pub fn count_error(&self, transport: Transport) {
        if let Some(counter) = self.errors.get(transport.index()) {
            counter.inc();
        }
    }

    /// Counts a TCP connection for which there was no place.
    pub(super) fn count_refused(&self) {
        self.refused.inc();
    }

    /// What TCP connections hold together.
    pub(super) fn held(&self) -> Gauge {
        self.held.clone()
    }

    /// Counts a TCP connection that held more than it may.
    pub(super) fn count_given_up(&self) {
        self.given_up.inc();
    }

    /// How many TCP connections are open.
    pub(super) fn open(&self) -> usize {
        usize::try_from(self.connections.get()).unwrap_or_default()
    }

    /// Sets how many TCP connections are open.
    pub(super) fn set_connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

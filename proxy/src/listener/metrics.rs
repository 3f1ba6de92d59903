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
        let errors = Transport::ALL.map(|transport| {
            errors.get_or_create(&TransportLabel { transport: transport.label() }).clone()
        });
        Self { errors, connections, refused }
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

    /// How many TCP connections are open.
    #[cfg(test)]
    pub(super) fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Sets how many TCP connections are open.
    pub(super) fn set_connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

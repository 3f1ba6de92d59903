//! The control plane: turns `DnsProxy` objects into running proxies.
//!
//! ```text
//!               watches                                    one reconcile
//! DnsProxy, owned objects, pods ──┐
//! what specs refer to (metadata) ─┼─> controller ─> resolve ─> validate ─> render ─> apply ─> status
//! the cluster: its DNS, networks ─┘                 [client]    [pure]     [pure]  [client]  [pods, then pure,
//!                                                                                             then one patch]
//! ```
//!
//! The order of the steps stands in [`reconcile`] alone. [`cluster`] knows what all objects share: the
//! cluster's DNS and its networks. [`reports`] asks the pods what they run and which upstreams answer
//! them. [`leader`] sees to it that one operator at a time does all this for a namespace. An invalid manifest
//! changes nothing that runs; what is missing stops only what needs it.

pub mod admin;
pub mod apply;
pub mod args;
pub mod cluster;
pub mod context;
pub mod controller;
pub mod digest;
pub mod events;
#[cfg(test)]
mod fixtures;
pub mod leader;
pub mod metrics;
pub mod reconcile;
pub mod render;
pub mod reports;
pub mod resolve;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod validate;
pub mod watches;

/// The name under which the operator applies fields, publishes events and marks what it owns.
pub const NAME: &str = "dnsproxy-operator";

//! What every reconcile of one scope shares.

use std::sync::Arc;

use kube::Client;

use crate::{
    apply::Memory, args::RunArgs, cluster, controller::Backoff, events::Recorders,
    metrics::Metrics, reports::Reports, resolve::Found, validate::memory::Verdicts, watches::Owned,
};

/// What every reconcile of one scope shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// What all objects share.
    pub facts: cluster::Published,
    /// What the operator made.
    pub owned: Owned,
    /// What was found of what specs refer to.
    pub found: Arc<Found>,
    /// What was applied last.
    pub memory: Memory,
    /// What checking manifests came to.
    pub verdicts: Verdicts,
    /// Asks pods what they run.
    pub reports: Reports,
    /// Publishes Events.
    pub recorders: Recorders,
    /// Counts.
    pub metrics: Metrics,
    /// How often reconciling an object failed in a row.
    pub backoff: Backoff,
}

/// What the operator was told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pods' image, for objects that do not name one.
    pub image: String,
    /// Whether pods may be annotated, so that the kubelet delivers their configuration at once.
    pub fast_reload: bool,
}

impl From<&RunArgs> for Settings {
    fn from(args: &RunArgs) -> Self {
        Self { image: args.image.clone(), fast_reload: args.fast_reload }
    }
}

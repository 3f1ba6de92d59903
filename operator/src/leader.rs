//! Leader election: of the operators that watch the same namespaces, one reconciles, and the others stand by.
//!
//! A Lease says which one. Its place follows from what is watched alone: in each namespace that is watched by name, and in
//! one for operators that watch all. So operators meet there however they were installed.
//!
//! The rules are those of client-go. Who holds the lease renews it, and stops before anybody may think it dead; who
//! waits takes it when it has stood unchanged for as long as it is good, by the own clock: clocks of machines are never
//! compared. Every write names the version that it replaces, and of two writers one fails. Who ends empties the lease,
//! so that the next one starts at once. Who loses it drops all work where it stands and waits again, as if just started.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    process,
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, reconcile::chain, watches::Scope};

/// The name of every lease; the chart grants it.
pub const LEASE: &str = crate::NAME;

/// Takes part in the election for one scope.
pub struct Leader {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    metrics: Metrics,
    /// What the lease said, and since when it has.
    seen: Option<(LeaseSpec, Instant)>,
    /// What was logged last: that it waits is told once.
    told: Option<String>,
    /// Whether it was known once whose the lease is.
    is_found: bool,
}

/// How it stands with the lease.
enum Standing {
    /// It is ours.
    Held,
    /// It is that of another one, who lives.
    Taken(String),
    /// Somebody wrote it at the same time.
    Contested,
}

/// Why leading ended without our will.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("{0} holds it")]
    Taken(String),
    #[error("it could not be renewed within {RENEW_DEADLINE:?}")]
    TooLate,
}

/// Why it is not known how it stands.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("the API server does not give the lease")]
    Api(#[from] kube::Error),
    #[error("no answer within {REQUEST_LIMIT:?}")]
    TooLong,
}

/// A name for this process, which no other has, on this machine or another.
#[must_use]
pub fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), RandomState::new().hash_one(process::id()))
}

impl Leader {
    /// Takes part for `scope`; for all namespaces the lease is in the namespace `common`.
    #[must_use]
    pub fn new(
        client: &Client,
        scope: &Scope,
        common: &str,
        identity: String,
        metrics: Metrics,
    ) -> Self {
        let namespace = match scope {
            Scope::All => common.to_owned(),
            Scope::Namespace(namespace) => namespace.clone(),
        };
        let api = Api::namespaced(client.clone(), &namespace);
        metrics.seek_leader();
        Self { api, namespace, identity, metrics, seen: None, told: None, is_found: false }
    }

    /// Does the work while it leads, and anew each time. The work ends in order when `token` is cancelled; it is dropped when
    /// the lease is lost.
    pub async fn lead(mut self, token: &CancellationToken, work: impl AsyncFn()) {
        while let Some(held) = token.run_until_cancelled(self.acquire()).await {
            tracing::info!(namespace = %self.namespace, identity = %self.identity, "leading");
            let leading = self.metrics.lead();
            let loss = tokio::select! {
                loss = self.hold(held) => Some(loss),
                () = work() => None,
            };
            drop(leading);
            if let Some(loss) = loss {
                tracing::warn!(namespace = %self.namespace, %loss, "lost the lease, stopped reconciling");
            }
        }
        self.release().await;
    }

    /// Waits until the lease is ours; gives since when that is certain.
    async fn acquire(&mut self) -> Instant {
        loop {
            match self.ask().await {
                Ok(asked) => return asked,
                Err(holder) => self.tell_waiting(holder),
            }
            sleep(RETRY).await;
        }
    }

    /// Renews the lease until it is lost.
    async fn hold(&mut self, mut renewed: Instant) -> Loss {
        loop {
            sleep(RETRY).await;
            match timeout_at(renewed + RENEW_DEADLINE, self.ask()).await {
                Ok(Ok(asked)) => renewed = asked,
                Ok(Err(holder)) => return Loss::Taken(holder),
                Err(_) => return Loss::TooLate,
            }
        }
    }

    /// Tries until it is known whose the lease is: ours, and since when that is certain, or that of another one.
    async fn ask(&mut self) -> Result<Instant, String> {
        loop {
            // The others count from when they see it renewed, which is later.
            let asked = Instant::now();
            match limited(self.take()).await {
                Ok(Standing::Held) => {
                    self.told = None;
                    self.note_found();
                    return Ok(asked);
                }
                Ok(Standing::Taken(holder)) => {
                    self.note_found();
                    return Err(holder);
                }
                Ok(Standing::Contested) => {}
                Err(error) => self.tell_failure(&error),
            }
            sleep(RETRY).await;
        }
    }

    /// Looks at the lease, and takes or renews it when that is right.
    async fn take(&mut self) -> Result<Standing, LeaseError> {
        let params = PostParams { field_manager: Some(crate::NAME.to_owned()), ..<_>::default() };
        let written = match self.api.get_opt(LEASE).await? {
            None => {
                let spec = self.renewed(LeaseSpec::default());
                let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..<_>::default() };
                self.api.create(&params, &Lease { metadata, spec: Some(spec) }).await
            }
            Some(Lease { metadata, spec }) => {
                let spec = spec.unwrap_or_default();
                if let Some(holder) = self.living_holder(&spec, Instant::now()) {
                    return Ok(Standing::Taken(holder));
                }
                // With the version that was read: a lease that changed since is not replaced.
                let lease = Lease { metadata, spec: Some(self.renewed(spec)) };
                self.api.replace(LEASE, &params, &lease).await
            }
        };
        match written {
            Ok(_) => Ok(Standing::Held),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Standing::Contested),
            Err(error) => Err(error.into()),
        }
    }

    /// Another one who holds the lease, unless it has stood for so long that its holder has stopped.
    fn living_holder(&mut self, spec: &LeaseSpec, now: Instant) -> Option<String> {
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            Some(_) | None => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
        let seconds = spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS);
        let good_for = Duration::from_secs(seconds.unsigned_abs().into());
        (holder != self.identity && now - since < good_for).then_some(holder)
    }

    /// The lease as ours, from now on.
    fn renewed(&self, spec: LeaseSpec) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let is_ours = spec.holder_identity.as_ref() == Some(&self.identity);
        let changes = spec.lease_transitions.map_or(0, |count| count.saturating_add(1));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: if is_ours { spec.acquire_time } else { now.clone() },
            lease_transitions: if is_ours { spec.lease_transitions } else { Some(changes) },
            renew_time: now,
            ..spec
        }
    }

    /// Empties the lease when it is ours, also when that came of a request of which the answer was not waited for.
    async fn release(&self) {
        match limited(self.empty()).await {
            Ok(true) => tracing::info!(namespace = %self.namespace, "released the lease"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(namespace = %self.namespace, error = %chain(&error), "lease not released");
            }
        }
    }

    async fn empty(&self) -> Result<bool, LeaseError> {
        let Some(Lease { metadata, spec: Some(spec) }) = self.api.get_opt(LEASE).await? else {
            return Ok(false);
        };
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(false);
        }
        let spec = LeaseSpec { holder_identity: None, ..spec };
        let params = PostParams { field_manager: Some(crate::NAME.to_owned()), ..<_>::default() };
        self.api.replace(LEASE, &params, &Lease { metadata, spec: Some(spec) }).await?;
        Ok(true)
    }

    /// Somebody works, this one or another: until that is known nobody may rely on it.
    fn note_found(&mut self) {
        if !std::mem::replace(&mut self.is_found, true) {
            self.metrics.found_leader();
        }
    }

    fn tell_waiting(&mut self, holder: String) {
        if self.told.as_ref() != Some(&holder) {
            tracing::info!(namespace = %self.namespace, %holder, "standing by");
        }
        self.told = Some(holder);
    }

    fn tell_failure(&mut self, error: &LeaseError) {
        let error = chain(error);
        if self.told.as_ref() != Some(&error) {
            tracing::warn!(namespace = %self.namespace, %error, "trouble with the lease, trying again");
        }
        self.told = Some(error);
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, LeaseError>>) -> Result<T, LeaseError> {
    timeout(REQUEST_LIMIT, work).await.unwrap_or(Err(LeaseError::TooLong))
}

/// For how long a lease is good after its holder was last heard; this and the next two as in client-go's users.
const LEASE_SECONDS: i32 = 15;
/// When a holder that cannot renew stops: long enough before others may take over that nothing of it is under way then.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often it is renewed, and looked at.
const RETRY: Duration = Duration::from_secs(2);
/// How long one try may take, so that a request that hangs leaves time for another one.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

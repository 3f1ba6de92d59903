//! One reconcile: `resolve -> validate -> render -> apply -> status`, and nothing else.

use std::{any::Any, error::Error, sync::Arc, time::Duration};

use dnsproxy_api::{DnsProxy, validate::Problem};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};
use tokio::{task::JoinError, time::timeout};

use crate::{
    apply::{self, Applied, ApplyError, hasten},
    context::Context,
    events,
    render::render,
    reports,
    resolve::{ResolveError, Resolved, resolve},
    status::{self, Observed, StatusError, conditions::told},
    validate::{
        check, filled_in, loops,
        memory::{Grounds, Known, Verdict},
    },
};

/// Why one reconcile ended early; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// What the object refers to could not be found out.
    #[error("cannot resolve")]
    Resolve(#[from] ResolveError),
    /// The API server did not take an object, and may take it later.
    #[error("cannot apply")]
    Apply(#[from] ApplyError),
    /// Something did not come to an end.
    #[error("not done within {LIMIT:?}")]
    TooLong,
    /// The operator is ending.
    #[error("ended before the manifest was checked")]
    Ended,
    /// The status could not be written.
    #[error("cannot write the status")]
    Status(#[from] StatusError),
}

/// Makes the cluster what one object says, as far as that is possible, and says how far it is.
///
/// # Errors
/// When something failed that may work later.
pub async fn reconcile(
    guarded: Arc<DeserializeGuard<DnsProxy>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let _measured = context.metrics.measure();
    match &guarded.0 {
        Ok(proxy) if proxy.metadata.deletion_timestamp.is_some() => Ok(Action::await_change()),
        Ok(proxy) => {
            timeout(LIMIT, steps(proxy, &context)).await.map_err(|_| ReconcileError::TooLong)?
        }
        Err(unreadable) => {
            if status::patch_unreadable(unreadable, &context.client).await? {
                events::publish_unreadable(&*guarded, unreadable, &context).await;
            }
            Ok(Action::await_change())
        }
    }
}

/// Says in the status and by an Event that the object cannot be reconciled, and why. What else the status says is
/// about what was seen last, and stays.
pub async fn tell(guarded: &DeserializeGuard<DnsProxy>, error: &ReconcileError, context: &Context) {
    let Ok(proxy) = &guarded.0 else { return };
    let new = status::unreachable(proxy, &chain(error), Timestamp::now());
    let work = async {
        status::patch(proxy, &new, &context.client).await?;
        events::publish(proxy, &new, context).await;
        Ok::<_, StatusError>(())
    };
    match timeout(LIMIT, work).await {
        Ok(Ok(())) => {}
        // The failure itself is logged, and the next one told again.
        Ok(Err(error)) => tracing::debug!(error = %chain(&error), "status not written"),
        Err(_) => tracing::debug!("status not written in time"),
    }
}

/// An error with what caused it.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    match (of_api_server(error), error.source()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(cause)) => format!("{error}: {}", chain(cause)),
        (None, None) => error.to_string(),
    }
}

/// The API server's own words, which the client repeats twice among others.
fn of_api_server<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    match error.downcast_ref()? {
        kube::Error::Api(status) if !status.message.is_empty() => Some(&status.message),
        _ => None,
    }
}

async fn steps(proxy: &DnsProxy, context: &Context) -> Result<Action, ReconcileError> {
    let resolved = resolve(proxy, context).await?;
    let verdict = checked(proxy, &resolved, context).await?;
    let image = &context.settings.image;
    let valid = verdict.is_ok().then(|| filled_in(proxy, &resolved.facts, image));
    let manifests = valid.as_ref().map(render);
    let applied = match &manifests {
        Some(manifests) => apply::apply(proxy, manifests, context).await?,
        // An invalid manifest changes nothing that runs.
        None => Applied::running(proxy, context),
    };
    let pods = reports::collect(proxy, context).await;
    let is_delivering = hasten::pods(proxy, &pods, &applied, &resolved.missing, context).await;
    let observed = Observed {
        proxy,
        problems: verdict.as_ref().err().map_or(&[], Vec::as_slice),
        warnings: verdict.as_ref().map_or(&[], Vec::as_slice),
        resolved: &resolved,
        applied: &applied,
        pods: &pods,
    };
    let new = status::status(&observed, Timestamp::now());
    status::patch(proxy, &new, &context.client).await?;
    events::publish(proxy, &new, context).await;
    let is_moving = is_delivering || status::is_moving(&new);
    Ok(Action::requeue(if is_moving { IN_MOTION } else { AT_REST }))
}

async fn checked(
    proxy: &DnsProxy,
    resolved: &Resolved,
    context: &Context,
) -> Result<Verdict, ReconcileError> {
    let (object, image) = (proxy.clone(), context.settings.image.clone());
    checked_by(proxy, resolved, context, move |grounds| {
        let (facts, loops) = grounds.parts();
        let outcome = check(&object, loops, facts, &image);
        outcome.map(|warnings| told(&warnings)).map_err(|problems| told(&problems))
    })
    .await
}

/// As it was checked, if nothing has changed since; what is still checked for an earlier reconcile, which did not wait for
/// it, is waited for.
async fn checked_by(
    proxy: &DnsProxy,
    resolved: &Resolved,
    context: &Context,
    check: impl FnOnce(&Grounds) -> Verdict + Send + 'static,
) -> Result<Verdict, ReconcileError> {
    let grounds = Grounds::new(proxy, resolved.facts.clone(), loops(proxy, resolved));
    let mut turn = context.verdicts.turn(proxy).await;
    if let Some(verdict) = turn.as_ref().and_then(|known| known.verdict(&grounds)) {
        return Ok(verdict);
    }
    let check = move || {
        let verdict = check(&grounds);
        *turn = Some(Known::new(grounds, verdict.clone()));
        verdict
    };
    apart(proxy, context, check).await
}

/// On a thread of its own: a manifest may have thousands of patterns and tests, and other objects wait. A panic
/// is about this one manifest, and must not end what is done for the others.
async fn apart(
    proxy: &DnsProxy,
    context: &Context,
    check: impl FnOnce() -> Verdict + Send + 'static,
) -> Result<Verdict, ReconcileError> {
    match tokio::task::spawn_blocking(check).await.map_err(JoinError::try_into_panic) {
        Ok(valid) => Ok(valid),
        Err(Ok(panic)) => Ok(Err(told(&[report_panic(&*panic, proxy, context)]))),
        Err(Err(_cancelled)) => Err(ReconcileError::Ended),
    }
}

/// A fault of ours is for those who run the operator, too: they do not read the status of every object.
fn report_panic(panic: &(dyn Any + Send), proxy: &DnsProxy, context: &Context) -> Problem {
    let error = panicked(panic);
    tracing::error!(namespace = ?proxy.namespace(), name = %proxy.name_any(), %error, "the check panicked");
    context.metrics.failed();
    Problem::new("", error)
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = dnsproxy::telemetry::text_of_panic(panic);
    format!(
        "this operator failed at checking the manifest, which is a fault of the operator: {text}"
    )
}

/// An object is reconciled once at a time, so a request that hangs would keep it from ever being looked at
/// again. Far longer than a slow API server takes for the dozen requests of one reconcile: our guess.
const LIMIT: Duration = Duration::from_secs(30);
/// Pods do not tell when they have lost an upstream: they are asked, and it shows in the status within
/// this time. Our guess.
const AT_REST: Duration = Duration::from_secs(5);
/// How often a pod is asked, and hastened, while it runs another configuration than it should.
const IN_MOTION: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;

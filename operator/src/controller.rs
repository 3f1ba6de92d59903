//! The controller: what triggers a reconcile, and what happens when one fails.
//!
//! An object is reconciled when it changes, when something that it owns or refers to changes, when the
//! cluster changes, and from time to time, since pods do not tell what they run. One controller per
//! watched namespace, or one for all, each while it is this operator's turn ([`crate::leader`]).

use std::{fs, io, sync::Arc, time::Duration};

use dnsproxy_api::DnsProxy;
use futures::{Stream, StreamExt as _, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Client, ResourceExt as _,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::{self, Action},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;

use crate::{
    admin,
    apply::Memory,
    args::RunArgs,
    cluster::{self, Published, dns},
    context::Context,
    events::Recorders,
    leader::{self, Leader},
    metrics::Metrics,
    reconcile::{ReconcileError, chain, reconcile, tell},
    render::labels,
    reports::Reports,
    resolve::{Found, Kind, Reference},
    shutdown,
    validate::memory::Verdicts,
    watches::{self, Owned, OwnedChanges, Scope, trim},
};

mod backoff;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to an API server.
    #[error("cannot find the API server")]
    Client(#[from] Box<kube::Error>),
    /// The admin endpoints.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// Signals, or the admin listener.
    #[error("cannot go on listening")]
    Io(#[from] io::Error),
}

/// Runs the operator until a signal.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let client = Client::try_default().await.map_err(Box::new)?;
    let listener = admin::bind(args.admin).await?;
    let token = CancellationToken::new();
    let metrics = Metrics::default();
    let (sender, facts) = watch::channel(None);
    let controllers = scopes(&args).into_iter().map(|scope| {
        take_turns(scope, &args, client.clone(), facts.clone(), metrics.clone(), token.clone())
    });
    let resolv_conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let follow = cluster::follow(client.clone(), dns::domain(&resolv_conf), sender);
    let work = future::join3(
        admin::serve(listener, facts.clone(), metrics.clone(), token.clone()),
        token.run_until_cancelled(follow),
        future::join_all(controllers),
    );
    tokio::select! {
        (served, ..) = work => Ok(served?),
        // The second signal.
        ended = shutdown::watch(token.clone()) => Ok(ended?),
    }
}

fn scopes(args: &RunArgs) -> Vec<Scope> {
    let namespaces = args.namespaces();
    if namespaces.is_empty() {
        return vec![Scope::All];
    }
    namespaces.into_iter().map(|namespace| Scope::Namespace(namespace.to_owned())).collect()
}

/// Controls a scope while no other operator does. It stands by with the cluster's facts at hand, and is ready.
async fn take_turns(
    scope: Scope,
    args: &RunArgs,
    client: Client,
    facts: Published,
    metrics: Metrics,
    token: CancellationToken,
) {
    let work = async || {
        let (client, facts, metrics) = (client.clone(), facts.clone(), metrics.clone());
        control(&scope, args, client, facts, metrics, token.clone()).await;
    };
    if args.leader_elect {
        let common = &args.leader_election_namespace;
        let leader = Leader::new(&client, &scope, common, leader::identity(), metrics.clone());
        leader.lead(&token, work).await;
    } else {
        let _leading = metrics.lead();
        work().await;
    }
}

/// An object that may be unreadable.
type Guarded = DeserializeGuard<DnsProxy>;

async fn control(
    scope: &Scope,
    args: &RunArgs,
    client: Client,
    facts: Published,
    metrics: Metrics,
    token: CancellationToken,
) {
    let (owned, changes) = Owned::watch(&client, scope);
    let found = Arc::<Found>::default();
    let context = Arc::new(Context {
        settings: args.into(),
        facts: facts.clone(),
        owned,
        found: Arc::clone(&found),
        memory: Memory::default(),
        verdicts: Verdicts::default(),
        reports: Reports::default(),
        recorders: Recorders::new(client.clone()),
        metrics,
        backoff: Backoff::default(),
        client: client.clone(),
    });
    triggers(scope, &client, changes, found, facts)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(token.cancelled_owned())
        .run(measured, retry, context)
        .for_each(|outcome| async { log(outcome) })
        .await;
}

fn triggers(
    scope: &Scope,
    client: &Client,
    owned: OwnedChanges,
    found: Arc<Found>,
    facts: Published,
) -> Controller<Guarded> {
    let (proxies, writer) = reflector::store();
    let config = watcher::Config::default;
    // The operator's own writing of the status does not change the generation.
    let changed = watcher(scope.api::<Guarded>(client.clone()), config())
        .backoff(watches::backoff())
        .modify(trim)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, kube::runtime::PredicateConfig::default());
    let OwnedChanges {
        config_maps,
        deployments,
        pod_disruption_budgets,
        pods,
        service_accounts,
        services,
    } = owned;
    // Metadata only: what Secrets hold is none of the operator's business.
    let config_map_refs =
        watcher(scope.api::<PartialObjectMeta<ConfigMap>>(client.clone()), config());
    let secret_refs = watcher(scope.api::<PartialObjectMeta<Secret>>(client.clone()), config());
    Controller::for_stream(changed, proxies.clone())
        .trigger_backoff(backoff::Hardly)
        .owns_stream(config_maps)
        .owns_stream(deployments)
        .owns_stream(pod_disruption_budgets)
        .owns_stream(service_accounts)
        .owns_stream(services)
        .watches_stream(pods, |pod| of_pod(&pod))
        .watches_stream(config_map_refs.backoff(watches::backoff()).touched_objects(), {
            let (proxies, found) = (proxies.clone(), found.clone());
            move |object| referring(&proxies, &found, Kind::ConfigMap, &object)
        })
        .watches_stream(secret_refs.backoff(watches::backoff()).touched_objects(), move |object| {
            referring(&proxies, &found, Kind::Secret, &object)
        })
        .reconcile_all_on(changes(facts))
}

/// A pod's owner is a ReplicaSet: the label says which object it is of.
fn of_pod(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    let name = pod.labels().get(labels::INSTANCE)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// The objects that refer to this ConfigMap or Secret. What was found of it before holds no more.
fn referring(
    proxies: &Store<Guarded>,
    found: &Found,
    kind: Kind,
    object: &impl kube::Resource,
) -> Vec<ObjectRef<Guarded>> {
    let metadata = object.meta();
    found.forget(kind, metadata, Instant::now());
    let refers = |proxy: &DnsProxy| {
        let mut references = Reference::all(&proxy.spec).into_iter();
        references.any(|reference| {
            reference.kind == kind && Some(&reference.name) == metadata.name.as_ref()
        })
    };
    let referring = proxies.state_filter(|guarded| match &guarded.0 {
        Ok(proxy) => proxy.metadata.namespace == metadata.namespace && refers(proxy),
        Err(_) => false,
    });
    referring.iter().map(|proxy| ObjectRef::from_obj(&**proxy)).collect()
}

fn changes(facts: Published) -> impl Stream<Item = ()> {
    stream::unfold(
        facts,
        |mut facts| async move { facts.changed().await.ok().map(|()| ((), facts)) },
    )
}

async fn measured(proxy: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let object = ObjectRef::from_obj(&*proxy);
    let outcome = reconcile(proxy.clone(), context.clone()).await;
    match &outcome {
        Ok(_) => context.backoff.forget(&object),
        Err(error) if context.backoff.duration(&object, Instant::now()) >= PATIENCE => {
            tell(&proxy, error, &context).await;
        }
        Err(_) => {}
    }
    outcome
}

fn retry(proxy: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let delay = context.backoff.next(ObjectRef::from_obj(&*proxy), Instant::now());
    let error = chain(error);
    tracing::warn!(namespace = ?proxy.namespace(), name = %proxy.name_any(), %error, ?delay, "will try again");
    context.metrics.failed();
    Action::requeue(delay)
}

/// Failures were logged by [`retry`]; what is left is about the watches.
fn log<T>(outcome: Result<T, controller::Error<ReconcileError, watcher::Error>>) {
    match outcome {
        Ok(_)
        | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) => {
            tracing::warn!(%error, "watch interrupted");
        }
    }
}

/// How long an object fails each time before its status tells: many webhooks and API servers restart within that, and
/// a status that says so each time would never rest. Our guess.
const PATIENCE: Duration = Duration::from_secs(15);
/// Objects that are reconciled at the same time: most of the time of each is waiting. Our guess.
const CONCURRENCY: u16 = 8;

#[cfg(test)]
mod tests;

//! Binds everything, then starts it; applies each new configuration; ends in order.
//!
//! A configuration is applied as a whole or not at all: its listeners are bound first, since only that
//! can fail. Listeners and upstreams that did not change are left alone.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, RateLimit},
    admin::{Admin, Readiness},
    args::RunArgs,
    cache::{Cache, suspension},
    cluster_dns::LoopGuard,
    config::{
        CacheSettings, Config, LoadError, Names, Notice, limit_of_process, reload::Watcher,
        status::ConfigStatus,
    },
    limits::InFlight,
    listener::{
        Connections,
        bind::{self, BindError, Endpoint, Held, Sockets},
        holdings_limit,
    },
    lists::{List, Problems},
    metrics::Metrics,
    open_files,
    pipeline::{Caching, Flights, Pipeline},
    query_log::QueryLog,
    shutdown::{Event, Signals, Tasks},
    telemetry::{Telemetry, text_of_panic},
    upstream::{self, Placement, Surroundings, Upstreams},
    worker::{Shared, Workers},
};

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest has problems.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// An address is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin address is not to be had.
    #[error("cannot serve the admin endpoints on {address}; --admin chooses another address")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// A thread or a signal handler cannot be had.
    #[error("cannot start")]
    Resources(#[from] std::io::Error),
    /// A listener or a worker failed while running.
    #[error("a listener or a worker failed; the log says why")]
    ListenerFailed,
}

/// How long upstreams and readers of the admin endpoints have to be taken leave of: our guess, many round trips.
const FAREWELL: Duration = Duration::from_secs(1);

/// The running program.
pub struct App {
    file: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    telemetry: Telemetry,
    metrics: Metrics,
    pipeline: watch::Sender<Arc<Pipeline>>,
    status: watch::Sender<ConfigStatus>,
    config: Config,
    listeners: Vec<Listener>,
    held: Held,
    workers: Workers,
    serving: Tasks,
    background: Tasks,
    surroundings: Surroundings,
    lasting: Lasting,
    failed: CancellationToken,
    readiness: Arc<Readiness>,
}

/// What all configurations share, so that it outlives a reload.
#[derive(Clone)]
struct Lasting {
    cache: Arc<Cache>,
    flights: Arc<Flights>,
    in_flight: Arc<InFlight>,
}

impl Lasting {
    fn new(config: &Config, metrics: &Metrics) -> Self {
        let cache = Arc::new(Cache::new(cache_size(config), metrics.cache.clone()));
        Self { cache, flights: Arc::default(), in_flight: Arc::default() }
    }
}

/// One address that is served.
struct Listener {
    endpoint: Endpoint,
    stop: CancellationToken,
}

impl App {
    /// Loads the manifest, binds all addresses, and serves.
    pub async fn start(args: &RunArgs, telemetry: Telemetry) -> Result<Self, StartError> {
        let random = tokio::task::spawn_blocking(upstream::prepare_random);
        let config = load(args.file.clone(), Names::default()).await?;
        random.await.ok();
        let (metrics, registry) = Metrics::register()?;
        let wanted = wanted(&args.listen, &config);
        let sockets = bind::bind(&wanted, worker_count(args), &Held::default())?;
        let admin_listener = crate::admin::bind(args.admin)
            .await
            .map_err(|source| StartError::Admin { address: args.admin, source })?;

        let (serving, background) = (Tasks::default(), Tasks::default());
        let surroundings = Surroundings {
            metrics: metrics.upstream.clone(),
            tasks: background.clone(),
            placement: Placement::default(),
        };
        let lasting = Lasting::new(&config, &metrics);
        let first = make_pipeline(&config, None, &lasting, &metrics, &surroundings);
        let (pipeline, pipelines) = watch::channel(Arc::new(first));
        let (status, statuses) = watch::channel(ConfigStatus::loaded(&config));
        let failed = CancellationToken::new();
        let shared = Shared {
            pipeline: pipelines.clone(),
            connections: Connections::new(
                metrics.listener.clone(),
                open_files::for_clients(config.limits.tcp_connections),
                holdings_limit(limit_of_process()),
            ),
            metrics: metrics.listener.clone(),
            serving: serving.clone(),
            failed: failed.clone(),
        };
        let workers = Workers::start(worker_count(args), &shared)?;
        surroundings.placement.use_threads(workers.runtimes(), workers.dialer());
        pipeline.borrow().upstreams.keep(&background);
        let readiness = Arc::new(Readiness::default());
        telemetry.announce(&format!("listening admin {}", admin_listener.local_addr()?));
        let admin = Admin {
            registry,
            pipeline: pipelines,
            cache: Arc::clone(&lasting.cache),
            config: statuses,
            readiness: Arc::clone(&readiness),
        };
        let stop = background.token().clone();
        background.spawn(async move { admin.serve(admin_listener, stop).await.ok() });
        let (stop, cache) = (background.token().clone(), Arc::clone(&lasting.cache));
        background.spawn(async move { stop.run_until_cancelled(suspension::watch(cache)).await });
        let mut app = Self {
            file: args.file.clone(),
            listen: args.listen.clone(),
            telemetry,
            metrics,
            pipeline,
            status,
            config,
            listeners: Vec::new(),
            held: Held::default(),
            workers,
            serving,
            background,
            surroundings,
            lasting,
            failed,
            readiness,
        };
        app.serve(sockets).await;
        app.announce(&[], &Names::default());
        app.readiness.set_serving();
        Ok(app)
    }

    /// Runs until a signal, following the files.
    pub async fn run(mut self, mut signals: Signals) -> Result<(), StartError> {
        let mut watcher = self.file.clone().map(|_| Watcher::new(&self.config.files));
        let failed = self.failed.clone();
        let end = loop {
            tokio::select! {
                event = signals.next() => match event {
                    Event::Reload => {}
                    end @ (Event::Terminate | Event::Interrupt) => break end,
                },
                () = failed.cancelled() => return Err(StartError::ListenerFailed),
                () = changed(&mut watcher) => {}
            }
            match self.loaded(&mut signals).await {
                Ok(loaded) => self.reload(loaded, &mut watcher).await,
                Err(end) => break end,
            }
        };
        tracing::info!(signal = ?end, "shutting down");
        // Nobody else knows of a proxy in the foreground, so Ctrl-C need not wait for endpoints to change.
        let delay =
            if end == Event::Interrupt { Duration::ZERO } else { self.config.shutdown_delay };
        tokio::select! {
            () = self.drain(delay) => {}
            signal = signals.next_end() => tracing::warn!(?signal, "ending at once"),
        }
        self.workers.end();
        self.metrics.query_log.flush().await;
        Ok(())
    }

    /// The files, read again; or the signal that does not wait for that: lists may be long, and a file may be on a disk
    /// that does not answer.
    async fn loaded(&self, signals: &mut Signals) -> Result<Result<Config, LoadError>, Event> {
        let load = || Box::pin(load(self.file.clone(), self.config.names.clone()));
        let mut loading = load();
        loop {
            tokio::select! {
                loaded = &mut loading => return Ok(loaded),
                event = signals.next() => match event {
                    Event::Reload => loading = load(),
                    end @ (Event::Terminate | Event::Interrupt) => return Err(end),
                },
            }
        }
    }

    /// Runs what was loaded; what is wrong with it is told, and changes nothing.
    async fn reload(&mut self, loaded: Result<Config, LoadError>, watcher: &mut Option<Watcher>) {
        let result = match loaded {
            Ok(config) => {
                let hash = config.hash.clone();
                self.apply(config).await.map_err(|source| LoadError::Bind { hash, source })
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(error = %crate::config::chain(error), "the new configuration is rejected, the old one stays");
            self.status.send_modify(|status| status.reject(error));
        }
        self.metrics.config.count_reload(result.is_ok());
        if let Some(watcher) = watcher {
            let mut files = self.config.files.clone();
            if let Err(LoadError::Invalid { files: wanted, .. }) = result {
                files.extend(wanted);
            }
            watcher.follow(&files);
        }
    }

    async fn apply(&mut self, config: Config) -> Result<(), BindError> {
        let wanted = wanted(&self.listen, &config);
        let is_served = |wanted| self.listeners.iter().any(|listener| listener.endpoint == wanted);
        let new: Vec<_> = wanted.iter().copied().filter(|&wanted| !is_served(wanted)).collect();
        let sockets = bind::bind(&new, self.workers.count(), &self.held)?;

        self.lasting.cache.set_capacity(cache_size(&config));
        let previous = self.pipeline.borrow().clone();
        let next = make_pipeline(
            &config,
            Some(&previous),
            &self.lasting,
            &self.metrics,
            &self.surroundings,
        );
        next.upstreams.keep(&self.background);
        self.pipeline.send_replace(Arc::new(next));
        let known = std::mem::replace(&mut self.config, config);
        self.serve(sockets).await;
        // The old ones last: until then an address that both can take is served by them.
        for gone in self.listeners.extract_if(.., |old| !wanted.contains(&old.endpoint)) {
            gone.stop.cancel();
        }
        self.status.send_replace(ConfigStatus::loaded(&self.config));
        self.announce(&known.notices, &known.names);
        let token = self.background.token().clone();
        self.background.spawn(retire(previous, known, token));
        Ok(())
    }

    async fn serve(&mut self, sockets: Vec<Sockets>) {
        for sockets in sockets {
            self.telemetry.announce(&format!("listening udp {}", sockets.address));
            self.telemetry.announce(&format!("listening tcp {}", sockets.address));
            self.held.remember(&sockets);
            let (endpoint, stop) = (sockets.endpoint, CancellationToken::new());
            self.workers.serve(sockets, &stop).await;
            self.listeners.push(Listener { endpoint, stop });
        }
    }

    /// Says what runs now; of the notices and names those that are not known from the last configuration.
    fn announce(&self, known: &[Notice], known_names: &Names) {
        let config = &self.config;
        self.telemetry.follow(config.log_level);
        self.metrics.config.set_running(config);
        for notice in config.notices.iter().filter(|notice| !known.contains(notice)) {
            match notice {
                Notice::PartsOfTheOperator => tracing::info!("{notice}"),
                Notice::NoClusterDns => tracing::warn!("{notice}"),
            }
        }
        announce_names(&config.names, known_names);
        for upstream in &config.upstreams {
            for server in &upstream.servers {
                let scheme = upstream.transport.scheme();
                self.telemetry.announce(&format!("upstream {} {scheme}://{server}", upstream.name));
            }
        }
        tracing::info!(hash = config.hash, "configuration loaded");
    }

    /// Serves on while the endpoints of a Service change, then finishes what was taken, and last of all takes
    /// leave of upstreams and of readers of the admin endpoints.
    async fn drain(&self, delay: Duration) {
        self.readiness.set_draining();
        tokio::time::sleep(delay).await;
        for listener in &self.listeners {
            listener.stop.cancel();
        }
        if tokio::time::timeout(self.config.shutdown_drain, self.serving.finished()).await.is_err()
        {
            tracing::warn!(
                waiting = self.pipeline.borrow().in_flight.count(),
                "some queries were not answered in time"
            );
        }
        self.background.cancel();
        if tokio::time::timeout(FAREWELL, self.background.finished()).await.is_err() {
            tracing::warn!("some connections were cut off");
        }
    }
}

/// Drops what served until now where no query waits for it: a worker that was the last to need it would be busy.
async fn retire(pipeline: Arc<Pipeline>, config: Config, end: CancellationToken) {
    const INTERVAL: Duration = Duration::from_millis(250);
    while Arc::strong_count(&pipeline) > 1 {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = end.cancelled() => return,
        }
    }
    tokio::task::spawn_blocking(move || drop((pipeline, config))).await.ok();
}

/// Says what lists hold and what of them cannot be read.
fn announce_names(names: &Names, known: &Names) {
    for complaint in &names.complaints {
        tracing::error!("{complaint}");
    }
    let is_known = |list: &Arc<List>| known.lists.iter().any(|known| Arc::ptr_eq(known, list));
    for list in names.lists.iter().filter(|list| !is_known(list)) {
        tracing::info!(list = &*list.name, entries = list.len(), "list loaded");
        warn_of_lines(&list.name, list.problems());
    }
    if !Arc::ptr_eq(&names.hosts, &known.hosts) && !names.hosts.sources().is_empty() {
        tracing::info!(entries = names.hosts.len(), "hosts loaded");
        warn_of_lines("hosts", names.hosts.problems());
    }
}

fn warn_of_lines(list: &str, problems: &Problems) {
    for line in &problems.first {
        tracing::warn!(list, "passed over: {line}");
    }
    let more = problems.count.saturating_sub(problems.first.len());
    if more > 0 {
        tracing::warn!(list, "passed over: {more} more lines");
    }
}

/// Loads the files, on a thread of its own.
async fn load(file: Option<PathBuf>, known: Names) -> Result<Config, LoadError> {
    match tokio::task::spawn_blocking(move || Config::load(file.as_deref(), &known)).await {
        Ok(loaded) => loaded,
        Err(error) => Err(LoadError::Defect(text_of_panic(&*error.into_panic()).to_owned())),
    }
}

async fn changed(watcher: &mut Option<Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// As many as there are CPUs to use, at most eight: beyond that the kernel's work for UDP is the limit.
fn worker_count(args: &RunArgs) -> usize {
    const MAX_DEFAULT: usize = 8;
    let default = || std::thread::available_parallelism().map_or(1, usize::from).min(MAX_DEFAULT);
    args.workers.map_or_else(default, usize::from)
}

/// How much may be kept: nothing without a cache.
fn cache_size(config: &Config) -> u64 {
    config.cache.map_or(0, |cache| cache.size)
}

fn wanted(listen: &[SocketAddr], config: &Config) -> Vec<Endpoint> {
    Endpoint::all(if listen.is_empty() { &config.listen } else { listen })
}

/// What decides about queries by a configuration, without anything that runs.
///
/// # Errors
/// When the system has no thread left.
pub fn pipeline_of(config: &Config) -> std::io::Result<Pipeline> {
    let (metrics, _) = Metrics::register()?;
    let lasting = Lasting::new(config, &metrics);
    Ok(make_pipeline(config, None, &lasting, &metrics, &Surroundings::default()))
}

/// What clients have asked by now outlives a reload: nobody's rate limit starts again, nor does the count of
/// the query log.
fn make_pipeline(
    config: &Config,
    previous: Option<&Pipeline>,
    lasting: &Lasting,
    metrics: &Metrics,
    surroundings: &Surroundings,
) -> Pipeline {
    let rate_limit = config.rate_limit.map(|(per_second, burst)| {
        previous
            .and_then(|previous| previous.access.rate_limit(per_second, burst))
            .unwrap_or_else(|| Arc::new(RateLimit::new(per_second, burst)))
    });
    let (mode, one_in) = (config.query_log, config.query_log_one_in);
    let query_log = previous.map_or_else(
        || QueryLog::new(mode, one_in, metrics.query_log.clone()),
        |previous| previous.query_log.with(mode, one_in),
    );
    let upstreams = Upstreams::build(
        previous.map(|previous| &*previous.upstreams),
        config.upstreams.clone(),
        config.routes.clone(),
        surroundings,
    );
    let Lasting { cache, flights, in_flight } = lasting.clone();
    // Destructured without `..`: what is new must be used. The size is the cache's own.
    let caching = config.cache.map(|CacheSettings { size: _, bounds, policy, stale_after }| {
        Caching::new(cache, bounds, policy, stale_after)
    });
    Pipeline {
        access: Access::new(config.allow.clone(), config.deny.clone(), rate_limit),
        checks: config.checks.clone(),
        judge: config.judge(),
        matches: metrics.rules.of(&config.rules),
        caching,
        upstreams: Arc::new(upstreams),
        flights,
        loop_guard: (!config.cluster_endpoints.is_empty())
            .then(|| LoopGuard::new(config.cluster_endpoints.iter().copied())),
        limits: config.limits,
        in_flight,
        metrics: metrics.pipeline.clone(),
        query_log,
        tasks: surroundings.tasks.clone(),
    }
}

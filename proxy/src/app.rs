//! Binds everything, then starts it; applies each new configuration; ends in order.
//!
//! A configuration is applied as a whole or not at all: its listeners are bound first, since only that
//! can fail. Listeners and upstreams that did not change are left alone.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Readiness},
    args::RunArgs,
    cache::suspension,
    config::{Config, LoadError, Names, limit_of_process, reload::Watcher, status::ConfigStatus},
    listener::{
        Connections,
        bind::{self, BindError, Endpoint, Held, Sockets},
        holdings_limit,
    },
    metrics::Metrics,
    open_files,
    pipeline::Pipeline,
    shutdown::{Event, Signals, Tasks},
    telemetry::{Telemetry, text_of_panic},
    upstream::{self, Placement, Surroundings},
    worker::{Shared, Workers},
};

mod announce;
mod assembly;

pub use assembly::pipeline_of;

use assembly::{Lasting, cache_size, make_pipeline};

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
        source: io::Error,
    },
    /// A thread or a signal handler cannot be had.
    #[error("cannot start")]
    Resources(#[from] io::Error),
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
        let (metrics, registry) = Metrics::register(telemetry.dropped())?;
        let wanted = wanted(&args.listen, &config);
        let sockets = bind::bind(&wanted, worker_count(args), &Held::default())?;
        let admin_listener = crate::admin::bind(args.admin)
            .await
            .map_err(|source| StartError::Admin { address: args.admin, source })?;

        let mut app = Self::build(args, telemetry, config, metrics)?;
        app.serve_admin(admin_listener, registry)?;
        app.watch_for_suspension();
        app.serve(sockets).await;
        app.announce(None);
        app.readiness.set_serving();
        Ok(app)
    }

    /// What decides, and the threads, while nothing is served yet.
    fn build(
        args: &RunArgs,
        telemetry: Telemetry,
        config: Config,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let (serving, background) = (Tasks::default(), Tasks::default());
        let surroundings = Surroundings {
            metrics: metrics.upstream.clone(),
            tasks: background.clone(),
            placement: Placement::default(),
        };
        let lasting = Lasting::new(&config, &metrics);
        let first = make_pipeline(&config, None, &lasting, &metrics, &surroundings);
        let pipeline = watch::Sender::new(Arc::new(first));
        let failed = CancellationToken::new();
        let shared = Shared {
            pipeline: pipeline.subscribe(),
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
        Ok(Self {
            file: args.file.clone(),
            listen: args.listen.clone(),
            telemetry,
            metrics,
            pipeline,
            status: watch::Sender::new(ConfigStatus::loaded(&config)),
            config,
            listeners: Vec::new(),
            held: Held::default(),
            workers,
            serving,
            background,
            surroundings,
            lasting,
            failed,
            readiness: Arc::default(),
        })
    }

    fn serve_admin(&self, listener: TcpListener, registry: Arc<Registry>) -> io::Result<()> {
        self.telemetry.announce(&format!("listening admin {}", listener.local_addr()?));
        let admin = Admin {
            registry,
            pipeline: self.pipeline.subscribe(),
            cache: Arc::clone(&self.lasting.cache),
            config: self.status.subscribe(),
            readiness: Arc::clone(&self.readiness),
        };
        let stop = self.background.token().clone();
        self.background.spawn(async move { admin.serve(listener, stop).await.ok() });
        Ok(())
    }

    fn watch_for_suspension(&self) {
        let (stop, cache) = (self.background.token().clone(), Arc::clone(&self.lasting.cache));
        let watch = async move { stop.run_until_cancelled(suspension::watch(cache)).await };
        self.background.spawn(watch);
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
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(error = %crate::config::chain(error), "the new configuration is rejected, the old one stays");
            self.status.send_modify(|status| status.reject(error));
        }
        self.metrics.config.count_reload(result.is_ok());
        if let Some(watcher) = watcher {
            let mut files = self.config.files.clone();
            if let Err(Some(wanted)) = result.as_ref().map_err(LoadError::files) {
                files.extend(wanted.clone());
            }
            watcher.follow(&files);
        }
    }

    async fn apply(&mut self, config: Config) -> Result<(), LoadError> {
        let hash = || config.hash.clone();
        if let Some((upstream, source)) = self.config.spoiled_by(&config) {
            let (upstream, files) = (Arc::clone(upstream), config.files.clone());
            let source = Box::new(source);
            return Err(LoadError::Material { hash: hash(), upstream, source, files });
        }
        let wanted = wanted(&self.listen, &config);
        let is_served = |wanted| self.listeners.iter().any(|listener| listener.endpoint == wanted);
        let new: Vec<_> = wanted.iter().copied().filter(|&wanted| !is_served(wanted)).collect();
        let sockets = bind::bind(&new, self.workers.count(), &self.held)
            .map_err(|source| LoadError::Bind { hash: hash(), source })?;

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
        self.announce(Some(&known));
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

fn wanted(listen: &[SocketAddr], config: &Config) -> Vec<Endpoint> {
    Endpoint::all(if listen.is_empty() { &config.listen } else { listen })
}

//! A manifest made runnable: what is true, in types that cannot hold nonsense.
//!
//! A manifest with problems is refused as a whole. A file that it refers to and that is missing is no
//! problem of the manifest: what needs it fails closed until it appears, the rest works.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, SocketAddr},
    path::Path,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use dnsproxy_api::{
    DnsProxy, defaults, manifest,
    units::{self, Network},
    v1alpha1::{
        self as api, Access, AnyQuestions, LogLevel, Logging, PrivateNames, QueryLog, QueryLogMode,
        Shutdown,
    },
    validate::{self, Place},
};

use crate::{
    checks::Checks,
    expectations,
    judge::Judge,
    limits::Limits,
    rules::{Rules, Uncompilable},
    upstream::{RouteSettings, UpstreamSettings},
};

pub mod metrics;
pub mod reload;
pub mod status;

mod cache;
mod cluster;
mod digest;
mod error;
mod files;
mod material;
mod memory;
mod names;
mod notice;
mod responses;
mod upstreams;

pub use cache::CacheSettings;
pub use error::LoadError;
pub use files::PublicFile;
pub use names::Names;
pub use notice::Notice;

pub(crate) use digest::{hex, sha256};
pub(crate) use error::chain;
pub(crate) use files::read_bounded;
pub(crate) use memory::limit_of_process;

use digest::hash;
use files::Reader;
use notice::notices;

/// What runs.
#[derive(Debug)]
pub struct Config {
    /// The first 16 hexadecimal digits of the SHA-256 of the manifest's text.
    pub hash: String,
    /// `metadata.generation`, when the manifest has it.
    pub generation: Option<i64>,
    /// Where queries are taken.
    pub listen: Vec<SocketAddr>,
    /// Whom to ask.
    pub upstreams: Vec<UpstreamSettings>,
    /// Whom to ask for which names.
    pub routes: Vec<RouteSettings>,
    /// The addresses that the cluster's DNS asks from.
    pub cluster_endpoints: Vec<IpAddr>,
    /// What is done with queries that match.
    pub rules: Arc<Rules>,
    /// Names from files.
    pub names: Names,
    /// What is checked in every upstream's answer.
    pub checks: Checks,
    /// What is done about names that mean something here alone.
    pub private_names: PrivateNames,
    /// What is done about questions for ANY.
    pub any: AnyQuestions,
    /// What is kept; none when nothing is.
    pub cache: Option<CacheSettings>,
    /// Who may ask.
    pub allow: Vec<Network>,
    /// Who may not.
    pub deny: Vec<Network>,
    /// Queries a second and at once of one client.
    pub rate_limit: Option<(u32, u32)>,
    /// The bounds.
    pub limits: Limits,
    /// What is logged.
    pub log_level: LogLevel,
    /// Which queries are logged.
    pub query_log: QueryLogMode,
    /// Of these, one in so many.
    pub query_log_one_in: u32,
    /// How long queries are taken after SIGTERM.
    pub shutdown_delay: Duration,
    /// How long they may be answered after that.
    pub shutdown_drain: Duration,
    /// What a person should know of it.
    pub notices: Vec<Notice>,
    /// The routes of which the fallback is weaker than their own upstreams, as `allowWeaker` allows.
    pub weaker_fallbacks: Vec<String>,
    /// Every file that was read, the manifest first.
    pub files: reload::Files,
    /// The files that anybody may see.
    pub public_files: Vec<PublicFile>,
}

/// What a manifest is read for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    /// Its tests must hold, as far as the manifest alone decides about them.
    Run,
    Explain,
}

/// The manifest that runs when none is given: two public resolvers.
const EMBEDDED: &str = include_str!("config/embedded.yaml");

impl Config {
    /// Reads a manifest and everything that it refers to; without a path, the embedded one. What is `known` of its
    /// lists is not read again.
    pub fn load(path: Option<&Path>, known: &Names) -> Result<Self, LoadError> {
        Self::load_for(Purpose::Run, path, known)
    }

    /// Reads a manifest to tell what it does, whether it is meant for a file or for a cluster, and whether its tests hold.
    pub fn load_to_explain(path: Option<&Path>) -> Result<Self, LoadError> {
        Self::load_for(Purpose::Explain, path, &Names::default())
    }

    fn load_for(purpose: Purpose, path: Option<&Path>, known: &Names) -> Result<Self, LoadError> {
        let Some(path) = path else {
            return Self::from_text(purpose, EMBEDDED, Path::new(""), BTreeMap::new(), known);
        };
        let files = BTreeMap::from([(path.to_owned(), reload::Fingerprint::of(path))]);
        let octets = File::open(path)
            .and_then(read_bounded)
            .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let text = str::from_utf8(&octets).map_err(|source| LoadError::NotUtf8 {
            path: path.to_owned(),
            hash: hash(&octets),
            source,
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Self::from_text(purpose, text, folder, files, known)
    }

    /// Whether there is a route to the cluster's DNS where the operator runs this, and none here.
    pub fn has_undiscovered_dns(&self) -> bool {
        self.notices.contains(&Notice::NoClusterDns)
    }

    /// What decides about queries by itself.
    pub fn judge(&self) -> Judge {
        let (rules, hosts) = (Arc::clone(&self.rules), Arc::clone(&self.names.hosts));
        Judge::new(rules, hosts, self.private_names, self.any, &self.routes)
    }

    fn from_text(
        purpose: Purpose,
        text: &str,
        folder: &Path,
        mut files: reload::Files,
        known: &Names,
    ) -> Result<Self, LoadError> {
        let hash = hash(text.as_bytes());
        let names = OnceCell::<Names>::new();
        let read_names = |proxy: &DnsProxy| Names::read(&proxy.spec, Some(folder), known);
        let proxy = match purpose {
            Purpose::Run => manifest::read_one_and(text, Place::File, |proxy| {
                names.get_or_init(|| read_names(proxy));
                expectations::problems_without_files(proxy)
            }),
            Purpose::Explain => manifest::read_one(text, Place::File).or_else(|problems| {
                let mut proxy = manifest::read_one(text, Place::Cluster).map_err(|_| problems)?;
                // As the operator has it.
                proxy.spec.cluster_dns.get_or_insert_default();
                Ok(proxy)
            }),
        };
        let proxy = proxy.map_err(|problems| LoadError::Invalid {
            hash: hash.clone(),
            problems,
            files: names.get().map(|names| names.files().clone()).unwrap_or_default(),
        })?;
        let mut names = names.into_inner().unwrap_or_else(|| read_names(&proxy));
        if purpose == Purpose::Run {
            names.complain_of_tests(&expectations::problems(&proxy, &names));
        }
        files.extend(names.files().clone());
        Self::new(&proxy, hash.clone(), names, Reader::new(folder, files))
            .map_err(|source| LoadError::Unparsable { hash, source })
    }

    fn new(
        proxy: &DnsProxy,
        hash: String,
        names: Names,
        mut files: Reader,
    ) -> Result<Self, Unparsable> {
        let spec = &proxy.spec;
        let limits = limits(spec.limits.as_ref())?;
        let mut upstreams = (spec.upstreams.iter())
            .map(|upstream| upstreams::settings(upstream, limits.edns_buffer_size, &mut files))
            .collect::<Result<Vec<_>, _>>()?;
        let mut routes = upstreams::routes(spec)?;
        if let Some((upstream, route)) =
            cluster::cluster(spec.cluster_dns.as_ref(), limits.edns_buffer_size)?
        {
            upstreams.push(upstream);
            routes.push(route);
        }
        let Access { allow, deny, rate_limit } = spec.access.clone().unwrap_or_default();
        let Logging { level, queries } = spec.logging.clone().unwrap_or_default();
        let QueryLog { mode, one_in } = queries.unwrap_or_default();
        let Shutdown { delay, drain } = spec.shutdown.clone().unwrap_or_default();
        let endpoints = spec.cluster_dns.as_ref().and_then(|dns| dns.endpoints.as_ref());
        Ok(Self {
            hash,
            generation: proxy.metadata.generation,
            listen: listen(spec)?,
            upstreams,
            routes,
            cluster_endpoints: parse_all(endpoints.map(Vec::as_slice).unwrap_or_default())?,
            rules: Arc::new(rules(spec.rules.as_deref(), &names)?),
            checks: responses::checks(spec.responses.as_ref())?,
            private_names: spec.responses.as_ref().map(|it| it.private_names).unwrap_or_default(),
            any: spec.responses.as_ref().map(|it| it.any).unwrap_or_default(),
            cache: cache::settings(spec.cache.as_ref())?,
            allow: allow
                .map_or_else(|| parse_all(defaults::ACCESS_ALLOW), |allow| parse_all(&allow))?,
            deny: parse_all(&deny.unwrap_or_default())?,
            rate_limit: rate_limit.map(|limit| {
                (
                    limit.queries_per_second,
                    limit.burst.unwrap_or_else(|| limit.queries_per_second.saturating_mul(2)),
                )
            }),
            limits,
            log_level: level,
            query_log: mode,
            query_log_one_in: one_in.unwrap_or(1),
            shutdown_delay: duration(delay, defaults::SHUTDOWN_DELAY)?,
            shutdown_drain: duration(drain, defaults::SHUTDOWN_DRAIN)?,
            notices: notices(spec),
            weaker_fallbacks: validate::weaker_fallbacks(spec).map(str::to_owned).collect(),
            public_files: [files.public, names.public_files()].concat(),
            names,
            files: files.files,
        })
    }
}

/// What decides about queries by a manifest, certificates aside.
pub(crate) fn judge_of(spec: &api::DnsProxySpec, names: &Names) -> Result<Judge, Unparsable> {
    let mut routes = upstreams::routes(spec)?;
    let cluster = cluster::cluster(spec.cluster_dns.as_ref(), defaults::EDNS_BUFFER_SIZE)?;
    routes.extend(cluster.map(|(_, route)| route));
    let rules = Arc::new(rules(spec.rules.as_deref(), names)?);
    let responses = spec.responses.clone().unwrap_or_default();
    let hosts = Arc::clone(&names.hosts);
    Ok(Judge::new(rules, hosts, responses.private_names, responses.any, &routes))
}

fn rules(rules: Option<&[api::rule::Rule]>, names: &Names) -> Result<Rules, Unparsable> {
    let Names { lists, hosts, .. } = names;
    Rules::compile(rules.unwrap_or_default(), lists, hosts.fingerprint())
        .map_err(|Uncompilable(text)| Unparsable(text))
}

fn limits(limits: Option<&api::Limits>) -> Result<Limits, Unparsable> {
    let api::Limits {
        query_deadline,
        max_in_flight,
        tcp_connections,
        tcp_connections_per_client,
        tcp_idle_timeout,
        edns_buffer_size,
    } = limits.cloned().unwrap_or_default();
    Ok(Limits {
        query_deadline: duration(query_deadline, defaults::QUERY_DEADLINE)?,
        max_in_flight: count(max_in_flight, defaults::MAX_IN_FLIGHT),
        tcp_connections: count(tcp_connections, defaults::TCP_CONNECTIONS),
        tcp_connections_per_client: tcp_connections_per_client
            .unwrap_or(defaults::TCP_CONNECTIONS_PER_CLIENT),
        tcp_idle_timeout: duration(tcp_idle_timeout, defaults::TCP_IDLE_TIMEOUT)?,
        edns_buffer_size: edns_buffer_size.unwrap_or(defaults::EDNS_BUFFER_SIZE),
    })
}

fn listen(spec: &api::DnsProxySpec) -> Result<Vec<SocketAddr>, Unparsable> {
    match spec.listeners.as_ref().and_then(|listeners| listeners.dns.as_ref()) {
        Some(dns) => parse_all(&dns.addresses),
        None => parse_all(&[defaults::LISTEN]),
    }
}

/// A text that passed the validation and still cannot be read: the two disagree.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot be read, though it is valid: this is a bug")]
pub struct Unparsable(String);

fn parse<T: FromStr>(text: &str) -> Result<T, Unparsable> {
    text.parse().map_err(|_| Unparsable(text.to_owned()))
}

fn parse_all<T: FromStr>(texts: &[impl AsRef<str>]) -> Result<Vec<T>, Unparsable> {
    texts.iter().map(|text| parse(text.as_ref())).collect()
}

fn count(given: Option<u32>, default: u32) -> usize {
    usize::try_from(given.unwrap_or(default)).unwrap_or(usize::MAX)
}

fn duration(text: Option<String>, default: units::Duration) -> Result<Duration, Unparsable> {
    Ok(text.map_or(Ok(default), |text| parse::<units::Duration>(&text))?.to_std())
}

//! A manifest made runnable: what is true, in types that cannot hold nonsense.
//!
//! A manifest with problems is refused as a whole. A file that it refers to and that is missing is no
//! problem of the manifest: what needs it fails closed until it appears, the rest works.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fmt,
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::{FromStr, Utf8Error},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest;
use dnsproxy_api::{
    DnsProxy, defaults, manifest,
    units::{self, Network},
    v1alpha1::{
        self as api, Access, AnyQuestions, LogLevel, Logging, PrivateNames, QueryLog, QueryLogMode,
        Shutdown,
    },
    validate::{self, Place, Problem},
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
mod files;
mod memory;
mod names;
mod responses;
mod upstreams;

pub use cache::CacheSettings;
pub use files::PublicFile;
use files::Reader;
pub(crate) use files::read_bounded;
pub(crate) use memory::limit_of_process;
pub use names::Names;

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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The manifest's path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no text. Mending it would run a manifest that nobody wrote.
    #[error("{} is not UTF-8", path.display())]
    NotUtf8 {
        /// The manifest's path.
        path: PathBuf,
        /// The hash of its octets.
        hash: String,
        /// Where.
        source: Utf8Error,
    },
    /// The manifest has problems; each names its place.
    #[error("{}", first_of(problems))]
    Invalid {
        /// The hash of its text.
        hash: String,
        /// All of them.
        problems: Vec<Problem>,
        /// The files of lists that it has: with others it might be valid.
        files: reload::Files,
    },
    /// Reading it ended in a panic.
    #[error("reading the manifest panicked, which is a defect of this program: {0}")]
    Defect(String),
    /// Valid, and still not to be read.
    #[error("the manifest cannot be used")]
    Unparsable {
        /// The hash of its text.
        hash: String,
        /// What cannot be read.
        source: Unparsable,
    },
    /// Its addresses cannot be bound.
    #[error("the manifest cannot be used")]
    Bind {
        /// The hash of its text.
        hash: String,
        /// Which, and why.
        source: crate::listener::bind::BindError,
    },
}

impl LoadError {
    /// The hash of what was refused, when it could be read.
    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::NotUtf8 { hash, .. }
            | Self::Invalid { hash, .. }
            | Self::Unparsable { hash, .. }
            | Self::Bind { hash, .. } => Some(hash),
            Self::Read { .. } | Self::Defect(_) => None,
        }
    }
}

/// A log line and `/config` show so many problems; `dnsproxy check` shows all.
const MAX_SHOWN: usize = 20;

fn first_of(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    let more = problems.len().saturating_sub(MAX_SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join("; "))
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

/// What a valid manifest says and this program does not do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Some parts are for the operator: nothing to be changed.
    PartsOfTheOperator,
    /// Names of the cluster go the way of all others, which is hardly meant.
    NoClusterDns,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartsOfTheOperator => {
                "spec.workload and spec.service are for the operator: not used here"
            }
            Self::NoClusterDns => {
                "spec.clusterDNS has no addresses, which only the operator can discover: not used here"
            }
        })
    }
}

fn notices(spec: &api::DnsProxySpec) -> Vec<Notice> {
    let has_parts_of_the_operator = spec.workload.is_some() || spec.service.is_some();
    let forwards_nowhere = |dns: &api::ClusterDns| {
        dns.mode == api::ClusterDnsMode::Forward && dns.addresses.as_ref().is_none_or(Vec::is_empty)
    };
    let has_no_cluster_dns = spec.cluster_dns.as_ref().is_some_and(forwards_nowhere);
    let parts = has_parts_of_the_operator.then_some(Notice::PartsOfTheOperator);
    parts.into_iter().chain(has_no_cluster_dns.then_some(Notice::NoClusterDns)).collect()
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

/// What tells one manifest from another.
fn hash(octets: &[u8]) -> String {
    sha256(octets).chars().take(HASH_LEN).collect()
}

/// Sixteen digits tell configurations apart and still fit into a label.
const HASH_LEN: usize = 16;

/// The SHA-256 of octets, in hexadecimal.
pub(crate) fn sha256(octets: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, octets))
}

/// A digest as text.
pub(crate) fn hex(digest: &digest::Digest) -> String {
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_refused_is_known_by_its_hash_whatever_the_reason() {
        let hash = || "0123456789abcdef".to_owned();
        let bind = crate::listener::bind::BindError {
            address: ([192, 0, 2, 1], 53).into(),
            transport: "udp",
            source: io::ErrorKind::AddrInUse.into(),
        };
        let broken = str::from_utf8(&[0xff; 2][..]).unwrap_err();
        let cases = [
            LoadError::NotUtf8 { path: PathBuf::new(), hash: hash(), source: broken },
            LoadError::Invalid { hash: hash(), problems: Vec::new(), files: BTreeMap::new() },
            LoadError::Unparsable { hash: hash(), source: Unparsable("5 s".to_owned()) },
            LoadError::Bind { hash: hash(), source: bind },
        ];

        for error in cases {
            assert_eq!(error.hash(), Some(hash().as_str()), "{error:?}");
        }
    }
}

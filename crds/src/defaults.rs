//! What holds where a manifest says nothing. Every constant says who chose it.

use crate::units::{ByteSize, Duration};

/// The time within which every query is answered: below the 5 s that resolvers of libc wait.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(4);
/// Queries that wait for an upstream: our guess, ten times what kubeadm gives CoreDNS.
pub const MAX_IN_FLIGHT: u32 = 10_000;
/// Open TCP connections of clients: our guess, within the usual limits of open files.
pub const TCP_CONNECTIONS: u32 = 10_000;
/// Open TCP connections of one client: our guess.
pub const TCP_CONNECTIONS_PER_CLIENT: u32 = 256;
/// How long a TCP connection of a client may be idle: CoreDNS's default, "a few seconds" in RFC 7766 section 6.2.3.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest UDP message, in octets: DNS Flag Day 2020, within the 1,400 of RFC 9715.
pub const EDNS_BUFFER_SIZE: u16 = 1232;
/// For a new connection: a few round trips to anywhere on earth.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For an answer on an open connection: CoreDNS's read_timeout.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections to one server: one carries everything, the second one is there when the first one stalls;
/// our guess.
pub const CONNECTIONS: u32 = 2;
/// How long a connection to an upstream may be idle: our guess at what most public resolvers keep.
pub const CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Queries in flight on one connection: our guess, a quarter of a second at 2,000 queries a second.
pub const CONNECTION_IN_FLIGHT: u32 = 512;
/// What a health check asks for: the root, which every resolver knows.
pub const HEALTH_CHECK_NAME: &str = ".";
/// The type that a health check asks for: the root's NS records are in every resolver's cache (RFC 8109).
pub const HEALTH_CHECK_TYPE: &str = "NS";
/// Failures in a row after which a server is down: our guess, one may be an accident and two bad luck.
pub const FAILURE_THRESHOLD: u32 = 3;
/// The time between two health checks of a server: our guess.
pub const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Queries of one route that wait at a time: our guess, so that one route leaves room for others in
/// `MAX_IN_FLIGHT`.
pub const ROUTE_IN_FLIGHT: u32 = 4096;
/// How long queries are taken after SIGTERM: kubeadm's lameduck for CoreDNS.
pub const SHUTDOWN_DELAY: Duration = Duration::from_secs(5);
/// How long queries may be answered after that: more than two query deadlines.
pub const SHUTDOWN_DRAIN: Duration = Duration::from_secs(10);
/// Where a single process takes queries: 5353 would be mDNS on desktops.
pub const LISTEN: &str = "127.0.0.1:5300";
/// Of the queries that are logged, one in so many: all of them.
pub const ONE_IN: u32 = 1;
/// How much memory a pod may have: what the proxy needs at rest, its cache, and room for a large configuration;
/// our guess.
pub const MEMORY_LIMIT: &str = "128Mi";
/// How many pods: the fewest that survive the loss of one.
pub const REPLICAS: i32 = 2;
/// The size of the cache where there is no memory limit to take it from: our guess, half a million answers.
pub const CACHE_SIZE: ByteSize = ByteSize::from_mebi(64);
/// The least TTL: what the zone's owner said.
pub const MIN_TTL: Duration = Duration::from_secs(0);
/// The largest TTL: CoreDNS's default.
pub const MAX_TTL: Duration = Duration::from_secs(3600);
/// The largest TTL of a negative answer: our guess, an unknown name of today may be tomorrow's service.
pub const NEGATIVE_MAX_TTL: Duration = Duration::from_secs(300);
/// How long a failure is remembered: the least that RFC 9520 section 3.2 asks for, as recovery counts more.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);
/// How long a client waits before it gets an expired answer: RFC 8767 section 5.
pub const STALE_AFTER: Duration = Duration::from_millis(1800);
/// The TTL of an expired answer: RFC 8767 section 4.
pub const STALE_TTL: Duration = Duration::from_secs(30);
/// How long after its expiry an answer may be served: the least that RFC 8767 section 5 speaks of.
pub const STALE_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long a client may remember that a name is blocked: our guess, short enough to change one's mind.
pub const BLOCK_TTL: Duration = Duration::from_secs(60);
/// How long an answer of `hosts` may be remembered: our guess, as short as an address may need to change.
pub const HOSTS_TTL: Duration = Duration::from_secs(60);
/// How often an answer must have been used to be asked for again: our guess, once is no habit.
pub const PREFETCH_MIN_HITS: u32 = 3;
/// How much of its TTL is left then, in percent: unbound's and CoreDNS's choice.
pub const PREFETCH_REMAINING_PERCENT: u32 = 10;
/// The cluster's domain where it cannot be discovered: kubeadm's default.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Who may ask: loopback, private (RFC 1918), shared (RFC 6598), link-local and unique local addresses.
pub const ACCESS_ALLOW: &[&str] = &[
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

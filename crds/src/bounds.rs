//! How much a manifest may hold: the ends of every list, text and number in the schema.
//!
//! The API server wants them to know what a CEL rule may cost, and a process wants them so that no
//! manifest makes it run out of memory. Where no standard gives a number, it is our guess at several
//! times what anybody was seen to use.

use crate::units::{ByteSize, Duration};

/// Resolver services; our guess (OpenShift's DNS operator stops at 15).
pub const UPSTREAMS: u32 = 64;
/// Addresses of one service; our guess, public resolvers have four.
pub const ADDRESSES: u32 = 16;
/// Pins of one service; our guess, room for the old, the new and the backup key of several servers.
pub const PINS: u32 = 16;
/// Connections to one server; our guess, two already survive the loss of one.
pub const CONNECTIONS: u32 = 16;
/// Queries in flight on one connection: an eighth of all IDs, so that free ones are found at once and an
/// ID at random is seldom one that is waited for.
pub const CONNECTION_IN_FLIGHT: u32 = 8192;
/// Failures in a row that a server may have before it is down; our guess.
pub const FAILURE_THRESHOLD: u32 = 100;
/// Routes; our guess.
pub const ROUTES: u32 = 256;
/// Zones of one route; our guess, more than the reverse zones of a large company.
pub const ZONES: u32 = 256;
/// Rules; our guess, the lines of a large dnsmasq configuration.
pub const RULES: u32 = 4096;
/// Tests; our guess, as many as rules.
pub const TESTS: u32 = 4096;
/// Names of one kind in one rule; our guess. Lists have more, and need less memory.
pub const RULE_NAMES: u32 = 100_000;
/// Lists: each costs time for every query; our guess.
pub const LISTS: u32 = 64;
/// Sources of one list; our guess, ConfigMaps for a list of several million names.
pub const SOURCES: u32 = 64;
/// Patterns that each cost time for every query: substrings and regular expressions of one rule; our guess.
pub const RULE_PATTERNS: u32 = 256;
/// Tests times the substrings and regular expressions that each is compared with; our guess: half a second of one core.
pub const TESTED_PATTERNS: usize = 16 << 20;
/// Octets that the regular expressions of all rules take together when they are compiled; our guess: two thousand as they are
/// written, and a fraction of a small pod's memory.
pub const REGEXES: usize = 16 << 20;
/// Types of one rule; our guess, there are about a hundred.
pub const RULE_TYPES: u32 = 64;
/// Classes of one rule: there are three.
pub const RULE_CLASSES: u32 = 3;
/// Changes that one rule makes to names or response codes; our guess.
pub const RULE_CHANGES: u32 = 64;
/// Records of one rule; our guess, more do not fit into a datagram.
pub const RULE_RECORDS: u32 = 256;
/// The text of one record; our guess, room for a long key.
pub const RECORD: u32 = 4096;
/// A regular expression; CoreDNS stops at 10,000 characters, our guess at what still compiles to a small one.
pub const REGEX: u32 = 1024;
/// Labels of a name (RFC 1035 §2.3.4: 255 octets, two for each).
pub const LABELS: u32 = 127;
/// Networks of one access list; our guess.
pub const NETWORKS: u32 = 256;
/// Listeners of one kind; our guess, the addresses of a large host.
pub const LISTENERS: u32 = 64;
/// Addresses that the cluster's DNS asks from: its pods; our guess (one per node would be NodeLocal's).
pub const ENDPOINTS: u32 = 1024;
/// Addresses or families of one Service: one of each family.
pub const FAMILIES: u32 = 2;
/// Labels, annotations or items of what is borrowed from a pod; our guess.
pub const POD_ITEMS: u32 = 64;

/// Items of one list of the status: conditions, addresses, searches; our guess.
pub const STATUS_ITEMS: u32 = 64;

/// A name: a DNS label (RFC 1035 §2.3.4).
pub const NAME: u32 = crate::units::Name::MAX_LENGTH;
/// `metadata.name`: a Service's 63 characters without the eleven of a ConfigMap's hash.
pub const OBJECT_NAME: usize = 52;
/// The name of a Kubernetes object, or a key in it (RFC 1123 §2.1).
pub const REFERENCE: u32 = 253;
/// A search domain: `svc.` and the cluster's domain.
pub const SEARCH: u32 = 4 + crate::units::Zone::MAX_LENGTH;
/// An address with a port: `[` 45 characters `]:65535`, rounded up.
pub const ADDRESS: u32 = 64;
/// A duration with every unit.
pub const DURATION: u32 = 32;
/// A size with its unit: 20 digits, a dot, nine digits and `Mi`.
pub const SIZE_TEXT: u32 = 32;
/// A pin: `sha256//` and 44 characters.
pub const PIN: u32 = 52;
/// A path of a file (Linux: PATH_MAX).
pub const PATH: u32 = 4096;
/// A text inside the manifest: certificates; our guess, the Mozilla roots have 200 KiB.
pub const INLINE: u32 = 262_144;
/// An image reference; our guess at a registry, 255 characters of path, a tag and a digest.
pub const IMAGE: u32 = 1024;
/// Any other text of what is borrowed from Kubernetes; our guess.
pub const TEXT: u32 = 1024;
/// The message of a condition, as long as Kubernetes' own may be (metav1.Condition).
pub const MESSAGE: u32 = 32_768;

/// The shortest and the longest of a timeout; our guess: below it nothing on another machine answers,
/// above it nobody waits.
pub const TIMEOUT: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(60)];
/// The shortest and the longest idle time of a connection; our guess (RFC 7766 §6.2.3 only wants seconds).
pub const IDLE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
/// The shortest and the longest time between two health checks; our guess: more often is a load, more
/// seldom finds out nothing.
pub const HEALTH_CHECK: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
/// The shortest and the longest of each step of a shutdown; our guess: kubelet waits as long.
pub const SHUTDOWN: [Duration; 2] = [Duration::from_secs(0), Duration::from_secs(600)];

/// The smallest cache that is worth one (our guess, a few thousand answers), and the largest (our guess,
/// more than machines have).
pub const CACHE_SIZE: [ByteSize; 2] = [ByteSize::from_mebi(1), ByteSize::from_mebi(1 << 20)];
/// The least TTL may be an hour at most, as in dnsmasq: a larger one makes answers wrong.
pub const MIN_TTL: [Duration; 2] = [Duration::from_secs(0), HOUR];
/// The largest TTL: a week at most (RFC 8767 section 4).
pub const MAX_TTL: [Duration; 2] = [Duration::from_secs(1), WEEK];
/// Negative answers: more than a day was found to be problematic (RFC 2308 section 5).
pub const NEGATIVE_MAX_TTL: [Duration; 2] = [Duration::from_secs(0), DAY];
/// Failures: at least one second, at most five minutes (RFC 9520 section 3.2).
pub const FAILURE_TTL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// The TTL of an expired answer: never zero (RFC 8767 section 4), and our guess at how long a client may
/// be left with it.
pub const STALE_TTL: [Duration; 2] = [Duration::from_secs(1), HOUR];
/// The TTLs that a rule gives: a week at most (RFC 8767 section 4).
pub const RULE_TTL: [Duration; 2] = [Duration::from_secs(0), WEEK];
/// How long an expired answer may be served: our guess, RFC 8767 section 5 speaks of one to three days.
pub const STALE_MAX_AGE: [Duration; 2] = [Duration::from_secs(1), WEEK];
/// How often an answer is used before it is worth asking for again: each entry has one octet to count that.
pub const PREFETCH_HITS: u32 = 255;
/// The last part of a TTL, in percent: earlier than at half of it, every answer is asked for twice.
pub const PREFETCH_PERCENT: u32 = 50;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The smallest EDNS buffer (RFC 6891 §6.2.3) and the largest that does not invite fragments
/// (RFC 6891 §6.2.5 recommends 4096 as a maximum, RFC 9715 prefers 1400).
pub const EDNS_BUFFER_SIZE: [u16; 2] = [512, 4096];
/// Queries in flight, and TCP connections: our guess at what one process can hold.
pub const IN_FLIGHT: u32 = 1_000_000;
/// A rate of queries of one client: our guess, beyond one core.
pub const RATE: u32 = 1_000_000;
/// One logged query in so many: our guess.
pub const ONE_IN: u32 = 1_000_000;
/// Pods: our guess.
pub const REPLICAS: i32 = 1000;

//! How many files this process may have open: each connection of a client is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to what is allowed: the usual one is far below.
pub fn raise_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}

/// How many of them connections of clients may be, whatever is `wanted`; said when that is more. The other half is for
/// upstreams, the admin endpoints, files, and connections that are being closed: with none left nobody could be asked, and
/// health checks would fail.
pub fn for_clients(wanted: usize) -> usize {
    let places = part(2);
    if wanted > places {
        tracing::warn!(
            wanted,
            places,
            "not so many connections of clients as limits.tcpConnections says: raise the limit of open files \
             (ulimit -n, LimitNOFILE)"
        );
    }
    places
}

/// How many of them connections of the admin endpoints may be: as many as `wanted`, but a quarter of that other half at most.
pub fn for_admin(wanted: usize) -> usize {
    wanted.min(part(8)).max(1)
}

fn part(divisor: u64) -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(soft / divisor).unwrap_or(usize::MAX)
}

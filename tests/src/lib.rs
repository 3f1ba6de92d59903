//! What the tests of the README's promises stand on.
//!
//! ```text
//! test --Client--> Proxy (the real binary) --Upstream (a script, certificates of our own)
//!                    '--> CoreDNS, unbound (independent programs)
//! ```
//!
//! - [`proxy`] starts the binary, reads its ports from its start-up lines, and ends it.
//! - [`client`] asks it, in well-formed and in raw bytes; [`wire`] writes and reads messages, knowing nothing of the
//!   proxy's own reader.
//! - [`upstream`] answers by a script and remembers everything that it got; [`certificates`] makes good and bad ones.
//! - [`independent`] starts servers that others wrote; [`admin`] reads the admin endpoints; [`cluster`] speaks to Kubernetes;
//!   [`kernel`] tells what waits in sockets.
//!
//! Each file in `tests/tests` is one promise. Nothing there waits for luck: a test waits for a line, a value or an
//! answer, and fails when it does not come within [`PATIENCE`].

use std::time::Duration;

pub mod admin;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod import;
pub mod independent;
pub mod kernel;
pub mod manifest;
pub mod proxy;
pub mod readme;
pub mod stage;
pub mod upstream;
pub mod wire;
pub mod zone;

/// How long a test waits for what must come: far longer than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
///
/// For what can only be looked at: a metric, a file. What sends a sign is awaited instead.
///
/// # Panics
/// When it did not come within [`PATIENCE`]; `what` says what was awaited.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

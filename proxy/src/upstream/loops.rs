//! Servers that lead back to us.
//!
//! Each server is asked now and then for a name that nobody can guess and that is asked for by nobody else. When somebody asks
//! *us* for it, the server forwards to this proxy: it is taken out, and asked again after a while, since what
//! it forwards to may be mended. A name is known only as long as its question is out, so nobody can
//! take a server out by repeating what was overheard.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::{random, server::Server};
use crate::message::{Name, Qtype, Question};

/// The questions that are out; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopProbes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many there are, so that queries need no lock.
    count: AtomicUsize,
    out: Mutex<HashMap<Vec<u8>, Weak<Server>>>,
}

/// A question that is out, until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    probes: LoopProbes,
    label: Vec<u8>,
}

impl LoopProbes {
    /// A name below `zone` for a question to `server`; `None` when the zone leaves no room for it.
    pub(super) fn begin(
        &self,
        server: &Arc<Server>,
        zone: &Name<'_>,
    ) -> Option<(Name<'static>, Watch)> {
        let label = random_label();
        // A name of one label would be answered by many a resolver itself.
        let below = if zone.label_count() == 0 { format!("{TOP}.") } else { zone.to_string() };
        let name = format!("{label}.{below}").parse().ok()?;
        let label = label.into_bytes();
        self.out().insert(label.clone(), Arc::downgrade(server));
        self.shared.count.fetch_add(1, Ordering::Release);
        Some((name, Watch { probes: self.clone(), label }))
    }

    /// Whether this question is one of ours that has come back; then its server is taken out.
    pub(super) fn stop(&self, question: &Question<'_>, now: Instant) -> bool {
        if question.qtype != Qtype::HINFO || self.shared.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let label = question.name.labels().next().unwrap_or_default().to_ascii_lowercase();
        let server = self.out().get(&label).and_then(Weak::upgrade);
        if let Some(server) = &server {
            server.take_out(now);
        }
        server.is_some()
    }

    fn out(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Weak<Server>>> {
        self.shared.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.probes.out().remove(&self.label);
        self.probes.shared.count.fetch_sub(1, Ordering::Release);
    }
}

/// 128 bits, in hexadecimal.
fn random_label() -> String {
    let octets: [u8; 16] = random::octets();
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").ok();
        text
    })
}

/// The top-level domain of the names for a route for everything; it does not exist.
const TOP: &str = "dnsproxy-loop";

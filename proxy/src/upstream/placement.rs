//! On which thread a connection lives.
//!
//! Workers share connections, but a connection's task runs on one of them. It should be a worker: there, a
//! question and its answer change no thread. The first connection goes to the first worker, the next to
//! the next.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::Handle;

use crate::shutdown::Tasks;

/// The threads that connections are spread over; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    workers: OnceLock<Vec<Handle>>,
    next: AtomicUsize,
}

impl Placement {
    /// From now on connections live on these runtimes. Only the first call counts.
    pub fn use_workers(&self, workers: Vec<Handle>) {
        self.shared.workers.set(workers).ok();
    }

    /// Spawns the task of a connection; on the caller's runtime as long as there are no workers.
    pub(super) fn spawn<F>(&self, tasks: &Tasks, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let workers = self.shared.workers.get().map(Vec::as_slice).unwrap_or_default();
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed);
        match next.checked_rem(workers.len()).and_then(|index| workers.get(index)) {
            Some(worker) => tasks.spawn_on(worker, task),
            None => tasks.spawn(task),
        };
    }
}

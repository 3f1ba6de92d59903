//! On which thread a connection lives.
//!
//! Workers share connections, but a connection's task runs on one of them. It should be a worker: there, a
//! question and its answer change no thread. The first connection goes to the first worker, the next to
//! the next. How it is made is for another thread: a handshake takes as long as a hundred answers of the cache do.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{runtime::Handle, task::JoinError};
use tokio_util::task::AbortOnDropHandle;

use crate::shutdown::Tasks;

/// The threads that connections are spread over; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    threads: OnceLock<Threads>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Threads {
    workers: Vec<Handle>,
    /// Where no answers are given: so many handshakes in a second as one core makes, one or two thousand, are enough.
    aside: Handle,
}

impl Placement {
    /// From now on connections live on the runtimes of `workers`, and are made on that of `aside`. Only the first call counts.
    pub fn use_threads(&self, workers: Vec<Handle>, aside: Handle) {
        self.shared.threads.set(Threads { workers, aside }).ok();
    }

    /// Spawns the task of a connection; on the caller's runtime as long as there are no workers.
    pub(super) fn spawn<F>(&self, tasks: &Tasks, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let workers = self.shared.threads.get().map_or(&[][..], |threads| &threads.workers);
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed);
        match next.checked_rem(workers.len()).and_then(|index| workers.get(index)) {
            Some(worker) => tasks.spawn_on(worker, task),
            None => tasks.spawn(task),
        };
    }

    /// Does what takes time where no answers are given; on the caller's runtime as long as there are no workers. It ends
    /// when nobody waits for it any more. The error is a panic, or the end of the process.
    pub(super) async fn aside<F>(&self, tasks: &Tasks, work: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.shared.threads.get() {
            Some(Threads { aside, .. }) => {
                AbortOnDropHandle::new(tasks.spawn_on(aside, work)).await
            }
            None => Ok(work.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn what_takes_time_is_done_on_another_thread_than_answers() {
        let (aside, worker) = (runtime(), runtime());
        let (placement, tasks) = (Placement::default(), Tasks::default());
        placement.use_threads(vec![worker.handle().clone()], aside.handle().clone());
        let worker = thread::spawn(move || {
            let work = placement.aside(&tasks, async { thread::current().id() });
            worker.block_on(work).unwrap()
        });
        aside.block_on(async {
            while !worker.is_finished() {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(worker.join().unwrap(), thread::current().id());
    }
}

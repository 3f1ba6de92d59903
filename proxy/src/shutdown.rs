//! Tasks with an owner, and the signals that end them.
//!
//! The first SIGTERM or SIGINT drains, the second one ends the process at once. Every task is spawned
//! through [`Tasks`], so that the end of the process can wait for all of them.

use std::{future::Future, io};

use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Spawns tasks and remembers them. Clones share both the memory and the token.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Spawns a task on the runtime that the caller runs on.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Spawns a task on another runtime.
    pub fn spawn_on<F>(&self, runtime: &Handle, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tracker.spawn_on(task, runtime)
    }

    /// Counts as a task until it is dropped, for work that is no task of its own.
    pub fn guard(&self) -> TaskTrackerToken {
        self.tracker.token()
    }

    /// Ends when the tasks should.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Asks the tasks to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Waits until every task has ended.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over; from now on they no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Interrupt,
            _ = self.hangup.recv() => Event::Reload,
        }
    }

    /// Waits for one that ends the process.
    pub async fn next_end(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Reload => {}
                end @ (Event::Terminate | Event::Interrupt) => return end,
            }
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// SIGTERM: end in order.
    Terminate,
    /// SIGINT, as from Ctrl-C: end in order.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

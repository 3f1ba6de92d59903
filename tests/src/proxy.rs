//! The real binary, as a process of its own.
//!
//! It is told to take any port, and says in its start-up lines which ones it got. It ends when its handle is dropped;
//! what it said is printed when the test fails.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{PATIENCE, admin::Admin, client::Client, eventually, manifest::manifest};

/// A running proxy.
pub struct Proxy {
    /// Where it takes queries over UDP.
    pub udp: Vec<SocketAddr>,
    /// Where it takes queries over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Its admin endpoints.
    pub admin: Admin,
    /// Its folder, where the manifest lies.
    pub folder: Arc<TempDir>,
    log: Log,
    child: Child,
    _readers: JoinSet<()>,
}

/// How a proxy is started.
pub struct Launch {
    folder: Arc<TempDir>,
    manifest: PathBuf,
    arguments: Vec<String>,
    listen: Vec<String>,
    listeners: usize,
}

impl Proxy {
    /// Starts a proxy with this spec on any port of 127.0.0.1.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(spec: &Value) -> Self {
        Launch::new(spec).start().await
    }

    /// A client that asks the first listener.
    pub fn client(&self) -> Client {
        Client::of(self.udp[0])
    }

    /// A client that asks the first listener for TCP.
    pub fn tcp_client(&self) -> Client {
        Client::of(self.tcp[0])
    }

    /// The path of its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.folder.path().join("dnsproxy.yaml")
    }

    /// Replaces its manifest the way that editors do: by renaming.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn replace_manifest(&self, text: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, text).expect("a file written");
        std::fs::rename(next, self.manifest()).expect("a file renamed");
    }

    /// Replaces its manifest by one with this spec and waits until it is in force.
    ///
    /// # Panics
    /// When it is not.
    pub async fn reload(&self, spec: &Value) {
        let before = self.admin.json("/config").await["hash"].clone();
        self.replace_manifest(&manifest(spec));
        eventually("another hash", async || {
            (self.admin.json("/config").await["hash"] != before).then_some(())
        })
        .await;
    }

    /// Everything that it said until now.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.borrow().clone()
    }

    /// Reads what it says no more, or again: what it writes stays in the pipes, until they are full.
    pub fn read_log(&self, is_read: bool) {
        self.log.is_read.send_replace(is_read);
    }

    /// Waits until it has said a line that is so.
    ///
    /// # Panics
    /// When it does not; `what` says what was awaited.
    pub async fn says(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.log.until(what, is_so).await
    }

    /// Its process ID.
    ///
    /// # Panics
    /// When it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("a process ID");
        nix::sys::signal::kill(Pid::from_raw(id), signal).expect("a signal sent");
    }

    /// Stops it until SIGCONT, and waits until each of its threads stands still.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn stand_still(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.id());
        let stands = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).expect("a status");
            status.contains("\nState:\tT")
        };
        eventually("a process that stands still", async || {
            let mut threads = std::fs::read_dir(&tasks).expect("threads");
            threads.all(|task| stands(task.expect("a thread"))).then_some(())
        })
        .await;
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the process ends");
        status.expect("a status of a process")
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the system does not know.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status of a process").is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the proxy said:\n{}\n---", self.log().join("\n"));
        }
    }
}

impl Launch {
    /// With this spec.
    pub fn new(spec: &Value) -> Self {
        Self::text(&manifest(spec))
    }

    /// With this manifest.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn text(text: &str) -> Self {
        let folder = folder();
        let manifest = folder.path().join("dnsproxy.yaml");
        std::fs::write(&manifest, text).expect("a file written");
        Self { folder, manifest, arguments: Vec::new(), listen: Vec::new(), listeners: 0 }
    }

    /// Without a manifest: with the embedded one.
    pub fn embedded() -> Self {
        Self {
            folder: folder(),
            manifest: PathBuf::new(),
            arguments: Vec::new(),
            listen: Vec::new(),
            listeners: 0,
        }
    }

    /// With a manifest that lies elsewhere.
    #[must_use]
    pub fn manifest_at(mut self, path: PathBuf) -> Self {
        self.manifest = path;
        self
    }

    /// With a listener, `IP:port`; without any: `127.0.0.1:0`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self.listeners += 1;
        self
    }

    /// With the manifest's own listeners, of which there are so many.
    #[must_use]
    pub fn listen_by_manifest(mut self, listeners: usize) -> Self {
        self.listeners = listeners;
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The folder, to put files next to the manifest.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(self) -> Proxy {
        self.try_start().await.unwrap_or_else(|error| panic!("the proxy does not start: {error:#}"))
    }

    /// Starts it and waits until it listens, or ends.
    ///
    /// # Errors
    /// When it ends instead: with all that it said.
    pub async fn try_start(mut self) -> Result<Proxy> {
        if self.listeners == 0 {
            self = self.listen("127.0.0.1:0");
        }
        let mut child = self.command().spawn().context("cannot run the proxy")?;
        let log = Log::default();
        let mut readers = JoinSet::new();
        readers.spawn(log.clone().read(child.stdout.take().context("no stdout")?));
        readers.spawn(log.clone().read(child.stderr.take().context("no stderr")?));
        let admin = tokio::select! {
            line = log.until("an admin endpoint", |line| is_listening(line, "admin").is_some()) => line,
            status = child.wait() => {
                while readers.join_next().await.is_some() {}
                anyhow::bail!("{}: {}", status?, log.lines.borrow().join("\n"));
            }
        };
        let admin = Admin { address: is_listening(&admin, "admin").context("no address")? };
        let (udp, tcp) = log.listeners(self.listeners).await;
        Ok(Proxy { udp, tcp, admin, folder: self.folder, log, child, _readers: readers })
    }

    fn command(&self) -> Command {
        let mut command = command();
        command.arg("run");
        if !self.manifest.as_os_str().is_empty() {
            command.arg("-f").arg(&self.manifest);
        }
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        if !self.arguments.iter().any(|argument| argument == "--admin") {
            command.args(["--admin", "127.0.0.1:0"]);
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Runs another of the binary's commands to its end.
///
/// # Panics
/// When it does not end.
pub async fn run(arguments: &[&str]) -> Output {
    let running = command().args(arguments).stdin(Stdio::null()).output();
    timeout(PATIENCE, running).await.expect("the command ends").expect("the command runs")
}

/// What a command wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The binary under test, with nothing of the caller's environment that it could read.
fn command() -> Command {
    let mut command = Command::new(binary());
    command.kill_on_drop(true).env_clear();
    command
}

/// `DNSPROXY_BIN`, or the one that Cargo built for this package: beside the tests' own folder.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("DNSPROXY_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a path of the test");
    let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = folder.join("dnsproxy-under-test");
    assert!(
        path.exists(),
        "{} is missing: run the tests with `cargo test -p dnsproxy-tests`",
        path.display()
    );
    path
}

/// A folder that goes when its last user is dropped.
///
/// # Panics
/// When there is none to be had.
pub fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a folder"))
}

/// What a process said, line by line.
#[derive(Clone)]
struct Log {
    lines: watch::Sender<Vec<String>>,
    is_read: watch::Sender<bool>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: watch::channel(Vec::new()).0, is_read: watch::channel(true).0 }
    }
}

impl Log {
    async fn read(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        let mut is_read = self.is_read.subscribe();
        while is_read.wait_for(|is_read| *is_read).await.is_ok()
            && let Ok(Some(line)) = lines.next_line().await
        {
            self.lines.send_modify(|said| said.push(line));
        }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.subscribe();
        let found =
            timeout(PATIENCE, lines.wait_for(|lines| lines.iter().any(|line| is_so(line)))).await;
        let Ok(Ok(lines)) = found else {
            panic!("{what}: the proxy did not say so; it said {:#?}", *self.lines.borrow());
        };
        lines.iter().find(|line| is_so(line)).cloned().unwrap_or_default()
    }

    /// The addresses of so many listeners, in the order in which they were said.
    async fn listeners(&self, count: usize) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let mut lines = self.lines.subscribe();
        let of = |lines: &Vec<String>, transport: &str| -> Vec<SocketAddr> {
            lines.iter().filter_map(|line| is_listening(line, transport)).collect()
        };
        let all = lines
            .wait_for(|lines| of(lines, "udp").len() >= count && of(lines, "tcp").len() >= count);
        let lines = timeout(PATIENCE, all).await.expect("a line per listener").expect("a log");
        (of(&lines, "udp"), of(&lines, "tcp"))
    }
}

/// The address in a line that says `listening <transport> <address>`.
fn is_listening(line: &str, transport: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(&format!("listening {transport} "))?;
    rest.split(|end: char| end.is_whitespace() || end == '"').next()?.parse().ok()
}

/// An address of the loopback network.
pub fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

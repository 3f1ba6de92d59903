//! A network in memory, for paused time: servers that do as they are told, and remember what they were asked.
//!
//! Everything but TLS and the socket is the real thing.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{answer_to, frame, request, response_to, route, settings};
use crate::{
    message::Question,
    shutdown::Tasks,
    upstream::{
        Answer, ExchangeError, Failure, Metrics, RouteSettings, Surroundings, Transport, Upstream,
        UpstreamSettings, Upstreams, dial::Security, error::HandshakeError, health::Standing,
        server::Server,
    },
};

/// The servers of a test.
#[derive(Clone, Debug)]
pub(crate) struct Lab(Arc<Vec<LabServer>>);

/// One of them; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LabServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What comes of a try to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    OpensAfter(Duration),
    Refuses,
    Hangs,
    /// Somebody else answers it.
    Untrusted,
}

/// What comes of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    After(Duration, u8),
    Never,
    /// Nothing comes on the connection from now on.
    Stuck,
    /// Fewer records than the answer says.
    Garbled,
    /// The connection is closed.
    Close,
    /// It is closed so much later.
    CloseAfter(Duration),
}

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) name: String,
    /// On which connection, counted from 0.
    pub(crate) connection: usize,
}

type Script = Arc<dyn Fn(&Query) -> Reply + Send + Sync>;

struct State {
    door: Door,
    script: Script,
    /// Connections before this one say nothing any more.
    first_alive: usize,
    /// Ends all connections.
    closing: CancellationToken,
    dials: Vec<Instant>,
    /// After how long without a query a connection is closed.
    idle: Duration,
    /// Whether the next question of a connection is read when the one before was answered.
    is_in_order: bool,
    /// How many questions of a connection are read at a time.
    places: usize,
    /// After how many answers a connection is closed.
    answers: usize,
    /// What answers grant (RFC 7828), in units of 100 ms.
    grant: Option<u16>,
    queries: Vec<Query>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} dials", self.door, self.dials.len())
    }
}

impl Lab {
    /// A connection to the server with this address.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<DuplexStream, ExchangeError> {
        let server = self.0.iter().find(|server| server.address == address).unwrap();
        let (connection, door) = {
            let mut state = server.state();
            state.dials.push(Instant::now());
            (state.dials.len() - 1, state.door)
        };
        match door {
            Door::OpensAfter(delay) => sleep(delay).await,
            Door::Refuses => return Err(ExchangeError::Refused),
            Door::Hangs => std::future::pending().await,
            Door::Untrusted => return Err(HandshakeError::Untrusted.into()),
        }
        let (ours, theirs) = duplex(1 << 20);
        let closing = server.state().closing.clone();
        Tasks::default().spawn(server.clone().serve(connection, theirs, closing));
        Ok(ours)
    }
}

impl LabServer {
    /// A server that answers everything after 5 ms.
    fn new(address: SocketAddr) -> Self {
        let state = State {
            door: Door::OpensAfter(Duration::from_millis(1)),
            script: Arc::new(|_| Reply::After(FAST, 0)),
            first_alive: 0,
            closing: CancellationToken::new(),
            dials: Vec::new(),
            idle: Duration::MAX,
            is_in_order: false,
            places: Semaphore::MAX_PERMITS,
            answers: usize::MAX,
            grant: None,
            queries: Vec::new(),
        };
        Self { address, state: Arc::new(Mutex::new(state)) }
    }

    /// From now on it is as servers are unless they are told otherwise; what became of its connections stays.
    pub(crate) fn be_as_usual(&self) {
        let usual = Self::new(self.address);
        let mut usual = usual.state();
        let mut state = self.state();
        state.door = usual.door;
        state.script = Arc::clone(&usual.script);
        (state.idle, state.is_in_order) = (usual.idle, usual.is_in_order);
        state.places = usual.places;
        (state.answers, state.grant) = (usual.answers, usual.grant.take());
    }

    /// From now on connections are closed on which nothing is asked for so long.
    pub(crate) fn close_when_idle_for(&self, idle: Duration) {
        self.state().idle = idle;
    }

    /// From now on answers let a connection be idle for so many units of 100 ms.
    pub(crate) fn grant(&self, units: u16) {
        self.state().grant = Some(units);
    }

    /// From now on the questions of a connection are answered in order (RFC 7766 section 6.2.1.1 leaves it to servers).
    pub(crate) fn answer_in_order(&self) {
        self.state().is_in_order = true;
    }

    /// New connections have no more than so many of their questions read at a time, which are answered in any order.
    pub(crate) fn read_at_a_time(&self, questions: usize) {
        self.state().places = questions;
    }

    /// From now on a connection is closed after so many answers, which come in order.
    pub(crate) fn close_after(&self, answers: usize) {
        let mut state = self.state();
        state.is_in_order = true;
        state.answers = answers;
    }

    /// From now on connections are taken like this.
    pub(crate) fn door(&self, door: Door) {
        self.state().door = door;
    }

    /// From now on queries are answered like this.
    pub(crate) fn script(&self, script: impl Fn(&Query) -> Reply + Send + Sync + 'static) {
        self.state().script = Arc::new(script);
    }

    /// From now on every query gets this.
    pub(crate) fn reply(&self, reply: Reply) {
        self.script(move |_| reply);
    }

    /// From now on everything is answered after so many milliseconds.
    pub(crate) fn answer_after(&self, millis: u64) {
        self.reply(Reply::After(Duration::from_millis(millis), 0));
    }

    /// Nothing comes on the connections there are any more; new ones work.
    pub(crate) fn kill_connections(&self) {
        let mut state = self.state();
        state.first_alive = state.dials.len();
    }

    /// Closes the connections there are.
    pub(crate) fn close_connections(&self) {
        std::mem::take(&mut self.state().closing).cancel();
    }

    /// Nothing comes any more, on old connections and on new ones.
    pub(crate) fn fall_silent(&self) {
        self.kill_connections();
        self.reply(Reply::Never);
    }

    /// When it was connected to.
    pub(crate) fn dials(&self) -> Vec<Instant> {
        self.state().dials.clone()
    }

    /// How often it was connected to since then.
    pub(crate) fn dials_since(&self, then: Instant) -> usize {
        self.state().dials.iter().filter(|at| **at >= then).count()
    }

    /// What clients asked.
    pub(crate) fn asked(&self) -> Vec<Query> {
        self.of(|query| query.name.ends_with(".example."))
    }

    /// What health checks asked.
    pub(crate) fn probed(&self) -> Vec<Query> {
        self.of(|query| query.name == ".")
    }

    /// What checks for loops asked.
    pub(crate) fn checked_for_loops(&self) -> Vec<Query> {
        self.of(|query| query.name.contains("dnsproxy-loop"))
    }

    fn of(&self, wanted: impl Fn(&Query) -> bool) -> Vec<Query> {
        self.state().queries.iter().filter(|query| wanted(query)).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(self, connection: usize, stream: DuplexStream, closing: CancellationToken) {
        let (mut input, output) = split(stream);
        let output = Arc::new(tokio::sync::Mutex::new(output));
        let (mut answers, is_stuck) = (0, Arc::new(AtomicBool::new(false)));
        let places = Arc::new(Semaphore::new(self.state().places));
        while answers < self.state().answers {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let idle = self.state().idle;
            let query = tokio::select! {
                query = read(&mut input) => query,
                () = sleep(idle) => None,
                () = closing.cancelled() => None,
            };
            let Some(query) = query else { break };
            let reply = self.hear(connection, &query);
            let (delay, answer) = match reply {
                _ if is_stuck.load(Ordering::Relaxed) => continue,
                Reply::After(delay, 0) => (delay, answer_to(&query)),
                Reply::After(delay, rcode) => (delay, response_to(&query, rcode)),
                Reply::Garbled => (FAST, garbled(&query)),
                Reply::Never => continue,
                Reply::Stuck => {
                    is_stuck.store(true, Ordering::Relaxed);
                    continue;
                }
                Reply::Close => break,
                Reply::CloseAfter(delay) => {
                    let output = Arc::clone(&output);
                    Tasks::default().spawn(async move {
                        sleep(delay).await;
                        let _ = output.lock().await.shutdown().await;
                    });
                    continue;
                }
            };
            let output = Arc::clone(&output);
            let answered = self.clone().answer(connection, answer, delay, output, is_stuck.clone());
            let answered = answered.map(|()| drop(place));
            answers += 1;
            let is_in_order = self.state().is_in_order;
            if is_in_order {
                answered.await;
            } else {
                Tasks::default().spawn(answered);
            }
        }
        let _ = output.lock().await.shutdown().await;
    }

    async fn answer(
        self,
        connection: usize,
        mut answer: Vec<u8>,
        delay: Duration,
        output: Arc<tokio::sync::Mutex<WriteHalf<DuplexStream>>>,
        is_stuck: Arc<AtomicBool>,
    ) {
        sleep(delay).await;
        let (first_alive, grant) = {
            let state = self.state();
            (state.first_alive, state.grant)
        };
        if first_alive <= connection && !is_stuck.load(Ordering::Relaxed) {
            if let Some(units) = grant {
                append_keepalive(&mut answer, units);
            }
            // The client may have left.
            let _ = output.lock().await.write_all(&frame(&answer)).await;
        }
    }

    fn hear(&self, connection: usize, message: &[u8]) -> Reply {
        let name = Question::read(message).unwrap().0.name.to_string();
        let query = Query { name, connection };
        let script = {
            let mut state = self.state();
            state.queries.push(query.clone());
            (state.first_alive <= connection).then(|| Arc::clone(&state.script))
        };
        script.map_or(Reply::Never, |script| script(&query))
    }
}

fn garbled(query: &[u8]) -> Vec<u8> {
    let mut answer = response_to(query, 0);
    answer[7] = 1;
    answer
}

/// An OPT record with edns-tcp-keepalive, behind an answer without one.
fn append_keepalive(answer: &mut Vec<u8>, units: u16) {
    answer[11] = 1;
    answer.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0b\0\x02");
    answer.extend_from_slice(&units.to_be_bytes());
}

async fn read(input: &mut ReadHalf<DuplexStream>) -> Option<Vec<u8>> {
    let len = input.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(len)];
    input.read_exact(&mut message).await.ok()?;
    Some(message)
}

/// How long servers take unless they are told otherwise.
const FAST: Duration = Duration::from_millis(5);

/// One route with an upstream `lab` in such a network, and maybe a fallback `spare`.
pub(crate) struct Network {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) metrics: Metrics,
    pub(crate) servers: Vec<LabServer>,
    pub(crate) spares: Vec<LabServer>,
}

impl Network {
    /// So many servers, with the usual settings.
    pub(crate) fn of(servers: u8) -> Self {
        Self::with(servers, 0, |_, _| {})
    }

    /// So many servers and fallback servers, with other settings.
    pub(crate) fn with(
        servers: u8,
        spares: u8,
        change: impl FnOnce(&mut UpstreamSettings, &mut RouteSettings),
    ) -> Self {
        let surroundings = Surroundings::default();
        let servers: Vec<_> = (1..=servers).map(|it| at([192, 0, 2, it])).collect();
        let spares: Vec<_> = (1..=spares).map(|it| at([198, 51, 100, it])).collect();
        let security = Security::Lab(Lab(Arc::new([&servers[..], &spares[..]].concat())));
        let describe = |name: &str, servers: &[LabServer]| {
            let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
            settings(name, Transport::Tcp, &addresses)
        };
        let (mut own, spare) = (describe("lab", &servers), describe("spare", &spares));
        let mut route = route(&["lab"], if spares.is_empty() { &[] } else { &["spare"] });
        change(&mut own, &mut route);
        let upstreams = [own, spare]
            .map(|settings| Arc::new(Upstream::with(settings, &security, false, &surroundings)));
        let upstreams = Upstreams::of(upstreams.into(), vec![route], &[], &surroundings);
        upstreams.keep(&surroundings.tasks);
        let metrics = surroundings.metrics;
        Self { upstreams: Arc::new(upstreams), metrics, servers, spares }
    }

    /// The same once its best servers are connected to.
    pub(crate) async fn warm(self) -> Self {
        sleep(Duration::from_millis(50)).await;
        self
    }

    /// Asks, and tells how long it took.
    pub(crate) fn start(&self, name: impl Into<String>) -> JoinHandle<Asked> {
        let (upstreams, name) = (Arc::clone(&self.upstreams), name.into());
        Tasks::default().spawn(async move {
            let (begun, request) = (Instant::now(), request(&name));
            let route = upstreams.route(&request.question).unwrap();
            let result = upstreams
                .exchange(route, request.into(), begun + Duration::from_secs(4), || true)
                .await;
            Asked { result, took: begun.elapsed() }
        })
    }

    pub(crate) async fn ask(&self, name: impl Into<String>) -> Asked {
        self.start(name).await.unwrap()
    }

    /// Asks so many names, one after the other, with a pause before each.
    pub(crate) async fn ask_many(&self, count: usize, pause: Duration) -> Vec<Asked> {
        let mut asked = Vec::new();
        for index in 0..count {
            sleep(pause).await;
            asked.push(self.ask(format!("{index}.many.example.")).await);
        }
        asked
    }

    /// What we know of one of its servers.
    pub(in crate::upstream) fn known(&self, index: usize) -> &Arc<Server> {
        &self.upstreams.routing.routes[0].servers[index]
    }

    pub(in crate::upstream) fn standing(&self, index: usize) -> Standing {
        self.known(index).standing(Instant::now())
    }
}

fn at(address: [u8; 4]) -> LabServer {
    LabServer::new((address, 853).into())
}

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) result: Result<Answer, Failure>,
    pub(crate) took: Duration,
}

impl Asked {
    /// Whether this server gave the answer.
    pub(crate) fn is_by(&self, server: &LabServer) -> bool {
        self.result.as_ref().is_ok_and(|answer| answer.server == server.address)
    }
}

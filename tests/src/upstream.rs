//! An upstream that does what a script says, over TLS or in the clear, and remembers everything that it got.
//!
//! It is one address: TLS (or plain TCP) on a port, and UDP on the same port. With TLS the UDP side only listens: a
//! query there would be one that left in the clear.

mod record;
mod script;
mod serve;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, RwLock},
    task::{Context, Waker},
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub use record::{Handshake, Received, Seen};
pub use script::{Action, Gate, Script, faithful, faithful_answer, silent};

use crate::{
    PATIENCE,
    certificates::{Authority, Identity, NAME},
};
use record::Record;
use serve::{Connections, Scripts};

/// A scripted server. It ends when it is dropped.
pub struct Upstream {
    /// Where it is reached.
    pub address: SocketAddr,
    record: Arc<Record>,
    acceptor: Option<Arc<RwLock<TlsAcceptor>>>,
    setup: TlsSetup,
    cut: watch::Sender<u32>,
    tasks: JoinSet<()>,
}

/// How an upstream is made.
pub struct Setup {
    address: SocketAddr,
    transport: Transport,
    scripts: Scripts,
    tls: TlsSetup,
    alone: bool,
}

/// What of TLS can be chosen.
#[derive(Clone)]
struct TlsSetup {
    versions: Vec<&'static SupportedProtocolVersion>,
    client_authority: Option<Arc<RootCertStore>>,
    tickets: bool,
}

#[derive(Clone)]
enum Transport {
    Tls(Identity),
    Plain,
    /// Takes connections and whatever comes, and says this and nothing else.
    Stubborn(Vec<Last>),
}

/// What a server that speaks no TLS does when it has got the first octets of a connection.
#[derive(Clone)]
pub enum Last {
    /// Says this.
    Say(Vec<u8>),
    /// Closes the connection.
    Close,
}

impl Upstream {
    /// A DNS-over-TLS server with this certificate that answers faithfully.
    pub fn tls(identity: &Identity) -> Setup {
        Setup::new(Transport::Tls(identity.clone()))
    }

    /// A server in the clear, over UDP and TCP.
    pub fn plain() -> Setup {
        Setup::new(Transport::Plain)
    }

    /// A server that takes connections and never says a word: not even a handshake.
    pub fn mute() -> Setup {
        Self::stubborn([])
    }

    /// A server that takes connections and does the same on each, whatever it is told.
    pub fn stubborn(does: impl IntoIterator<Item = Last>) -> Setup {
        Setup::new(Transport::Stubborn(Vec::from_iter(does)))
    }

    /// The upstream as it stands in a manifest: authenticated by name.
    pub fn entry(&self, name: &str, authority: &Authority) -> Value {
        json!({
            "name": name,
            "addresses": [self.address.to_string()],
            "tls": {"serverName": NAME, "ca": {"inline": authority.pem()}},
        })
    }

    /// The upstream as it stands in a manifest: in the clear.
    pub fn plain_entry(&self, name: &str, protocol: &str) -> Value {
        json!({"name": name, "addresses": [self.address.to_string()], "protocol": protocol})
    }

    /// What it got until now.
    pub fn seen(&self) -> Seen {
        self.record.seen()
    }

    /// Waits until it has got something.
    ///
    /// # Panics
    /// When it does not come; `what` says what was awaited.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Seen) -> bool) -> Seen {
        let mut changes = self.record.changes();
        let waiting = tokio::time::timeout(PATIENCE, changes.wait_for(|seen| is_so(seen)));
        match waiting.await {
            Ok(seen) => seen.expect("the record lives as long as the upstream").clone(),
            Err(_) => panic!("{what}: not within {PATIENCE:?}; got {:#?}", self.seen()),
        }
    }

    /// Closes all connections that are open; new ones are taken.
    pub fn cut_connections(&self) {
        self.cut.send_modify(|generation| *generation += 1);
    }

    /// Shows another certificate from now on.
    ///
    /// # Panics
    /// When it is no TLS server.
    pub fn show(&self, identity: &Identity) {
        let acceptor = self.acceptor.as_ref().expect("a TLS server");
        *acceptor.write().expect("no panic elsewhere") = self.setup.acceptor(identity);
    }

    /// Ends it and gives back its address, where nothing listens then.
    pub async fn stop(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.address
    }
}

impl Setup {
    fn new(transport: Transport) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            transport,
            scripts: Scripts { queries: faithful(), checks: faithful() },
            tls: TlsSetup {
                versions: Vec::from(rustls::ALL_VERSIONS),
                client_authority: None,
                tickets: true,
            },
            alone: false,
        }
    }

    /// Answers the queries of clients like this.
    #[must_use]
    pub fn script(mut self, script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Self {
        self.scripts.queries = Box::new(script);
        self
    }

    /// Answers what the proxy asks of its own accord like this, and not faithfully.
    #[must_use]
    pub fn checks(mut self, script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Self {
        self.scripts.checks = Box::new(script);
        self
    }

    /// Answers nothing, whoever asks.
    #[must_use]
    pub fn silent(self) -> Self {
        self.script(silent()).checks(silent())
    }

    /// At this address; port 0: any port.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Speaks this version of TLS only.
    #[must_use]
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.tls.versions = vec![version];
        self
    }

    /// Wants a client's certificate from this authority.
    #[must_use]
    pub fn clients_of(mut self, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).expect("a root certificate");
        self.tls.client_authority = Some(Arc::new(roots));
        self
    }

    /// Never resumes a session.
    #[must_use]
    pub fn without_tickets(mut self) -> Self {
        self.tls.tickets = false;
        self
    }

    /// Leaves the UDP port of the same number alone, so that somebody else can have it.
    #[must_use]
    pub fn without_udp(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the address cannot be had.
    pub async fn start(self) -> Upstream {
        let (listener, udp) = bind(self.address, self.alone).await;
        let address = listener.local_addr().expect("a bound socket");
        let record = Arc::new(Record::default());
        let (cut, _) = watch::channel(0);
        let acceptor = match &self.transport {
            Transport::Tls(identity) => Some(Arc::new(RwLock::new(self.tls.acceptor(identity)))),
            Transport::Plain | Transport::Stubborn(_) => None,
        };
        let stubborn = match self.transport {
            Transport::Stubborn(does) => Some(does),
            Transport::Tls(_) | Transport::Plain => None,
        };
        let connections = Arc::new(Connections::new(
            Arc::clone(&record),
            self.scripts,
            acceptor.clone(),
            stubborn,
            cut.clone(),
        ));
        let mut tasks = JoinSet::new();
        if let Some(udp) = udp {
            tasks.spawn(Arc::clone(&connections).serve_datagrams(udp));
        }
        tasks.spawn(connections.accept(listener));
        Upstream { address, record, acceptor, setup: self.tls, cut, tasks }
    }
}

/// A TCP and a UDP socket with one port: another try when the UDP port is somebody else's. Alone: without UDP.
async fn bind(address: SocketAddr, alone: bool) -> (TcpListener, Option<UdpSocket>) {
    for _ in 0..100 {
        let listener = listen(address).await;
        let address = listener.local_addr().expect("a bound socket");
        if alone {
            return (listener, None);
        }
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (listener, Some(udp));
        }
    }
    panic!("no port that is free for TCP and UDP at {address}");
}

impl TlsSetup {
    fn acceptor(&self, identity: &Identity) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .expect("versions of TLS");
        let builder = match &self.client_authority {
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
                    .build()
                    .expect("a verifier"),
            ),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .expect("a certificate and its key");
        if self.tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A port where a connection is refused, for as long as it is held: bound, but nobody listens.
pub struct ClosedPort {
    /// The address.
    pub address: SocketAddr,
    _socket: TcpSocket,
}

impl ClosedPort {
    /// Any port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        Self { address: socket.local_addr().expect("a bound socket"), _socket: socket }
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}

/// A port where nobody takes connections: new ones are left without an answer, since its queue is full.
pub struct FullPort {
    /// The address.
    pub address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<Connecting>,
}

impl FullPort {
    /// Any port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let listener = socket.listen(1).expect("a listening socket");
        let address = listener.local_addr().expect("a bound socket");
        let waiting = (0..16).map(|_| begin_connection(address));
        Self { address, _waiting: waiting.collect(), _listener: listener }
    }
}

impl Default for FullPort {
    fn default() -> Self {
        Self::new()
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + Sync>>;

/// Within one machine the first poll takes a place in the queue, if there is one.
fn begin_connection(to: SocketAddr) -> Connecting {
    let mut connecting: Connecting = Box::pin(TcpStream::connect(to));
    let _ = connecting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    connecting
}

/// Listens with SO_REUSEADDR, so that a server can come back to its address while old connections linger. Somebody
/// else's connection may have the port for a moment.
async fn listen(address: SocketAddr) -> TcpListener {
    for _ in 0..LISTEN_TRIES {
        match try_listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            result => return result.expect("an address of this machine"),
        }
    }
    try_listen(address).expect("an address of this machine that is free")
}

/// Ten seconds or so.
const LISTEN_TRIES: usize = 200;

fn try_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

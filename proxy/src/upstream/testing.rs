//! What the tests of upstreams share: certificates of every kind, and a DoT server that does as it is told.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Answer, Authentication, ClientCertificate, ConnectionLimits, Failure, HealthCheck, Metrics,
    Pin, Policy, Roots, RouteSettings, Secret, Surroundings, TlsSettings, Transport,
    UpstreamSettings, Upstreams, pins,
};
use crate::{
    message::{Name, Qclass, Qtype, Question, Request},
    shutdown::Tasks,
};

pub(crate) mod lab;

/// An authority that signs whatever a test wants.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) pin: Pin,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate list, the own one first, and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) pin: Pin,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self::of(params, key, &certificate)
    }

    /// An authority below this one.
    pub(super) fn sub_authority(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self::of(params, key, &certificate)
    }

    fn of(params: CertificateParams, key: KeyPair, certificate: &rcgen::Certificate) -> Self {
        let pin = pins::of_spki(&key.subject_public_key_info());
        let (certificate, pem) = (certificate.der().clone(), certificate.pem());
        Self { certificate, pem, issuer: Issuer::new(params, key), pin }
    }

    pub(super) fn roots(&self) -> Roots {
        Roots::Pem(self.pem.clone().into_bytes().into())
    }

    /// A client's certificate.
    pub(super) fn client(&self, name: &str) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let for_clients = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        let certificate =
            server_params(&[name], for_clients).signed_by(&key, &self.issuer).unwrap();
        let chain = certificate.pem().into_bytes().into();
        ClientCertificate::Pem { chain, key: Secret(key.serialize_pem().into_bytes().into()) }
    }

    /// A server's certificate for these names and addresses.
    pub(super) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// A server's certificate, changed in some way.
    pub(super) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = server_params(names, change).signed_by(&key, &self.issuer).unwrap();
        Identity::of(certificate.der().clone(), &key)
    }
}

impl Identity {
    pub(super) fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = server_params(names, |_| {}).self_signed(&key).unwrap();
        Self::of(certificate.der().clone(), &key)
    }

    fn of(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let pin = pins::of_spki(&key.subject_public_key_info());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self { chain: vec![certificate], key, pin }
    }

    /// The same with more certificates in the list.
    pub(super) fn with(mut self, certificate: &CertificateDer<'static>) -> Self {
        self.chain.push(certificate.clone());
        self
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn server_params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "resolver under test");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = date_time_ymd(2100, 1, 1);
    change(&mut params);
    params
}

/// PKIX with these roots and this name.
pub(super) fn tls(roots: Roots, server_name: Option<&str>) -> TlsSettings {
    let server_name = server_name.map(|name| ServerName::try_from(name.to_owned()).unwrap());
    TlsSettings {
        server_name,
        pins: Vec::new(),
        authentication: Authentication::Pkix,
        roots,
        client_certificate: None,
        is_padded: true,
    }
}

/// How often a server was talked to.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    accepted: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
    octets: Arc<AtomicUsize>,
}

impl Log {
    /// TCP connections.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// TLS handshakes that the server believes in.
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }

    /// Octets of queries.
    pub(super) fn octets(&self) -> usize {
        self.octets.load(Ordering::SeqCst)
    }
}

/// A DoT server on loopback.
pub(super) struct DotServer {
    pub(super) address: SocketAddr,
    pub(super) log: Log,
}

/// What a test's script talks over.
pub(super) type Wire = TlsStream<TcpStream>;

impl DotServer {
    /// Answers every query.
    pub(super) async fn start(identity: Identity) -> Self {
        Self::scripted(identity, answer_all).await
    }

    /// Gives every query this rcode.
    pub(super) async fn failing(identity: Identity, rcode: u8) -> Self {
        Self::scripted(identity, move |_, mut wire| async move {
            while let Some(query) = read_frame(&mut wire).await {
                write_frame(&mut wire, &response_to(&query, rcode)).await;
            }
        })
        .await
    }

    /// Runs the script for each connection; it is told how many came before.
    pub(super) async fn scripted<F>(
        identity: Identity,
        script: impl Fn(usize, Counted) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        Self::with_config(config, script).await
    }

    /// Wants certificates of this authority from its clients.
    pub(super) async fn wanting_clients_of(authority: &Authority, identity: Identity) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        Self::with_config(config, answer_all).await
    }

    pub(super) async fn with_config<F>(
        config: ServerConfig,
        script: impl Fn(usize, Counted) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, tasks) = (Log::default(), Tasks::default());
        tasks.spawn(serve(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            log.clone(),
            Arc::new(script),
            tasks.clone(),
        ));
        Self { address, log }
    }
}

async fn serve<F>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    log: Log,
    script: Arc<impl Fn(usize, Counted) -> F + Send + Sync + 'static>,
    tasks: Tasks,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let index = log.accepted.fetch_add(1, Ordering::SeqCst);
        let (acceptor, log, script) = (acceptor.clone(), log.clone(), Arc::clone(&script));
        tasks.spawn(async move {
            let Ok(wire) = acceptor.accept(stream).await else { return };
            log.handshakes.fetch_add(1, Ordering::SeqCst);
            script(index, Counted { wire, octets: log.octets }).await;
        });
    }
}

/// A connection of which the octets of queries are counted.
pub(super) struct Counted {
    pub(super) wire: Wire,
    octets: Arc<AtomicUsize>,
}

/// The script of a server that answers every query.
pub(super) async fn answer_all(_: usize, mut wire: Counted) {
    while let Some(query) = read_frame(&mut wire).await {
        write_frame(&mut wire, &answer_to(&query)).await;
    }
}

/// The next message; `None` at the end.
pub(super) async fn read_frame(wire: &mut Counted) -> Option<Vec<u8>> {
    let len = wire.wire.read_u16().await.ok()?;
    wire.octets.fetch_add(2 + usize::from(len), Ordering::SeqCst);
    let mut message = vec![0; usize::from(len)];
    wire.wire.read_exact(&mut message).await.ok()?;
    Some(message)
}

/// Sends one message. The client may have left.
pub(super) async fn write_frame(wire: &mut Counted, message: &[u8]) {
    let _ = wire.wire.write_all(&frame(message)).await;
    let _ = wire.wire.flush().await;
}

pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// Reads one message from any stream.
pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let len = stream.read_u16().await.unwrap();
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await.unwrap();
    message
}

/// Writes one message to any stream.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) {
    stream.write_all(&frame(message)).await.unwrap();
}

/// An address record for whatever was asked.
pub(super) fn answer_to(query: &[u8]) -> Vec<u8> {
    let mut answer = response_to(query, 0);
    answer[7] = 1;
    answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
    answer
}

/// Header and question of a response with this rcode.
pub(super) fn response_to(query: &[u8], rcode: u8) -> Vec<u8> {
    let (_, end) = Question::read(query).unwrap();
    let mut response = query[..end].to_vec();
    response[2] |= 0x80;
    response[3] = 0x80 | rcode;
    response[6..12].fill(0);
    response
}

pub(super) fn request(name: &str) -> Request {
    let question = Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
    Request { question, recursion_desired: true, checking_disabled: false, dnssec_ok: false }
}

/// Upstreams with one route for everything.
pub(super) struct Fixture {
    pub(super) upstreams: Upstreams,
    pub(super) metrics: Metrics,
}

impl Fixture {
    /// One upstream `lab` with these servers.
    pub(super) fn new(transport: Transport, servers: &[SocketAddr]) -> Self {
        Self::of(vec![settings("lab", transport, servers)], &["lab"], &[])
    }

    pub(super) fn of(upstreams: Vec<UpstreamSettings>, names: &[&str], fallback: &[&str]) -> Self {
        let surroundings = Surroundings::default();
        let routes = vec![route(names, fallback)];
        let upstreams = Upstreams::build(None, upstreams, routes, &surroundings);
        Self { upstreams, metrics: surroundings.metrics }
    }

    pub(super) async fn ask(&self, name: &str) -> Result<Answer, Failure> {
        let request = request(name);
        let route = self.upstreams.route(&request.question).unwrap();
        self.upstreams
            .exchange(route, request.into(), Instant::now() + Duration::from_secs(4), || false)
            .await
    }
}

pub(super) fn settings(
    name: &str,
    transport: Transport,
    servers: &[SocketAddr],
) -> UpstreamSettings {
    UpstreamSettings {
        name: name.into(),
        servers: servers.to_vec(),
        transport,
        connect_timeout: Duration::from_secs(1),
        query_timeout: Duration::from_secs(2),
        connections: ConnectionLimits::default(),
        health_check: HealthCheck::default(),
        udp_payload: 1232,
    }
}

pub(super) fn route(names: &[&str], fallback: &[&str]) -> RouteSettings {
    RouteSettings {
        name: "default".into(),
        zones: vec![Name::root()],
        upstreams: names.iter().map(|name| (*name).into()).collect(),
        policy: Policy::Sequential,
        fallback: fallback.iter().map(|name| (*name).into()).collect(),
        max_in_flight: 4096,
    }
}

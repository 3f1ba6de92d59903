//! TLS to the servers of one upstream: TLS 1.3 and 1.2, hybrid post-quantum key exchange first.
//!
//! Sessions are resumed, and a resumed session proves less than a handshake: the server only shows that it
//! knows the old secret. So the certificates of the handshake that the session comes from are judged again,
//! against the same pins and today's date, before the connection is used. A store of sessions belongs to one server, as another
//! one knows nothing of them, and to one upstream and its TLS settings; when they change, it goes (RFC 8446 section 4.6.1), and
//! when it is old: a certificate that was renewed is seen in a handshake only.
//!
//! No ALPN is sent: RFC 7858 knows none, and a server that is configured for other protocols must refuse a
//! list without one of them (RFC 7301 section 3.2). There is no early data: a query in it could be replayed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    ClientConfig, HandshakeKind,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    certificate::Certificate,
    error::{HandshakeError, MaterialError},
    settings::{ClientCertificate, TlsSettings},
    verifier::Verifier,
};

/// Makes authenticated connections to the servers of one upstream.
#[derive(Debug)]
pub(super) struct TlsClient {
    server_name: Option<ServerName<'static>>,
    verifier: Arc<Verifier>,
    /// Without sessions.
    config: ClientConfig,
    /// With those of each server.
    servers: Mutex<HashMap<SocketAddr, Sessions>>,
}

/// The sessions of one server.
#[derive(Debug)]
struct Sessions {
    config: Arc<ClientConfig>,
    /// Since when there are any.
    since: Instant,
}

/// What a handshake brought about.
pub(super) struct Handshaken {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) resumed: Resumed,
    /// The end of the validity of the server's own certificate.
    pub(super) not_after: Option<Timestamp>,
}

/// Whether a handshake went all the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resumed {
    No,
    Yes,
}

/// A handshake that did not end well.
pub(super) enum Refusal {
    /// What the resumed session was based on holds no longer; the sessions are gone, a new connection
    /// decides.
    StaleSession,
    /// The server is refused.
    Final(HandshakeError),
}

impl TlsSettings {
    /// Whether connections can be made with them, or what cannot be used.
    pub fn check(&self) -> Result<(), MaterialError> {
        TlsClient::new(self).map(drop)
    }
}

impl TlsClient {
    /// A client for these settings; an error when a file that they name cannot be used.
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, MaterialError> {
        let provider = aws_lc_rs::default_provider();
        let verifier = Verifier::new(settings, provider.signature_verification_algorithms)?;
        let verifier = Arc::new(verifier);
        let config = config(provider, &verifier, settings.client_certificate.as_ref())?;
        let server_name = settings.server_name.clone();
        Ok(Self { server_name, verifier, config, servers: Mutex::default() })
    }

    /// Authenticates the server at the other end of `stream`.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        server: SocketAddr,
        now: UnixTime,
    ) -> Result<Handshaken, Refusal> {
        // For an address no SNI is sent (RFC 6066 section 3).
        let name = self.server_name.clone().unwrap_or_else(|| ServerName::from(server.ip()));
        let config = self.config_for(server, Instant::now());
        let connecting = TlsConnector::from(config).connect(name.clone(), stream).await;
        let stream = connecting.map_err(|error| Refusal::Final(error.into()))?;
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let resumed = match session.handshake_kind() {
            Some(HandshakeKind::Resumed) => Resumed::Yes,
            _ => Resumed::No,
        };
        if resumed == Resumed::Yes && self.verifier.judge(certificates, &name, now).is_err() {
            self.servers().remove(&server);
            return Err(Refusal::StaleSession);
        }
        let own = certificates.first().and_then(|own| Certificate::read(own));
        Ok(Handshaken { resumed, not_after: own.map(|own| own.not_after), stream })
    }

    /// What a connection to a server is made with.
    pub(super) fn config_for(&self, server: SocketAddr, now: Instant) -> Arc<ClientConfig> {
        let mut servers = self.servers();
        let known = servers.get(&server).filter(|known| now < known.since + LIFE_OF_SESSIONS);
        if let Some(known) = known {
            return Arc::clone(&known.config);
        }
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        let config = Arc::new(config);
        servers.insert(server, Sessions { config: Arc::clone(&config), since: now });
        config
    }

    /// Nothing inside the lock can leave it half changed, so a poisoned one is still good.
    fn servers(&self) -> MutexGuard<'_, HashMap<SocketAddr, Sessions>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many tickets as the library keeps for one name.
const MAX_SESSIONS: usize = 8;

/// How long sessions of one handshake are taken up: our guess, less than a connection's life, so that one that takes an old one's
/// place looks again who the server is.
const LIFE_OF_SESSIONS: Duration = Duration::from_secs(1800);

fn config(
    provider: CryptoProvider,
    verifier: &Arc<Verifier>,
    client_certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, MaterialError> {
    let unusable =
        |error: rustls::Error| MaterialError::ClientCertificate(error.to_string().into());
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(MaterialError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(verifier));
    match client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientCertificate::Missing(why)) => Err(MaterialError::Missing(Arc::clone(why))),
        Some(ClientCertificate::Pem { chain, key }) => {
            let (chain, key) = client_identity(chain, &key.0)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)
        }
    }
}

fn client_identity(
    chain: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), MaterialError> {
    let unusable = |what: &str| MaterialError::ClientCertificate(what.into());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("the certificate is no PEM"))?;
    if chain.is_empty() {
        return Err(unusable("no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| unusable("no private key in PEM"))?;
    Ok((chain, key))
}

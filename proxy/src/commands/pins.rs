//! `dnsproxy pins`: shows the keys that a server presents, as pins for a manifest.
//!
//! This is the one place that talks to a server without believing it. It sends no query: the connection is
//! closed after the handshake. Whether the pins are the right ones is for the reader to find out.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, lookup_host},
    runtime::Builder,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::terminal::printable;
use crate::upstream::{Authentication, Certificate, Roots, TlsSettings, Verifier};

/// `dnsproxy pins`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "No query is sent. Compare the pins with what the operator of the server publishes before you use them."
)]
pub struct PinsArgs {
    /// The server; port 853 when there is none. A host name is resolved by the system.
    #[arg(value_name = "HOST[:PORT]")]
    server: String,

    /// The name to ask for (SNI). Default: the host, when it is a name.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

/// Exit code 0 when the server presented a certificate, 1 when it did not.
pub fn run(args: &PinsArgs) -> anyhow::Result<ExitCode> {
    let (host, port) = split(&args.server)?;
    let name = args.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .with_context(|| format!("{name} is no server name"))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let presented = async { timeout(PATIENCE, present(host, port, &name)).await };
    let (address, certificates) = runtime
        .block_on(presented)
        .context("no handshake within 5 s")
        .flatten()
        .with_context(|| format!("cannot learn the pins of {host}:{port}"))?;
    println!("# {host} port {port}, asked at {address}");
    println!("# {}", printable(&verdict(&certificates, &name)));
    print(&certificates);
    Ok(ExitCode::SUCCESS)
}

/// Enough for a server on the other side of the world.
const PATIENCE: Duration = Duration::from_secs(5);

/// The port of DNS over TLS (RFC 7858 section 3.1).
const DEFAULT_PORT: u16 = 853;

/// `host`, `host:port`, `IPv6` or `[IPv6]:port`.
fn split(server: &str) -> anyhow::Result<(&str, u16)> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if server.parse::<IpAddr>().is_err() => (host, Some(port)),
        _ => (server, None),
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        bail!("{server} has no host");
    }
    Ok((host, port.with_context(|| format!("{server} has no port number behind the colon"))?))
}

/// Goes through a handshake and hangs up.
async fn present(
    host: &str,
    port: u16,
    name: &ServerName<'static>,
) -> anyhow::Result<(SocketAddr, Vec<CertificateDer<'static>>)> {
    let address = lookup_host((host, port)).await?.next().context("the name has no address")?;
    let tcp = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config()?)).connect(name.clone(), tcp).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    // The server may hang up first; what matters has been seen.
    let _ = stream.shutdown().await;
    Ok((address, certificates))
}

fn config() -> anyhow::Result<ClientConfig> {
    let provider = aws_lc_rs::default_provider();
    let spectator = Spectator { algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(spectator))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whether a proxy with no pins would believe these certificates.
fn verdict(certificates: &[CertificateDer<'_>], name: &ServerName<'_>) -> String {
    let settings = TlsSettings {
        server_name: None,
        pins: Vec::new(),
        authentication: Authentication::Pkix,
        roots: Roots::Mozilla,
        client_certificate: None,
        is_padded: true,
    };
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let judged = Verifier::new(&settings, algorithms)
        .map(|verifier| verifier.judge(certificates, name, UnixTime::now()));
    match judged {
        Ok(Ok(())) => format!("verified for {} with the Mozilla roots", name.to_str()),
        Ok(Err(error)) => {
            let error = error.to_string().replace("set tls.ca", "set `tls.ca` in the manifest");
            format!("NOT verified with the Mozilla roots: {error}")
        }
        Err(error) => format!("NOT verified: {error}"),
    }
}

/// The server's own key stands as it goes into a manifest. Those of authorities are for `PKIX` only, and they
/// trust whatever the authority signs, so taking them over takes a decision.
fn print(certificates: &[CertificateDer<'_>]) {
    println!("pins:");
    for (index, der) in certificates.iter().enumerate() {
        let Some(Certificate { common_name, not_after, pin, .. }) = Certificate::read(der) else {
            println!("# certificate {index} cannot be read");
            continue;
        };
        let (mark, what) =
            if index == 0 { ("", "the server's own key") } else { ("# ", "an authority's key") };
        // A name of a certificate is anything at all.
        let name = printable(common_name.as_deref().unwrap_or("no common name"));
        println!("{mark}- {pin} # {what}: {name}, until {not_after}");
    }
}

/// Takes every certificate, but has the server prove that it holds the key.
#[derive(Debug)]
struct Spectator {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Spectator {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port_or_the_default_one() {
        let cases = [
            ("a name", "dns.example", Some(("dns.example", 853))),
            ("a name and a port", "dns.example:8853", Some(("dns.example", 8853))),
            ("an address", "192.0.2.1", Some(("192.0.2.1", 853))),
            ("an address and a port", "192.0.2.1:8853", Some(("192.0.2.1", 8853))),
            ("IPv6", "2001:db8::1", Some(("2001:db8::1", 853))),
            ("IPv6 and a port", "[2001:db8::1]:8853", Some(("2001:db8::1", 8853))),
            ("no host", ":853", None),
            ("no number", "dns.example:dot", None),
        ];

        for (why, text, expected) in cases {
            assert_eq!(split(text).ok(), expected, "{why}");
        }
    }
}

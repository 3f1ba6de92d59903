//! The upstream that tells the truth, over DNS-over-TLS and, for those who want to see that it is up, over UDP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use dnsproxy_tests::wire::{Reply, Response, framed, types};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::truth::{Random, Stamp, answer, now, ttl};

/// Below it all is made up; any other name gets an answer without a record, as health checks are content with.
const ZONE: &str = ".bench.example.";

/// The names that ask whether somebody is there, and what they get.
const READY: (&str, [u8; 4]) = ("ready-", [192, 0, 2, 1]);

/// Serves until it is killed.
pub(crate) fn serve(address: &str, certificate: &str, key: &str) -> Result<()> {
    let ip = address.parse().context("ADDRESS")?;
    let udp = UdpSocket::bind(SocketAddr::new(ip, 53)).context("UDP")?;
    let listener = TcpListener::bind(SocketAddr::new(ip, 853)).context("TLS")?;
    let config = Arc::new(config(Path::new(certificate), Path::new(key))?);
    thread::spawn(move || serve_udp(&udp));
    for seed in 1.. {
        let (stream, _) = listener.accept()?;
        let config = Arc::clone(&config);
        // A client that goes away takes only its own connection along.
        thread::spawn(move || serve_tls(stream, config, Random(seed)));
    }
    Ok(())
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(config
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}

fn serve_udp(socket: &UdpSocket) -> Result<()> {
    let mut random = Random(u64::MAX);
    let mut query = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut query)?;
        socket.send_to(&respond(&query[..length], &mut random)?, client)?;
    }
}

/// What comes together is answered together.
fn serve_tls(stream: TcpStream, config: Arc<ServerConfig>, mut random: Random) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut input = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        input.extend_from_slice(&piece[..length]);
        let mut output = Vec::new();
        let mut rest = input.as_slice();
        while let Some((query, behind)) = first_query(rest) {
            output.extend(framed(&respond(query, &mut random)?));
            rest = behind;
        }
        input = rest.to_vec();
        stream.write_all(&output)?;
        stream.flush()?;
    }
}

/// Splits the first whole query off (RFC 1035 section 4.2.2).
fn first_query(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn respond(query: &[u8], random: &mut Random) -> Result<Vec<u8>> {
    let (name, qtype, _) = Reply::parse(query)?.question.context("no question")?;
    let lower = name.to_ascii_lowercase();
    Ok(if qtype == types::A && lower.starts_with(READY.0) {
        Response::to(query).record(types::A, 60, &READY.1).encode()
    } else if lower.ends_with(ZONE) {
        answer(query, &name, qtype, Stamp { at: now(), ttl: ttl(random.next()) })
    } else {
        Response::to(query).encode()
    })
}

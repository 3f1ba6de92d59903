//! `dnsproxy healthcheck`: asks `/readyz` of a proxy on this host, for Docker and exec probes.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;

use crate::args::HealthcheckArgs;

/// An exec probe usually has a second.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Enough for the status line and the reason.
const MAX_RESPONSE: u64 = 4096;

/// Exit code 0 when the proxy is ready, 1 when it is not.
pub fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let response = fetch_any(&reachable(args.admin))
        .with_context(|| format!("no answer from http://{}/readyz", args.admin))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    println!("{}", body.trim());
    let is_ready = head.starts_with("HTTP/1.") && head.split(' ').nth(1) == Some("200");
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A proxy that listens on all addresses is asked on loopback, of IPv4 as well: where the host has no IPv6,
/// `[::]` has become `0.0.0.0`.
fn reachable(admin: SocketAddr) -> Vec<SocketAddr> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, admin.port()));
    match admin.ip() {
        ip if !ip.is_unspecified() => vec![admin],
        IpAddr::V4(_) => vec![v4],
        IpAddr::V6(_) => vec![(Ipv6Addr::LOCALHOST, admin.port()).into(), v4],
    }
}

fn fetch_any(addresses: &[SocketAddr]) -> io::Result<String> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for &address in addresses {
        result = fetch(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE).read_to_string(&mut response)?;
    Ok(response)
}

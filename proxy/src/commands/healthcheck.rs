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
    let address = reachable(args.admin);
    let response =
        fetch(address).with_context(|| format!("no answer from http://{address}/readyz"))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    println!("{}", body.trim());
    let is_ready = head.starts_with("HTTP/1.") && head.split(' ').nth(1) == Some("200");
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A proxy that listens on all addresses is asked on loopback.
fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, admin.port())
}

fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE).read_to_string(&mut response)?;
    Ok(response)
}

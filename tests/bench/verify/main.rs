//! Asks, and looks at every answer; or is the upstream that knows what is right.
//!
//! * `verify upstream ADDRESS CERTIFICATE KEY` answers every question below `bench.example` over DNS-over-TLS, each in its own way.
//! * `verify answers SERVER COUNT SECONDS NAMES ADDRESS...` asks for so many names, by Zipf's law, until so many right answers have come from
//!   the server's cache, or for so long. Clients of the first address are under no rule, those of the second and the third each under
//!   their own. How many answers there were of each kind is told on standard output, what is wrong on standard error.
//! * `verify connections SERVER COUNT SECONDS` opens so many TCP connections, asks once on each, and keeps them for so long.

mod client;
mod group;
mod idle;
mod judge;
mod truth;
mod upstream;

use std::{env, net::SocketAddr, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};

use client::Load;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["upstream", address, certificate, key] => upstream::serve(address, certificate, key),
        ["answers", server, count, seconds, names, clients @ ..] if !clients.is_empty() => {
            let (count, time) = (number(count)?, Duration::from_secs(number(seconds)?));
            let (server, names) = (address(server)?, number(names)?);
            let clients = clients.iter().map(|client| client.parse().context("ADDRESS"));
            let clients = clients.collect::<Result<_>>()?;
            client::run(&Load { server, clients, count, time, names })?
                .lines()
                .for_each(|line| println!("{line}"));
            Ok(())
        }
        ["connections", server, count, seconds] => {
            idle::hold(address(server)?, number(count)?, Duration::from_secs(number(seconds)?))
        }
        _ => bail!(
            "verify upstream ADDRESS CERTIFICATE KEY\nverify answers SERVER COUNT SECONDS NAMES ADDRESS...\n\
             verify connections SERVER COUNT SECONDS"
        ),
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().context("SERVER")
}

fn number<T: FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("not a number: {text}"))
}

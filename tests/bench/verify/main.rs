//! Asks, and looks at every answer; or is the upstream that knows what is right.
//!
//! * `verify upstream ADDRESS CERTIFICATE KEY` answers every question below `bench.example` over DNS-over-TLS, each in its own way.
//! * `verify answers SERVER COUNT SECONDS NAMES` asks for so many names, by Zipf's law, until so many right answers have come from
//!   the server's cache, or for so long. How many there were of each kind is told on standard output, what is wrong on standard error.
//! * `verify connections SERVER COUNT SECONDS` opens so many TCP connections, asks once on each, and keeps them for so long.

mod client;
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
        ["answers", server, count, seconds, names] => {
            let (count, time) = (number(count)?, Duration::from_secs(number(seconds)?));
            let load = Load { server: address(server)?, count, time, names: number(names)? };
            client::run(load)?.lines().for_each(|line| println!("{line}"));
            Ok(())
        }
        ["connections", server, count, seconds] => {
            idle::hold(address(server)?, number(count)?, Duration::from_secs(number(seconds)?))
        }
        _ => bail!(
            "verify upstream ADDRESS CERTIFICATE KEY\nverify answers SERVER COUNT SECONDS NAMES\n\
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

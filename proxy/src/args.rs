//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::{
    commands::{
        cache::CacheArgs, explain::ExplainArgs, import::ImportArgs, pins::PinsArgs,
        query::QueryArgs,
    },
    telemetry::LogFormat,
};

/// A DNS proxy that resolves over authenticated DNS-over-TLS.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve DNS.
    Run(RunArgs),
    /// Find every problem of a manifest.
    Check(CheckArgs),
    /// Tell what would become of a query and why, without sending anything.
    Explain(ExplainArgs),
    /// Make a manifest of another program's configuration.
    Import(ImportArgs),
    /// Ask one question, like a small dig.
    Query(QueryArgs),
    /// Show the SPKI pins that a server presents.
    Pins(PinsArgs),
    /// Look into the cache of a proxy that runs, or remove entries from it.
    Cache(CacheArgs),
    /// Tell whether a proxy that runs is ready, by the exit code.
    Healthcheck(HealthcheckArgs),
}

/// Where the admin endpoints are by default.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:8053";

/// `dnsproxy run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The manifest. Without one: two public resolvers over DNS-over-TLS.
    #[arg(short, long, value_name = "FILE", env = "DNSPROXY_FILE")]
    pub file: Option<PathBuf>,

    /// Where to take queries, instead of the manifest's listeners. May be given more than once.
    #[arg(long, value_name = "IP:PORT", env = "DNSPROXY_LISTEN", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,

    /// Where to serve health, metrics and state.
    #[arg(long, value_name = "IP:PORT", env = "DNSPROXY_ADMIN", default_value = DEFAULT_ADMIN)]
    pub admin: SocketAddr,

    /// How many threads serve. Default: as many as there are CPUs to use, at most 8.
    #[arg(long, value_name = "N", env = "DNSPROXY_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// How log lines look.
    #[arg(long, env = "DNSPROXY_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// The least important events that are logged, instead of the manifest's level.
    #[arg(long, value_name = "LEVEL", env = "DNSPROXY_LOG_LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log_level: Option<String>,
}

impl RunArgs {
    /// The level that was asked for.
    pub fn level(&self) -> Option<LevelFilter> {
        self.log_level.as_deref().and_then(|level| level.parse().ok())
    }
}

/// `dnsproxy check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The manifest; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

/// `dnsproxy healthcheck`.
#[derive(Args, Clone, Debug)]
pub struct HealthcheckArgs {
    /// The admin address of the proxy.
    #[arg(long, value_name = "IP:PORT", env = "DNSPROXY_ADMIN", default_value = DEFAULT_ADMIN)]
    pub admin: SocketAddr,
}

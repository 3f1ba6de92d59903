//! Logs: text for people, JSON lines for collectors.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts logging to standard error. A level that cannot be read counts as `info`, and is said so.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_new(level);
    let unreadable = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    if let Some(error) = unreadable {
        tracing::warn!(%level, %error, "log level not understood, using info");
    }
}

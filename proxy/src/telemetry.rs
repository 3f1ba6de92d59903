//! Logs on standard error, as text for people or as JSON lines for programs.
//!
//! The level follows the manifest, also over a reload, unless the command line sets it. Nobody waits for a line: see
//! [`LineWriter`].

use std::{
    any::Any,
    io, panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use clap::ValueEnum;
use dnsproxy_api::v1alpha1::LogLevel;
use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::lines::LineWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The running log.
#[derive(Clone, Debug)]
pub struct Telemetry {
    format: LogFormat,
    fixed: Option<LevelFilter>,
    level: reload::Handle<LevelFilter, Registry>,
    lines: LineWriter,
}

impl Telemetry {
    /// Starts logging. `fixed` wins over every manifest.
    pub fn start(format: LogFormat, fixed: Option<LevelFilter>) -> io::Result<Self> {
        let lines = LineWriter::start("log", io::stderr())?;
        let (filter, level) = reload::Layer::new(fixed.unwrap_or(LevelFilter::INFO));
        let registry = tracing_subscriber::registry().with(filter);
        let layer = fmt::layer().with_writer(lines.clone()).with_target(false);
        // A second start in one process, as in tests, keeps the first one's settings.
        match format {
            LogFormat::Text => registry.with(layer.with_ansi(is_terminal())).try_init().ok(),
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init().ok(),
        };
        Ok(Self { format, fixed, level, lines })
    }

    /// Follows a manifest's level.
    pub fn follow(&self, level: LogLevel) {
        if self.fixed.is_none() {
            self.level.modify(|current| *current = filter(level)).ok();
        }
    }

    /// Says where queries are taken and where they go, at any level: people and scripts wait for these lines.
    pub fn announce(&self, line: &str) {
        self.lines.write((self.line("INFO", line) + "\n").into_bytes());
    }

    /// A line that is told at any level, and looks as the others do where programs read them.
    pub fn line(&self, level: &str, message: &str) -> String {
        match self.format {
            LogFormat::Text => message.to_owned(),
            LogFormat::Json => {
                let timestamp = format!("{:.6}", jiff::Timestamp::now());
                serde_json::json!({ "timestamp": timestamp, "level": level, "message": message })
                    .to_string()
            }
        }
    }

    /// Counts the lines that were lost.
    pub fn dropped(&self) -> &Counter {
        self.lines.dropped()
    }

    /// Waits until all lines are written, unless nobody reads them.
    pub async fn flush(&self) {
        self.lines.flush().await;
    }
}

impl<'w> MakeWriter<'w> for LineWriter {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

/// What a panic said.
pub fn text_of_panic(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason given")
}

/// Has panics told as lines of the log, one a second: where a query can make one, it can make many.
pub fn tell_panics() {
    static LAST: AtomicU64 = AtomicU64::new(u64::MAX);
    let begun = Instant::now();
    panic::set_hook(Box::new(move |panic| {
        let second = begun.elapsed().as_secs();
        if LAST.swap(second, Ordering::Relaxed) != second {
            tracing::error!(thread = thread::current().name(), %panic, "a defect of this program");
        }
    }));
}

fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

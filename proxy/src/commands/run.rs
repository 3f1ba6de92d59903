//! `dnsproxy run`: serves DNS until a signal.

use std::{path::Path, process::ExitCode};

use tokio::runtime::Builder;

use super::terminal::placed;
use crate::{
    app::{App, StartError},
    args::RunArgs,
    config::{LoadError, chain},
    open_files,
    shutdown::Signals,
    telemetry::{Telemetry, tell_panics},
};

/// Exit code 0 after a signal, 1 when it cannot start or go on.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(args.log_format, args.level())?;
    tell_panics();
    open_files::raise_limit();
    // Queries are served by the workers; this one has the admin endpoints, reloads and signals.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let served = serve(args, telemetry.clone()).await;
        telemetry.flush().await;
        served
    });
    // Whatever is still being read is not waited for.
    runtime.shutdown_background();
    let reasons = match served {
        Ok(()) => return Ok(ExitCode::SUCCESS),
        Err(StartError::Config(LoadError::Invalid { problems, .. })) => {
            // Only a file has problems.
            let file = args.file.as_deref().unwrap_or_else(|| Path::new(""));
            problems.iter().map(|problem| placed(file, problem, "")).collect()
        }
        Err(error) => vec![format!("dnsproxy: {}", chain(&error))],
    };
    for reason in reasons {
        eprintln!("{}", telemetry.line("ERROR", &reason));
    }
    Ok(ExitCode::FAILURE)
}

async fn serve(args: &RunArgs, telemetry: Telemetry) -> Result<(), StartError> {
    // Before anybody can know that there is something to end.
    let mut signals = Signals::listen()?;
    let app = tokio::select! {
        app = App::start(args, telemetry) => app?,
        // Nobody was answered yet.
        _ = signals.next_end() => return Ok(()),
    };
    app.run(signals).await
}

//! The operator's command line: parse it, then run until a signal.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use dnsproxy_operator::{
    args::{Args, Command},
    controller, telemetry,
};

#[allow(clippy::print_stderr, reason = "the last word of a process that does nothing any more")]
fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dnsproxy-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Crd => {
            print!("{}", dnsproxy_api::custom_resource_definitions());
            Ok(())
        }
        Command::Run(run) => {
            telemetry::start(run.log_format, &run.log_level);
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            runtime.block_on(controller::run(run)).context("cannot go on")
        }
    }
}

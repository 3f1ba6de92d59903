//! The program `dnsproxy`: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;
use dnsproxy::{
    args::{Arguments, Command},
    commands,
};

#[allow(clippy::print_stderr, reason = "the last word of a process that serves nobody any more")]
fn main() -> ExitCode {
    commands::end_without_reader();
    let result = match Arguments::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Query(args) => commands::query::run(&args),
        Command::Pins(args) => commands::pins::run(&args),
        Command::Cache(args) => commands::cache::run(&args),
        Command::Healthcheck(args) => commands::healthcheck::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("dnsproxy: {error:#}");
        ExitCode::FAILURE
    })
}

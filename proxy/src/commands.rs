//! The commands of the program, one a file. Each returns the exit code of the process.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command talks to the one who called it, and serves nobody"
)]

pub mod cache;
pub mod check;
pub mod explain;
pub mod healthcheck;
pub mod import;
pub mod pins;
pub mod query;
pub mod run;

mod http;
mod input;
mod terminal;

pub use terminal::end_without_reader;

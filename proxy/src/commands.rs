//! The commands of the program, one a file. Each returns the exit code of the process.

pub mod check;
pub mod healthcheck;
pub mod pins;
pub mod query;
pub mod run;

mod terminal;

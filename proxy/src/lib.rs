//! The data plane: takes DNS queries over UDP and TCP and resolves them over authenticated TLS.
//!
//! The way of one query, from left to right; an answer goes the same way back:
//!
//! ```text
//! worker -> listener -> pipeline -> access -> upstream (route -> server -> connection)
//!                           |                     |
//!                        message  <---------------+
//! ```
//!
//! [`pipeline`] is the only place where the order of steps stands. [`app`] binds everything and starts it;
//! [`config`] turns a manifest into what runs, at the start and at every change of a file. [`admin`] shows
//! what goes on; [`commands`] are what the program can do.

pub mod access;
pub mod admin;
pub mod app;
pub mod args;
pub mod cache;
pub mod checks;
pub mod cluster_dns;
pub mod commands;
pub mod config;
pub mod expectations;
pub mod explain;
pub mod hosts;
pub mod import;
pub mod judge;
pub mod limits;
pub mod lines;
pub mod listener;
pub mod lists;
pub mod message;
pub mod metrics;
pub mod networks;
pub mod open_files;
pub mod pipeline;
pub mod private_names;
pub mod query_log;
pub mod rules;
pub mod shutdown;
pub mod telemetry;
pub mod upstream;
pub mod worker;

mod zone_text;

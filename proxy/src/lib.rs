//! The data plane: takes DNS queries over UDP and TCP and resolves them over authenticated TLS.

pub mod message;
pub mod shutdown;

//! Manifests made of the configurations of other programs: [`corefile`] of CoreDNS, [`dnsmasq`] of dnsmasq.
//!
//! What a line means there is what the manifest does here, or the line is told with the reason. Nothing is guessed and
//! nothing is made better on the way: where a plain upstream stands, a plain one comes out, and a note says how it
//! could be an encrypted one.

use std::fmt;

use dnsproxy_api::{DnsProxy, manifest};

mod addresses;
pub mod corefile;
pub mod dnsmasq;
mod draft;

pub use draft::Draft;

/// A line that was not carried over, or not entirely.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Its number.
    pub line: usize,
    /// What it is about, in the words of the other program.
    pub subject: String,
    /// Why, and what can be done.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// What came of a configuration.
#[derive(Debug)]
pub struct Imported {
    /// The manifest.
    pub proxy: DnsProxy,
    /// What is to be known about it, in the order of the lines.
    pub notes: Vec<Note>,
    /// How many lines were carried over.
    pub carried: usize,
}

impl Imported {
    /// The manifest as text.
    pub fn text(&self) -> String {
        manifest::write(&self.proxy)
    }
}

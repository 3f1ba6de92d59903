//! Why there is no configuration, for people and for `/config`.
//!
//! What was refused is known by the hash of its text, as what runs is; so the operator sees which one a pod refuses.

use std::{io, path::PathBuf, str::Utf8Error, sync::Arc};

use dnsproxy_api::validate::Problem;

use super::{Unparsable, reload};
use crate::{listener::bind::BindError, upstream::MaterialError};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The manifest's path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no text. Mending it would run a manifest that nobody wrote.
    #[error("{} is not UTF-8", path.display())]
    NotUtf8 {
        /// The manifest's path.
        path: PathBuf,
        /// The hash of its octets.
        hash: String,
        /// Where.
        source: Utf8Error,
    },
    /// The manifest has problems; each names its place.
    #[error("{}", first_of(problems))]
    Invalid {
        /// The hash of its text.
        hash: String,
        /// All of them.
        problems: Vec<Problem>,
        /// The files of lists that it has: with others it might be valid.
        files: reload::Files,
    },
    /// Reading it ended in a panic.
    #[error("reading the manifest panicked, which is a defect of this program: {0}")]
    Defect(String),
    /// Valid, and still not to be read.
    #[error("the manifest cannot be used")]
    Unparsable {
        /// The hash of its text.
        hash: String,
        /// What cannot be read.
        source: Unparsable,
    },
    /// A file of an upstream's TLS settings has become useless. A missing one is no reason: it fails closed.
    #[error("a file of upstream {upstream} is useless, the last one is used on")]
    Material {
        /// The hash of its text.
        hash: String,
        /// Whose file.
        upstream: Arc<str>,
        /// What is wrong with it.
        source: Box<MaterialError>,
        /// The files that it names: with others it might be used.
        files: reload::Files,
    },
    /// Its addresses cannot be bound.
    #[error("the manifest cannot be used")]
    Bind {
        /// The hash of its text.
        hash: String,
        /// Which, and why.
        source: BindError,
    },
}

impl LoadError {
    /// The hash of what was refused, when it could be read.
    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::NotUtf8 { hash, .. }
            | Self::Invalid { hash, .. }
            | Self::Unparsable { hash, .. }
            | Self::Material { hash, .. }
            | Self::Bind { hash, .. } => Some(hash),
            Self::Read { .. } | Self::Defect(_) => None,
        }
    }

    /// Files that may be what has to be mended, beside the manifest.
    pub fn files(&self) -> Option<&reload::Files> {
        match self {
            Self::Invalid { files, .. } | Self::Material { files, .. } => Some(files),
            Self::Read { .. }
            | Self::NotUtf8 { .. }
            | Self::Defect(_)
            | Self::Unparsable { .. }
            | Self::Bind { .. } => None,
        }
    }
}

/// A log line and `/config` show so many problems; `dnsproxy check` shows all.
const MAX_SHOWN: usize = 20;

fn first_of(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().take(MAX_SHOWN).map(placed).collect();
    let more = problems.len().saturating_sub(MAX_SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join("; "))
}

/// A problem that is about no field, as those of syntax are, with its line.
fn placed(problem: &Problem) -> String {
    match problem.line {
        Some(line) if problem.path.is_empty() => format!("line {line}: {problem}"),
        _ => problem.to_string(),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_text_that_is_refused_is_known_by_its_hash_whatever_the_reason() {
        let hash = || "0123456789abcdef".to_owned();
        let bind = BindError {
            address: ([192, 0, 2, 1], 53).into(),
            transport: "udp",
            source: io::ErrorKind::AddrInUse.into(),
        };
        let broken = str::from_utf8(&[0xff; 2][..]).unwrap_err();
        let cases = [
            LoadError::NotUtf8 { path: PathBuf::new(), hash: hash(), source: broken },
            LoadError::Invalid { hash: hash(), problems: Vec::new(), files: BTreeMap::new() },
            LoadError::Unparsable { hash: hash(), source: Unparsable("5 s".to_owned()) },
            LoadError::Material {
                hash: hash(),
                upstream: "lab".into(),
                source: Box::new(MaterialError::NoAuthority),
                files: BTreeMap::new(),
            },
            LoadError::Bind { hash: hash(), source: bind },
        ];

        for error in cases {
            assert_eq!(error.hash(), Some(hash().as_str()), "{error:?}");
        }
    }
}

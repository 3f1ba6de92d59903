//! Where lists and hosts come from: read line by line, and what of that goes wrong.

use std::{fmt, fs::File, io, path::PathBuf, sync::Arc};

use super::lines::{Hashing, Lines, TooLong};
use crate::config::reload::Fingerprint;

/// Where the text of a list is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// In the manifest.
    Inline(Arc<str>),
    /// In a file, as it was just before it was read.
    File(PathBuf, Fingerprint),
    /// Out of reach: in a cluster, for those who only look at a manifest.
    Elsewhere,
}

/// What could not be read.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    /// How many lines.
    pub count: usize,
    /// The first of them.
    pub first: Vec<BadLine>,
    /// Sources that cannot be read, and why.
    pub sources: Vec<String>,
}

/// A line that could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadLine {
    /// The file, or which inline text.
    pub source: String,
    /// The first is 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, line, reason } = self;
        write!(f, "{source}:{line}: {reason}")
    }
}

/// What a log shows of bad lines; all are counted.
pub(super) const MAX_SHOWN: usize = 20;
/// The characters of a reason that are shown: one line of a log.
const MAX_REASON: usize = 200;

impl Problems {
    /// Notes a line that could not be read.
    pub(crate) fn note(&mut self, source: &str, line: usize, reason: String) {
        self.count += 1;
        if self.first.len() < MAX_SHOWN {
            // What stands in a list may be meant for the terminal of who reads the log.
            let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            self.first.push(BadLine { source: source.to_owned(), line, reason });
        }
    }
}

/// The SHA-256 of the content of each source that is a file, and could be read.
pub(crate) type Hashes = Vec<Option<String>>;

/// Reads sources line by line; nothing is the end of each, however it comes. What is wrong with a line is told to the
/// second argument.
pub(crate) fn read(
    sources: &[Source],
    mut take: impl FnMut(Option<(usize, &str)>, &mut dyn FnMut(usize, String)),
) -> (Problems, Hashes) {
    let mut problems = Problems::default();
    let mut hashes = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let name = match source {
            Source::File(path, _) => path.display().to_string(),
            Source::Inline(_) | Source::Elsewhere => format!("sources[{index}].inline"),
        };
        let mut bad = |line: usize, reason: String| problems.note(&name, line, reason);
        let mut each = |lines: io::Result<Lines<'_>>| -> io::Result<()> {
            let mut lines = lines?;
            while let Some(line) = lines.next()? {
                match line.text {
                    Ok(text) => take(Some((line.number, text)), &mut bad),
                    Err(TooLong) => bad(line.number, "longer than 4096 octets".to_owned()),
                }
            }
            Ok(())
        };
        let (hash, result) = match source {
            Source::Elsewhere => (None, Ok(())),
            Source::Inline(text) => (None, each(Lines::of(text.as_bytes()))),
            Source::File(path, _) => match open(path) {
                Ok(file) => {
                    let mut hashing = Hashing::new(file);
                    let result = each(Lines::of(&mut hashing));
                    (Some(hashing.finish()), result)
                }
                Err(error) => (None, Err(error)),
            },
        };
        take(None, &mut bad);
        hashes.push(hash);
        if let Err(error) = result {
            problems.sources.push(format!("{name}: {error}"));
        }
    }
    (problems, hashes)
}

/// Only a file has an end, and opening a pipe would wait for who writes to it.
fn open(path: &PathBuf) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    File::open(path)
}

/// The files among sources, each with the hash of its content.
pub(crate) fn files<'s>(
    sources: &'s [Source],
    hashes: &'s [Option<String>],
) -> impl Iterator<Item = (&'s PathBuf, Option<&'s String>)> {
    sources.iter().zip(hashes).filter_map(|(source, hash)| match source {
        Source::File(path, _) => Some((path, hash.as_ref())),
        Source::Inline(_) | Source::Elsewhere => None,
    })
}

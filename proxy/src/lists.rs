//! Lists of names for rules, of any size, in the formats that people publish them in.
//!
//! ```text
//! source -> lines (gzip, bounds) -> domains | hosts | adblock | rpz -> builder -> List
//! ```
//!
//! A million names need some thirty megabytes and are looked up in four or five looks at a table. A list is made where
//! no query waits for it, is never changed, and is taken over by the next configuration when its sources are the same.
//!
//! A line that cannot be read is reported with its number, counted, and passed over; a source that cannot be read is
//! reported, and leaves the list as it was.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    sync::Arc,
};

use dnsproxy_api::v1alpha1::{BlockWith, ListFormat};
use regex::bytes::RegexSet;

use crate::{
    config::reload::Fingerprint,
    rules::{Statics, Subject},
};
use builder::{Builder, LEVELS, Level};
use lines::{Hashing, Lines, TooLong};
use rpz::Action;
use set::NameSet;

mod adblock;
mod builder;
pub(crate) mod domains;
mod lines;
mod rpz;
mod set;

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

/// Many names.
#[derive(Debug)]
pub struct List {
    /// Its name in the manifest.
    pub name: Arc<str>,
    origin: Origin,
    names: NameSet,
    /// By [`Level`].
    patterns: [RegexSet; LEVELS],
    /// The records of a policy zone: by position, and whether they are those of names below.
    records: HashMap<(u32, bool), Arc<Statics>>,
    /// Whether something of it is out of reach.
    is_partial: bool,
    problems: Problems,
    hashes: Vec<Option<String>>,
    fingerprint: u64,
}

/// What a list is made of: equal ones make equal lists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// How the sources are written.
    pub format: ListFormat,
    /// Where they are.
    pub sources: Vec<Source>,
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
const MAX_SHOWN: usize = 20;
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

/// What is done about a name in a `block` rule, by the list itself.
#[derive(Debug)]
pub enum Policy<'l> {
    /// It is not looked up.
    Block(BlockWith),
    /// It passes.
    Pass,
    /// It passes over TCP.
    TcpOnly,
    /// These records are the answer.
    Answer(&'l Statics, u64),
}

/// What lists say about a name.
#[derive(Debug)]
pub enum Listed<'l> {
    /// It stands in none, or in an exception.
    No,
    /// It stands in one that says nothing more.
    Yes,
    /// It stands in one that says what is done.
    With(Policy<'l>),
}

impl List {
    /// Reads the sources. What cannot be read is told by [`Self::problems`].
    pub fn load(name: &str, origin: Origin) -> Self {
        let mut builder = Builder::default();
        let mut zone = rpz::Reader::default();
        let format = origin.format;
        let (mut problems, hashes) = read(&origin.sources, |line| match (format, line) {
            (ListFormat::RPZ, Some((number, text))) => zone.line(number, text, &mut builder),
            (ListFormat::RPZ, None) => std::mem::take(&mut zone).end(),
            (_, None) => Ok(()),
            (ListFormat::Domains, Some((number, text))) => {
                domains::line(text, &mut builder).map_err(|reason| (number, reason))
            }
            (ListFormat::Hosts, Some((number, text))) => {
                domains::hosts_line(text, &mut builder).map_err(|reason| (number, reason))
            }
            (ListFormat::Adblock, Some((number, text))) => {
                adblock::line(text, &mut builder).map_err(|reason| (number, reason))
            }
        });
        let (names, patterns, records, problem) = builder.finish();
        problems.sources.extend(problem);
        let mut hasher = DefaultHasher::new();
        names.octets().hash(&mut hasher);
        patterns.iter().for_each(|set| set.patterns().hash(&mut hasher));
        // In any order, as the map has none.
        let hash_of = |record: (&(u32, bool), &Vec<_>)| {
            let mut hasher = DefaultHasher::new();
            record.hash(&mut hasher);
            hasher.finish()
        };
        records.iter().map(hash_of).fold(0, u64::wrapping_add).hash(&mut hasher);
        let statics = |(key, lines)| (key, Arc::new(Statics::of_lines(lines)));
        Self {
            name: Arc::from(name),
            names,
            patterns,
            records: records.into_iter().map(statics).collect(),
            is_partial: origin.sources.contains(&Source::Elsewhere),
            problems,
            hashes,
            fingerprint: hasher.finish(),
            origin,
        }
    }

    /// What it was made of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many names and patterns it has.
    pub fn len(&self) -> usize {
        self.names.len() + self.patterns.iter().map(RegexSet::len).sum::<usize>()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What of it could not be read.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The SHA-256 of each file, in the order of the sources; `None` for one that is missing.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, Option<&String>)> {
        files(&self.origin.sources, &self.hashes)
    }

    /// A hash of its content.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether its entries say what is done.
    pub fn has_policies(&self) -> bool {
        self.origin.format == ListFormat::RPZ
    }

    /// Which levels the name has here.
    fn levels(&self, subject: &Subject<'_>) -> [bool; LEVELS] {
        let mut found = [false; LEVELS];
        self.names.visit(subject.wire(), |_, octet, is_whole| {
            for (found, level) in found.iter_mut().zip(Level::ALL) {
                *found |= level.is_in(octet, is_whole);
            }
        });
        for (found, patterns) in found.iter_mut().zip(&self.patterns) {
            *found =
                *found || (!patterns.is_empty() && patterns.is_match(subject.text().as_bytes()));
        }
        found
    }

    fn policy(&self, subject: &Subject<'_>) -> Option<Policy<'_>> {
        let mut nearest = None;
        self.names.visit(subject.wire(), |position, octet, is_whole| {
            if let Some(action) = Action::of(octet, is_whole) {
                nearest = Some((action, position, !is_whole));
            }
        });
        let (action, position, is_below) = nearest?;
        Some(match action {
            Action::Nxdomain => Policy::Block(BlockWith::NXDOMAIN),
            Action::Nodata => Policy::Block(BlockWith::NODATA),
            Action::Drop => Policy::Block(BlockWith::Drop),
            Action::Pass => Policy::Pass,
            Action::TcpOnly => Policy::TcpOnly,
            Action::Records => {
                Policy::Answer(self.records.get(&(position, is_below))?, self.fingerprint)
            }
        })
    }
}

/// Looks a name up in the lists of a rule. An exception holds for all of them; otherwise the first one that has the
/// name says what is done.
pub(crate) fn look_up<'l>(lists: &'l [Arc<List>], subject: &Subject<'_>) -> Listed<'l> {
    let mut first = Listed::No;
    let mut levels = [false; LEVELS];
    for list in lists {
        if list.is_partial {
            subject.set_uncertain();
        }
        let found = if list.has_policies() {
            list.policy(subject).map_or(Listed::No, Listed::With)
        } else {
            let found = list.levels(subject);
            levels.iter_mut().zip(found).for_each(|(level, found)| *level |= found);
            let [is_listed, _, is_important, _] = found;
            if is_listed || is_important { Listed::Yes } else { Listed::No }
        };
        if matches!(first, Listed::No) {
            first = found;
        }
    }
    match levels {
        [.., true] => Listed::No,
        [.., true, false] => Listed::Yes,
        [_, true, ..] => Listed::No,
        _ => first,
    }
}

type Hashes = Vec<Option<String>>;

/// Reads sources line by line; nothing is the end of each. What goes wrong is told with the line.
pub(crate) fn read(
    sources: &[Source],
    mut take: impl FnMut(Option<(usize, &str)>) -> Result<(), (usize, String)>,
) -> (Problems, Hashes) {
    let mut problems = Problems::default();
    let mut hashes = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let name = match source {
            Source::File(path, _) => path.display().to_string(),
            Source::Inline(_) | Source::Elsewhere => format!("sources[{index}].inline"),
        };
        let mut each = |lines: io::Result<Lines<'_>>| -> io::Result<()> {
            let mut lines = lines?;
            while let Some(line) = lines.next()? {
                let result = match line.text {
                    Ok(text) => take(Some((line.number, text))),
                    Err(TooLong) => Err((line.number, "longer than 4096 octets".to_owned())),
                };
                result.unwrap_or_else(|(line, reason)| problems.note(&name, line, reason));
            }
            take(None).unwrap_or_else(|(line, reason)| problems.note(&name, line, reason));
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

#[cfg(test)]
pub(crate) mod testing {
    //! Lists of a few lines.

    use super::*;
    use crate::message::Name;

    pub(crate) fn list(format: ListFormat, text: &str) -> Arc<List> {
        let sources = vec![Source::Inline(Arc::from(text))];
        Arc::new(List::load("list", Origin { format, sources }))
    }

    pub(crate) fn has(list: &Arc<List>, name: &str) -> bool {
        let name: Name<'_> = name.parse().unwrap();
        !matches!(look_up(&[Arc::clone(list)], &Subject::new(&name)), Listed::No)
    }

    pub(crate) fn policy(list: &List, name: &str) -> &'static str {
        let name: Name<'_> = name.parse().unwrap();
        match list.policy(&Subject::new(&name)) {
            None => "-",
            Some(Policy::Block(BlockWith::NXDOMAIN)) => "NXDOMAIN",
            Some(Policy::Block(BlockWith::NODATA)) => "NODATA",
            Some(Policy::Block(_)) => "Drop",
            Some(Policy::Pass) => "pass",
            Some(Policy::TcpOnly) => "tcp",
            Some(Policy::Answer(..)) => "records",
        }
    }
}

#[cfg(test)]
mod tests;

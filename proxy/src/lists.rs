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
use records::Records;
use rpz::Action;
use set::NameSet;

mod adblock;
mod builder;
pub(crate) mod domains;
mod lines;
mod records;
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
    patterns: [Vec<RegexSet>; LEVELS],
    /// The records of a policy zone.
    records: Records,
    /// Whether something of it could not be read.
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
        let (mut problems, mut hashes) = fill(&mut builder, &origin);
        // Some filters take others out, wherever those stand.
        let disabled = builder.take_disabled();
        if !disabled.is_empty() {
            builder = Builder::passing_over(disabled);
            (problems, hashes) = fill(&mut builder, &origin);
        }
        let (names, patterns, records) = builder.finish();
        let mut hasher = DefaultHasher::new();
        origin.format.hash(&mut hasher);
        names.octets().hash(&mut hasher);
        let texts = patterns.iter().map(|sets| sets.iter().flat_map(RegexSet::patterns));
        texts.for_each(|texts| texts.collect::<Vec<_>>().hash(&mut hasher));
        records.hash(&mut hasher);
        let is_partial =
            origin.sources.contains(&Source::Elsewhere) || !problems.sources.is_empty();
        Self {
            name: Arc::from(name),
            names,
            patterns,
            records,
            is_partial,
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
        self.names.len() + self.patterns.iter().flatten().map(RegexSet::len).sum::<usize>()
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
        for (found, sets) in found.iter_mut().zip(&self.patterns) {
            let is_match = |set: &RegexSet| set.is_match(without_dot(subject.text()).as_bytes());
            *found = *found || sets.iter().any(is_match);
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
                Policy::Answer(self.records.get(position, is_below)?, self.fingerprint)
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

/// The dot at the end of a name, which publishers of patterns do not think of.
fn without_dot(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

type Hashes = Vec<Option<String>>;

/// Reads all sources into a list.
fn fill(builder: &mut Builder, origin: &Origin) -> (Problems, Hashes) {
    let mut zone = rpz::Reader::default();
    let simple = match origin.format {
        ListFormat::Domains => domains::line,
        ListFormat::Hosts => domains::hosts_line,
        ListFormat::Adblock => adblock::line,
        ListFormat::RPZ => {
            return read(&origin.sources, |line, bad| match line {
                Some((number, text)) => zone.line(number, text, builder, bad),
                None => zone.end(builder, bad),
            });
        }
    };
    read(&origin.sources, |line, bad| {
        let Some((number, text)) = line else { return };
        simple(text, builder).unwrap_or_else(|reason| bad(number, reason));
    })
}

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

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
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use dnsproxy_api::v1alpha1::{BlockWith, ListFormat};
use regex::bytes::RegexSet;

use crate::rules::{Statics, Subject};
use builder::{Builder, LEVELS, Level};
use records::Records;
use rpz::Action;
use set::NameSet;
use source::Hashes;

pub use source::{Problems, Source};
pub(crate) use source::{files, read};

mod adblock;
mod builder;
pub(crate) mod domains;
mod lines;
mod records;
mod rpz;
mod set;
mod source;

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

//! A list in the making.

use std::collections::HashSet;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::{
    domains,
    records::{self, Records},
    set::NameSet,
};
use crate::message::name::MAX_NAME_LEN;

/// What an entry of a list does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// The name is in the list.
    Listed,
    /// It is not, whatever says that it is.
    Excepted,
    /// It is, whatever says that it is not.
    Important,
    /// It is not, whatever says that it is important.
    Spared,
}

/// How many levels there are: two bits of an octet each.
pub(super) const LEVELS: usize = 4;

/// Which names an entry is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// The name alone.
    Name,
    /// What is below it alone.
    Below,
    /// Both.
    Zone,
}

impl Level {
    pub(super) const ALL: [Self; LEVELS] =
        [Self::Listed, Self::Excepted, Self::Important, Self::Spared];

    /// Where the bits of a level begin.
    fn shift(self) -> u8 {
        match self {
            Self::Listed => 0,
            Self::Excepted => 2,
            Self::Important => 4,
            Self::Spared => 6,
        }
    }

    /// Whether an octet has this level for the subject, which is the name itself or below it.
    pub(super) fn is_in(self, octet: u8, is_whole: bool) -> bool {
        let bit = if is_whole { Reach::Name } else { Reach::Below }.bits();
        octet >> self.shift() & bit != 0
    }
}

impl Reach {
    fn bits(self) -> u8 {
        match self {
            Self::Name => 1,
            Self::Below => 2,
            Self::Zone => 3,
        }
    }
}

/// Patterns of one list: each costs time for every query; our guess.
const MAX_PATTERNS: usize = 1024;
/// What one pattern, and what patterns that are tried together, may need when they are compiled, in octets; our guess.
const MAX_PATTERN: usize = 32 << 10;
const MAX_COMPILED: usize = 4 << 20;

/// A list in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) names: NameSet,
    pub(super) records: records::Builder,
    patterns: [Vec<String>; LEVELS],
    /// Filters that are passed over.
    passed_over: HashSet<String>,
    /// Filters that are to be passed over: those before them are in the list already.
    disabled: HashSet<String>,
}

/// Filters that others take out; our guess, lists have a few.
const MAX_DISABLED: usize = 10_000;

impl Builder {
    /// Adds a name.
    pub(super) fn add(&mut self, name: &str, level: Level, reach: Reach) -> Result<(), String> {
        let mut buffer = [0; MAX_NAME_LEN];
        let wire = domains::wire_of(name, &mut buffer)?;
        let bits = reach.bits() << level.shift();
        self.names.change(wire, |octet| octet | bits).map_err(|full| full.to_string())?;
        Ok(())
    }

    /// One that passes these filters over.
    pub(super) fn passing_over(passed_over: HashSet<String>) -> Self {
        Self { passed_over, ..Self::default() }
    }

    /// Whether a filter is taken out by another one.
    pub(super) fn passes_over(&self, filter: &str) -> bool {
        self.passed_over.contains(filter)
    }

    /// Takes a filter out, wherever it stands.
    pub(super) fn disable(&mut self, filter: String) -> Result<(), String> {
        if self.disabled.len() >= MAX_DISABLED {
            return Err(format!("{MAX_DISABLED} filters are taken out already"));
        }
        self.disabled.insert(filter);
        Ok(())
    }

    /// The filters that were taken out and may be in here all the same.
    pub(super) fn take_disabled(&mut self) -> HashSet<String> {
        let is_known = self.disabled.is_subset(&self.passed_over);
        if is_known { HashSet::new() } else { std::mem::take(&mut self.disabled) }
    }

    /// Adds a regular expression for the text of a name, without the dot at its end.
    pub(super) fn add_pattern(&mut self, regex: String, level: Level) -> Result<(), String> {
        let count: usize = self.patterns.iter().map(Vec::len).sum();
        let [listed, excepted, important, spared] = &mut self.patterns;
        let known = match level {
            Level::Listed => listed,
            Level::Excepted => excepted,
            Level::Important => important,
            Level::Spared => spared,
        };
        if known.contains(&regex) {
            return Ok(());
        }
        if count >= MAX_PATTERNS {
            return Err(format!("the list has {MAX_PATTERNS} patterns already"));
        }
        compile(std::slice::from_ref(&regex), MAX_PATTERN)?;
        known.push(regex);
        Ok(())
    }

    /// Names, patterns by level, and records.
    pub(super) fn finish(mut self) -> (NameSet, [Vec<RegexSet>; LEVELS], Records) {
        self.names.shrink();
        let patterns = self.patterns.map(|patterns| compile_all(&patterns));
        (self.names, patterns, self.records.finish())
    }
}

/// As few sets as are each within their bound.
fn compile_all(patterns: &[String]) -> Vec<RegexSet> {
    match compile(patterns, MAX_COMPILED) {
        _ if patterns.is_empty() => Vec::new(),
        Ok(set) => vec![set],
        // Each one was compiled by itself before.
        Err(_) if patterns.len() == 1 => Vec::new(),
        Err(_) => {
            let (first, second) = patterns.split_at(patterns.len() / 2);
            [compile_all(first), compile_all(second)].concat()
        }
    }
}

fn compile(patterns: &[String], size: usize) -> Result<RegexSet, String> {
    let mut builder = RegexSetBuilder::new(patterns);
    builder.unicode(false).case_insensitive(true);
    let set = builder.size_limit(size).dfa_size_limit(size).build();
    set.map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("not a regular expression that is fast: {last}")
    })
}

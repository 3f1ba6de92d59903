//! A list in the making.

use std::collections::HashMap;

use dnsproxy_api::units::Record;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::{domains, set::NameSet};
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
/// What the patterns of a level may need when they are compiled, in octets; our guess.
const MAX_COMPILED: usize = 4 << 20;

/// A list in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) names: NameSet,
    /// By position, and whether they are those of names below.
    pub(super) records: HashMap<(u32, bool), Vec<Record>>,
    patterns: [Vec<String>; LEVELS],
    /// What is taken out again at the end: filters can disable others, wherever those stand.
    disabled: Vec<(Box<[u8]>, u8)>,
}

impl Builder {
    /// Adds a name.
    pub(super) fn add(&mut self, name: &str, level: Level, reach: Reach) -> Result<(), String> {
        let mut buffer = [0; MAX_NAME_LEN];
        let wire = domains::wire_of(name, &mut buffer)?;
        let bits = reach.bits() << level.shift();
        self.names.change(wire, |octet| octet | bits).map_err(|full| full.to_string())?;
        Ok(())
    }

    /// Takes a name out at the end.
    pub(super) fn disable(&mut self, name: &str, level: Level, reach: Reach) -> Result<(), String> {
        let mut buffer = [0; MAX_NAME_LEN];
        let wire = domains::wire_of(name, &mut buffer)?;
        self.disabled.push((wire.into(), reach.bits() << level.shift()));
        Ok(())
    }

    /// Adds a regular expression for the text of a name, in lower case and with the dot at its end.
    pub(super) fn add_pattern(&mut self, regex: String, level: Level) -> Result<(), String> {
        let count: usize = self.patterns.iter().map(Vec::len).sum();
        if count >= MAX_PATTERNS {
            return Err(format!("the list has {MAX_PATTERNS} patterns already"));
        }
        compile(std::slice::from_ref(&regex), MAX_COMPILED / MAX_PATTERNS * 8)?;
        let [listed, excepted, important, spared] = &mut self.patterns;
        match level {
            Level::Listed => listed,
            Level::Excepted => excepted,
            Level::Important => important,
            Level::Spared => spared,
        }
        .push(regex);
        Ok(())
    }

    /// Names, patterns by level, and records.
    #[allow(clippy::type_complexity, reason = "the parts of a list, taken apart at once")]
    pub(super) fn finish(
        mut self,
    ) -> (NameSet, [RegexSet; LEVELS], HashMap<(u32, bool), Vec<Record>>, Option<String>) {
        for (wire, bits) in &self.disabled {
            self.names.change(wire, |octet| octet & !bits).ok();
        }
        self.names.shrink();
        let mut problem = None;
        let patterns = self.patterns.map(|patterns| {
            compile(&patterns, MAX_COMPILED).unwrap_or_else(|error| {
                problem = Some(error);
                RegexSet::empty()
            })
        });
        (self.names, patterns, self.records, problem)
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

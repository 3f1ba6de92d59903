//! What the checks share: collecting problems, and the checks of texts, lists, durations and names.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{CLUSTER_DNS, Problem};
use crate::units::{Duration, Name, Regex};

/// Collects problems.
#[derive(Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    /// Octets of all regular expressions.
    pub(super) regexes: usize,
}

impl Report {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    /// Adds a problem unless the condition holds.
    pub(super) fn require(
        &mut self,
        holds: bool,
        path: impl Into<String>,
        message: impl Into<String>,
    ) {
        if !holds {
            self.add(path, message);
        }
    }

    /// Parses a text; what is no such thing is a problem.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(
        &mut self,
        path: &str,
        text: &str,
    ) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.add(path, quoted(text, &error))).ok()
    }

    /// Parses a regular expression, of which all together are bounded.
    pub(super) fn regex(&mut self, path: &str, text: &str) -> Option<Regex> {
        let regex = self.parse::<Regex>(path, text)?;
        self.regexes += regex.size();
        Some(regex)
    }

    /// Parses a list of texts that must all differ by what they mean, each with its index.
    pub(super) fn parse_all<T>(&mut self, path: &str, texts: &[String]) -> Vec<(usize, T)>
    where
        T: FromStr<Err: fmt::Display> + PartialEq,
    {
        let mut parsed: Vec<(usize, T)> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(value) = self.parse::<T>(&path, text) else { continue };
            match parsed.iter().find(|(_, known)| *known == value) {
                Some((first, _)) => {
                    self.add(path, format!("{text} stands here twice, first as item {first}"))
                }
                None => parsed.push((index, value)),
            }
        }
        parsed
    }

    /// Checks a duration and its bounds.
    pub(super) fn duration(
        &mut self,
        path: &str,
        text: Option<&str>,
        [least, most]: [Duration; 2],
    ) {
        let Some(duration) = text.and_then(|text| self.parse::<Duration>(path, text)) else {
            return;
        };
        let is_within = (least..=most).contains(&duration);
        self.require(is_within, path, format!("{duration} is out of range, {least} to {most}"));
    }

    /// Checks that a number is one at least, and within its bound.
    pub(super) fn count(&mut self, path: &str, count: Option<u32>, most: u32) {
        let is_within = count.is_none_or(|count| (1..=most).contains(&count));
        self.require(is_within, path, format!("out of range, 1 to {most}"));
    }

    /// Checks that names are there, are names, and are there once.
    pub(super) fn names<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut known: Vec<&str> = Vec::new();
        for (index, name) in names.enumerate() {
            let path = format!("{list}[{index}].name");
            if known.contains(&name) {
                self.add(path, format!("{name} is the name of another one, too"));
            } else if self.parse::<Name>(&path, name).is_some() {
                let is_free = name != CLUSTER_DNS;
                self.require(
                    is_free,
                    path,
                    format!("{CLUSTER_DNS} is what clusterDNS is called: take another name"),
                );
                known.push(name);
            }
        }
    }
}

/// The error, with the text that it is about.
pub(super) fn quoted(text: &str, error: &impl fmt::Display) -> String {
    if text.is_empty() { error.to_string() } else { format!("{error} (`{}`)", excerpt(text)) }
}

/// The beginning of a text: enough to find it.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_EXCERPT) {
        Some((end, _)) => Cow::from(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::from(text),
    }
}

/// Our guess at what fits into a line of a terminal, beside the rest.
const LONGEST_EXCERPT: usize = 80;

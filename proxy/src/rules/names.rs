//! Which rules may match a name, found without looking at each.
//!
//! Whole names, zones and subdomains stand in one table, by wire labels; a name is looked up once for each number of
//! labels that a pattern in the table has. So do beginnings and endings of texts, by their lengths. A hundred thousand
//! patterns cost as much as ten. Substrings and regular expressions are tried one by one; their number is bounded.

use std::{hash::BuildHasher, sync::Arc};

use dnsproxy_api::units::{NamePart, Regex, Zone};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::subject::Subject;
use crate::{
    lists::{self, List, Listed, Policy},
    message::ancestors::{self, Ancestors, DepthSet},
};

/// The names of all rules.
#[derive(Debug, Default)]
pub(super) struct NameIndex {
    names: HashTable<KnownName>,
    /// Numbers of labels that patterns of each kind have.
    whole: DepthSet,
    ancestors: DepthSet,
    prefixes: Texts,
    suffixes: Texts,
}

#[derive(Debug)]
struct KnownName {
    wire: Box<[u8]>,
    hash: u64,
    rules: SmallVec<[(Kind, u32); 1]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The name alone.
    Exact,
    /// And what is below it.
    Zone,
    /// What is below it alone.
    Subdomain,
}

/// Beginnings or endings of texts.
#[derive(Debug, Default)]
struct Texts {
    known: HashTable<KnownText>,
    /// Ascending, without repetition.
    lengths: Vec<usize>,
}

#[derive(Debug)]
struct KnownText {
    text: Box<str>,
    hash: u64,
    rules: SmallVec<[u32; 2]>,
}

/// The rules that the index has for a name, in order.
#[derive(Debug, Default)]
pub(super) struct Hits(SmallVec<[u32; 8]>);

impl Hits {
    /// Whether a rule is one of them.
    pub(super) fn has(&self, rule: usize) -> bool {
        u32::try_from(rule).is_ok_and(|rule| self.0.binary_search(&rule).is_ok())
    }
}

impl std::ops::Deref for Hits {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}

impl NameIndex {
    pub(super) fn add_exact(&mut self, name: &Zone, rule: u32) {
        self.whole.insert(name.labels().count());
        self.add(name, Kind::Exact, rule);
    }

    pub(super) fn add_zone(&mut self, zone: &Zone, rule: u32) {
        let depth = zone.labels().count();
        self.whole.insert(depth);
        self.ancestors.insert(depth);
        self.add(zone, Kind::Zone, rule);
    }

    pub(super) fn add_subdomain(&mut self, parent: &Zone, rule: u32) {
        self.ancestors.insert(parent.labels().count());
        self.add(parent, Kind::Subdomain, rule);
    }

    pub(super) fn add_prefix(&mut self, part: &NamePart, rule: u32) {
        self.prefixes.add(part.as_str(), rule);
    }

    pub(super) fn add_suffix(&mut self, part: &NamePart, rule: u32) {
        self.suffixes.add(&with_dot(part.as_str()), rule);
    }

    fn add(&mut self, name: &Zone, kind: Kind, rule: u32) {
        let wire = name.as_wire();
        let (hash, _) = ancestors::hash_of(wire);
        let is_same = |known: &KnownName| *known.wire == *wire;
        match self.names.find_mut(hash, is_same) {
            Some(known) => known.rules.push((kind, rule)),
            None => {
                let rules = SmallVec::from_buf([(kind, rule)]);
                let known = KnownName { wire: wire.into(), hash, rules };
                self.names.insert_unique(hash, known, |known| known.hash);
            }
        }
    }

    /// The rules of which a pattern in the index matches.
    pub(super) fn find(&self, subject: &Subject<'_>) -> Hits {
        let mut hits = SmallVec::new();
        if !self.names.is_empty() {
            self.find_names(subject.wire(), &mut hits);
        }
        if !self.prefixes.lengths.is_empty() {
            self.prefixes.find(subject.text(), str::get_start, &mut hits);
        }
        if !self.suffixes.lengths.is_empty() {
            self.suffixes.find(subject.text(), str::get_end, &mut hits);
        }
        if hits.len() > 1 {
            hits.sort_unstable();
            hits.dedup();
        }
        Hits(hits)
    }

    fn find_names(&self, wire: &[u8], hits: &mut SmallVec<[u32; 8]>) {
        for (depth, (suffix, hash)) in Ancestors::of(wire).enumerate() {
            let is_whole = suffix.len() == wire.len();
            let wanted = if is_whole { self.whole } else { self.ancestors };
            if !wanted.contains(depth) {
                continue;
            }
            let Some(known) = self.names.find(hash, |known| *known.wire == *suffix) else {
                continue;
            };
            let matching = known.rules.iter().filter(|(kind, _)| match kind {
                Kind::Exact => is_whole,
                Kind::Zone => true,
                Kind::Subdomain => !is_whole,
            });
            hits.extend(matching.map(|(_, rule)| *rule));
        }
    }
}

impl Texts {
    fn add(&mut self, text: &str, rule: u32) {
        let hash = hash_text(text);
        match self.known.find_mut(hash, |known| *known.text == *text) {
            Some(known) => known.rules.push(rule),
            None => {
                let known =
                    KnownText { text: text.into(), hash, rules: SmallVec::from_slice(&[rule]) };
                self.known.insert_unique(hash, known, |known| known.hash);
            }
        }
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
    }

    fn find(
        &self,
        text: &str,
        part: impl Fn(&str, usize) -> Option<&str>,
        hits: &mut SmallVec<[u32; 8]>,
    ) {
        for &len in self.lengths.iter().take_while(|len| **len <= text.len()) {
            let Some(part) = part(text, len) else { continue };
            if let Some(known) = self.known.find(hash_text(part), |known| *known.text == *part) {
                hits.extend_from_slice(&known.rules);
            }
        }
    }
}

/// What texts are hashed with: only the author of the rules adds some.
const SEED: u64 = 0x7e47;

fn hash_text(text: &str) -> u64 {
    FixedState::with_seed(SEED).hash_one(text)
}

/// The beginning or the end of a text, of so many octets.
trait Ends {
    fn get_start(&self, len: usize) -> Option<&str>;
    fn get_end(&self, len: usize) -> Option<&str>;
}

impl Ends for str {
    fn get_start(&self, len: usize) -> Option<&str> {
        self.get(..len)
    }

    fn get_end(&self, len: usize) -> Option<&str> {
        self.get(self.len().checked_sub(len)?..)
    }
}

/// Texts of names end in a dot, which may be left out in a pattern.
pub(super) fn with_dot(part: &str) -> String {
    if part.ends_with('.') { part.to_owned() } else { format!("{part}.") }
}

/// What must be tried for each name.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) substrings: Vec<NamePart>,
    pub(super) regexes: Vec<Regex>,
    pub(super) max_labels: Option<usize>,
    pub(super) lists: Vec<Arc<List>>,
}

impl Patterns {
    pub(super) fn is_empty(&self) -> bool {
        let Self { substrings, regexes, max_labels, lists } = self;
        substrings.is_empty() && regexes.is_empty() && max_labels.is_none() && lists.is_empty()
    }

    /// What its lists themselves want to be done.
    pub(super) fn policy(&self, subject: &Subject<'_>) -> Option<Policy<'_>> {
        if !self.lists.iter().any(|list| list.has_policies()) {
            return None;
        }
        match lists::look_up(&self.lists, subject) {
            Listed::With(policy) => Some(policy),
            Listed::No | Listed::Yes => None,
        }
    }

    pub(super) fn match_any(&self, subject: &Subject<'_>) -> bool {
        // The root is no name without a dot.
        let labels = subject.name.label_count();
        self.max_labels.is_some_and(|most| (1..=most).contains(&labels))
            || !matches!(lists::look_up(&self.lists, subject), Listed::No)
            || self.substrings.iter().any(|part| subject.text().contains(part.as_str()))
            || self.regexes.iter().any(|regex| regex.is_match(subject.text()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Name;

    fn hits(index: &NameIndex, name: &str) -> Vec<u32> {
        let name: Name<'_> = name.parse().unwrap();
        index.find(&Subject::new(&name)).to_vec()
    }

    #[test]
    fn names_match_by_labels_and_texts_by_characters() {
        let mut index = NameIndex::default();
        let zone = |text: &str| text.parse::<Zone>().unwrap();
        let part = |text: &str| text.parse::<NamePart>().unwrap();
        index.add_exact(&zone("a.example"), 0);
        index.add_zone(&zone("a.example"), 1);
        index.add_subdomain(&zone("a.example"), 2);
        index.add_prefix(&part("a.ex"), 3);
        index.add_suffix(&part("a.example"), 4);
        index.add_zone(&zone("b.a.example"), 5);
        let cases = [
            // (why, name, rules)
            ("itself", "a.example.", vec![0, 1, 3, 4]),
            ("in another case", "A.EXAMPLE.", vec![0, 1, 3, 4]),
            ("below", "x.a.example.", vec![1, 2, 4]),
            ("below both", "x.b.a.example.", vec![1, 2, 4, 5]),
            ("a longer label", "xa.example.", vec![4]),
            ("a dot inside of a label is none between labels", "x\\.a.example.", vec![4]),
            ("a NUL", "\\000.a.example.", vec![1, 2, 4]),
            ("the parent", "example.", vec![]),
            ("the root", ".", vec![]),
        ];

        for (why, name, expected) in cases {
            // `\.` is `\046` in texts, which does not end in `.a.example.`.
            assert_eq!(hits(&index, name), expected, "{why}");
        }
    }

    #[test]
    fn the_root_holds_every_name() {
        let mut index = NameIndex::default();
        index.add_zone(&Zone::root(), 7);
        index.add_subdomain(&Zone::root(), 8);

        assert_eq!(hits(&index, "a.example."), [7, 8]);
        assert_eq!(hits(&index, "."), [7]);
    }

    proptest! {
        /// The index finds what comparing each pattern would.
        #[test]
        fn the_index_agrees_with_comparing_each(
            patterns in prop::collection::vec(("[ab]{1,2}(\\.[ab]{1,2}){0,3}", 0..3u8), 1..20),
            name in "[ab]{1,2}(\\.[ab]{1,2}){0,4}",
        ) {
            let mut index = NameIndex::default();
            let subject: Zone = name.parse().unwrap();
            let mut expected = Vec::new();
            for (number, (pattern, kind)) in (0..).zip(&patterns) {
                let pattern: Zone = pattern.parse().unwrap();
                let is_match = match kind {
                    0 => { index.add_exact(&pattern, number); subject == pattern }
                    1 => { index.add_zone(&pattern, number); subject.is_within(&pattern) }
                    _ => { index.add_subdomain(&pattern, number); subject != pattern && subject.is_within(&pattern) }
                };
                if is_match {
                    expected.push(number);
                }
            }
            prop_assert_eq!(hits(&index, &name), expected);
        }
    }
}

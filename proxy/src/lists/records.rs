//! Records of names in a policy zone: many names have the same, which are kept once.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use dnsproxy_api::units::Record;
use foldhash::fast::FixedState;

use crate::rules::Statics;

/// Records of one name; our guess, more do not fit into a datagram.
const MAX_RECORDS: usize = 256;
/// The type of an alias.
const CNAME: u16 = 5;

/// Records in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Which set a name has: by its position, and whether it is for what is below the name.
    of_names: HashMap<(u32, bool), u32, FixedState>,
    /// Names with several records, which become sets in the end: there is none for each step on the way.
    several: HashMap<(u32, bool), Vec<Record>, FixedState>,
    sets: Vec<Arc<[Record]>>,
    known: HashMap<Arc<[Record]>, u32>,
    /// The text and the origin that were read last, and the record.
    last: Option<(String, String, Record)>,
    /// The set of one record that was made last.
    last_single: Option<(Record, u32)>,
}

impl Builder {
    /// Reads a record.
    pub(super) fn read(&mut self, text: String, origin: &str) -> Result<Record, String> {
        if let Some((known, known_origin, record)) = &self.last
            && *known == text
            && known_origin == origin
        {
            return Ok(record.clone());
        }
        let record = Record::read(&text, origin).map_err(|error| error.to_string())?;
        self.last = Some((text, origin.to_owned(), record.clone()));
        Ok(record)
    }

    /// Adds a record to those of a name, which has each one once (RFC 2181 section 5).
    pub(super) fn add(
        &mut self,
        position: u32,
        is_below: bool,
        record: Record,
    ) -> Result<(), String> {
        let key = (position, is_below);
        let Some(set) = self.of_names.get(&key) else {
            let set = self.single(record);
            self.of_names.insert(key, set);
            return Ok(());
        };
        let first = self.sets.get(*set as usize).map(|set| &**set).unwrap_or_default();
        let known = self.several.get(&key).map_or(first, Vec::as_slice);
        if known.iter().any(|known| known.is_same(&record)) {
            return Ok(());
        }
        let is_alias = |record: &Record| record.rtype == CNAME;
        if is_alias(&record) || known.iter().any(is_alias) {
            return Err("a CNAME record is alone (RFC 2181 section 10.1)".into());
        }
        let records = self.several.entry(key).or_insert_with(|| first.to_vec());
        if records.len() >= MAX_RECORDS {
            return Err(format!("the name has {MAX_RECORDS} records already"));
        }
        records.push(record);
        Ok(())
    }

    fn single(&mut self, record: Record) -> u32 {
        match &self.last_single {
            Some((known, set)) if *known == record => *set,
            _ => {
                let set = self.intern([record.clone()].into());
                self.last_single = Some((record, set));
                set
            }
        }
    }

    fn intern(&mut self, set: Arc<[Record]>) -> u32 {
        if let Some(known) = self.known.get(&set) {
            return *known;
        }
        let index = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(Arc::clone(&set));
        self.known.insert(set, index);
        index
    }

    /// What is looked up from now on.
    pub(super) fn finish(mut self) -> Records {
        let mut several: Vec<_> = std::mem::take(&mut self.several).into_iter().collect();
        // In one order, so that the same text has the same hash.
        several.sort_unstable_by_key(|(key, _)| *key);
        for (key, records) in several {
            let set = self.intern(records.into());
            self.of_names.insert(key, set);
        }
        drop(self.known);
        let mut of_names: Vec<_> = self
            .of_names
            .into_iter()
            .map(|((position, is_below), set)| (position, is_below, set))
            .collect();
        of_names.sort_unstable();
        let key = |(position, is_below, set)| (position, u32::from(is_below) << 31 | set);
        let mut hasher = DefaultHasher::new();
        self.sets.hash(&mut hasher);
        Records {
            content: hasher.finish(),
            of_names: of_names.into_iter().map(key).collect(),
            sets: self.sets.iter().map(|set| Statics::of_lines(set)).collect(),
        }
    }
}

/// Records by name.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Positions, ascending, each with the index of its set; the highest bit is for what is below the name.
    of_names: Vec<(u32, u32)>,
    sets: Vec<Statics>,
    /// A hash of the sets.
    content: u64,
}

impl Records {
    pub(super) fn get(&self, position: u32, is_below: bool) -> Option<&Statics> {
        let first = self.of_names.partition_point(|(known, _)| *known < position);
        let of_name =
            self.of_names.get(first..)?.iter().take_while(|(known, _)| *known == position);
        let mut sets = of_name.map(|(_, set)| *set);
        let set = sets.find(|set| set >> 31 == u32::from(is_below))?;
        self.sets.get((set & (u32::MAX >> 1)) as usize)
    }
}

impl Hash for Records {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of_names.hash(state);
        self.content.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sets on the way to the last one were kept: a small file made a large list.
    fn build(texts: &[String]) -> (Builder, Vec<Result<(), String>>) {
        let mut builder = Builder::default();
        let add = |text: &String| {
            let record = builder.read(text.clone(), "example.").unwrap();
            builder.add(0, false, record)
        };
        let added = texts.iter().map(add).collect();
        (builder, added)
    }

    #[test]
    fn a_record_that_is_there_already_is_passed_over() {
        let cases: [(&str, &[&str], usize); 4] = [
            ("the same line", &["60 A 192.0.2.1", "60 A 192.0.2.1"], 1),
            ("with another TTL", &["60 A 192.0.2.1", "60 A 192.0.2.2", "9 A 192.0.2.2"], 2),
            ("an alias", &["60 CNAME garden", "60 CNAME GARDEN.Example."], 1),
            ("texts have their case", &["60 TXT a", "60 TXT A"], 2),
        ];

        for (why, texts, count) in cases {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            let (builder, added) = build(&texts);
            assert!(added.iter().all(Result::is_ok), "{why}: {added:?}");
            let records = builder.finish();
            assert_eq!(records.get(0, false).unwrap().len(), count, "{why}");
        }
        // They take no room from others.
        let many = (0..2 * MAX_RECORDS).map(|it| format!("60 A 192.0.2.{}", it % MAX_RECORDS));
        let (_, added) = build(&many.collect::<Vec<_>>());
        assert!(added.iter().all(Result::is_ok), "{added:?}");
    }

    #[test]
    fn a_name_with_many_records_has_one_set() {
        let mut builder = Builder::default();
        for octet in 0..MAX_RECORDS {
            for position in 0..2 {
                let text = format!("60 A 192.0.2.{octet}");
                let record = builder.read(text, "example.").unwrap();
                builder.add(position, false, record).unwrap();
            }
        }
        let further = builder.read("60 A 198.51.100.1".into(), "example.").unwrap();
        assert!(builder.add(0, false, further).is_err());
        let alias = builder.read("60 CNAME other".into(), "example.").unwrap();
        assert!(builder.add(1, false, alias).is_err());

        let records = builder.finish();

        assert_eq!(records.sets.len(), 2, "the first record, and all");
        assert!(records.get(0, false).is_some() && records.get(1, false).is_some());
        assert!(records.get(0, true).is_none());
    }
}

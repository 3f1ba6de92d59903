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

    /// Adds a record to those of a name.
    pub(super) fn add(
        &mut self,
        position: u32,
        is_below: bool,
        record: Record,
    ) -> Result<(), String> {
        let set =
            self.of_names.get(&(position, is_below)).and_then(|set| self.sets.get(*set as usize));
        let mut records = set.map(|set| set.to_vec()).unwrap_or_default();
        if records.is_empty() {
            let set = self.single(record);
            self.of_names.insert((position, is_below), set);
            return Ok(());
        }
        let is_alias = record.rtype == CNAME;
        if is_alias || records.iter().any(|known| known.rtype == CNAME) {
            return Err("a CNAME record is alone (RFC 2181 section 10.1)".into());
        }
        if records.len() >= MAX_RECORDS {
            return Err(format!("the name has {MAX_RECORDS} records already"));
        }
        records.push(record);
        let set = self.intern(records.into());
        self.of_names.insert((position, is_below), set);
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
    pub(super) fn finish(self) -> Records {
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

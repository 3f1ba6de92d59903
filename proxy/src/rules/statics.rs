//! Records that a rule answers with.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use dnsproxy_api::{
    units::{Record as Line, Regex, Template},
    v1alpha1::OtherTypes,
};

use super::subject::{Subject, text_of};
use crate::message::{
    Name, Qclass, Qtype, Question,
    response::{Data, Record},
};

/// The records of a rule.
#[derive(Debug)]
pub struct Statics {
    pub(super) records: Vec<Static>,
    pub(super) other_types: OtherTypes,
    /// Whether upstreams are not asked for the targets of aliases.
    pub(super) leaves_aliases: bool,
    /// Those of the rule's patterns, for their groups.
    pub(super) regexes: Vec<Regex>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Static {
    pub(super) rtype: Qtype,
    pub(super) text: Text,
}

#[derive(Debug)]
pub(super) enum Text {
    /// The same for every query.
    Fixed(Line),
    /// With the name or groups of each.
    Made(Template),
}

impl Text {
    /// Whether both are one record for every query. What is made of a query is compared then, see [`distinct`].
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one.is_same(other),
            (Self::Fixed(_) | Self::Made(_), _) => false,
        }
    }
}

/// What a query gets.
#[derive(Clone, Debug)]
pub struct Given {
    /// The records; none is that there are none of this type.
    pub records: Vec<Record>,
    /// The TTL of a denial, in seconds.
    pub ttl: u32,
    /// Whether a rule says that there is nothing at the end of its aliases.
    pub is_denied: bool,
    /// Whether the end of its aliases is not looked up.
    pub is_left: bool,
    /// The route whose upstreams are asked for it, when a rule says so.
    pub route: Option<Arc<str>>,
}

impl Given {
    /// A hash of the records: a rule can make some of what was asked for, and another rule others of the same name.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for Record { owner, rtype, class, ttl, data } in &self.records {
            let Data { head, names, tail } = data;
            (owner.to_folded(), rtype, class, ttl, head, tail).hash(&mut hasher);
            names.iter().for_each(|name| name.to_folded().hash(&mut hasher));
        }
        hasher.finish()
    }
}

impl Statics {
    /// Records of a list, for a name that has no others. `CNAME *.zone` is the name that was asked for, in that zone.
    pub(crate) fn of_lines(lines: &[Line]) -> Self {
        let records = lines.iter().map(|line| {
            let rtype = Qtype(line.rtype);
            let text = match in_zone(line) {
                Some(template) => Text::Made(template),
                None => Text::Fixed(line.clone()),
            };
            Static { rtype, text }
        });
        Self {
            records: records.collect(),
            other_types: OtherTypes::NODATA,
            leaves_aliases: false,
            regexes: Vec::new(),
        }
    }

    /// How many records there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The records for a question; `None` when it is for a type that the rule leaves to others.
    pub(super) fn give(
        &self,
        question: &Question<'_>,
        subject: &Subject<'_>,
    ) -> Option<Result<Given, String>> {
        if question.qclass != Qclass::IN {
            return None;
        }
        let fits = |record: &&Static| {
            matches!(question.qtype, qtype if qtype == record.rtype || qtype == Qtype::ANY)
                || record.rtype == Qtype::CNAME
        };
        let fitting: Vec<_> = self.records.iter().filter(fits).collect();
        if fitting.is_empty() && self.other_types == OtherTypes::Forward {
            return None;
        }
        let is_made = fitting.iter().any(|record| matches!(record.text, Text::Made(_)));
        let records = fitting.into_iter().map(|record| self.make(record, question, subject));
        let ttl = dnsproxy_api::units::DEFAULT_TTL;
        Some(records.collect::<Result<Vec<_>, _>>().map(|mut records| {
            if is_made {
                records = distinct(records);
            }
            let is_denied = records.is_empty();
            Given { records, ttl, is_denied, is_left: self.leaves_aliases, route: None }
        }))
    }

    fn make(
        &self,
        record: &Static,
        question: &Question<'_>,
        subject: &Subject<'_>,
    ) -> Result<Record, String> {
        match &record.text {
            Text::Fixed(line) => of_line(question, line).ok_or_else(|| text_of(&question.name)),
            Text::Made(template) => {
                let text = subject.text();
                let captures = self.regexes.iter().find_map(|regex| regex.captures(text));
                let group = |index| captures.as_ref()?.get(index);
                let filled = template.fill(text, group);
                let line = filled.parse::<Line>().ok();
                let record = line.and_then(|line| of_line(question, &line));
                record.ok_or_else(|| format!("a record that is none: {filled}"))
            }
        }
    }
}

/// Each record once (RFC 2181 section 5): the name that is asked for can make two of them the same.
fn distinct(records: Vec<Record>) -> Vec<Record> {
    let mut distinct = Vec::<Record>::with_capacity(records.len());
    for record in records {
        let is_same = |it: &Record| it.rtype == record.rtype && it.data == record.data;
        if !distinct.iter().any(is_same) {
            distinct.push(record);
        }
    }
    distinct
}

/// The record whose target is the name that was asked for, in another zone.
fn in_zone(line: &Line) -> Option<Template> {
    let zone = line.data.strip_prefix(b"\x01*").filter(|_| Qtype(line.rtype) == Qtype::CNAME)?;
    let zone = Name::from_wire(zone.to_vec()).ok()?;
    format!("{} CNAME {{name}}{}", line.ttl, text_of(&zone)).parse().ok()
}

fn of_line(question: &Question<'_>, line: &Line) -> Option<Record> {
    let rtype = Qtype(line.rtype);
    Some(Record {
        owner: question.name.clone().into_owned(),
        rtype,
        class: Qclass::IN,
        ttl: line.ttl,
        data: Data::of(rtype, &line.data)?,
    })
}

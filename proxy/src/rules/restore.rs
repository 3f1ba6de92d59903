//! How names of an answer go back to those that were asked for, after the question was rewritten.
//!
//! The question goes back, and the names that are the new one; what aliases and other data lead to becomes another
//! name at both ends, so that no chain breaks. A denial stays one that caches keep: its SOA record is above what is
//! denied (RFC 2308 section 3). What does not agree with its signatures any more goes without them. None is authentic or an authority's any more.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    answer,
    change::{Change, NoName},
    rewrite::{parse, replace_zone},
    subject::text_of,
};
use crate::message::{
    Name, Qtype, Question,
    response::{Record, Response},
};

/// How the answer to one rewritten question becomes one to the question before it.
#[derive(Clone, Debug)]
pub struct Restoring {
    /// The question before.
    pub(super) asked: Question<'static>,
    /// The name after, when it is another one.
    pub(super) new_name: Option<Name<'static>>,
    /// How endings were exchanged.
    pub(super) ending: Option<Ending>,
    pub(super) restore: Arc<Restore>,
}

/// An ending that was put in the place of another.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// By labels.
    Zone { new: Name<'static>, old: Name<'static> },
    /// By characters.
    Text { new: String, old: String },
}

/// What a rule wants of the names in the answer.
#[derive(Debug, Default)]
pub(super) struct Restore {
    pub(super) owners: bool,
    pub(super) values: bool,
    pub(super) owner_changes: Vec<Change>,
    pub(super) value_changes: Vec<Change>,
}

/// Names of the answer that became others, by their folded wire form.
type Renamed = HashMap<Box<[u8]>, Name<'static>>;

/// The name that a negative answer is about, and what it is for the client.
struct Denied {
    was: Name<'static>,
    is: Name<'static>,
}

impl fmt::Display for Restoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, new_name, restore, ending: _ } = self;
        let Some(new) = new_name else {
            return write!(f, "the question is {} again", asked.qtype);
        };
        match (restore.owners, restore.values) {
            (true, true) => {
                write!(f, "owners and names in data that are {new} become {}", asked.name)?
            }
            (true, false) => write!(f, "owners that are {new} become {}", asked.name)?,
            (false, _) => write!(f, "names stay {new}")?,
        }
        let own = [("owners", &restore.owner_changes), ("data", &restore.value_changes)];
        own.iter().try_for_each(|(what, changes)| {
            changes
                .iter()
                .try_for_each(|it| write!(f, ", in {what} {} becomes {}", it.regex.as_str(), it.to))
        })
    }
}

impl Restoring {
    /// Does it.
    pub(super) fn apply(&self, response: &mut Response) -> Result<(), NoName> {
        let was_denied = answer::denied(response);
        let renamed = self.rename_values(response)?;
        let denied = was_denied.map(|was| Denied { is: self.end(&was, response, &renamed), was });
        let has_renamed_owner = self.rename_owners(response, denied.as_ref(), &renamed)?;
        if has_renamed_owner || !renamed.is_empty() {
            // Signatures are for other names, and verify nothing any more.
            let is_left = |it: &Record| it.rtype != Qtype::RRSIG && !is_own_alias(it);
            response.sections.iter_mut().for_each(|section| section.retain(is_left));
        }
        // Nobody has said that this is the authentic answer to the question before.
        response.header.disown();
        response.question = self.asked.clone();
        Ok(())
    }

    /// Changes the names in data. Returns those that became others.
    fn rename_values(&self, response: &mut Response) -> Result<Renamed, NoName> {
        let Restore { owners: _, values, owner_changes: _, value_changes } = &*self.restore;
        let mut renamed = Renamed::new();
        let records = response.records_mut().filter(|record| has_values(record.rtype));
        // "." is no name there, but says that there is none, or that it is the owner's (RFC 7505, RFC 9460).
        let names = records.flat_map(|record| &mut record.data.names);
        for name in names.filter(|name| name.label_count() > 0) {
            if let Some(new) = self.back(name, *values, value_changes, &renamed)? {
                renamed.insert(name.to_folded(), new.clone());
                *name = new;
            }
        }
        Ok(renamed)
    }

    /// What the name at the end of the aliases is now.
    fn end(&self, was: &Name<'_>, response: &Response, renamed: &Renamed) -> Name<'static> {
        if was.eq_ignore_case(&response.question.name) {
            return self.asked.name.clone();
        }
        renamed.get(&was.to_folded()).cloned().unwrap_or_else(|| was.clone().into_owned())
    }

    /// Changes the owners of records. Tells whether there was anything to change.
    fn rename_owners(
        &self,
        response: &mut Response,
        denied: Option<&Denied>,
        renamed: &Renamed,
    ) -> Result<bool, NoName> {
        let Restore { owners, values: _, owner_changes, value_changes: _ } = &*self.restore;
        let denied = denied.filter(|_| *owners);
        let mut is_changed = false;
        for Record { owner, rtype, .. } in response.records_mut() {
            let back = self.back(owner, *owners, owner_changes, renamed)?;
            let zone = denied.filter(|denied| *rtype == Qtype::SOA && denied.was.is_within(owner));
            let zone = zone.and_then(|it| self.zone(it, owner, back.as_ref().unwrap_or(owner)));
            if let Some(new) = zone.or(back) {
                *owner = new;
                is_changed = true;
            }
        }
        Ok(is_changed)
    }

    /// Whose the SOA record of a denial is, when it would have an owner that is not above what is denied: caches keep no
    /// such denial (RFC 2308 section 3: it is the SOA record of the zone).
    fn zone(
        &self,
        denied: &Denied,
        owner: &Name<'_>,
        restored: &Name<'_>,
    ) -> Option<Name<'static>> {
        if denied.is.is_within(restored) {
            return None;
        }
        let old = self.ending.as_ref().and_then(|ending| ending.undo(owner)?.ok());
        Some(old.filter(|old| denied.is.is_within(old)).unwrap_or_else(|| denied.is.clone()))
    }

    /// What a name of the answer becomes, when it becomes another one.
    fn back(
        &self,
        name: &Name<'_>,
        is_restored: bool,
        changes: &[Change],
        renamed: &Renamed,
    ) -> Result<Option<Name<'static>>, NoName> {
        if !changes.is_empty() {
            let text = text_of(name);
            if let Some(changed) = changes.iter().find_map(|change| change.apply(&text)) {
                return changed.map(Some);
            }
        }
        if !is_restored {
            return Ok(None);
        }
        if self.new_name.as_ref().is_some_and(|new| new.eq_ignore_case(name)) {
            return Ok(Some(self.asked.name.clone()));
        }
        // What data leads to is found there: the next record of a chain, the address of a server.
        if !renamed.is_empty()
            && let Some(new) = renamed.get(&name.to_folded())
        {
            return Ok(Some(new.clone()));
        }
        // An owner that nothing leads to goes back only when it is the name itself: else a chain would break.
        self.ending
            .as_ref()
            .filter(|_| self.restore.values)
            .and_then(|ending| ending.undo(name))
            .transpose()
    }
}

/// A CNAME record that led back to the name that was asked for leads to itself by now: what is there is the answer.
fn is_own_alias(record: &Record) -> bool {
    let target = record.data.names.first().filter(|_| record.rtype == Qtype::CNAME);
    target.is_some_and(|target| target.eq_ignore_case(&record.owner))
}

/// The types with names in their data that rules may change.
fn has_values(rtype: Qtype) -> bool {
    const SRV: u16 = 33;
    const NAPTR: u16 = 35;
    const DNAME: u16 = 39;
    const SVCB: u16 = 64;
    const HTTPS: u16 = 65;
    matches!(rtype, Qtype::CNAME | Qtype::SOA | Qtype::MX | Qtype::NS | Qtype::PTR)
        || matches!(rtype.0, SRV | NAPTR | DNAME | SVCB | HTTPS)
}

impl Ending {
    /// The name with the old ending, if it has the new one.
    fn undo(&self, name: &Name<'_>) -> Option<Result<Name<'static>, NoName>> {
        match self {
            Self::Zone { new, old } => replace_zone(name, new, old),
            Self::Text { new, old } => old_text(&text_of(name), new, old).map(parse),
        }
    }
}

/// Two endings that begin with a dot are about two zones, and then those themselves stand for each other.
fn old_text(text: &str, new: &str, old: &str) -> Option<String> {
    if let (Some(new), Some(old)) = (new.strip_prefix('.'), old.strip_prefix('.'))
        && text.trim_end_matches('.') == new.trim_end_matches('.')
    {
        return Some(if old.is_empty() { ".".to_owned() } else { old.to_owned() });
    }
    let rest = text.strip_suffix(new)?;
    // It would have an empty label: no name that a client asks for becomes this one.
    let is_name = !old.starts_with('.') || !(rest.is_empty() || rest.ends_with('.'));
    is_name.then(|| format!("{rest}{old}"))
}

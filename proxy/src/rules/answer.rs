//! The answer side: what an upstream said becomes what the client gets.

use super::{Step, change::NoName};
use crate::message::{
    Name, Qtype, Question, Rcode,
    response::{Record, Response},
};

/// Undoes and changes, the last step first.
///
/// # Errors
///
/// The text that a rule made of a name and that is none.
pub fn undo(steps: &[Step], response: &mut Response, rcode: &mut Rcode) -> Result<(), NoName> {
    steps.iter().rev().try_for_each(|step| step.apply(response, rcode))
}

/// Leads the first CNAME record from an index on that a rule has another target for to that one: the records before
/// it stay, those behind it go. Returns the new target, which is to be looked up, and the index of what comes of
/// that; `None` when nothing changes, or when the question was for the CNAME record itself.
///
/// # Errors
///
/// The text that a rule made of a name and that is none.
pub fn redirect(
    steps: &[Step],
    response: &mut Response,
    from: usize,
) -> Result<Option<(Name<'static>, usize)>, NoName> {
    let changes = steps.iter().filter_map(|step| match step {
        Step::Change(changes) => changes.cname_target.as_ref(),
        Step::Restore(_) | Step::Exists(_) => None,
    });
    let changes: Vec<_> = changes.collect();
    let [answers, authorities, _] = &mut response.sections;
    for (index, record) in answers.iter_mut().enumerate().skip(from) {
        let Some(target) = record.data.names.first_mut().filter(|_| record.rtype == Qtype::CNAME)
        else {
            continue;
        };
        let text = super::subject::text_of(target);
        let Some(new) = changes.iter().find_map(|change| change.apply(&text)) else { continue };
        let new = new?;
        if new.eq_ignore_case(target) {
            continue;
        }
        *target = new.clone();
        response.header.disown();
        if response.question.qtype == Qtype::CNAME {
            return Ok(None);
        }
        answers.truncate(index + 1);
        authorities.clear();
        return Ok(Some((new, index + 1)));
    }
    Ok(None)
}

/// The name that records of our own lead to, when they are no answer by themselves.
pub fn alias_of(question: &Question<'_>, given: &[Record]) -> Option<Name<'static>> {
    let is_alias = |record: &Record| record.rtype == Qtype::CNAME;
    if !given.iter().any(is_alias) {
        return None;
    }
    let mut response = Response::empty(question.clone().into_owned());
    let [answers, ..] = &mut response.sections;
    answers.extend_from_slice(given);
    open_end(&response)
}

/// The name at the end of the CNAME records of an answer, beginning with the question's; `None` when there are none,
/// or when the end has records, or when they lead in a circle.
pub fn open_end(response: &Response) -> Option<Name<'static>> {
    let question = &response.question;
    if matches!(question.qtype, Qtype::CNAME | Qtype::ANY) {
        return None;
    }
    let [answers, ..] = &response.sections;
    let mut name = &question.name;
    for _ in 0..=answers.len() {
        let mut owned = answers.iter().filter(|record| record.owner.eq_ignore_case(name));
        if owned.clone().any(|record| record.rtype == question.qtype) {
            return None;
        }
        match owned.find(|record| record.rtype == Qtype::CNAME) {
            Some(alias) => name = alias.data.names.first()?,
            None => return (!name.eq_ignore_case(&question.name)).then(|| name.clone()),
        }
    }
    // More steps than records: they lead in a circle.
    None
}

/// The name that a negative answer is about: that at the end of its CNAME records, or else the question's (RFC 2308
/// section 2). `None` when there is an answer.
pub fn denied(response: &Response) -> Option<Name<'static>> {
    let [answers, ..] = &response.sections;
    open_end(response).or_else(|| answers.is_empty().then(|| response.question.name.clone()))
}

//! CoreDNS's `log`: which queries are logged, and how. More than there must not be logged here.

use std::collections::BTreeSet;

use dnsproxy_api::v1alpha1::{QueryLog, QueryLogMode};

use super::syntax::Directive;
use crate::import::Draft;

/// `log [NAME...] [FORMAT] { class CLASS... }`; without names it is for those of the block.
pub(super) fn read(
    directive: &Directive,
    is_for_all: bool,
    draft: &mut Draft,
) -> Result<(), String> {
    let (names, format) = arguments(&directive.args);
    let is_for_all = is_for_all && names.is_empty() || names.iter().any(|name| *name == ".");
    if !is_for_all {
        return Err(OF_SOME_NAMES.into());
    }
    let mode = match &*classes(directive, draft).into_iter().collect::<Vec<_>>() {
        [] => QueryLogMode::All,
        classes if classes.contains(&"all") => QueryLogMode::All,
        ["denial", "error", "success"] => QueryLogMode::All,
        ["error"] => QueryLogMode::Failures,
        ["denial", "error"] => {
            let reason = "failures alone are logged (`logging.queries.mode: Failures`): to log denials, all queries must be";
            draft.note(directive.line, directive.text(), reason);
            QueryLogMode::Failures
        }
        _ => return Err(OF_SOME_CLASSES.into()),
    };
    if let Some(format) = format {
        let reason = format!("`{format}` is left out: lines are JSON, with fields of their own");
        draft.note(directive.line, directive.text(), reason);
    }
    let queries = Some(QueryLog { mode, ..QueryLog::default() });
    draft.spec.logging.get_or_insert_default().queries = queries;
    Ok(())
}

/// What stands last is a format, if it has a place that is filled in. A word that stands alone is a name.
fn arguments(args: &[String]) -> (&[String], Option<&String>) {
    match args.split_last() {
        Some((last, names)) if last.contains('{') => (names, Some(last)),
        _ => (args, None),
    }
}

fn classes<'d>(directive: &'d Directive, draft: &mut Draft) -> BTreeSet<&'d str> {
    let mut classes = BTreeSet::new();
    for line in &directive.lines {
        match line.words.split_first() {
            Some((word, rest)) if word == "class" => {
                classes.extend(rest.iter().map(String::as_str))
            }
            _ => {
                draft.note(line.number, line.words.join(" "), "there is nothing like it here");
            }
        }
    }
    classes
}

const OF_SOME_NAMES: &str = "nothing is logged: here queries for all names are, or none; for all, `logging: {queries: {mode: All}}`";

const OF_SOME_CLASSES: &str = "nothing is logged: here all queries are, or failures alone; for all, `logging: {queries: {mode: All}}`";

//! CoreDNS's `log`: which queries are logged, and how. More than there must not be logged here.

use std::collections::BTreeSet;

use dnsproxy_api::v1alpha1::{QueryLog, QueryLogMode};

use super::syntax::{Block, Directive};
use crate::import::Draft;

/// Whether each block logs its queries, and of classes that can be logged here.
pub(super) fn is_everywhere(blocks: &[Block]) -> bool {
    blocks.iter().all(|block| {
        let mut logs = block.directives.iter().filter(|it| it.name == "log");
        logs.any(|it| is_for_all(it) && mode(&classes(it)).is_some())
    })
}

/// `log [NAME...] [FORMAT] { class CLASS... }`; without names it is for those of the block.
pub(super) fn read(
    directive: &Directive,
    is_everywhere: bool,
    draft: &mut Draft,
) -> Result<(), String> {
    if !(is_everywhere && is_for_all(directive)) {
        return Err(OF_SOME_NAMES.into());
    }
    tell_of_lines(directive, draft);
    let classes = classes(directive);
    let mode = mode(&classes).ok_or(OF_SOME_CLASSES)?;
    if mode == QueryLogMode::Failures && classes.contains("denial") {
        let reason = "failures alone are logged (`logging.queries.mode: Failures`): to log denials, all queries must be";
        draft.note(directive.line, directive.text(), reason);
    }
    let (_, format) = arguments(&directive.args);
    if let Some(format) = format {
        let reason = format!("`{format}` is left out: lines are JSON, with fields of their own");
        draft.note(directive.line, directive.text(), reason);
    }
    let logging = draft.spec.logging.get_or_insert_default();
    let known = logging.queries.as_ref().map_or(mode, |known| known.mode);
    // Of two blocks the one that logs less counts.
    let least = if known == mode { mode } else { QueryLogMode::Failures };
    logging.queries = Some(QueryLog { mode: least, ..QueryLog::default() });
    if known != mode {
        draft.note(directive.line, directive.text(), OF_SOME_BLOCKS);
    }
    Ok(())
}

/// Whether it is for all names of its block.
fn is_for_all(directive: &Directive) -> bool {
    let (names, _) = arguments(&directive.args);
    names.is_empty() || names.iter().any(|name| name == ".")
}

/// The mode that logs these classes and not more than them; none for some.
fn mode(classes: &BTreeSet<&str>) -> Option<QueryLogMode> {
    match &*classes.iter().copied().collect::<Vec<_>>() {
        [] | ["denial", "error", "success"] => Some(QueryLogMode::All),
        classes if classes.contains(&"all") => Some(QueryLogMode::All),
        ["error"] | ["denial", "error"] => Some(QueryLogMode::Failures),
        _ => None,
    }
}

/// What stands last is a format, if it has a place that is filled in. A word that stands alone is a name.
fn arguments(args: &[String]) -> (&[String], Option<&String>) {
    match args.split_last() {
        Some((last, names)) if last.contains('{') => (names, Some(last)),
        _ => (args, None),
    }
}

fn classes(directive: &Directive) -> BTreeSet<&str> {
    let lines = directive.lines.iter().filter_map(|line| line.words.split_first());
    lines.filter(|(word, _)| *word == "class").flat_map(|(_, rest)| rest).map(|it| &**it).collect()
}

fn tell_of_lines(directive: &Directive, draft: &mut Draft) {
    for line in directive.lines.iter().filter(|it| it.words.first().is_none_or(|it| it != "class"))
    {
        draft.note(line.number, line.words.join(" "), "there is nothing like it here");
    }
}

const OF_SOME_NAMES: &str = "nothing is logged: here queries for all names are, or none; for all, `logging: {queries: {mode: All}}`";

const OF_SOME_CLASSES: &str = "nothing is logged: here all queries are, or failures alone; for all, `logging: {queries: {mode: All}}`";

const OF_SOME_BLOCKS: &str = "failures alone are logged, as another block has it: for all, `logging: {queries: {mode: All}}`";

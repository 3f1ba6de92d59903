//! Notes as they are told: what is the same for many lines, once.

use std::collections::HashMap;

use crate::import::Note;

/// Many notes with one reason are told once, with how many they are and their lines: a list may have seventy thousand.
pub(super) fn shortened(notes: Vec<Note>) -> Vec<Note> {
    const MANY: usize = 4;
    let mut groups: Vec<Vec<Note>> = Vec::new();
    let mut at = HashMap::<String, usize>::new();
    for note in notes {
        let group = *at.entry(note.reason.clone()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(note),
            None => groups.push(vec![note]),
        }
    }
    let mut kept = Vec::new();
    for group in groups {
        if let ([first, others @ ..], MANY..) = (&*group, group.len()) {
            let lines: Vec<_> = others.iter().map(|note| note.line).collect();
            let subject =
                format!("{} and {} more ({})", first.subject, others.len(), ranges(&lines));
            kept.push(Note { subject, ..first.clone() });
        } else {
            kept.extend(group);
        }
    }
    kept.sort_by_key(|note| note.line);
    kept
}

/// `lines 3-5, 8`; of many the first.
fn ranges(lines: &[usize]) -> String {
    const MANY: usize = 8;
    let runs = lines.chunk_by(|one, next| *next <= one + 1);
    let run = |run: &[usize]| match run {
        [first, .., last] if first != last => format!("{first}-{last}"),
        [first, ..] => first.to_string(),
        [] => String::new(),
    };
    let runs: Vec<_> = runs.map(run).collect();
    let first = runs.iter().take(MANY).map(String::as_str).collect::<Vec<_>>().join(", ");
    if runs.len() > MANY { format!("lines {first}, ...") } else { format!("lines {first}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notes_with_one_reason_are_told_once() {
        let note = |line: usize, reason: &str| Note {
            line,
            subject: format!("option {line}"),
            reason: reason.to_owned(),
        };
        let mut notes: Vec<_> = (1..=3).map(|line| note(line, "few")).collect();
        notes.extend((30..=60).filter(|line| *line != 50).map(|line| note(line, "many")));
        notes.extend((100..200).step_by(2).map(|line| note(line, "apart")));

        let kept = shortened(notes);

        let of = |reason| kept.iter().filter(|it| it.reason == reason).collect::<Vec<_>>();
        assert_eq!((of("few").len(), of("many").len(), of("apart").len()), (3, 1, 1));
        let many = of("many")[0];
        assert_eq!((many.line, &*many.subject), (30, "option 30 and 29 more (lines 31-49, 51-60)"));
        let apart = &*of("apart")[0].subject;
        let expected = "option 100 and 49 more (lines 102, 104, 106, 108, 110, 112, 114, 116, ...)";
        assert_eq!(apart, expected);
    }
}

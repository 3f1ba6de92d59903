//! Texts of a status: the API server refuses a whole status for one that is longer than it may be, and
//! many come from elsewhere: from pods, from the API server, from manifests.

/// The text, cut where it is longer than `most` octets: at the end of a line, a sentence or a word, where
/// there is one not far before. What is left out is told by its length.
pub(super) fn bounded(mut text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most.saturating_sub(MORE));
    let head = text.get(..end).unwrap_or_default();
    let near = end / 2..;
    let cuts = ENDS.iter().filter_map(|mark| Some(head.rfind(mark)? + mark.trim_end().len()));
    let end = cuts.into_iter().find(|cut| near.contains(cut)).unwrap_or(end);
    let more = text.get(end..).unwrap_or_default().chars().count();
    text.truncate(end);
    text.push_str(&format!(" ... ({more} more characters)"));
    text
}

/// Where a text is best cut, the best coming first.
const ENDS: [&str; 5] = ["\n", ". ", "; ", ", ", " "];
/// Room for what is said of the rest.
const MORE: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_cut_where_something_ends() {
        let lines = "spec.rules[0]: wrong\n".repeat(10);
        let sentences = "It does not start. ".repeat(10);
        let words = "a word ".repeat(30);
        let cases = [
            ("short enough", "all of it".to_owned(), "all of it"),
            (
                "at a line",
                lines,
                "spec.rules[0]: wrong\nspec.rules[0]: wrong ... (169 more characters)",
            ),
            (
                "at a sentence",
                sentences,
                "It does not start. It does not start. ... (153 more characters)",
            ),
            ("at a word", words, "a word a word a word a word a word a word a word a"),
            ("nowhere: between characters", "ä".repeat(100), "ääääääääääääääääääääääääää ... "),
        ];

        for (why, text, expected) in cases {
            let cut = bounded(text, 100);
            assert!(cut.starts_with(expected), "{why}: {cut}");
            assert!(cut.len() <= 100, "{why}: {cut}");
        }
    }
}

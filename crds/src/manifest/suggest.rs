//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest candidate, letter case aside, if few enough edits make one the other.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let lower = word.to_lowercase();
    candidates
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| *edits <= likely_edits(candidate.len().min(word.len())))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// A third of the word; in a short one a letter more, since two swapped letters count twice.
fn likely_edits(length: usize) -> usize {
    (length / 3).max((length / 2).min(2))
}

/// `, did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    nearest(word, candidates).map(|word| format!(", did you mean {word}?")).unwrap_or_default()
}

/// Insertions, deletions and replacements that make one word the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, c) in from.chars().take(MAX_WORD).enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (above, other) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(c != other);
            diagonal = *above;
            *above = replaced.min(left + 1).min(diagonal + 1);
            left = *above;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default() + from.chars().count().saturating_sub(MAX_WORD)
}

/// No known word is longer.
const MAX_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let words = ["upstreams", "routes", "clusterDNS", "limits", "tls"];
        let cases = [
            // (why, word, expected)
            ("one letter missing", "upstream", Some("upstreams")),
            ("letter case", "clusterDns", Some("clusterDNS")),
            ("a slip", "ruotes", Some("routes")),
            ("something else", "cache", None),
            ("short words are not guessed", "xyz", None),
            ("nothing", "", None),
        ];

        for (why, word, expected) in cases {
            assert_eq!(nearest(word, words.into_iter()), expected, "{why}");
        }
    }
}

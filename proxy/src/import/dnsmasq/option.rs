//! One option on a line: its key, its value, and the parts of that.

/// One line: `key=value`, or `key` alone.
pub(super) struct Opt<'t> {
    pub(super) line: usize,
    pub(super) key: &'t str,
    pub(super) value: &'t str,
    pub(super) text: &'t str,
}

impl<'t> Opt<'t> {
    pub(super) fn read(line: usize, text: &'t str) -> Option<Self> {
        let text = without_comment(text).trim();
        let text = text.strip_prefix("--").unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Some(Self { line, key: key.trim(), value: value.trim(), text })
    }

    /// The parts of the value, without quotes.
    pub(super) fn parts(&self) -> Vec<String> {
        split(self.value)
    }
}

/// A comment begins with `#` at the start of the line or behind a space; a `#` inside of a word is a port.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    let mut is_quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if before.is_whitespace() && !is_quoted => return line.get(..at).unwrap_or(line),
            _ => {}
        }
        before = c;
    }
    line
}

/// Splits at commas outside of quotes.
fn split(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in value.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

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

/// The characters of a text, and whether each stands inside of quotes, which are left out. There a backslash goes before
/// quotes, itself, and the letters of control characters; elsewhere it is one of its own.
struct Characters<'t> {
    rest: std::str::CharIndices<'t>,
    is_quoted: bool,
}

impl<'t> Characters<'t> {
    fn of(text: &'t str) -> Self {
        Self { rest: text.char_indices(), is_quoted: false }
    }

    /// What stands for itself behind a backslash, or for a control character.
    fn escaped(&mut self) -> Option<char> {
        let c = match self.rest.clone().next()?.1 {
            c @ ('"' | '\\') => c,
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'b' => '\x08',
            'e' => '\x1b',
            _ => return None,
        };
        self.rest.next();
        Some(c)
    }
}

impl Iterator for Characters<'_> {
    /// With its place in the text.
    type Item = (usize, char, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (at, c) = self.rest.next()?;
            match c {
                '"' => self.is_quoted = !self.is_quoted,
                '\\' if self.is_quoted => return Some((at, self.escaped().unwrap_or(c), true)),
                c => return Some((at, c, self.is_quoted)),
            }
        }
    }
}

/// A comment begins with `#` at the start of the line or behind a space; a `#` inside of a word is a port.
fn without_comment(line: &str) -> &str {
    let mut is_behind_space = true;
    for (at, c, is_quoted) in Characters::of(line) {
        if c == '#' && is_behind_space && !is_quoted {
            return line.get(..at).unwrap_or(line);
        }
        is_behind_space = c.is_whitespace() && !is_quoted;
    }
    line
}

/// Splits at commas outside of quotes. Spaces around the parts do not count, unless they stand in quotes.
fn split(value: &str) -> Vec<String> {
    let mut parts = vec![Vec::new()];
    for (_, c, is_quoted) in Characters::of(value) {
        match parts.last_mut() {
            Some(part) if c != ',' || is_quoted => part.push((c, is_quoted)),
            _ => parts.push(Vec::new()),
        }
    }
    parts.iter().map(|part| trimmed(part)).collect()
}

fn trimmed(part: &[(char, bool)]) -> String {
    let is_space = |(c, is_quoted): &(char, bool)| c.is_whitespace() && !is_quoted;
    let start = part.iter().take_while(|it| is_space(it)).count();
    let end = part.iter().rev().take_while(|it| is_space(it)).count();
    let kept = part.get(start..part.len().saturating_sub(end)).unwrap_or_default();
    kept.iter().map(|(c, _)| c).collect()
}

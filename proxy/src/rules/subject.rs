//! The name that rules are matched against, in the forms that they need.

use std::{cell::OnceCell, fmt::Write};

use crate::message::{Name, name::MAX_NAME_LEN};

/// A name, in lower case; its text is made when a pattern needs it.
pub(super) struct Subject<'n> {
    pub(super) name: &'n Name<'n>,
    folded: [u8; MAX_NAME_LEN],
    len: usize,
    text: OnceCell<String>,
}

impl<'n> Subject<'n> {
    pub(super) fn new(name: &'n Name<'n>) -> Self {
        let mut folded = [0; MAX_NAME_LEN];
        let len = name.fold(&mut folded).len();
        Self { name, folded, len, text: OnceCell::new() }
    }

    /// In wire form and in lower case.
    pub(super) fn wire(&self) -> &[u8] {
        self.folded.get(..self.len).unwrap_or_default()
    }

    /// What `prefix`, `suffix`, `substring` and `regex` compare.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| text_of(self.name))
    }
}

/// Lower case, unusual octets as `\DDD`, with the dot at the end.
pub(super) fn text_of(name: &Name<'_>) -> String {
    let mut text = String::with_capacity(MAX_NAME_LEN);
    for label in name.labels() {
        for octet in label {
            match octet.to_ascii_lowercase() {
                usual @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/') => {
                    text.push(char::from(usual));
                }
                other => {
                    write!(text, "\\{other:03}").ok();
                }
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_back_to_the_same_name() {
        let cases = [
            (".", "."),
            ("WWW.Example.", "www.example."),
            ("a\\.b.example.", "a\\046b.example."),
            ("\\000\\255*.x.", "\\000\\255\\042.x."),
        ];

        for (name, expected) in cases {
            let name: Name<'_> = name.parse().unwrap();
            assert_eq!(text_of(&name), expected);
            assert!(expected.parse::<Name<'_>>().unwrap().eq_ignore_case(&name));
        }
    }
}

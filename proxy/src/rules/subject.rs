//! The name that rules are matched against, in the forms that they need.

use std::{
    cell::{Cell, OnceCell},
    fmt::Write,
};

use crate::message::{Name, name::MAX_NAME_LEN};

/// A name, in lower case; its text is made when a pattern needs it.
pub(crate) struct Subject<'n> {
    pub(super) name: &'n Name<'n>,
    folded: [u8; MAX_NAME_LEN],
    len: usize,
    text: OnceCell<String>,
    is_uncertain: Cell<bool>,
}

impl<'n> Subject<'n> {
    pub(crate) fn new(name: &'n Name<'n>) -> Self {
        let mut folded = [0; MAX_NAME_LEN];
        let len = name.fold(&mut folded).len();
        Self { name, folded, len, text: OnceCell::new(), is_uncertain: Cell::new(false) }
    }

    /// In wire form and in lower case.
    pub(crate) fn wire(&self) -> &[u8] {
        self.folded.get(..self.len).unwrap_or_default()
    }

    /// Something that might have said more about the name is out of reach.
    pub(crate) fn set_uncertain(&self) {
        self.is_uncertain.set(true);
    }

    pub(super) fn is_uncertain(&self) -> bool {
        self.is_uncertain.get()
    }

    /// What `prefix`, `suffix`, `substring` and `regex` compare.
    pub(crate) fn text(&self) -> &str {
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

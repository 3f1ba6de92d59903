//! What goes to a terminal, be it from strangers, and what is typed there.

use std::{
    io::{self, Write},
    panic,
    path::Path,
    process,
};

use clap::ValueEnum;
use dnsproxy_api::validate::Problem;

use crate::message::Qtype;

/// Has a command whose reader has gone (`| head`) end as one that a signal ended, and one whose words find no room (a full
/// disk) say so, in place of a panic.
pub fn end_without_reader() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to") {
            if text.contains("Broken pipe") {
                process::exit(128 + nix::libc::SIGPIPE);
            }
            // To where nobody may read it either.
            writeln!(io::stderr(), "dnsproxy: {text}").ok();
            process::exit(1);
        }
        others(panic);
    }));
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Reads a type: a mnemonic, or TYPE and a number.
pub(super) fn qtype(text: &str) -> Result<Qtype, String> {
    Qtype::from_text(text).ok_or_else(|| "no type".to_owned())
}

/// `file:line: problem`, as editors and terminals make it a link, with a word before it. A manifest may be a stranger's.
pub(super) fn placed(file: &Path, problem: &Problem, word: &str) -> String {
    let (file, told) = (file.display(), printable(&format!("{word}{problem}")));
    match problem.line {
        Some(line) => format!("{file}:{line}: {told}"),
        None => format!("{file}: {told}"),
    }
}

/// The text in one line of which no letter gives orders: control characters stand there by number, as in
/// zone files (RFC 1035 section 5.1). A terminal would obey them: clear itself, or show another answer.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.push_str(&format!("\\{:03}", u32::from(letter)));
        } else {
            line.push(letter);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_gives_no_orders_to_a_terminal() {
        let cases = [
            ("letters of all languages stay", "é 例 🤣 \\", "é 例 🤣 \\"),
            ("an escape sequence", "a\x1b[2Jb", "a\\027[2Jb"),
            ("a second line", "real\n;; forged\r", "real\\010;; forged\\013"),
            ("the eight-bit form of an escape sequence", "\u{9b}2J", "\\1552J"),
            ("nothing at all, and delete", "\0\x7f", "\\000\\127"),
        ];

        for (why, text, expected) in cases {
            assert_eq!(printable(text), expected, "{why}");
        }
    }
}

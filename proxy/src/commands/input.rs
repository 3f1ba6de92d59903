//! The file that a command works on.

use std::{fs::File, io, path::Path};

use anyhow::Context;

use crate::config::read_bounded;

/// Its text; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let octets = if path == Path::new("-") {
        read_bounded(io::stdin().lock())
    } else {
        File::open(path).and_then(read_bounded)
    };
    let text = octets.map_err(anyhow::Error::from).and_then(|octets| {
        String::from_utf8(octets).map_err(|error| error.utf8_error()).context("not UTF-8")
    });
    text.with_context(|| format!("cannot read {}", path.display()))
}

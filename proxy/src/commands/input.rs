//! The file that a command works on.

use std::{fs::File, io, path::Path};

use anyhow::Context;

use crate::config::read_bounded;

/// Its text; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read_octets(path)?).map_err(|error| error.utf8_error());
    text.context("not UTF-8").with_context(|| format!("cannot read {}", path.display()))
}

/// The same, whatever they are.
pub(super) fn read_octets(path: &Path) -> anyhow::Result<Vec<u8>> {
    let octets = if path == Path::new("-") {
        read_bounded(io::stdin().lock())
    } else {
        File::open(path).and_then(read_bounded)
    };
    octets.with_context(|| format!("cannot read {}", path.display()))
}

//! The README, as far as it can be run.

use std::path::Path;

/// The project's folder.
///
/// # Panics
/// When there is none.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder above tests/")
}

/// The text.
///
/// # Panics
/// When there is none.
pub fn text() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("a README")
}

/// The blocks of code in this language.
pub fn blocks(language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    let text = text();
    let after = text.split(&start).skip(1);
    after.filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

/// The commands that it says to type, without the prompt; a line that goes on is one with the next.
pub fn commands() -> Vec<String> {
    let joined = blocks("console").join("\n").replace("\\\n", " ");
    let typed = joined.lines().filter_map(|line| line.strip_prefix("$ "));
    typed.map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned()).collect()
}

/// The first cells of the rows of the table under this heading, without their backticks.
///
/// # Panics
/// When there is no such table.
pub fn first_cells(heading: &str) -> Vec<String> {
    let text = text();
    let (_, table) = text.split_once(heading).expect("a table with this heading");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.split('|').nth(1)?.trim().replace('`', ""))).collect()
}

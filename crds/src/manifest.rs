//! Reading and writing a manifest.
//!
//! ```text
//! text --yaml--> nodes with lines --shape (the schema)--> DnsProxy --validate--> problems, each with path and line
//! ```
//!
//! The reader is strict where the types are not: what the schema does not know is a problem, and never
//! ignored. It reports everything at once. Fixed defaults of the schema are filled in, as the API server
//! does, and left out again by the writer. A text may have several documents; those of other kinds are
//! passed over, with a warning, when there is a DnsProxy beside them.

use serde_json::Value;

use crate::{
    DnsProxy,
    validate::{self, Place, Problem},
};
use shape::Shape;
use yaml::Node;

pub use write::write;
pub(crate) use write::yaml_text;

mod kinds;
mod scalar;
mod schema;
mod shape;
mod suggest;
mod write;
mod yaml;

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// The objects, in their order.
    pub proxies: Vec<DnsProxy>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads every `DnsProxy` of a text.
///
/// # Errors
/// All problems of all documents, in the order of their lines.
pub fn read(text: &str, place: Place) -> Result<Manifests, Vec<Problem>> {
    read_with(
        text,
        |proxy| validate::problems(proxy, place),
        |proxy| validate::warnings(proxy, place),
    )
}

/// Reads every `DnsProxy` of a text. Those that are sound may have problems that only `more` finds.
///
/// # Errors
/// All problems of all documents, in the order of their lines.
pub fn read_and(
    text: &str,
    place: Place,
    more: impl Fn(&DnsProxy) -> Vec<Problem>,
) -> Result<Manifests, Vec<Problem>> {
    let problems = |proxy: &DnsProxy| {
        let found = validate::problems(proxy, place);
        if found.is_empty() { more(proxy) } else { found }
    };
    read_with(text, problems, |proxy| validate::warnings(proxy, place))
}

/// Reads the only `DnsProxy` of a text.
///
/// # Errors
/// All its problems; also that there are several.
pub fn read_one(text: &str, place: Place) -> Result<DnsProxy, Vec<Problem>> {
    only(read(text, place)?)
}

/// The same, with what only `more` finds.
///
/// # Errors
/// All its problems; also that there are several.
pub fn read_one_and(
    text: &str,
    place: Place,
    more: impl Fn(&DnsProxy) -> Vec<Problem>,
) -> Result<DnsProxy, Vec<Problem>> {
    only(read_and(text, place, more)?)
}

/// Reads the only `DnsProxy` of a text as the API server would: by its schema and no further.
///
/// # Errors
/// What the schema refuses.
pub fn parse_one(text: &str) -> Result<DnsProxy, Vec<Problem>> {
    only(read_with(text, |_| Vec::new(), |_| Vec::new())?)
}

fn only(manifests: Manifests) -> Result<DnsProxy, Vec<Problem>> {
    let count = manifests.proxies.len();
    let mut proxies = manifests.proxies.into_iter();
    match (proxies.next(), count) {
        (Some(proxy), 1) => Ok(proxy),
        _ => Err(vec![Problem::new("", format!("{count} DnsProxy objects where one can run"))]),
    }
}

fn read_with(
    text: &str,
    problems: impl Fn(&DnsProxy) -> Vec<Problem>,
    warnings: impl Fn(&DnsProxy) -> Vec<Problem>,
) -> Result<Manifests, Vec<Problem>> {
    let (documents, mut found) = yaml::documents(text);
    let sorted = kinds::sort(documents, &mut found);
    let mut manifests = Manifests { proxies: Vec::new(), warnings: sorted.warnings };
    for document in &sorted.proxies {
        let shape = shape::read(document);
        match typed(&shape, document) {
            Ok(proxy) => {
                found.extend(shape.locate(problems(&proxy)));
                manifests.warnings.extend(shape.locate(warnings(&proxy)));
                manifests.proxies.push(proxy);
            }
            Err(problem) => found.extend(problem),
        }
        found.extend(shape.problems);
        manifests.warnings.extend(shape.warnings);
    }
    if found.is_empty() {
        manifests.warnings.sort_by_key(|warning| warning.line);
        return Ok(manifests);
    }
    found.sort_by_key(|problem| problem.line);
    Err(found)
}

/// The object, also when its shape has problems: those parts are neutral then.
fn typed(shape: &Shape, document: &Node) -> Result<DnsProxy, Option<Problem>> {
    let value: Value = shape.value.clone();
    serde_json::from_value(value).map_err(|error| {
        // With a sound shape this is a fault of the schema, which must not pass for a sound manifest.
        let is_news = shape.problems.is_empty();
        is_news
            .then(|| Problem { line: Some(document.line), ..Problem::new("", error.to_string()) })
    })
}

#[cfg(test)]
mod tests;

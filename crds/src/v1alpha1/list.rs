//! `spec.lists` and `spec.hosts`: names from files.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::{
    bounds, defaults,
    units::{Duration, Name},
};

/// Many names, for `match.names.lists` of rules.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameList {
    /// The name that rules, logs and metrics use.
    #[schemars(length(min = 1, max = bounds::NAME), pattern(Name::PATTERN))]
    pub name: String,

    /// How the sources are written. A line that cannot be read is reported, counted and passed over.
    #[serde(default)]
    pub format: ListFormat,

    /// Where the names are: together they are one list. Text, or text that gzip has compressed.
    #[schemars(length(min = 1, max = bounds::SOURCES))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(source, !has(source.secret))").message(SECRET)
    )]
    pub sources: Vec<Source>,
}

const SECRET: &str = "secret is for certificates: use configMap";

/// How a list is written.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ListFormat {
    /// A name on each line; `*.name` is the name and all below it. `#` begins a comment.
    #[default]
    Domains,
    /// Lines of /etc/hosts: an address, which does not matter here, and names.
    Hosts,
    /// Filters as ad blockers have them, as far as they are about names: `||name^` is the name and all below it,
    /// `@@` makes an exception from all lists of the rule, `$important` stands above exceptions,
    /// and `$important` exceptions above that.
    Adblock,
    /// A response policy zone with QNAME triggers. In `block` rules its own actions hold.
    RPZ,
}

/// Names and addresses in the format of /etc/hosts.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hosts {
    /// Where the lines are: an address and its names, the first of which is the one that the address has (PTR).
    /// `*.name` is any label in front of the name. Text, or text that gzip has compressed.
    #[schemars(length(min = 1, max = bounds::SOURCES))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(source, !has(source.secret))").message(SECRET)
    )]
    pub sources: Vec<Source>,

    /// The TTL of these records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::HOSTS_TTL.to_string()))]
    pub ttl: Option<String>,
}

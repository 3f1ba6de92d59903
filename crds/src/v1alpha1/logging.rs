//! `spec.logging`: what is logged.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds, defaults};

/// What is logged.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// The least important events that are logged.
    #[serde(default)]
    pub level: LogLevel,

    /// The log of queries, one JSON line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<QueryLog>,
}

/// How important an event is.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Somebody should act.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Each connection to an upstream, and each question that a server of one has no answer to.
    Debug,
    /// What libraries tell as well. For each query, see `queries`.
    Trace,
}

/// Which queries are logged.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryLog {
    /// Which queries are logged.
    #[serde(default)]
    pub mode: QueryLogMode,

    /// Of these, one in so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::ONE_IN), extend("default" = defaults::ONE_IN))]
    pub one_in: Option<u32>,
}

/// Which queries are logged.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum QueryLogMode {
    /// None of them.
    #[default]
    None,
    /// Those answered by SERVFAIL or REFUSED, or not at all.
    Failures,
    /// All of them.
    All,
}

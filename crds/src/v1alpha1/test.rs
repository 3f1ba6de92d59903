//! `spec.tests`: queries, and what is to become of them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::ResponseCode;
use crate::{
    bounds,
    units::{QueryType, Zone},
};

/// One query and what is to become of it. Nothing is sent for it: what upstreams would answer is not known.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// The name that is asked for.
    #[schemars(length(min = 1, max = Zone::MAX_LENGTH))]
    pub name: String,

    /// The type that is asked for. Absent: `A`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = QueryType::MAX_LENGTH), pattern(QueryType::PATTERN))]
    pub qtype: Option<String>,

    /// Who asks. Absent: somebody who may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::ADDRESS))]
    pub client: Option<String>,

    /// What is to become of it: all that is given must hold.
    pub expect: Expectation,
}

/// What is to become of a query.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.rcode) || has(self.answers) || has(self.rule) || has(self.route)")
        .message("empty: give rcode, answers, rule or route")
)]
pub struct Expectation {
    /// The response code, of an answer from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rcode: Option<ResponseCode>,

    /// The data of the records in the answer, of an answer from here, in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::RULE_RECORDS), inner(length(min = 1, max = bounds::RECORD)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub answers: Option<Vec<String>>,

    /// A rule that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub rule: Option<String>,

    /// The route whose upstreams are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub route: Option<String>,
}

//! `spec.rules`: what is done with queries that match.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds, defaults,
    units::{Duration, Name, QueryType, Zone},
};

/// Which queries, and what is done with them: exactly one of `rewrite`, `answer`, `block`, `forward`, `allow` and
/// `response`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.rewrite), has(self.answer), has(self.block), has(self.forward), has(self.allow), has(self.response)].exists_one(x, x)"
    )
    .message("exactly one of rewrite, answer, block, forward, allow and response must be given"),
    validation = Rule::new("!has(self.then) || has(self.rewrite) || has(self.response)")
        .message("then: only rewrite and response go on with later rules, the others end")
)]
pub struct Rule {
    /// The name that logs, metrics and extended errors use.
    #[schemars(length(min = 1, max = bounds::NAME), pattern(Name::PATTERN))]
    pub name: String,

    /// Which queries: all that is given must hold.
    #[serde(rename = "match")]
    pub matches: Match,

    /// Asks for another name, type or class instead, and gives the answer back as the client asked for it.
    /// Later rules see the new question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,

    /// Answers here, with these records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<StaticAnswer>,

    /// Refuses to look the name up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,

    /// Asks the upstreams of another route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,

    /// Lets the query pass: later rules are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,

    /// Changes what the upstream answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseChange>,

    /// For `rewrite` and `response`, which do not end: whether later rules of the same kind are looked at.
    /// Absent: `Stop`, they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
}

/// Which queries a rule is for. What is given must all hold; something must be given.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.names) || has(self.types) || has(self.classes) || has(self.clients)")
        .message("empty: it would match every query; for that, write names: {zone: [.]}")
)]
pub struct Match {
    /// The name that is asked for: one of these patterns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameMatch>,

    /// The type that is asked for: one of these, `A`, `TYPE65` or `ANY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_TYPES), inner(length(min = 1, max = QueryType::MAX_LENGTH), pattern(QueryType::PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub types: Option<Vec<String>>,

    /// The class that is asked for: one of these. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_CLASSES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub classes: Option<Vec<Class>>,

    /// Who asks: one of these networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub clients: Option<Vec<String>>,
}

/// Patterns of names: one of them must match. Letters match in either case.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameMatch {
    /// Whole names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_NAMES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exact: Option<Vec<String>>,

    /// Names and all below them; `.` is every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_NAMES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub zone: Option<Vec<String>>,

    /// All below these names, but not they themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_NAMES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub subdomain: Option<Vec<String>>,

    /// How the text of the name begins, wherever its labels end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_NAMES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub prefix: Option<Vec<String>>,

    /// How the text of the name ends, wherever its labels begin; the last dot may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_NAMES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub suffix: Option<Vec<String>>,

    /// What the text of the name has somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_PATTERNS), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub substring: Option<Vec<String>>,

    /// Regular expressions that match somewhere in the name's text: lower case, unusual octets as `\DDD`,
    /// with the dot at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_PATTERNS), inner(length(min = 1, max = bounds::REGEX)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub regex: Option<Vec<String>>,

    /// Names that stand in one of these lists, by their names in `spec.lists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LISTS), inner(length(min = 1, max = bounds::NAME)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub lists: Option<Vec<String>>,

    /// Names with at most so many labels: 1 is a host name without a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::LABELS))]
    pub max_labels: Option<u32>,
}

/// The class of a question.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Class {
    /// The Internet.
    #[default]
    IN,
    /// Chaosnet.
    CH,
    /// Hesiod.
    HS,
}

/// Another question to ask instead.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) || has(self.type) || has(self.class)")
        .message("empty: give name, type or class")
)]
pub struct Rewrite {
    /// For `exact` and `regex` patterns the whole new name, in which `{1}` is the first group of the regular
    /// expression; for `zone`, `subdomain`, `prefix`, `suffix` and `substring` what the part that matched
    /// becomes. The rule then has patterns of one kind only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = Zone::MAX_LENGTH))]
    pub name: Option<String>,

    /// The type to ask for.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = QueryType::MAX_LENGTH), pattern(QueryType::PATTERN))]
    pub qtype: Option<String>,

    /// The class to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,

    /// Which names of the answer become those that the client asked for; the question always does. Unless it is
    /// `Keep`, the SOA record of a negative answer is of the name that was asked for, or of one above it.
    #[serde(default)]
    pub answers: Answers,

    /// Further changes of the owner names in the answer, the first that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_CHANGES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub answer_names: Option<Vec<NameChange>>,

    /// Further changes of the names inside of record data (CNAME, DNAME, SOA, SRV, MX, NAPTR, NS, PTR,
    /// SVCB, HTTPS), the first that matches. Unless `answers` is `Keep`, owners that such a name leads to become
    /// what it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_CHANGES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub answer_values: Option<Vec<NameChange>>,
}

/// What becomes of the new name where it is found in the answer.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Answers {
    /// As the owner of records it becomes the name that was asked for.
    #[default]
    Restore,
    /// The same, and inside of record data as well. After a `suffix` or `zone` rule this holds for every name
    /// with the new ending; where that begins with a dot, for the zone itself, too.
    RestoreAll,
    /// It stays.
    Keep,
}

/// A regular expression and what a name that it matches becomes.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameChange {
    /// Matches somewhere in the name's text: lower case, unusual octets as `\DDD`, with the dot at the end.
    #[schemars(length(min = 1, max = bounds::REGEX))]
    pub regex: String,

    /// The whole new name, in which `{1}` is the first group.
    #[schemars(length(min = 1, max = Zone::MAX_LENGTH))]
    pub to: String,
}

/// An answer of our own.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticAnswer {
    /// Records of the name as a zone file has them, without the owner: `60 IN A 10.0.0.9`. TTL (60) and class
    /// may be left out. `{name}` is the name that was asked for, with the dot at its end, `{1}` the first group of a
    /// regular expression. What is no record with them in it is SERVFAIL.
    #[schemars(length(min = 1, max = bounds::RULE_RECORDS), inner(length(min = 1, max = bounds::RECORD)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub records: Vec<String>,

    /// What a question for another type than those of the records gets.
    #[serde(default)]
    pub other_types: OtherTypes,

    /// Whether the target of a CNAME record is looked up when no rule answers it.
    #[serde(default)]
    pub cname: OwnAlias,
}

/// What is done about the target of a CNAME record of our own.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum OwnAlias {
    /// It is looked up: by rules, and by the upstreams where no rule answers.
    #[default]
    Follow,
    /// Rules may answer it; the upstreams are not asked.
    Leave,
}

/// What a question for a type without a record gets.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum OtherTypes {
    /// That there is nothing of this type.
    #[default]
    NODATA,
    /// As if the rule were not there, but for NXDOMAIN: the name has records, so it becomes NODATA.
    Forward,
}

/// Refuses to look a name up.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// What the client gets.
    #[serde(default)]
    pub with: BlockWith,

    /// How long the client may remember it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::BLOCK_TTL.to_string()))]
    pub ttl: Option<String>,
}

/// What the client of a blocked query gets.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum BlockWith {
    /// That there is no such name.
    #[default]
    NXDOMAIN,
    /// That there is nothing of this type.
    NODATA,
    /// That it may not ask this.
    REFUSED,
    /// The address `0.0.0.0` or `::`, and nothing of other types.
    NullAddress,
    /// Nothing at all: clients wait and ask again.
    Drop,
}

/// Asks the upstreams of another route.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// The route's name; it may be one without zones.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub route: String,
}

/// Lets a query pass.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allow {}

/// What is changed in an upstream's answer.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.ttl) || has(self.rcodes) || has(self.removeTypes) || has(self.cnameTarget)")
        .message("empty: give ttl, rcodes, removeTypes or cnameTarget")
)]
pub struct ResponseChange {
    /// Bounds of the TTLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<TtlRange>,

    /// Response codes that become others. What becomes a negative answer gets an SOA record where it has none, so that
    /// caches keep it for 60 seconds, or as `ttl` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_CHANGES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rcodes: Option<Vec<RcodeChange>>,

    /// Records of these types are taken out of the answer; with `A` and `AAAA` also the hints of SVCB and HTTPS records
    /// that are such addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULE_TYPES), inner(length(min = 1, max = QueryType::MAX_LENGTH), pattern(QueryType::PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub remove_types: Option<Vec<String>>,

    /// Leads a CNAME record to another name: the records before it stay, the new target is looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname_target: Option<NameChange>,
}

/// Bounds of TTLs, in whole seconds.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.min) || has(self.max)").message("empty: give min, max or both"),
    validation = Rule::new("!has(self.min) || !has(self.max) || duration(self.min) <= duration(self.max)")
        .message("min is more than max")
)]
pub struct TtlRange {
    /// The least TTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN))]
    pub min: Option<String>,

    /// The largest TTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN))]
    pub max: Option<String>,
}

/// A response code that becomes another.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RcodeChange {
    /// What the upstream says.
    pub from: ResponseCode,
    /// What the client gets.
    pub to: ResponseCode,
}

/// A response code of a query (IANA "DNS RCODEs").
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the registry")]
pub enum ResponseCode {
    #[default]
    NOERROR,
    FORMERR,
    SERVFAIL,
    NXDOMAIN,
    NOTIMP,
    REFUSED,
    YXDOMAIN,
    YXRRSET,
    NXRRSET,
    NOTAUTH,
    NOTZONE,
}

/// Whether later rules of the same kind are looked at.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Then {
    /// They are not.
    #[default]
    Stop,
    /// They are.
    Continue,
}

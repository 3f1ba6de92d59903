//! `spec.cache`: which answers are kept, and for how long (RFC 2308, RFC 8767, RFC 9520).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds, defaults,
    units::{ByteSize, Duration},
};

/// Which answers are kept, and for how long.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.minTTL) || !has(self.maxTTL) || duration(self.minTTL) <= duration(self.maxTTL)"
    )
    .message("minTTL is more than maxTTL")
)]
pub struct Cache {
    /// Whether answers are kept at all.
    #[serde(default)]
    pub mode: CacheMode,

    /// How much memory all answers may take, with everything that is needed to find them.
    /// Absent: a quarter of the memory limit, or 64Mi without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = bounds::SIZE_TEXT, "pattern" = ByteSize::PATTERN))]
    pub size: Option<Quantity>,

    /// The least TTL that a positive answer is given, for clients as well. More than a few seconds serves
    /// addresses that are no longer true.
    #[serde(default, rename = "minTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::MIN_TTL.to_string()))]
    pub min_ttl: Option<String>,

    /// The largest TTL that an answer is given, for clients as well.
    #[serde(default, rename = "maxTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::MAX_TTL.to_string()))]
    pub max_ttl: Option<String>,

    /// The same for answers that say that there is no such name, or nothing of this type (RFC 2308
    /// section 5).
    #[serde(default, rename = "negativeMaxTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::NEGATIVE_MAX_TTL.to_string()))]
    pub negative_max_ttl: Option<String>,

    /// How long a failure is remembered, so that the upstreams are not asked again at once (RFC 9520).
    #[serde(default, rename = "failureTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::FAILURE_TTL.to_string()))]
    pub failure_ttl: Option<String>,

    /// What is answered when the upstreams do not answer and an expired answer is at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve_stale: Option<ServeStale>,

    /// Which answers are asked for again before they expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<Prefetch>,
}

/// Whether something is done at all.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum CacheMode {
    /// It is done.
    #[default]
    Enabled,
    /// It is left.
    Disabled,
}

/// Expired answers, for clients that would get none else (RFC 8767). The upstreams are always asked first.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServeStale {
    /// Whether expired answers are served.
    #[serde(default)]
    pub mode: CacheMode,

    /// How long a client waits for the upstreams before it gets the expired answer; at once when all have
    /// failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::STALE_AFTER.to_string()))]
    pub after: Option<String>,

    /// The TTL that clients see in an expired answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::STALE_TTL.to_string()))]
    pub ttl: Option<String>,

    /// How long after its expiry an answer may still be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::STALE_MAX_AGE.to_string()))]
    pub max_age: Option<String>,
}

/// Answers that are asked for often are asked for again shortly before they expire, so that nobody waits.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prefetch {
    /// Whether answers are asked for again before they expire.
    #[serde(default)]
    pub mode: CacheMode,

    /// How often an answer must have been used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::PREFETCH_HITS), extend("default" = defaults::PREFETCH_MIN_HITS))]
    pub min_hits: Option<u32>,

    /// How much of its TTL is left when that happens, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::PREFETCH_PERCENT), extend("default" = defaults::PREFETCH_REMAINING_PERCENT))]
    pub remaining_percent: Option<u32>,
}

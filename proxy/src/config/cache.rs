//! The cache of a manifest: how much it may hold, and for how long.

use std::time::Duration;

use dnsproxy_api::{
    bounds, defaults,
    units::{self, ByteSize},
    v1alpha1::{self as api, CacheMode},
};

use super::{Unparsable, duration, memory, parse};
use crate::cache::{Bounds, Policy, PrefetchPolicy, StalePolicy};

/// How much is kept, for how long, and what is done with it then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheSettings {
    /// How much all entries may take, in octets, with everything that is needed to find them.
    pub size: u64,
    /// The bounds of lifetimes, and of what clients see.
    pub bounds: Bounds,
    /// What is done with answers near and after their end.
    pub policy: Policy,
    /// How long the upstreams are waited for when there is an expired answer; none when it is not served.
    pub stale_after: Option<Duration>,
}

/// The settings of the cache; none when there shall be no cache. A size that was not given is computed from
/// the memory limit of this process.
pub(super) fn settings(cache: Option<&api::Cache>) -> Result<Option<CacheSettings>, Unparsable> {
    settings_within(cache, memory::limit_of_process)
}

fn settings_within(
    cache: Option<&api::Cache>,
    memory_limit: impl FnOnce() -> Option<u64>,
) -> Result<Option<CacheSettings>, Unparsable> {
    // Destructured without `..`: a new field means something.
    let api::Cache {
        mode,
        size,
        min_ttl,
        max_ttl,
        negative_max_ttl,
        failure_ttl,
        serve_stale,
        prefetch,
    } = cache.cloned().unwrap_or_default();
    if mode == CacheMode::Disabled {
        return Ok(None);
    }
    let size = size.map(|size| parse::<ByteSize>(&size.0)).transpose()?;
    let max_ttl = seconds(max_ttl, defaults::MAX_TTL)?;
    let (stale, stale_after) = stale(serve_stale.unwrap_or_default(), max_ttl)?.unzip();
    Ok(Some(CacheSettings {
        size: size.unwrap_or_else(|| computed_size(memory_limit())).octets(),
        bounds: Bounds {
            min_ttl: seconds(min_ttl, defaults::MIN_TTL)?,
            max_ttl,
            negative_max_ttl: seconds(negative_max_ttl, defaults::NEGATIVE_MAX_TTL)?,
            failure_ttl: seconds(failure_ttl, defaults::FAILURE_TTL)?,
        },
        policy: Policy { stale, prefetch: self::prefetch(prefetch.unwrap_or_default()) },
        stale_after,
    }))
}

/// What is done with expired answers, and after how long; none when they are not served. Their TTL is within the bounds of all.
fn stale(
    serve_stale: api::ServeStale,
    max_ttl: u32,
) -> Result<Option<(StalePolicy, Duration)>, Unparsable> {
    let api::ServeStale { mode, after, ttl, max_age } = serve_stale;
    if mode == CacheMode::Disabled {
        return Ok(None);
    }
    let policy = StalePolicy {
        max_age: seconds(max_age, defaults::STALE_MAX_AGE)?,
        ttl: seconds(ttl, defaults::STALE_TTL)?.min(max_ttl),
    };
    Ok(Some((policy, duration(after, defaults::STALE_AFTER)?)))
}

fn prefetch(prefetch: api::Prefetch) -> Option<PrefetchPolicy> {
    let api::Prefetch { mode, min_hits, remaining_percent } = prefetch;
    let remaining_percent = remaining_percent.unwrap_or(defaults::PREFETCH_REMAINING_PERCENT);
    (mode == CacheMode::Enabled).then(|| PrefetchPolicy {
        min_hits: octet(min_hits.unwrap_or(defaults::PREFETCH_MIN_HITS)),
        remaining_percent: octet(remaining_percent),
    })
}

/// A span that is valid is whole, and far below the 136 years that fit.
fn seconds(text: Option<String>, default: units::Duration) -> Result<u32, Unparsable> {
    Ok(u32::try_from(duration(text, default)?.as_secs()).unwrap_or(u32::MAX))
}

/// A number that is valid fits.
fn octet(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// A quarter of what the process may have: the rest is for what is in flight, and for a reload.
fn computed_size(memory_limit: Option<u64>) -> ByteSize {
    let [least, most] = bounds::CACHE_SIZE;
    let quarter = memory_limit.map(|limit| ByteSize::from_octets(limit / 4));
    quarter.map_or(defaults::CACHE_SIZE, |quarter| quarter.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use dnsproxy_api::manifest;

    use super::*;

    fn settings_of(fields: &str, memory_limit: Option<u64>) -> Option<CacheSettings> {
        let text = format!(
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nspec: {{upstreams: [{{name: a, addresses: [192.0.2.1]}}]{fields}}}\n"
        );
        let proxy = manifest::parse_one(&text).unwrap();
        settings_within(proxy.spec.cache.as_ref(), || memory_limit).unwrap()
    }

    #[test]
    fn what_a_manifest_does_not_say_is_the_default() {
        let cases = [
            ("nothing", ""),
            ("an empty section", ", cache: {}"),
            ("empty parts", ", cache: {serveStale: {}, prefetch: {}}"),
        ];

        let expected = CacheSettings {
            size: 64 << 20,
            bounds: Bounds { min_ttl: 0, max_ttl: 3600, negative_max_ttl: 300, failure_ttl: 1 },
            policy: Policy {
                stale: Some(StalePolicy { max_age: 86_400, ttl: 30 }),
                prefetch: Some(PrefetchPolicy { min_hits: 3, remaining_percent: 10 }),
            },
            stale_after: Some(Duration::from_millis(1800)),
        };
        for (why, fields) in cases {
            assert_eq!(settings_of(fields, None), Some(expected), "{why}");
        }
    }

    #[test]
    fn what_a_manifest_says_holds() {
        let settings = settings_of(
            ", cache: {size: 1.5Mi, minTTL: 5s, maxTTL: 2h, negativeMaxTTL: 1m, failureTTL: 2s, \
             serveStale: {after: 500ms, ttl: 10s, maxAge: 12h}, prefetch: {minHits: 5, remainingPercent: 20}}",
            Some(1 << 30),
        );

        let expected = CacheSettings {
            size: 3 << 19,
            bounds: Bounds { min_ttl: 5, max_ttl: 7200, negative_max_ttl: 60, failure_ttl: 2 },
            policy: Policy {
                stale: Some(StalePolicy { max_age: 43_200, ttl: 10 }),
                prefetch: Some(PrefetchPolicy { min_hits: 5, remaining_percent: 20 }),
            },
            stale_after: Some(Duration::from_millis(500)),
        };
        assert_eq!(settings, Some(expected));
    }

    #[test]
    fn a_stale_answer_has_no_ttl_above_the_greatest() {
        for (fields, expected) in [("maxTTL: 10s", 10), ("maxTTL: 1m", 30)] {
            let settings = settings_of(&format!(", cache: {{{fields}}}"), None).unwrap();
            assert_eq!(settings.policy.stale.unwrap().ttl, expected, "{fields}");
        }
    }

    #[test]
    fn each_part_can_be_disabled() {
        let parts = |fields: &str| {
            let settings = settings_of(fields, None)?;
            assert_eq!(settings.policy.stale.is_some(), settings.stale_after.is_some());
            Some((settings.policy.stale.is_some(), settings.policy.prefetch.is_some()))
        };

        assert_eq!(parts(", cache: {mode: Disabled, size: 1Mi}"), None);
        assert_eq!(parts(", cache: {serveStale: {mode: Disabled, ttl: 1s}}"), Some((false, true)));
        assert_eq!(parts(", cache: {prefetch: {mode: Disabled, minHits: 9}}"), Some((true, false)));
    }

    #[test]
    fn a_size_that_is_not_given_is_a_quarter_of_the_memory() {
        let cases = [
            // (why, memory limit, size in octets)
            ("no limit", None, 64 << 20),
            ("a pod's", Some(128 << 20), 32 << 20),
            ("a large one", Some(64 << 30), 16 << 30),
            ("hardly any: a cache all the same", Some(1 << 20), 1 << 20),
        ];

        for (why, limit, size) in cases {
            assert_eq!(settings_of("", limit).unwrap().size, size, "{why}");
        }
    }
}

//! The cache of a manifest: how much it may hold, and for how long.

use std::{path::Path, time::Duration};

use dnsproxy_api::{
    bounds, defaults,
    units::ByteSize,
    v1alpha1::{self as api, CacheMode},
};

use super::{Unparsable, duration, memory, parse};

/// What is kept, and for how long. Durations that clients see as TTLs are whole seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheSettings {
    /// How much all entries may take, in octets, with everything that is needed to find them.
    pub size: usize,
    /// The least TTL of a positive answer; never more than `max_ttl`.
    pub min_ttl: Duration,
    /// The largest TTL of a positive answer.
    pub max_ttl: Duration,
    /// The largest TTL of a negative answer.
    pub negative_max_ttl: Duration,
    /// How long a failure is remembered; never zero.
    pub failure_ttl: Duration,
    /// What is done with expired answers; none when they are not served.
    pub serve_stale: Option<StaleSettings>,
    /// Which answers are asked for again; none when no answer is.
    pub prefetch: Option<PrefetchSettings>,
}

/// What is done with expired answers (RFC 8767).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaleSettings {
    /// How long the upstreams are waited for.
    pub after: Duration,
    /// The TTL that clients see; never zero.
    pub ttl: Duration,
    /// How long after its expiry an answer may be served.
    pub max_age: Duration,
}

/// Which answers are asked for again before they expire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrefetchSettings {
    /// How often they must have been used.
    pub min_hits: u32,
    /// How much of their TTL is left then, in percent.
    pub remaining_percent: u32,
}

impl Default for CacheSettings {
    /// What holds where a manifest says nothing, on a machine that sets no limit.
    fn default() -> Self {
        Self {
            size: octets(defaults::CACHE_SIZE),
            min_ttl: defaults::MIN_TTL.to_std(),
            max_ttl: defaults::MAX_TTL.to_std(),
            negative_max_ttl: defaults::NEGATIVE_MAX_TTL.to_std(),
            failure_ttl: defaults::FAILURE_TTL.to_std(),
            serve_stale: Some(StaleSettings {
                after: defaults::STALE_AFTER.to_std(),
                ttl: defaults::STALE_TTL.to_std(),
                max_age: defaults::STALE_MAX_AGE.to_std(),
            }),
            prefetch: Some(PrefetchSettings {
                min_hits: defaults::PREFETCH_MIN_HITS,
                remaining_percent: defaults::PREFETCH_REMAINING_PERCENT,
            }),
        }
    }
}

/// The settings of the cache; none when there shall be no cache. A size that was not given is computed from
/// the memory limit of this process.
pub(super) fn settings(cache: Option<&api::Cache>) -> Result<Option<CacheSettings>, Unparsable> {
    settings_within(cache, || memory::limit(Path::new("/")))
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
    Ok(Some(CacheSettings {
        size: octets(size.unwrap_or_else(|| computed_size(memory_limit()))),
        min_ttl: duration(min_ttl, defaults::MIN_TTL)?,
        max_ttl: duration(max_ttl, defaults::MAX_TTL)?,
        negative_max_ttl: duration(negative_max_ttl, defaults::NEGATIVE_MAX_TTL)?,
        failure_ttl: duration(failure_ttl, defaults::FAILURE_TTL)?,
        serve_stale: stale(serve_stale.unwrap_or_default())?,
        prefetch: self::prefetch(prefetch.unwrap_or_default()),
    }))
}

fn stale(serve_stale: api::ServeStale) -> Result<Option<StaleSettings>, Unparsable> {
    let api::ServeStale { mode, after, ttl, max_age } = serve_stale;
    if mode == CacheMode::Disabled {
        return Ok(None);
    }
    Ok(Some(StaleSettings {
        after: duration(after, defaults::STALE_AFTER)?,
        ttl: duration(ttl, defaults::STALE_TTL)?,
        max_age: duration(max_age, defaults::STALE_MAX_AGE)?,
    }))
}

fn prefetch(prefetch: api::Prefetch) -> Option<PrefetchSettings> {
    let api::Prefetch { mode, min_hits, remaining_percent } = prefetch;
    (mode == CacheMode::Enabled).then(|| PrefetchSettings {
        min_hits: min_hits.unwrap_or(defaults::PREFETCH_MIN_HITS),
        remaining_percent: remaining_percent.unwrap_or(defaults::PREFETCH_REMAINING_PERCENT),
    })
}

/// A quarter of what the process may have: the rest is for what is in flight, and for a reload.
fn computed_size(memory_limit: Option<u64>) -> ByteSize {
    let [least, most] = bounds::CACHE_SIZE;
    let quarter = memory_limit.map(|limit| ByteSize::from_octets(limit / 4));
    quarter.map_or(defaults::CACHE_SIZE, |quarter| quarter.clamp(least, most))
}

fn octets(size: ByteSize) -> usize {
    usize::try_from(size.octets()).unwrap_or(usize::MAX)
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

        for (why, fields) in cases {
            assert_eq!(settings_of(fields, None), Some(CacheSettings::default()), "{why}");
        }
    }

    #[test]
    fn what_a_manifest_says_holds() {
        let settings = settings_of(
            ", cache: {size: 1.5Mi, minTTL: 5s, maxTTL: 2h, negativeMaxTTL: 1m, failureTTL: 2.5s, \
             serveStale: {after: 500ms, ttl: 10s, maxAge: 12h}, prefetch: {minHits: 5, remainingPercent: 20}}",
            Some(1 << 30),
        );

        let expected = CacheSettings {
            size: 3 << 19,
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(7200),
            negative_max_ttl: Duration::from_secs(60),
            failure_ttl: Duration::from_millis(2500),
            serve_stale: Some(StaleSettings {
                after: Duration::from_millis(500),
                ttl: Duration::from_secs(10),
                max_age: Duration::from_secs(12 * 3600),
            }),
            prefetch: Some(PrefetchSettings { min_hits: 5, remaining_percent: 20 }),
        };
        assert_eq!(settings, Some(expected));
    }

    #[test]
    fn each_part_can_be_disabled() {
        let parts = |fields: &str| {
            settings_of(fields, None).map(|it| (it.serve_stale.is_some(), it.prefetch.is_some()))
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

//! Options about how long answers are kept.

use dnsproxy_api::v1alpha1::{Cache, CacheMode, Prefetch, ServeStale, TtlRange};

use super::Opt;
use crate::import::Draft;

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Caching {
    cache: Cache,
    /// Of what clients see.
    max_ttl: Option<u32>,
    /// Of records of our own, in seconds.
    pub(super) ttl: u32,
}

impl Caching {
    pub(super) fn take(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        match option.key {
            "cache-size" => return self.size(option, draft),
            "use-stale-cache" => return self.stale(option, draft),
            "no-negcache" => self.cache.negative_max_ttl = Some("0s".into()),
            "max-ttl" => {
                self.max_ttl = Some(seconds(option.value)?.min(WEEK)).filter(|most| *most > 0);
            }
            "max-cache-ttl" => {
                let most = Some(seconds(option.value)?.min(WEEK)).filter(|most| *most > 0);
                let reason = "clients get no longer TTLs either, where dnsmasq gives the upstream's own at first";
                draft.note(option.line, option.text, reason);
                self.cache.max_ttl = most.map(|most| format!("{most}s"));
            }
            // At most an hour, as there.
            "min-cache-ttl" => {
                let reason = "clients get no shorter TTLs either, where dnsmasq gives the upstream's own at first";
                draft.note(option.line, option.text, reason);
                self.cache.min_ttl = Some(format!("{}s", seconds(option.value)?.min(3600)));
            }
            "local-ttl" => self.local(option, draft)?,
            _ => return Err("there is nothing like it here".into()),
        }
        Ok(())
    }

    fn local(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        let ttl = seconds(option.value)?;
        self.ttl = ttl.min(WEEK);
        if ttl > WEEK {
            let reason = format!("a TTL is at most a week here, {WEEK} s");
            draft.note(option.line, option.text, reason);
        }
        Ok(())
    }

    fn size(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        match option.value.parse::<u64>() {
            Ok(0) => self.cache.mode = CacheMode::Disabled,
            Ok(_) => {
                let reason = "the cache is bounded by octets here, not by names: see `cache.size`";
                draft.note(option.line, option.text, reason);
            }
            Err(_) => return Err("not a number".into()),
        }
        Ok(())
    }

    fn stale(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        let stale = self.cache.serve_stale.get_or_insert_default();
        match option.value {
            "" => {}
            // For ever, there.
            "0" => stale.max_age = Some(format!("{WEEK}s")),
            age => stale.max_age = Some(format!("{}s", seconds(age)?.min(WEEK))),
        }
        let reason = "the upstreams are asked first here, as RFC 8767 has it";
        draft.note(option.line, option.text, reason);
        Ok(())
    }

    /// The bounds of the TTLs that clients see.
    pub(super) fn ttls(&self) -> Option<TtlRange> {
        self.max_ttl.map(|most| TtlRange { min: None, max: Some(format!("{most}s")) })
    }

    /// dnsmasq keeps answers for as long as they say, and asks for none before somebody else does.
    pub(super) fn cache(&self) -> Cache {
        let mut cache = self.cache.clone();
        if cache.mode == CacheMode::Disabled {
            return Cache { mode: CacheMode::Disabled, ..Cache::default() };
        }
        Draft::bound_ttl(&mut cache);
        cache.max_ttl.get_or_insert_with(|| format!("{WEEK}s"));
        cache.negative_max_ttl.get_or_insert_with(|| "24h".into());
        let disabled = CacheMode::Disabled;
        cache
            .serve_stale
            .get_or_insert_with(|| ServeStale { mode: disabled, ..ServeStale::default() });
        cache.prefetch.get_or_insert_with(|| Prefetch { mode: disabled, ..Prefetch::default() });
        cache
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "not a number of seconds".into())
}

/// As long as a TTL can be here, in seconds.
const WEEK: u32 = 604_800;

//! `spec.cache`: a size that fits, TTLs that a message can carry, and bounds in their order.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Place, Report, workload::octets};
use crate::{
    bounds, defaults,
    units::{ByteSize, Duration},
    v1alpha1::{Cache, Prefetch, ServeStale, Workload},
};

pub(super) fn check(
    cache: Option<&Cache>,
    workload: Option<&Workload>,
    place: Place,
    report: &mut Report,
) {
    // Destructured without `..`: a new field needs a check.
    let Some(Cache {
        mode: _,
        size,
        min_ttl,
        max_ttl,
        negative_max_ttl,
        failure_ttl,
        serve_stale,
        prefetch,
    }) = cache
    else {
        return;
    };
    let path = "spec.cache";
    if let Some(Quantity(size)) = size {
        check_size(&format!("{path}.size"), size, workload, place, report);
    }
    let least = seconds(&format!("{path}.minTTL"), min_ttl.as_deref(), bounds::MIN_TTL, report);
    let most = seconds(&format!("{path}.maxTTL"), max_ttl.as_deref(), bounds::MAX_TTL, report);
    let negative = negative_max_ttl.as_deref();
    seconds(&format!("{path}.negativeMaxTTL"), negative, bounds::NEGATIVE_MAX_TTL, report);
    let (least, most) = (least.unwrap_or(defaults::MIN_TTL), most.unwrap_or(defaults::MAX_TTL));
    report.require(
        least <= most,
        format!("{path}.minTTL"),
        format!("{least} is more than maxTTL, {most}"),
    );
    seconds(&format!("{path}.failureTTL"), failure_ttl.as_deref(), bounds::FAILURE_TTL, report);
    if let Some(serve_stale) = serve_stale {
        check_stale(&format!("{path}.serveStale"), serve_stale, report);
    }
    if let Some(Prefetch { mode: _, min_hits, remaining_percent }) = prefetch {
        let path = format!("{path}.prefetch");
        report.count(&format!("{path}.minHits"), *min_hits, bounds::PREFETCH_HITS);
        let percent = format!("{path}.remainingPercent");
        report.count(&percent, *remaining_percent, bounds::PREFETCH_PERCENT);
    }
}

fn check_stale(path: &str, serve_stale: &ServeStale, report: &mut Report) {
    let ServeStale { mode: _, after, ttl, max_age } = serve_stale;
    report.duration(&format!("{path}.after"), after.as_deref(), bounds::TIMEOUT);
    seconds(&format!("{path}.ttl"), ttl.as_deref(), bounds::STALE_TTL, report);
    seconds(&format!("{path}.maxAge"), max_age.as_deref(), bounds::STALE_MAX_AGE, report);
}

/// A span of whole seconds: that is what messages count (RFC 1035 section 3.2.1), and what the cache keeps.
pub(super) fn seconds(
    path: &str,
    text: Option<&str>,
    range: [Duration; 2],
    report: &mut Report,
) -> Option<Duration> {
    report.duration(path, text, range);
    let span: Duration = text?.parse().ok()?;
    let is_whole = span.to_std().subsec_nanos() == 0;
    report.require(is_whole, path, format!("{span} is no whole number of seconds"));
    Some(span)
}

fn check_size(
    path: &str,
    text: &str,
    workload: Option<&Workload>,
    place: Place,
    report: &mut Report,
) {
    let Some(size) = report.parse::<ByteSize>(path, text) else { return };
    let [least, most] = bounds::CACHE_SIZE;
    let is_within = (least..=most).contains(&size);
    report.require(is_within, path, format!("{size} is out of range, {least} to {most}"));
    let Some(limit) = (place == Place::Cluster).then(|| memory_limit(workload)).flatten() else {
        return;
    };
    // Our guess at what the program itself needs: a quarter.
    let fits = size.octets() <= limit.octets() / 4 * 3;
    let message = format!(
        "{size} is too much for pods that may have {limit}: at most three quarters of workload.resources.limits.memory"
    );
    report.require(fits, path, message);
}

/// How much memory a pod may have, where that is known.
fn memory_limit(workload: Option<&Workload>) -> Option<ByteSize> {
    let Some(resources) = workload.and_then(|workload| workload.resources.as_ref()) else {
        return octets(defaults::MEMORY_LIMIT);
    };
    octets(&resources.limits.as_ref()?.get("memory")?.0)
}

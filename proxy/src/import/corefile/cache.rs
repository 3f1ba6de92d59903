//! CoreDNS's `cache`: one for each block there, one for all names here.

use dnsproxy_api::{
    bounds,
    units::Duration,
    v1alpha1::{Cache, CacheMode, Prefetch, ServeStale},
};

use super::syntax::{Directive, Line};
use crate::import::Draft;

pub(super) fn read(directive: &Directive, draft: &mut Draft) -> Result<(), String> {
    let mut cache = as_there();
    if let Some(ttl) = directive.args.first().filter(|word| word.parse::<u32>().is_ok()) {
        if ttl == "0" {
            cache.mode = CacheMode::Disabled;
        }
        cache.max_ttl = Some(seconds(ttl)?).filter(|_| ttl != "0");
        let denial = ttl.parse::<u32>().unwrap_or_default().min(1800);
        cache.negative_max_ttl = Some(format!("{denial}s"));
    }
    for line in &directive.lines {
        read_line(line, &mut cache, draft)?;
    }
    keep_within(&mut cache, directive, draft);
    Draft::bound_ttl(&mut cache);
    let zones = directive.args.iter().filter(|word| word.parse::<u32>().is_err() && *word != ".");
    if zones.count() > 0 {
        let reason = "there is one cache for all names here";
        draft.note(directive.line, directive.text(), reason);
    }
    if ttl(directive).is_some() {
        let reason = "each record keeps a TTL of its own; there all of an answer get the least one";
        draft.note(directive.line, directive.text(), reason);
    }
    draft.spec.cache = Some(cache);
    Ok(())
}

/// What a manifest cannot have becomes the nearest that it can.
fn keep_within(cache: &mut Cache, directive: &Directive, draft: &mut Draft) {
    let mut tell = |reason: String| draft.note(directive.line, directive.text(), reason);
    let Cache { max_ttl, min_ttl, negative_max_ttl, failure_ttl, serve_stale, prefetch, .. } =
        cache;
    let max_age = serve_stale.as_mut().map(|stale| &mut stale.max_age);
    for (name, field, [least, most]) in [
        ("maxTTL", Some(max_ttl), bounds::MAX_TTL),
        ("minTTL", Some(min_ttl), bounds::MIN_TTL),
        ("negativeMaxTTL", Some(negative_max_ttl), bounds::NEGATIVE_MAX_TTL),
        ("failureTTL", Some(failure_ttl), bounds::FAILURE_TTL),
        ("serveStale.maxAge", max_age, bounds::STALE_MAX_AGE),
    ] {
        let Some((field, text)) = field.and_then(|it| it.clone().map(|text| (it, text))) else {
            continue;
        };
        match text.parse::<Duration>() {
            Ok(asked) if asked < least || asked > most => {
                let kept = asked.clamp(least, most);
                tell(format!("{kept} instead of {text}: `cache.{name}` is from {least} to {most}"));
                *field = Some(kept.to_string());
            }
            Ok(_) => {}
            Err(error) => {
                tell(format!("`{text}`: {error}: the default of `cache.{name}` holds"));
                *field = None;
            }
        }
    }
    let Some(Prefetch { mode: _, min_hits, remaining_percent }) = prefetch else { return };
    for (name, field, most) in [
        ("minHits", min_hits, bounds::PREFETCH_HITS),
        ("remainingPercent", remaining_percent, bounds::PREFETCH_PERCENT),
    ] {
        if let Some(asked) = field.filter(|asked| !(1..=most).contains(asked)) {
            let kept = asked.clamp(1, most);
            tell(format!("{kept} instead of {asked}: `cache.prefetch.{name}` is from 1 to {most}"));
            *field = Some(kept);
        }
    }
}

/// The least and the largest TTL of answers, in seconds, where it is for every name and changes them.
pub(super) fn ttl(directive: &Directive) -> Option<(u32, u32)> {
    let (mut least, mut most) = (5, 3600);
    for word in &directive.args {
        // Another word is a zone.
        most = word.parse::<u32>().ok().filter(|ttl| *ttl > 0)?;
    }
    for line in &directive.lines {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match &*words {
            ["success", _, ttl, rest @ ..] => {
                most = ttl.parse().ok()?;
                least = rest.first().and_then(|ttl| ttl.parse().ok()).unwrap_or(least);
            }
            ["keepttl"] => return None,
            _ => {}
        }
    }
    Some((least, most))
}

/// What it does where nothing else is said.
fn as_there() -> Cache {
    Cache {
        serve_stale: Some(ServeStale { mode: CacheMode::Disabled, ..ServeStale::default() }),
        prefetch: Some(Prefetch { mode: CacheMode::Disabled, ..Prefetch::default() }),
        max_ttl: Some("3600s".into()),
        negative_max_ttl: Some("1800s".into()),
        min_ttl: Some("5s".into()),
        failure_ttl: Some("5s".into()),
        ..Cache::default()
    }
}

fn read_line(line: &Line, cache: &mut Cache, draft: &mut Draft) -> Result<(), String> {
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let mut tell = |reason: &str| draft.note(line.number, words.join(" "), reason);
    match &*words {
        ["success", capacity, rest @ ..] if capacity.parse::<u64>().is_ok() => {
            tell(OF_CAPACITY);
            if let Some(ttl) = rest.first() {
                cache.max_ttl = Some(seconds(ttl)?);
            }
            if let Some(ttl) = rest.get(1) {
                cache.min_ttl = Some(seconds(ttl)?);
            }
        }
        ["denial", capacity, rest @ ..] if capacity.parse::<u64>().is_ok() => {
            tell(OF_CAPACITY);
            if let Some(ttl) = rest.first() {
                cache.negative_max_ttl = Some(seconds(ttl)?);
            }
            if rest.len() > 1 {
                tell("the shortest TTL is one for all answers here: see `cache.minTTL`");
            }
        }
        ["servfail", duration] => {
            let (asked, kept) = failure_ttl(duration)?;
            if asked != kept {
                tell(
                    "failures are remembered for at least a second (RFC 9520), and for whole ones",
                );
            }
            cache.failure_ttl = Some(kept.to_string());
        }
        ["prefetch", hits, rest @ ..] => {
            let percent = rest.iter().find_map(|word| word.strip_suffix('%')?.parse().ok());
            if rest.iter().any(|word| !word.ends_with('%')) {
                tell("hits count for as long as the answer is kept, however far apart they are");
            }
            cache.prefetch = Some(Prefetch {
                mode: CacheMode::Enabled,
                min_hits: hits.parse().ok().filter(|hits| *hits > 0),
                remaining_percent: percent,
            });
        }
        ["serve_stale", rest @ ..] => {
            let max_age = rest.first().map_or_else(|| "1h".into(), |age| (*age).to_owned());
            let stale = ServeStale { max_age: Some(max_age), ..ServeStale::default() };
            cache.serve_stale = Some(stale);
            tell("the upstreams are asked first here, as RFC 8767 has it");
        }
        _ => tell("there is nothing like it here"),
    }
    Ok(())
}

const OF_CAPACITY: &str = "the cache is bounded by octets here, not by answers: see `cache.size`";

/// How long failures are to be remembered, and how long they are: RFC 9520 has at least one second.
fn failure_ttl(text: &str) -> Result<(Duration, Duration), String> {
    let is_fine = text == "0" || FINE_UNITS.iter().any(|unit| text.ends_with(unit));
    let asked = if is_fine { Ok(Duration::default()) } else { text.parse::<Duration>() };
    let asked = asked.map_err(|error| format!("`{text}`: {error}"))?;
    let (seconds, rest) = (asked.to_std().as_secs(), asked.to_std().subsec_nanos());
    let kept = Duration::from_secs((seconds + u64::from(rest > 0)).max(1));
    Ok((asked, kept))
}

/// Units of Go that a manifest has not: too short to be kept.
const FINE_UNITS: [&str; 3] = ["ns", "us", "\u{b5}s"];

fn seconds(text: &str) -> Result<String, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(format!("{seconds}s")),
        Err(_) => Err(format!("`{text}` is no number of seconds")),
    }
}

//! Filters of ad blockers, as far as they are about names and not about what is inside of a page.
//!
//! | filter | names |
//! |---|---|
//! | `\|\|name^`, `\|\|name/*` | the name and all below it |
//! | `\|name^`, `\|name\|`, `http://name^`, `name`, `0.0.0.0 name` | the name |
//! | `*.name^`, `\|\|*.name^` | what is below it |
//! | `\|\|ads*.name^`, `ad-.name^`, `_ads_`, `/regex/` | patterns, at most 1,024 |
//! | `@@...` | an exception; `@@name` for the name and all below it |
//! | `...$important` | above exceptions; `@@...$important` above those |
//! | `...$badfilter` | takes the same filter out |
//! | `... # text` | a comment: where a space stands before it |
//! | `site##...` and its like | about what is inside of a page: passed over |

use std::net::IpAddr;

use super::{
    builder::{Builder, Level, Reach},
    domains,
};

/// One filter.
pub(super) fn line(line: &str, builder: &mut Builder) -> Result<(), String> {
    let text = uncommented(line.trim());
    if is_about_pages(text) {
        return Ok(());
    }
    let (text, is_exception) = match text.strip_prefix("@@") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (pattern, modifiers) = take_apart(text);
    let modifiers = Modifiers::read(modifiers)?;
    let level = match (is_exception, modifiers.is_important) {
        (true, true) => Level::Spared,
        (true, false) => Level::Excepted,
        (false, true) => Level::Important,
        (false, false) => Level::Listed,
    };
    let filter = filter(pattern)?;
    let key = || format!("{level:?} {pattern}");
    if modifiers.is_disabled {
        return builder.disable(key());
    }
    if builder.passes_over(&key()) {
        return Ok(());
    }
    match filter {
        Filter::Name(name, reach) => builder.add(name, level, reach),
        // It is one of a list of hosts; with more to it a filter, which looks for it: we do by labels.
        Filter::Plain(name) if level == Level::Listed => builder.add(name, level, Reach::Name),
        Filter::Plain(name) => builder.add(name, level, Reach::Zone),
        Filter::Hosts if level == Level::Listed => domains::hosts_line(text, builder),
        Filter::Hosts => Err("a line of /etc/hosts has no modifiers".into()),
        Filter::Pattern(regex) => builder.add_pattern(regex, level),
    }
}

/// Without what stands behind a space and `#`: lists of hosts and of names have comments there.
fn uncommented(text: &str) -> &str {
    let is_behind_space = |at| text.get(..at).is_some_and(|it| it.ends_with(char::is_whitespace));
    let comment = text.match_indices('#').find(|(at, _)| is_behind_space(*at));
    comment.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end()
}

/// Comments, headers, and filters for elements and scripts of pages.
fn is_about_pages(text: &str) -> bool {
    const MARKS: [&str; 7] = ["##", "#@#", "#?#", "#$#", "#%#", "$$", "$@$"];
    // A mark follows the names of sites, which have no space: behind an address and a name it begins a comment.
    let start = text.split_whitespace().next().unwrap_or_default();
    text.is_empty()
        || text.starts_with(['!', '[', '#'])
        || MARKS.iter().any(|mark| start.contains(mark))
}

/// What is matched, and the modifiers behind it. In a regular expression `$` is the end.
fn take_apart(text: &str) -> (&str, &str) {
    if text.starts_with('/')
        && let Some(end) = text.rfind('/').filter(|end| *end > 0)
    {
        let (regex, rest) = text.split_at(end + 1);
        return (regex, rest.strip_prefix('$').unwrap_or(rest));
    }
    text.rsplit_once('$').unwrap_or((text, ""))
}

#[derive(Default)]
struct Modifiers {
    is_important: bool,
    is_disabled: bool,
}

impl Modifiers {
    fn read(text: &str) -> Result<Self, String> {
        let mut modifiers = Self::default();
        for modifier in text.split(',').filter(|modifier| !modifier.is_empty()) {
            match modifier {
                "important" => modifiers.is_important = true,
                "badfilter" => modifiers.is_disabled = true,
                other => {
                    let name = other.split('=').next().unwrap_or_default();
                    return Err(format!(
                        "${} is not for names, or a rule says it better",
                        domains::excerpt(name)
                    ));
                }
            }
        }
        Ok(modifiers)
    }
}

enum Filter<'t> {
    Name(&'t str, Reach),
    /// A name and nothing else.
    Plain(&'t str),
    Hosts,
    Pattern(String),
}

fn filter(text: &str) -> Result<Filter<'_>, String> {
    if let Some(regex) =
        text.strip_prefix('/').and_then(|text| text.strip_suffix('/')).filter(|it| !it.is_empty())
    {
        return Ok(Filter::Pattern(regex.to_owned()));
    }
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    if first.parse::<IpAddr>().is_ok() && first.len() < text.len() {
        return Ok(Filter::Hosts);
    }
    let (start, rest) = Start::read(text);
    let (name, is_ended) = without_end(start, rest);
    if name.contains('/') {
        return Err("about an address of the web, which is more than a name".into());
    }
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['*', '^', '|', ':']);
    let below = name.strip_prefix("*.").filter(|name| is_plain(name));
    match (start, is_ended, below) {
        (_, true, Some(below)) => Ok(Filter::Name(below, Reach::Below)),
        (Start::Anywhere, false, Some(below)) => Ok(Filter::Name(below, Reach::Below)),
        (Start::Label, true, None) if is_plain(name) => Ok(Filter::Name(name, Reach::Zone)),
        (Start::Name, true, None) if is_plain(name) => Ok(Filter::Name(name, Reach::Name)),
        (Start::Anywhere, false, None) if is_name(name) => Ok(Filter::Plain(name)),
        _ => pattern(start, name, is_ended).map(Filter::Pattern),
    }
}

/// What is looked for, and whether a name ends with it. What stands behind its end matches anything, and so does `/*`, the
/// pages of a site.
fn without_end(start: Start, text: &str) -> (&str, bool) {
    if let Some(name) = text.strip_suffix("/*").filter(|_| start == Start::Label) {
        return (name, true);
    }
    let text = text.strip_suffix(['*', '|']).filter(|text| text.ends_with('^')).unwrap_or(text);
    text.strip_suffix(['^', '|']).map_or((text, false), |name| (name, true))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    /// `||`
    Label,
    /// `|`, and `://` or `http://` as if the name were an address of the web.
    Name,
    Anywhere,
}

impl Start {
    /// How a filter begins, and the rest of it.
    fn read(text: &str) -> (Self, &str) {
        let known = [
            ("||", Self::Label),
            ("|http://", Self::Name),
            ("|", Self::Name),
            ("://", Self::Name),
            ("http://", Self::Name),
        ];
        let found = known
            .into_iter()
            .find_map(|(mark, start)| text.strip_prefix(mark).map(|rest| (start, rest)));
        found.unwrap_or((Self::Anywhere, text))
    }
}

/// A whole name, rather than a part that is looked for.
fn is_name(text: &str) -> bool {
    if !text.contains('.') {
        return is_label(text);
    }
    !text.starts_with(['.', '-']) && !text.ends_with(['.', '-']) && !text.contains(['*', '^', '|'])
}

/// A name of one label. What has other characters than most of those, `ads-` and `_ads_`, is looked for.
fn is_label(text: &str) -> bool {
    let encoded = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let is_usual = |octet: u8| octet.is_ascii_alphanumeric() || (encoded && octet == b'-');
    !text.is_empty() && !text.ends_with('-') && text.bytes().all(is_usual)
}

/// The regular expression for a text with `*`, which may be the end of a name.
fn pattern(start: Start, text: &str, is_ended: bool) -> Result<String, String> {
    let mut regex = match start {
        Start::Label => "(?:^|\\.)".to_owned(),
        Start::Name => "^".to_owned(),
        Start::Anywhere => String::new(),
    };
    if text.chars().filter(|c| *c != '*').count() < 2 {
        return Err("it would match nearly every name".into());
    }
    for c in text.to_ascii_lowercase().chars() {
        match c {
            '*' => regex.push_str(".*"),
            '.' | '-' | '_' | 'a'..='z' | '0'..='9' => {
                regex.push_str(&regex::escape(&c.to_string()))
            }
            other => return Err(format!("`{}` does not belong into a name", other.escape_debug())),
        }
    }
    if is_ended {
        regex.push('$');
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::lists::{List, testing};

    fn list(lines: &[&str]) -> Arc<List> {
        testing::list(dnsproxy_api::v1alpha1::ListFormat::Adblock, &lines.join("\n"))
    }

    #[test]
    fn filters_match_the_names_that_ad_blockers_say() {
        let cases: [(&[&str], &[&str], &[&str]); 36] = [
            (
                &["||ads.example^", "@@ads.example", "b.example$important"],
                &["x.b.example"],
                &["ads.example", "x.ads.example"],
            ),
            (
                &["/^ad1\\.example$|^ad2\\.example$/", "/^(.+\\.)?(ads3\\.com$|ads4\\.net$)/"],
                &["ad1.example", "ad2.example", "x.ads3.com", "ads4.net"],
                &["ad1.example.net", "ads3.com.example"],
            ),
            (
                &["|a.example^", "||a.example^$badfilter", "/b/$badfilter", "/b/"],
                &["a.example"],
                &["x.a.example", "b.example"],
            ),
            (
                &["||c.example^$important,badfilter", "||c.example^", "||c.example^$important"],
                &["c.example"],
                &[],
            ),
            (&["||a.example^$important", "@@||a.example^$important"], &[], &["a.example"]),
            (&["||a.example^", "@@||b.a.example^|"], &["a.example"], &["b.a.example"]),
            (&["://ads."], &["ads.example"], &["x.ads.example"]),
            // (filters, names that are listed, names that are not)
            (
                &["||ads.example^"],
                &["ads.example", "x.y.ads.example"],
                &["bads.example", "example"],
            ),
            (&["||ads.example^*"], &["ads.example"], &["ads.example.net"]),
            (&["||ads.example/*"], &["ads.example", "x.ads.example"], &["bads.example"]),
            (
                &["||a.example^", "@@||b.a.example/*"],
                &["a.example"],
                &["b.a.example", "x.b.a.example"],
            ),
            (
                &["http://ads.example^", "http://ad*.net^", "|http://b.example^"],
                &["ads.example", "ad1.net", "b.example"],
                &["x.ads.example", "x.ad1.net"],
            ),
            (&["||*.ads.example^"], &["x.ads.example"], &["ads.example"]),
            (&["*.ads.example"], &["x.ads.example"], &["ads.example"]),
            (&["|ads.example^", "|a.example|"], &["ads.example", "a.example"], &["x.ads.example"]),
            (&["ads.example"], &["ads.example"], &["x.ads.example"]),
            (&["0.0.0.0 ads.example b.example"], &["ads.example", "b.example"], &["x.ads.example"]),
            (
                &[
                    "0.0.0.0 a.example  ## phishing",
                    "0.0.0.0 b.example\t#$# x",
                    "::1 c.example # d##e",
                    "0.0.0.0 f.example##g",
                ],
                &["a.example", "b.example", "c.example", "f.example"],
                &["phishing", "x", "d", "g"],
            ),
            (
                &[
                    "a.example # x##y",
                    "||b.example^ ## z",
                    "/^c\\./ # w",
                    "@@d.example #@#",
                    "||d.example^",
                ],
                &["a.example", "x.b.example", "c.example"],
                &["x.a.example", "d.example"],
            ),
            (
                &["a.example##div #b", "b.example#?#p:has(> #x)", "## c.example", "c.example$$p"],
                &[],
                &["a.example", "b.example", "c.example"],
            ),
            (&["||ads"], &["ads.example", "x.adserver.example"], &["bads.example"]),
            (&["||ads*.example^"], &["ads7.example", "x.ads.y.example"], &["ads.example.net"]),
            (&["-ads."], &["my-ads.example"], &["ads.example"]),
            (&["zip"], &["zip", "ZIP"], &["downloads.zipper.com", "x.zip", "zips"]),
            (&["xn--p1ai"], &["xn--p1ai"], &["a.xn--p1ai", "xn--p1ai.example"]),
            (&["||a.zip^", "@@zip"], &[], &["zip", "a.zip"]),
            (&["zip$important"], &["zip", "a.zip"], &["zipper.example"]),
            (&["_ads_", "-ads-"], &["a_ads_b.example", "a-ads-b.example"], &["ads", "ads.example"]),
            (&["ads.", ".ad"], &["x.myads.example", "x.adserver.example"], &["ads", "ad.example"]),
            (&["tracker^"], &["x.tracker", "tracker"], &["tracker.example"]),
            (
                &["/^ad[0-9]+\\./"],
                &["ad12.example", "AD1.example"],
                &["ad.example", "x.ad1.example"],
            ),
            (&["/banner$/$important"], &["x.banner"], &["banner.example"]),
            (&["||a.example^", "@@||good.a.example^"], &["a.example"], &["x.good.a.example"]),
            (&["@@||a.example^", "||b.a.example^$important"], &["b.a.example"], &["a.example"]),
            (
                &["||a.example^$badfilter", "||a.example^", "||b.example^"],
                &["b.example"],
                &["a.example"],
            ),
            (
                &["! ||c.example^", "[Adblock Plus]", "# x", "d.example##.ad", "e.example#@#.ad"],
                &[],
                &["c.example", "d.example"],
            ),
        ];

        for (filters, listed, others) in cases {
            let list = list(filters);
            assert_eq!(list.problems().count, 0, "{filters:?}: {:?}", list.problems());
            for name in listed {
                assert!(testing::has(&list, name), "{filters:?} {name}");
            }
            for name in others {
                assert!(!testing::has(&list, name), "{filters:?} {name}");
            }
        }
    }

    /// However large they are together.
    #[test]
    fn as_many_patterns_as_a_list_may_have_are_tried() {
        let filters: Vec<_> = (0..1024)
            .map(|i| format!("||adserver-tracking*.some-long-domain-name-{i}.example.com^"))
            .collect();
        // Those that are there twice count once.
        let twice = filters.iter().chain(&filters).map(String::as_str);
        let list = list(&twice.collect::<Vec<_>>());

        assert_eq!((list.problems().count, list.len()), (0, 1024));
        for i in [0, 511, 1023] {
            let name = format!("adserver-tracking7.some-long-domain-name-{i}.example.com");
            assert!(testing::has(&list, &name), "{name}");
        }
    }

    #[test]
    fn what_is_not_about_names_is_reported() {
        let cases = [
            ("||a.example^$third-party", "$third-party"),
            ("||a.example^$dnsrewrite=1.2.3.4", "$dnsrewrite"),
            ("||a.example/banner", "more than a name"),
            ("||a.example/banner/*", "more than a name"),
            ("a.example/*", "more than a name"),
            ("http://a.example/", "more than a name"),
            ("https://a.example^", "more than a name"),
            ("https://a.example/", "more than a name"),
            ("/(?=x)/", "regular expression"),
            ("*", "every name"),
            ("||ads.example:8080^", "`:`"),
        ];

        for (filter, reason) in cases {
            let list = list(&[filter]);
            let problems = list.problems();
            assert_eq!(problems.count, 1, "{filter}");
            assert!(problems.first[0].reason.contains(reason), "{filter}: {:?}", problems.first);
            assert!(!testing::has(&list, "a.example"), "{filter}");
        }
    }
}

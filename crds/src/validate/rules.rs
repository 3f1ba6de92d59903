//! `spec.rules`: patterns that can be matched, names and records that can exist, routes that are there.

use std::collections::{BTreeSet, HashMap};

use super::{Report, report::quoted};
use crate::{
    bounds,
    units::{Duration, NamePart, Network, QueryType, Record, Template, Zone},
    v1alpha1::{
        Allow, Block, ClusterDnsMode, DnsProxySpec, Forward, Match, NameChange, NameMatch,
        RcodeChange, ResponseChange, Rewrite, StaticAnswer, TtlRange, rule::Rule,
    },
};

pub(super) fn check(rules: Option<&[Rule]>, spec: &DnsProxySpec, report: &mut Report) {
    let Some(rules) = rules else { return };
    report.require(!rules.is_empty(), "spec.rules", "empty: leave it out");
    report.names("spec.rules", rules.iter().map(|rule| &*rule.name));
    for (index, rule) in rules.iter().enumerate() {
        check_rule(&format!("spec.rules[{index}]"), rule, spec, report);
    }
    let (size, most) = (report.regexes >> 20, bounds::REGEXES >> 20);
    report.require(
        report.regexes <= bounds::REGEXES,
        "spec.rules",
        format!(
            "the regular expressions take up to {size} MiB when compiled, more than {most} together: \
             shorten those with repetitions such as `{{1,200}}`, or match by zone, suffix and lists"
        ),
    );
}

fn check_rule(path: &str, rule: &Rule, spec: &DnsProxySpec, report: &mut Report) {
    // Destructured without `..`: a new field needs a check.
    let Rule { name: _, matches, rewrite, answer, block, forward, allow, response, then } = rule;
    let given = [
        ("rewrite", rewrite.is_some()),
        ("answer", answer.is_some()),
        ("block", block.is_some()),
        ("forward", forward.is_some()),
        ("allow", allow.is_some()),
        ("response", response.is_some()),
    ];
    let given: Vec<_> = given.into_iter().filter(|(_, is_given)| *is_given).collect();
    match &*given {
        [_] => {}
        [] => report.add(
            path,
            "nothing to do: give one of rewrite, answer, block, forward, allow and response, each with a value, as in `block: {}`",
        ),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            report.add(
                path,
                format!("only one of {} can be done: make a rule of each", names.join(", ")),
            );
        }
    }
    let goes_on = rewrite.is_some() || response.is_some();
    report.require(
        then.is_none() || goes_on || given.is_empty(),
        format!("{path}.then"),
        "only rewrite and response go on with later rules, the others end",
    );
    let groups = check_match(&format!("{path}.match"), matches, spec, report);
    if let Some(rewrite) = rewrite {
        check_rewrite(&format!("{path}.rewrite"), rewrite, matches, groups, report);
    }
    if let Some(answer) = answer {
        check_answer(&format!("{path}.answer"), answer, groups, report);
    }
    if let Some(Block { with: _, ttl }) = block {
        ttl_of(&format!("{path}.block.ttl"), ttl.as_deref(), report);
    }
    if let Some(Forward { route }) = forward {
        check_route(&format!("{path}.forward.route"), route, spec, report);
    }
    if let Some(Allow {}) = allow {}
    if let Some(response) = response {
        check_response(&format!("{path}.response"), response, report);
    }
}

/// How many groups every regular expression of the rule has at least; `None` when the name is matched otherwise,
/// too.
fn check_match(
    path: &str,
    matches: &Match,
    spec: &DnsProxySpec,
    report: &mut Report,
) -> Option<usize> {
    let Match { names, types, classes, clients } = matches;
    let is_empty = names.is_none() && types.is_none() && classes.is_none() && clients.is_none();
    let message = "empty: it would match every query; for that, write `names: {zone: [.]}`";
    report.require(!is_empty, path, message);
    for (field, list) in [("types", types.as_deref()), ("clients", clients.as_deref())] {
        report.require(list != Some(&[]), format!("{path}.{field}"), NOTHING);
    }
    report.require(classes.as_deref() != Some(&[]), format!("{path}.classes"), NOTHING);
    report.parse_all::<QueryType>(&format!("{path}.types"), types.as_deref().unwrap_or_default());
    report.parse_all::<Network>(&format!("{path}.clients"), clients.as_deref().unwrap_or_default());
    check_names(&format!("{path}.names"), names.as_ref()?, spec, report)
}

const NOTHING: &str = "empty: it would match nothing; leave it out for everything";

fn check_names(
    path: &str,
    names: &NameMatch,
    spec: &DnsProxySpec,
    report: &mut Report,
) -> Option<usize> {
    let NameMatch { exact, zone, subdomain, prefix, suffix, substring, regex, lists, max_labels } =
        names;
    let zones = [("exact", exact), ("zone", zone), ("subdomain", subdomain)];
    let parts = [("prefix", prefix), ("suffix", suffix), ("substring", substring)];
    let all = zones.into_iter().chain(parts).chain([("regex", regex), ("lists", lists)]);
    for (field, list) in all {
        let is_empty = list.as_ref().is_some_and(Vec::is_empty);
        report.require(!is_empty, format!("{path}.{field}"), NOTHING);
    }
    let is_other = [exact, zone, subdomain, prefix, suffix, substring, lists]
        .iter()
        .any(|list| list.is_some());
    let is_empty = !is_other && regex.is_none() && max_labels.is_none();
    report.require(
        !is_empty,
        path,
        "empty: it would match nothing; for every name, write `zone: [.]`",
    );
    for (field, list) in zones {
        parse_names::<Zone>(&format!("{path}.{field}"), list.as_deref(), report);
    }
    for (field, list) in parts {
        parse_names::<NamePart>(&format!("{path}.{field}"), list.as_deref(), report);
    }
    parse_names::<String>(&format!("{path}.lists"), lists.as_deref(), report);
    for (index, name) in lists.iter().flatten().enumerate() {
        let is_known = spec.lists.iter().flatten().any(|list| list.name == *name);
        report.require(
            is_known,
            format!("{path}.lists[{index}]"),
            format!("no list is called {name}: it must stand in spec.lists"),
        );
    }
    report.count(&format!("{path}.maxLabels"), *max_labels, bounds::LABELS);
    let mut groups = None::<usize>;
    for (index, text) in regex.iter().flatten().enumerate() {
        if let Some(regex) = report.regex(&format!("{path}.regex[{index}]"), text) {
            let count = regex.groups();
            groups = Some(groups.map_or(count, |least| least.min(count)));
        }
    }
    groups.filter(|_| !is_other && max_labels.is_none())
}

/// Like [`Report::parse_all`], for lists of any length.
fn parse_names<T>(path: &str, texts: Option<&[String]>, report: &mut Report)
where
    T: std::str::FromStr<Err: std::fmt::Display> + Eq + std::hash::Hash,
{
    let mut known = HashMap::new();
    for (index, text) in texts.unwrap_or_default().iter().enumerate() {
        let value = match text.parse::<T>() {
            Ok(value) => value,
            Err(error) => {
                report.add(format!("{path}[{index}]"), quoted(text, &error));
                continue;
            }
        };
        if let Some(first) = known.insert(value, index) {
            report.add(
                format!("{path}[{index}]"),
                format!("{text} stands here twice, first as item {first}"),
            );
        }
    }
}

fn check_rewrite(
    path: &str,
    rewrite: &Rewrite,
    matches: &Match,
    groups: Option<usize>,
    report: &mut Report,
) {
    let Rewrite { name, qtype, class, answers: _, answer_names, answer_values } = rewrite;
    let is_empty = name.is_none() && qtype.is_none() && class.is_none();
    report.require(!is_empty, path, "empty: give name, type or class");
    if let Some(qtype) = qtype {
        report.parse::<QueryType>(&format!("{path}.type"), qtype);
    }
    if let Some(name) = name {
        check_new_name(&format!("{path}.name"), name, matches, groups, report);
    }
    for (field, changes) in [("answerNames", answer_names), ("answerValues", answer_values)] {
        for (index, change) in changes.iter().flatten().enumerate() {
            check_change(&format!("{path}.{field}[{index}]"), change, report);
        }
    }
}

/// Which part of a name is replaced must be clear, and what replaces it a part of a name.
fn check_new_name(
    path: &str,
    name: &str,
    matches: &Match,
    groups: Option<usize>,
    report: &mut Report,
) {
    let names = matches.names.clone().unwrap_or_default();
    let kinds = kinds(&names);
    let kinds: Vec<_> = kinds.into_iter().filter(|(_, is_given)| *is_given).collect();
    match &*kinds {
        [("exact", _)] => {
            report.parse::<Zone>(path, name);
        }
        [("regex", _)] => {
            let template: Template = parse_template(name);
            check_template(path, name, &template, groups, report);
            if template.is_constant() {
                report.parse::<Zone>(path, name);
            }
        }
        [("zone" | "subdomain", _)] => {
            report.parse::<Zone>(path, name);
        }
        [("prefix" | "suffix" | "substring", _)] => {
            if !name.is_empty() {
                report.parse::<NamePart>(path, name);
            }
        }
        _ => report.add(
            path,
            "the part that it replaces must be clear: give patterns of exactly one kind of \
             exact, zone, subdomain, prefix, suffix, substring and regex",
        ),
    }
}

fn kinds(names: &NameMatch) -> [(&'static str, bool); 9] {
    let NameMatch { exact, zone, subdomain, prefix, suffix, substring, regex, lists, max_labels } =
        names;
    [
        ("exact", exact.is_some()),
        ("zone", zone.is_some()),
        ("subdomain", subdomain.is_some()),
        ("prefix", prefix.is_some()),
        ("suffix", suffix.is_some()),
        ("substring", substring.is_some()),
        ("regex", regex.is_some()),
        ("lists", lists.is_some()),
        ("maxLabels", max_labels.is_some()),
    ]
}

fn parse_template(text: &str) -> Template {
    text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})
}

fn check_template(
    path: &str,
    text: &str,
    template: &Template,
    groups: Option<usize>,
    report: &mut Report,
) {
    let last = template.last_group();
    let message = match groups {
        None => format!("groups such as {{{last}}} need `regex` patterns alone (`{text}`)"),
        Some(0) => format!("{{{last}}}: the regular expression has no group, such as `(.*)`"),
        Some(groups) => format!("{{{last}}}: a regular expression has {groups} groups only"),
    };
    let is_there = !template.has_group() || groups.is_some_and(|groups| last <= groups);
    report.require(is_there, path, message);
}

fn check_change(path: &str, change: &NameChange, report: &mut Report) {
    let NameChange { regex, to } = change;
    let regex = report.regex(&format!("{path}.regex"), regex);
    let template = parse_template(to);
    let path = format!("{path}.to");
    if let Some(regex) = regex {
        check_template(&path, to, &template, Some(regex.groups()), report);
    }
    if template.is_constant() {
        report.parse::<Zone>(&path, to);
    }
}

fn check_answer(path: &str, answer: &StaticAnswer, groups: Option<usize>, report: &mut Report) {
    let StaticAnswer { records, other_types: _, cname: _ } = answer;
    let path = format!("{path}.records");
    report.require(
        !records.is_empty(),
        &path,
        "empty: for no records, use `block: {with: NODATA}`",
    );
    let mut samples = Vec::new();
    for (index, text) in records.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let template = parse_template(text);
        check_template(&path, text, &template, groups, report);
        // Names and groups are filled in later: here stands what every record can hold.
        let sample = template.fill("name.example.", |_| Some("1"));
        match sample.parse::<Record>() {
            Ok(record) => {
                samples.push(Sample { text, is_constant: template.is_constant(), record })
            }
            Err(error) => report.add(path, quoted(text, &error)),
        }
    }
    let has_alias = samples.iter().any(|sample| sample.record.rtype == CNAME);
    let mut pairs = samples.iter().zip(samples.iter().skip(1));
    let is_alone = !has_alias || pairs.all(|(one, next)| one.is_same(next));
    report.require(is_alone, path, "a CNAME record is alone (RFC 2181 section 10.1)");
}

const CNAME: u16 = 5;

/// What one of the records of an answer may be.
struct Sample<'t> {
    text: &'t str,
    /// Whether it is this one for every query.
    is_constant: bool,
    record: Record,
}

impl Sample<'_> {
    /// Whether both are one record for every query.
    fn is_same(&self, other: &Self) -> bool {
        let are_constant = self.is_constant && other.is_constant;
        self.text == other.text || are_constant && self.record.is_same(&other.record)
    }
}

/// Checks that there is a route with a name. That of the cluster's DNS may be made by the operator.
pub(super) fn check_route(path: &str, name: &str, spec: &DnsProxySpec, report: &mut Report) {
    if name == super::CLUSTER_DNS {
        let message = "clusterDNS is Disabled: there is no such route";
        return report.require(mode(spec) == ClusterDnsMode::Forward, path, message);
    }
    let is_known = match spec.routes.as_deref() {
        None => name == "default",
        Some(routes) => routes.iter().any(|known| known.name == name),
    };
    report.require(is_known, path, format!("no route is called {name}"));
}

fn mode(spec: &DnsProxySpec) -> ClusterDnsMode {
    spec.cluster_dns.as_ref().map(|dns| dns.mode).unwrap_or_default()
}

fn check_response(path: &str, response: &ResponseChange, report: &mut Report) {
    let ResponseChange { ttl, rcodes, remove_types, cname_target } = response;
    let is_empty =
        ttl.is_none() && rcodes.is_none() && remove_types.is_none() && cname_target.is_none();
    report.require(!is_empty, path, "empty: give ttl, rcodes, removeTypes or cnameTarget");
    let types = remove_types.as_deref().unwrap_or_default();
    report.parse_all::<QueryType>(&format!("{path}.removeTypes"), types);
    if let Some(TtlRange { min, max }) = ttl {
        let path = format!("{path}.ttl");
        report.require(min.is_some() || max.is_some(), &path, "empty: give min, max or both");
        let least = ttl_of(&format!("{path}.min"), min.as_deref(), report);
        let most = ttl_of(&format!("{path}.max"), max.as_deref(), report);
        if let (Some(least), Some(most)) = (least, most) {
            report.require(least <= most, path, format!("min {least} is more than max {most}"));
        }
    }
    let mut known = Vec::new();
    for (index, RcodeChange { from, to: _ }) in rcodes.iter().flatten().enumerate() {
        let path = format!("{path}.rcodes[{index}].from");
        report.require(!known.contains(from), path, format!("{from:?} is changed already"));
        known.push(*from);
    }
    if let Some(change) = cname_target {
        check_change(&format!("{path}.cnameTarget"), change, report);
    }
}

fn ttl_of(path: &str, text: Option<&str>, report: &mut Report) -> Option<Duration> {
    super::cache::seconds(path, text, bounds::RULE_TTL, report)
}

/// Warns of rules that lead to a route that only a cluster has.
pub(super) fn warn_outside_of_clusters(spec: &DnsProxySpec, report: &mut Report) {
    let dns = spec.cluster_dns.as_ref();
    if dns.is_some_and(|dns| dns.addresses.iter().flatten().next().is_some()) {
        return;
    }
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let forward = rule.forward.as_ref();
        report.require(
            forward.is_none_or(|forward| forward.route != super::CLUSTER_DNS),
            format!("spec.rules[{index}].forward.route"),
            "outside of a cluster there is no such route, and these names are refused: give clusterDNS.addresses",
        );
    }
}

/// Warns of routes that nothing leads to, of aliases that lead nowhere, and of addresses of one family alone.
pub(super) fn warn(spec: &DnsProxySpec, report: &mut Report) {
    let rules = spec.rules.as_deref().unwrap_or_default();
    super::circles::warn(rules, report);
    super::families::warn(rules, report);
    let wanted: BTreeSet<_> = (spec.rules.iter().flatten())
        .filter_map(|rule| rule.forward.as_ref())
        .map(|forward| &*forward.route)
        .collect();
    for (index, route) in spec.routes.iter().flatten().enumerate() {
        let is_taken = !route.zones.is_empty() || wanted.contains(&*route.name);
        report.require(
            is_taken,
            format!("spec.routes[{index}]"),
            "it has no zones and no rule forwards to it: it is never taken",
        );
    }
}

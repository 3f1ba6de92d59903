//! A manifest under construction.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use dnsproxy_api::{
    DnsProxy, manifest,
    units::Duration,
    v1alpha1::{
        Cache, DnsProxySpec, ListFormat, Match, NameList, NameMatch, OtherTypes, Policy,
        PrivateNames, Protocol, Responses, Route, Source, StaticAnswer, Upstream, rule::Rule,
    },
    validate::{self, CLUSTER_DNS, Place, Problem},
};

use super::{Imported, Note};
use notes::shortened;

mod notes;

/// What was understood so far.
#[derive(Debug, Default)]
pub struct Draft {
    /// The manifest's content.
    pub spec: DnsProxySpec,
    notes: Vec<Note>,
    carried: usize,
    /// The line that is being read.
    line: usize,
    /// The line of each rule, in their order.
    lines: Vec<usize>,
    /// The names of rules, each with how often it was wanted.
    names: HashMap<String, usize>,
    /// The names of rules that are not left out, whatever is wrong with them.
    needed: HashSet<String>,
}

/// The route for every name.
pub(super) const DEFAULT: &str = "default";

/// How lists of the names of hosts files are called.
const HOSTS: &str = "hosts";

/// The upstream that people have to write themselves.
pub(super) const UNKNOWN: &str = "replace-me";

impl Draft {
    /// An empty one. Other programs forward private names, so this does, too.
    pub fn new() -> Self {
        let mut draft = Self::default();
        draft.responses().private_names = PrivateNames::Forward;
        draft
    }

    /// What follows comes of this line.
    pub fn at(&mut self, line: usize) {
        self.line = line;
    }

    /// A line was understood.
    pub fn carry(&mut self) {
        self.carried += 1;
    }

    /// Something is to be known about a line.
    pub fn note(&mut self, line: usize, subject: impl Into<String>, reason: impl Into<String>) {
        self.notes.push(Note { line, subject: subject.into(), reason: reason.into() });
    }

    /// What was told of each part of a block is told once.
    fn notes(&mut self) -> Vec<Note> {
        let mut known = HashSet::new();
        let mut notes = std::mem::take(&mut self.notes);
        notes.retain(|note| known.insert((note.line, note.subject.clone(), note.reason.clone())));
        notes
    }

    /// `spec.responses`.
    pub fn responses(&mut self) -> &mut Responses {
        self.spec.responses.get_or_insert_default()
    }

    /// Names of a file in the format of /etc/hosts are answered.
    pub fn hosts_file(&mut self, path: &str) {
        let hosts = self.spec.hosts.get_or_insert_default();
        hosts.sources.push(Source { file: Some(path.to_owned()), ..Source::default() });
    }

    /// The sources of `spec.hosts`, but for the first ones.
    pub fn hosts_sources(&self, behind: usize) -> Vec<Source> {
        let hosts = self.spec.hosts.iter().flat_map(|hosts| &hosts.sources);
        hosts.skip(behind).cloned().collect()
    }

    /// A list of the names of some of those sources, for rules, made when there is none yet. Returns its name.
    pub fn hosts_list(&mut self, sources: Vec<Source>) -> String {
        let lists = self.spec.lists.get_or_insert_default();
        if let Some(same) = lists.iter().find(|list| list.sources == sources) {
            return same.name.clone();
        }
        let name = match lists.len() {
            0 => HOSTS.to_owned(),
            others => format!("{HOSTS}-{}", others + 1),
        };
        lists.push(NameList { name: name.clone(), format: ListFormat::Hosts, sources });
        name
    }

    /// Adds a rule; its name becomes one that no other has. Returns it.
    pub fn rule(&mut self, name: &str, rule: Rule) -> String {
        let name = self.free_name(label(name, "rule"));
        let rules = self.spec.rules.get_or_insert_default();
        rules.push(Rule { name: name.clone(), ..rule });
        self.lines.push(self.line);
        name
    }

    /// Adds a rule without which queries were answered that must not be: without it there is no manifest.
    pub fn needed_rule(&mut self, name: &str, rule: Rule) {
        let name = self.rule(name, rule);
        self.needed.insert(name);
    }

    /// Adds a rule, or its names to the last one, which does the same: there may be many thousands.
    pub fn rule_for_more(&mut self, name: &str, rule: Rule) {
        let last = self.spec.rules.as_mut().and_then(|rules| rules.last_mut());
        if !last.is_some_and(|last| join(last, &rule)) {
            self.rule(name, rule);
        }
    }

    /// Nothing comes behind the last rules, so that those that let names pass are not needed.
    pub fn drop_last_allowing(&mut self) {
        let rules = self.spec.rules.get_or_insert_default();
        while rules.pop_if(|rule| rule.allow.is_some()).is_some() {
            self.lines.pop();
        }
        self.spec.rules = self.spec.rules.take().filter(|rules| !rules.is_empty());
    }

    fn free_name(&mut self, label: String) -> String {
        let mut name = label.clone();
        while self.names.contains_key(&name) {
            let wanted = self.names.entry(label.clone()).or_insert(1);
            *wanted += 1;
            name = format!("{label}--{wanted}");
        }
        self.names.insert(name.clone(), 1);
        name
    }

    /// The longest time is not below the shortest one: there the longest one counts.
    pub fn bound_ttl(cache: &mut Cache) {
        let seconds = |text: &Option<String>| text.as_ref()?.parse::<Duration>().ok();
        if let (Some(least), Some(most)) = (seconds(&cache.min_ttl), seconds(&cache.max_ttl))
            && least > most
        {
            cache.min_ttl.clone_from(&cache.max_ttl);
        }
    }

    /// The plain upstream at an address, made when there is none yet. Returns its name.
    pub fn plain_upstream(&mut self, address: SocketAddr, protocol: Protocol) -> String {
        self.upstream(Upstream {
            name: format!("server-{}", address.ip()),
            addresses: vec![text_of(address)],
            protocol,
            ..Upstream::default()
        })
    }

    /// An upstream for those that are not known here. Its address is for documents (RFC 5737): it is nobody's, and no
    /// listener's either. Returns its name.
    pub fn unknown_upstream(&mut self) -> String {
        self.upstream(Upstream {
            name: UNKNOWN.to_owned(),
            addresses: vec!["192.0.2.53".to_owned()],
            protocol: Protocol::UDP,
            ..Upstream::default()
        })
    }

    /// An upstream, made when there is none like it yet. Returns its name.
    pub fn upstream(&mut self, upstream: Upstream) -> String {
        let known = &mut self.spec.upstreams;
        let is_same = |other: &&Upstream| {
            Upstream { name: upstream.name.clone(), ..(*other).clone() } == upstream
        };
        let same = known
            .iter()
            .find(|other| label(&upstream.name, "") == strip_number(&other.name) && is_same(other));
        if let Some(same) = same {
            return same.name.clone();
        }
        let is_taken = |name: &str| name == CLUSTER_DNS || known.iter().any(|it| it.name == name);
        let name = unique(&label(&upstream.name, "server"), is_taken);
        known.push(Upstream { name: name.clone(), ..upstream });
        name
    }

    /// The route with a name, made when there is none yet.
    #[allow(clippy::indexing_slicing, reason = "the index was just found or made")]
    pub fn route(&mut self, name: &str) -> &mut Route {
        let routes = self.spec.routes.get_or_insert_default();
        let index = routes.iter().position(|route| route.name == name).unwrap_or_else(|| {
            routes.push(Route {
                name: name.to_owned(),
                policy: Policy::Fastest,
                ..Route::default()
            });
            routes.len() - 1
        });
        &mut routes[index]
    }

    /// A name for a route that no other has, nor the one for every name.
    pub fn route_name(&self, hint: &str) -> String {
        let routes = self.spec.routes.as_deref().unwrap_or_default();
        let is_taken = |name: &str| {
            [DEFAULT, CLUSTER_DNS].contains(&name) || routes.iter().any(|it| it.name == name)
        };
        unique(&label(hint, "route"), is_taken)
    }

    /// Takes out the rules and listeners that a manifest cannot have, and tells of each.
    fn drop_unsound(&mut self, proxy: &mut DnsProxy) {
        let problems = validate::problems(proxy, Place::File);
        for (index, message) in of_items(&problems, "spec.rules[").into_iter().rev() {
            let rules = proxy.spec.rules.get_or_insert_default();
            let line = self.lines.get(index).copied().unwrap_or_default();
            let Some(rule) = rules.get(index) else { continue };
            if self.needed.contains(&rule.name) {
                let reason = format!("{message}: without this rule there is no manifest");
                self.note(line, format!("rule {}", rule.name), reason);
            } else {
                let rule = rules.remove(index);
                self.note(line, format!("rule {}", rule.name), format!("left out: {message}"));
            }
        }
        if proxy.spec.rules.as_ref().is_some_and(Vec::is_empty) {
            proxy.spec.rules = None;
        }
        let unsound = of_items(&problems, "spec.listeners.dns.addresses[");
        let Some(dns) = proxy.spec.listeners.as_mut().and_then(|it| it.dns.as_mut()) else {
            return;
        };
        for (index, message) in unsound.into_iter().rev() {
            if index >= dns.addresses.len() {
                continue;
            }
            let address = dns.addresses.remove(index);
            let reason = format!(
                "left out: {message}; write the addresses of your own into `listeners.dns.addresses`"
            );
            self.note(0, format!("listener {address}"), reason);
        }
        if dns.addresses.is_empty() {
            proxy.spec.listeners = None;
            self.note(0, "listeners", UNTIL_THEN);
        }
    }

    /// The manifest, and what is to be known about it.
    pub fn finish(mut self) -> Imported {
        let mut proxy = DnsProxy::new("imported", std::mem::take(&mut self.spec));
        proxy.metadata.namespace = None;
        if self.carried == 0 {
            // What a manifest is lacking is nobody's mistake then.
            return Imported { proxy, notes: shortened(self.notes()), carried: 0 };
        }
        self.drop_unsound(&mut proxy);
        // The schema has bounds of its own.
        let outsized = manifest::parse_one(&manifest::write(&proxy)).err().unwrap_or_default();
        for problem in validate::problems(&proxy, Place::File).into_iter().chain(outsized) {
            self.note(0, problem.path, problem.message);
            self.carried = 0;
        }
        self.notes.sort_by_key(|note| note.line);
        Imported { proxy, notes: shortened(self.notes()), carried: self.carried }
    }
}

/// The first problem of each item of a list.
fn of_items<'p>(problems: &'p [Problem], list: &str) -> BTreeMap<usize, &'p str> {
    let index = |problem: &Problem| -> Option<usize> {
        problem.path.strip_prefix(list)?.split(']').next()?.parse().ok()
    };
    let found = problems.iter().rev().filter_map(|it| Some((index(it)?, &*it.message)));
    found.collect()
}

/// What holds while a manifest has no listeners.
pub(super) const UNTIL_THEN: &str = "until then queries are taken at 127.0.0.1:5300";

/// Gives the names of a rule to another one that does the same with its own. Tells whether that could be.
fn join(to: &mut Rule, rule: &Rule) -> bool {
    let (known, mut bare) = (to.matches.names.take(), rule.clone());
    bare.name.clone_from(&to.name);
    let new = bare.matches.names.take();
    let is_alike = *to == bare;
    to.matches.names = known;
    let (Some(names), Some(new)) = (&mut to.matches.names, new) else { return false };
    if !(is_alike && has_room(names) && has_room(&new)) {
        return false;
    }
    for (to, more) in [
        (&mut names.zone, new.zone),
        (&mut names.subdomain, new.subdomain),
        (&mut names.suffix, new.suffix),
    ] {
        if let Some(more) = more {
            to.get_or_insert_default().extend(more);
        }
    }
    true
}

/// Whether names are matched by their ends alone, by one of some, and there can be one more.
fn has_room(names: &NameMatch) -> bool {
    let NameMatch { exact, zone, subdomain, prefix, suffix, substring, regex, lists, max_labels } =
        names;
    let others = [exact, prefix, substring, regex, lists];
    let is_full = |list: &Option<Vec<String>>| {
        list.as_ref().is_some_and(|list| list.len() >= dnsproxy_api::bounds::RULE_NAMES as usize)
    };
    others.iter().all(|list| list.is_none())
        && max_labels.is_none()
        && ![zone, subdomain, suffix].into_iter().any(is_full)
}

/// Adds lines to `spec.hosts`, in parts that are not longer than one may be.
pub(super) fn hosts_lines(draft: &mut Draft, lines: impl Iterator<Item = String>) {
    let mut texts: Vec<String> = Vec::new();
    for line in lines {
        match texts.last_mut() {
            Some(text) if text.len() + line.len() <= dnsproxy_api::bounds::INLINE as usize => {
                text.push_str(&line);
            }
            _ => texts.push(line),
        }
    }
    let source = |text| Source { inline: Some(text), ..Source::default() };
    let hosts = draft.spec.hosts.get_or_insert_default();
    hosts.sources.extend(texts.into_iter().map(source));
}

/// An address as a manifest writes it.
fn text_of(address: SocketAddr) -> String {
    match (address.ip(), address.port()) {
        (ip, 53) => ip.to_string(),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => address.to_string(),
    }
}

/// A text as the name of something: lower case, digits and inner hyphens.
fn label(text: &str, fallback: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            _ if label.ends_with('-') || label.is_empty() => {}
            _ => label.push('-'),
        }
    }
    label.truncate(MAX_LABEL);
    let label = label.trim_end_matches('-');
    if label.is_empty() { fallback.to_owned() } else { label.to_owned() }
}

/// Room for a number behind it.
const MAX_LABEL: usize = 56;

fn strip_number(name: &str) -> &str {
    match name.rsplit_once("--") {
        Some((name, _)) => name,
        None => name,
    }
}

fn unique(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(name) {
        return name.to_owned();
    }
    let numbered = (2..).map(|number| format!("{name}--{number}"));
    numbered.into_iter().find(|name| !is_taken(name)).unwrap_or_default()
}

/// An answer with these records.
pub(super) fn records(records: Vec<String>, other_types: OtherTypes) -> StaticAnswer {
    StaticAnswer { records, other_types, ..StaticAnswer::default() }
}

/// A match by names alone.
pub(super) fn names(names: NameMatch) -> Match {
    Match { names: Some(names), ..Match::default() }
}

/// A match by whole names.
pub(super) fn exact(name: &str) -> Match {
    names(NameMatch { exact: Some(vec![name.to_owned()]), ..NameMatch::default() })
}

/// A match by a zone.
pub(super) fn zone(zone: &str) -> Match {
    names(NameMatch { zone: Some(vec![zone.to_owned()]), ..NameMatch::default() })
}

#[cfg(test)]
mod tests {
    use dnsproxy_api::v1alpha1::{Block, BlockWith};

    use super::*;

    #[test]
    fn a_rule_that_is_needed_is_not_left_out_of_a_manifest() {
        let types = Some(vec!["ANY".to_owned(), "NOSUCH".to_owned()]);
        let block = Some(Block { with: BlockWith::REFUSED, ttl: None });
        let matches = Match { types, ..Match::default() };
        let rule = Rule { matches, block, ..Rule::default() };
        let mut draft = Draft::new();
        draft.carry();
        draft.rule("other", rule.clone());
        draft.needed_rule("acl block", rule);

        let Imported { proxy, notes, carried } = draft.finish();

        assert_eq!(carried, 0);
        let names: Vec<_> = proxy.spec.rules.iter().flatten().map(|rule| &*rule.name).collect();
        assert_eq!(names, ["acl-block"]);
        let told = notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(told.contains("rule other: left out: "), "{told}");
        assert!(told.contains("rule acl-block: ") && told.contains("no manifest"), "{told}");
    }
}

//! CoreDNS's `hosts`: names and addresses, of a file or of its own lines.
//!
//! There it is for the names of its block, and each line gives an address all its names (PTR). Here `spec.hosts` is for
//! every name. So lines are rules, but where they are one with those of a file, or many, and it does the same.

use std::{collections::BTreeMap, net::IpAddr};

use dnsproxy_api::{
    bounds,
    units::Zone,
    v1alpha1::{Match, NameMatch, OtherTypes, Source, rule::Rule},
};

use super::{
    super::{addresses::reverse_name, draft},
    place::Place,
    syntax::{Block, Directive, Line},
    zones,
};
use crate::import::Draft;

/// What one `hosts` says.
#[derive(Default)]
struct Hosts {
    ttl: Option<u32>,
    is_without_reverse: bool,
    /// The zones whose names go on when there is nothing about them; none, when they get SERVFAIL.
    falls_through: Option<Vec<String>>,
    /// Addresses, each with a name, in lower case.
    lines: Vec<(IpAddr, String)>,
}

/// Whether names of a block are those of `spec.hosts`.
pub(super) fn are_listed(block: &Block) -> bool {
    block.directives.iter().any(|it| it.name == "hosts" && !it.args.is_empty())
}

/// Reads one. A name that is there has no records of other types.
pub(super) fn read(
    directive: &Directive,
    place: &Place<'_, '_>,
    draft: &mut Draft,
) -> Result<(), String> {
    let own = directive.args.get(1..).unwrap_or_default();
    let own = match own {
        [] => place.zones().to_vec(),
        own => zones::common(&zones::of_all(own), place.zones()),
    };
    let mut hosts = Hosts::read(directive, &own, place, draft)?;
    let ttl = place.cached(hosts.ttl.unwrap_or(DEFAULT_TTL));
    let file = directive.args.first();
    match file {
        Some(file) => take_file(directive, file, ttl, &own, (&hosts, place), draft),
        None => draft.note(directive.line, directive.text(), OF_ETC_HOSTS),
    }
    tell_of_the_rest(directive, &hosts, draft);
    if hosts.lines.is_empty() {
        return Ok(());
    }
    let is_more = file.is_some() || hosts.lines.len() > MANY;
    if is_more && hosts.is_for_all(&own, place) && has_same_ttl(ttl, draft) {
        return inline(directive, &hosts, ttl, draft);
    }
    if file.is_some() {
        let reason =
            "a name that stands in the file as well has the addresses of these lines alone";
        draft.note(directive.line, directive.text(), reason);
    }
    if hosts.lines.len() > MANY {
        hosts.lines.truncate(MANY);
        let reason = format!("left out: names behind the first {MANY}, each of which is a rule");
        draft.note(directive.line, directive.text(), reason);
    }
    hosts.rules(ttl, place, draft);
    Ok(())
}

/// As many names of lines as can be rules, each with one for its address: what `bounds::RULES` has room for beside others.
const MANY: usize = bounds::RULES as usize / 4;

/// An hour, as CoreDNS has it.
const DEFAULT_TTL: u32 = 3600;

const OF_ETC_HOSTS: &str =
    "/etc/hosts is not read: for its names, write `hosts: {sources: [{file: /etc/hosts}]}`";

impl Hosts {
    fn read(
        directive: &Directive,
        own: &[String],
        place: &Place<'_, '_>,
        draft: &mut Draft,
    ) -> Result<Self, String> {
        let mut hosts = Self::default();
        for line in &directive.lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            match &*words {
                ["ttl", seconds] => {
                    hosts.ttl = Some(seconds.parse().map_err(|_| "not a number of seconds")?);
                }
                ["no_reverse"] => hosts.is_without_reverse = true,
                ["fallthrough", zones @ ..] => {
                    let zones: Vec<_> = zones.iter().flat_map(|zone| zones::of(zone)).collect();
                    hosts.falls_through = Some(zones);
                }
                ["reload", _] | [] => {}
                [address, ..] => match address.parse::<IpAddr>() {
                    Ok(address) => hosts.add(address.to_canonical(), line, own, place, draft),
                    Err(_) => {
                        draft.note(line.number, words.join(" "), "there is nothing like it here");
                    }
                },
            }
        }
        Ok(hosts)
    }

    /// Takes the names of one line; one that is bad, or that no query of this block is for, hides no other.
    fn add(
        &mut self,
        address: IpAddr,
        line: &Line,
        own: &[String],
        place: &Place<'_, '_>,
        draft: &mut Draft,
    ) {
        for text in line.words.iter().skip(1) {
            let name = zones::without_dot(text);
            let parent = name.strip_prefix("*.").unwrap_or(&name);
            let mut tell = |reason: &str| draft.note(line.number, text, reason);
            match parent.parse::<Zone>() {
                Err(error) => tell(&format!("left out: {error}")),
                Ok(_) if !(zones::hold(own, parent) && place.has(parent)) => {
                    tell(
                        "left out: it is no name of this block, so that nobody is answered with it",
                    );
                }
                Ok(_) => self.lines.push((address, name)),
            }
        }
    }

    /// Whether what `spec.hosts` does is the same: it is for every name, and names of other blocks have no part in it.
    fn is_for_all(&self, own: &[String], place: &Place<'_, '_>) -> bool {
        let mut addresses = self.lines.iter().map(|(address, _)| reverse_name(*address));
        let mut names = self.lines.iter().map(|(_, name)| name).filter(|it| !it.starts_with("*."));
        own.iter().any(|zone| zone == ".")
            && !self.is_without_reverse
            && addresses.all(|name| place.has(&name))
            && self.wildcards().all(|(parent, _)| place.has_all(parent))
            && !(self.wildcards().next().is_some() && names.any(|name| self.lacks_of_star(name)))
    }

    /// What stands behind each star, and the address.
    fn wildcards(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let stars = self.lines.iter();
        stars.filter_map(|(address, name)| Some((name.strip_prefix("*.")?, *address)))
    }

    /// A rule for each name; those with a star come behind the others, which they are not for.
    fn rules(&self, ttl: u32, place: &Place<'_, '_>, draft: &mut Draft) {
        let (mut names, mut stars) = (BTreeMap::new(), BTreeMap::new());
        let mut reverse: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (address, name) in &self.lines {
            let all = if name.starts_with("*.") { &mut stars } else { &mut names };
            put(all.entry(name.clone()).or_default(), record(ttl, *address));
            if !name.starts_with("*.") {
                let owner = reverse_name(*address);
                put(reverse.entry(owner).or_default(), format!("{ttl} PTR {name}."));
            }
        }
        for (name, records) in &mut names {
            for address in self.of_star(name) {
                put(records, record(ttl, address));
            }
        }
        for (name, records) in names {
            answer(draft, &name, draft::exact(&name), records, OtherTypes::NODATA);
        }
        for (name, records) in stars {
            let parent = name.trim_start_matches("*.");
            // One label, as CoreDNS has it.
            let regex = format!("^[^.]+\\.{}\\.$", parent.replace('.', "\\."));
            let one = NameMatch { regex: Some(vec![regex]), ..NameMatch::default() };
            answer(draft, parent, draft::names(one), records, OtherTypes::NODATA);
        }
        let asked = |name: &String| !self.is_without_reverse && place.has(name);
        for (name, records) in reverse.into_iter().filter(|(name, _)| asked(name)) {
            answer(draft, &name, draft::exact(&name), records, OtherTypes::Forward);
        }
    }

    /// Whether a star has addresses of a kind of which a name below it has none: they are the name's as well.
    fn lacks_of_star(&self, name: &str) -> bool {
        self.of_star(name).next().is_some()
    }

    fn of_star(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        let has = |is_ipv4| {
            let mut own = self.lines.iter().filter(|(_, it)| it == name);
            own.any(|(address, _)| address.is_ipv4() == is_ipv4)
        };
        let (has_ipv4, has_ipv6) = (has(true), has(false));
        let is_missing =
            move |address: &IpAddr| if address.is_ipv4() { !has_ipv4 } else { !has_ipv6 };
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let of_star = self.wildcards().filter(move |(star, _)| parent == Some(star));
        of_star.map(|(_, address)| address).filter(is_missing)
    }
}

fn record(ttl: u32, address: IpAddr) -> String {
    let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
    format!("{ttl} {rtype} {address}")
}

fn put(records: &mut Vec<String>, record: String) {
    if !records.contains(&record) {
        records.push(record);
    }
}

fn answer(
    draft: &mut Draft,
    name: &str,
    matches: Match,
    records: Vec<String>,
    other_types: OtherTypes,
) {
    let answer = Some(draft::records(records, other_types));
    draft.rule(name, Rule { matches, answer, ..Rule::default() });
}

fn take_file(
    directive: &Directive,
    file: &str,
    ttl: u32,
    own: &[String],
    (hosts, place): (&Hosts, &Place<'_, '_>),
    draft: &mut Draft,
) {
    if !has_same_ttl(ttl, draft) {
        draft.note(directive.line, directive.text(), "all files have one TTL: that of the last");
    }
    draft.hosts_file(file);
    draft.spec.hosts.get_or_insert_default().ttl = Some(format!("{ttl}s"));
    if *own != *place.zones() {
        let reason = "its names are answered in all zones of this block";
        draft.note(directive.line, directive.text(), reason);
    }
    if place.whole.listed > 1 {
        draft.note(directive.line, directive.text(), OF_OTHERS);
    }
    let of_addresses = if hosts.is_without_reverse {
        "addresses of the file have names (PTR)"
    } else {
        "an address of the file has the first name of each line (PTR), not all of them"
    };
    draft.note(directive.line, directive.text(), of_addresses);
    if hosts.wildcards().next().is_some() {
        let reason = "a name of the file has no addresses of a line with a star";
        draft.note(directive.line, directive.text(), reason);
    }
}

const OF_OTHERS: &str = "its names, and those of its addresses, are answered in the zones of other blocks with hosts files, too";

/// What is there of the names that have nothing.
fn tell_of_the_rest(directive: &Directive, hosts: &Hosts, draft: &mut Draft) {
    let reason = match &hosts.falls_through {
        None if hosts.lines.is_empty() && directive.args.is_empty() => return,
        None => {
            "names that are not there would get SERVFAIL; here they go on to the upstreams".into()
        }
        Some(zones) if zones.is_empty() || zones.iter().any(|zone| zone == ".") => return,
        Some(zones) => format!(
            "names that are not there, and not in {}, would get SERVFAIL; here they go on to the upstreams",
            zones::listed(zones)
        ),
    };
    draft.note(directive.line, directive.text(), reason);
}

fn has_same_ttl(ttl: u32, draft: &Draft) -> bool {
    let known = draft.spec.hosts.as_ref().and_then(|hosts| hosts.ttl.as_ref());
    known.is_none_or(|known| *known == format!("{ttl}s"))
}

/// Lines of `spec.hosts`, each with one name: there the first name of a line is that of its address.
fn inline(directive: &Directive, hosts: &Hosts, ttl: u32, draft: &mut Draft) -> Result<(), String> {
    let mut texts = vec![String::new()];
    for (address, name) in &hosts.lines {
        let line = format!("{address} {name}\n");
        match texts.last_mut() {
            Some(text) if text.len() + line.len() <= bounds::INLINE as usize => {
                text.push_str(&line)
            }
            _ => texts.push(line),
        }
    }
    draft.at(directive.line);
    let all = draft.spec.hosts.get_or_insert_default();
    all.ttl = Some(format!("{ttl}s"));
    let source = |text| Source { inline: Some(text), ..Source::default() };
    all.sources.extend(texts.into_iter().map(source));
    Ok(())
}

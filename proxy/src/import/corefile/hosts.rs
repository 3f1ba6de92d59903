//! CoreDNS's `hosts`: names and addresses, of a file or of its own lines.
//!
//! There it is for the names of its block, and each line gives an address all its names (PTR). Here `spec.hosts` is one for
//! all blocks. So lines are rules, but where they stand beside a file, or are many: blocks without hosts do not look there.

use std::{collections::BTreeMap, net::IpAddr};

use dnsproxy_api::{
    bounds,
    units::Zone,
    v1alpha1::{Match, NameMatch, OtherTypes, rule::Rule},
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
    /// The same of names that another part of the block answers.
    elsewhere: Vec<(IpAddr, String)>,
}

/// Whether names of a block are those of `spec.hosts`: they are a file's, or many, of this block and others.
pub(super) fn are_listed(block: &Block, are_many: bool) -> bool {
    let mut all = block.directives.iter().filter(|it| it.name == "hosts");
    all.any(|it| !it.args.is_empty() || are_many && names(it) > 0)
}

/// Whether the lines of all blocks have more names than can be rules.
pub(super) fn are_many(blocks: &[Block]) -> bool {
    let all = blocks.iter().flat_map(|it| &it.directives).filter(|it| it.name == "hosts");
    all.map(names).sum::<usize>() > MANY
}

fn names(directive: &Directive) -> usize {
    let is_address =
        |line: &&Line| line.words.first().is_some_and(|it| it.parse::<IpAddr>().is_ok());
    directive.lines.iter().filter(is_address).map(|line| line.words.len() - 1).sum()
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
    let hosts = Hosts::read(directive, &own, place, draft)?;
    let own_ttl = hosts.ttl.unwrap_or(DEFAULT_TTL);
    let ttl = place.ttl(None, own_ttl);
    let file = directive.args.first();
    match file {
        Some(file) => take_file(directive, file, ttl, &own, (&hosts, place), draft),
        None => draft.note(directive.line, directive.text(), OF_ETC_HOSTS),
    }
    tell_of_the_rest(directive, &hosts, draft);
    if hosts.lines.is_empty() {
        return Ok(());
    }
    let is_alike = has_same_ttl(ttl, draft) && !hosts.is_without_reverse;
    if place.read.is_listed && (file.is_none() || is_alike) {
        if file.is_none() {
            hosts.tell_of_list(directive, ttl, place, draft);
        }
        hosts.beside_stars(directive, ttl, draft);
        inline(directive, &hosts, ttl, draft);
        return Ok(());
    }
    if file.is_some() {
        let reason =
            "a name that stands in the file as well has the addresses of these lines alone";
        draft.note(directive.line, directive.text(), reason);
    }
    hosts.rules(own_ttl, place, draft);
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
                Ok(_) if !place.has(parent) && place.has_in_some_part(parent) => {
                    self.elsewhere.push((address, name));
                }
                Ok(_) if !(zones::hold(own, parent) && place.has(parent)) => {
                    tell(
                        "left out: it is no name of this block, so that nobody is answered with it",
                    );
                }
                Ok(_) => self.lines.push((address, name)),
            }
        }
    }

    /// Tells what is not the same because all blocks have one list.
    fn tell_of_list(
        &self,
        directive: &Directive,
        ttl: u32,
        place: &Place<'_, '_>,
        draft: &mut Draft,
    ) {
        let mut tell = |reason: &str| draft.note(directive.line, directive.text(), reason);
        if self.is_without_reverse {
            tell("its addresses have names (PTR): there are too many for rules");
        }
        if place.whole.listed > 1 {
            tell(
                "names of its addresses (PTR) are answered in the zones of other blocks with hosts, too",
            );
        }
        if !has_same_ttl(ttl, draft) {
            let reason = "all hosts have one TTL: that of the last";
            draft.note(directive.line, directive.text(), reason);
        }
    }

    /// Rules for names that have addresses of a star as well.
    fn beside_stars(&self, directive: &Directive, ttl: u32, draft: &mut Draft) {
        let names = self.names(|_| ttl, Names::OfStars);
        if names.len() > MANY {
            let reason = "a name with a line of its own has no addresses of a star: there are too many for rules";
            return draft.note(directive.line, directive.text(), reason);
        }
        for (name, records) in names {
            answer(draft, &name, draft::exact(&name), records, OtherTypes::NODATA);
        }
    }

    /// What stands behind each star, and the address.
    fn wildcards(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let stars = self.lines.iter();
        stars.filter_map(|(address, name)| Some((name.strip_prefix("*.")?, *address)))
    }

    /// A rule for each name; those with a star come behind the others, which they are not for.
    fn rules(&self, own_ttl: u32, place: &Place<'_, '_>, draft: &mut Draft) {
        let ttl_of = |name: &str| place.ttl(Some(name), own_ttl);
        let mut stars: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (parent, address) in self.wildcards() {
            put(stars.entry(parent).or_default(), record(place.ttl(None, own_ttl), address));
        }
        let mut reverse: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let all = self.lines.iter().chain(&self.elsewhere);
        for (address, name) in all.filter(|(_, name)| !name.starts_with("*.")) {
            let owner = reverse_name(*address);
            let record = format!("{} PTR {name}.", ttl_of(&owner));
            put(reverse.entry(owner).or_default(), record);
        }
        for (name, records) in self.names(ttl_of, Names::All) {
            answer(draft, &name, draft::exact(&name), records, OtherTypes::NODATA);
        }
        for (parent, records) in stars {
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

    /// The names without a star, each with its addresses. Those of a kind that it has none of are those of a star above it.
    fn names(&self, ttl_of: impl Fn(&str) -> u32, which: Names) -> BTreeMap<String, Vec<String>> {
        let mut stars: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
        for (parent, address) in self.wildcards() {
            stars.entry(parent).or_default().push(address);
        }
        let star = |name: &str| stars.get(name.split_once('.')?.1);
        let mut names: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
        for (address, name) in self.lines.iter().filter(|(_, name)| !name.starts_with("*.")) {
            if which == Names::All || star(name).is_some() {
                names.entry(name).or_default().push(*address);
            }
        }
        let mut found = BTreeMap::new();
        for (name, own) in names {
            let lacks = |it: &&IpAddr| own.iter().all(|own| own.is_ipv4() != it.is_ipv4());
            let more: Vec<_> = star(name).into_iter().flatten().filter(lacks).collect();
            if which == Names::OfStars && more.is_empty() {
                continue;
            }
            let mut records = Vec::new();
            let ttl = ttl_of(name);
            own.iter().chain(more).for_each(|it| put(&mut records, record(ttl, *it)));
            found.insert(name.to_owned(), records);
        }
        found
    }
}

/// Which names are meant.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Names {
    All,
    /// Those that have addresses of a star as well.
    OfStars,
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
fn inline(directive: &Directive, hosts: &Hosts, ttl: u32, draft: &mut Draft) {
    draft.at(directive.line);
    draft.spec.hosts.get_or_insert_default().ttl = Some(format!("{ttl}s"));
    let lines = hosts.lines.iter().map(|(address, name)| format!("{address} {name}\n"));
    draft::hosts_lines(draft, lines);
}

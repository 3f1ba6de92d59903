//! Options with domains: `server=/x/`, `local=/x/`, `address=/x/`. The longest domain that matches decides.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dnsproxy_api::v1alpha1::{
    Block, BlockWith, Forward, Match, NameMatch, OtherTypes, Policy, RcodeChange, ResponseChange,
    ResponseCode, Route, StaticAnswer, Then, rule::Rule,
};

use super::{
    Opt, draft,
    pattern::{Pattern, patterns, upwards},
    private::Private,
};
use crate::import::Draft;

mod ruled;

/// Who is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// Nobody: there is no such name.
    Nobody,
    /// The servers for every name.
    Standard,
    Server(String),
    /// A server that cannot be asked from here.
    Unknown,
}

/// What is said about the names of one pattern.
#[derive(Debug, Default)]
struct Domain {
    servers: Vec<String>,
    is_standard: bool,
    is_local: bool,
    /// Whether it has a server that cannot be asked from here.
    is_lost: bool,
    /// Those that stand there.
    given: Vec<IpAddr>,
    /// Whether the unspecified addresses stand for the families without one.
    is_null: bool,
    /// What is answered.
    addresses: Vec<IpAddr>,
    line: usize,
}

/// What `address=` says.
#[derive(Clone, Copy, Debug)]
enum Address {
    None,
    Null,
    Given(IpAddr),
}

#[derive(Debug, Default)]
pub(super) struct Domains(BTreeMap<Pattern, Domain>);

impl Domains {
    pub(super) fn server(&mut self, line: usize, patterns: Vec<Pattern>, target: &Target) {
        for pattern in patterns {
            let domain = self.0.entry(pattern).or_default();
            domain.line = line;
            match target {
                Target::Nobody => domain.is_local = true,
                Target::Standard => domain.is_standard = true,
                Target::Unknown => domain.is_lost = true,
                Target::Server(name) if domain.servers.contains(name) => {}
                Target::Server(name) => domain.servers.push(name.clone()),
            }
        }
    }

    pub(super) fn address(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let (patterns, address) = patterns(option.value)?;
        if patterns.is_empty() {
            return Err("no domain".into());
        }
        let address = match address {
            "" => Address::None,
            "#" => Address::Null,
            text => Address::Given(text.parse().map_err(|_| format!("`{text}` is no address"))?),
        };
        for pattern in patterns {
            let is_plain = pattern == Pattern::Plain;
            let domain = self.0.entry(pattern).or_default();
            domain.line = option.line;
            domain.add(address);
            // Where an address is for all names without a dot, dnsmasq has no servers for these.
            domain.is_lost |= is_plain;
        }
        Ok(())
    }

    /// What is said about a name, in the order in which it is looked at. There may be many thousands, so domains are
    /// looked up and not tried.
    fn of(&self, name: &str) -> Vec<(&Pattern, &Domain)> {
        let zones = upwards(name).map(|zone| Pattern::Zone(zone.to_owned()));
        let below = upwards(name).skip(1).map(|zone| Pattern::Below(zone.to_owned()));
        let named = zones.chain(below).filter_map(|pattern| self.0.get_key_value(&pattern));
        let others = self.0.range(Pattern::Ending(String::new())..);
        let mut all: Vec<_> = named.chain(others.filter(|(it, _)| it.has(name))).collect();
        all.sort_by_key(|(pattern, _)| pattern.order());
        all
    }

    /// Whether something is said about a name.
    pub(super) fn have(&self, name: &str) -> bool {
        !self.of(name).is_empty()
    }

    /// Who has the last word about a name, as far as there are no addresses for it.
    fn last_word(&self, name: &str) -> Option<(&Pattern, &Domain)> {
        self.of(name).into_iter().find(|(_, it)| it.is_local || it.is_asked() || it.is_lost)
    }

    /// Whether nobody is asked for a name, and the first that is said about it is that.
    pub(super) fn keep(&self, name: &str) -> bool {
        self.of(name).first().is_some_and(|(_, domain)| domain.denies())
    }

    /// Whether a name is denied here, unless it is there.
    pub(super) fn deny(&self, name: &str) -> bool {
        self.last_word(name).is_some_and(|(_, domain)| domain.denies())
    }

    /// Whether a name gets an address of its domain.
    pub(super) fn have_addresses(&self, name: &str) -> bool {
        self.of(name).first().is_some_and(|(_, domain)| !domain.addresses.is_empty())
    }

    /// Upstreams may say that there is no such name, but it has records here, or addresses: then it only has none of
    /// other types.
    pub(super) fn emit_existence(&self, draft: &mut Draft, there: &BTreeSet<String>) {
        let is_forwarded =
            |name: &&String| self.last_word(name).is_none_or(|(_, domain)| domain.is_asked());
        let exact: Vec<_> = there.iter().filter(is_forwarded).cloned().collect();
        if !exact.is_empty() {
            let names = NameMatch { exact: Some(exact), ..NameMatch::default() };
            draft.rule("there", exists(draft::names(names)));
        }
        let there = self.there_but_asked_for();
        if there.len() > MAX_TWICE {
            let reason = "where names of these domains have servers of their own that say that there is no such name, they get NXDOMAIN here and nothing in dnsmasq: so many domains would make the manifest too large";
            return draft.note(0, "address", reason);
        }
        for (pattern, domain) in there {
            draft.at(domain.line);
            draft.rule_for_more("there", exists(pattern.matches()));
        }
        draft.at(0);
    }

    /// Domains with addresses, as far as servers are asked for some of their names: longer domains may have these. Where its own rule has
    /// the last word, a name is not denied.
    fn there_but_asked_for(&self) -> Vec<(&Pattern, &Domain)> {
        let asked = self.0.iter().filter(|(_, domain)| domain.is_asked());
        let asked = asked.map(|(pattern, _)| pattern);
        let (named, others): (Vec<_>, Vec<_>) = asked.partition(|it| it.domain().is_some());
        let names = named.iter().filter_map(|it| it.domain());
        let above: BTreeSet<&str> = names.flat_map(upwards).collect();
        let may_be_asked_for = |pattern: &Pattern| {
            let is_before = |it: &&Pattern| it.order() < pattern.order() && it.meets(pattern);
            let is_named = || match pattern.domain() {
                Some(domain) => above.contains(domain),
                None => named.iter().any(is_before),
            };
            is_named() || others.iter().any(is_before)
        };
        let domains = self.0.iter().filter(|(_, domain)| !domain.addresses.is_empty());
        domains.filter(|(pattern, _)| may_be_asked_for(pattern)).collect()
    }

    /// The names that are there by the domain that would deny them.
    fn denied(&self, there: &BTreeSet<String>) -> BTreeMap<&Pattern, Vec<String>> {
        let mut denied: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for name in there {
            if let Some((pattern, domain)) = self.last_word(name)
                && domain.denies()
            {
                denied.entry(pattern).or_default().push(name.clone());
            }
        }
        denied
    }

    /// Whether a name without a dot is answered by itself.
    pub(super) fn have_plain_literals(&self) -> bool {
        self.0.iter().any(|(pattern, domain)| match pattern {
            Pattern::Zone(zone) => !zone.contains('.') && !domain.is_asked(),
            Pattern::Plain | Pattern::Any => !domain.is_asked(),
            Pattern::Below(_) | Pattern::Ending(_) => false,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// There are no servers for every name.
    pub(super) fn lose_standard(&mut self) {
        for domain in self.0.values_mut().filter(|it| it.is_standard) {
            domain.is_standard = false;
            domain.servers.clear();
            domain.is_lost = true;
        }
    }

    /// Addresses of names without a dot are denied behind all domains.
    pub(super) fn forward_plain(&mut self, draft: &mut Draft) {
        let plain = self.0.get_mut(&Pattern::Plain);
        if let Some(plain) = plain.filter(|it| it.is_lost && !it.addresses.is_empty()) {
            plain.is_lost = false;
            let reason = "with domain-needed, types that are no addresses are asked for here";
            draft.note(plain.line, Pattern::Plain.to_string(), reason);
        }
    }

    /// Which of these counts is another thing in older versions.
    pub(super) fn tell_of_servers_of_nobody(&self, has_standard: bool, draft: &mut Draft) {
        for (pattern, domain) in self.0.iter().filter(|(_, domain)| domain.is_local) {
            let is_asked = domain.is_standard || !domain.servers.is_empty();
            if is_asked || has_standard && *pattern == Pattern::Any {
                let reason = "it is local and has servers: nobody is asked here, as by dnsmasq 2.93; 2.90 asks the servers: for that, take out what makes it local";
                draft.note(domain.line, pattern.to_string(), reason);
            }
        }
    }

    /// Whether some domain has servers of its own.
    pub(super) fn have_servers(&self) -> bool {
        self.0.values().any(|domain| domain.is_asked() && !domain.is_standard)
    }

    /// Writes rules and routes. A domain with servers is a route; where a rule would decide about names in it first, it
    /// gets a rule as well. Names that are there are not denied where nobody is asked for them.
    pub(super) fn emit(
        &self,
        draft: &mut Draft,
        ttl: u32,
        private: &Private,
        there: &BTreeSet<String>,
        policy: Policy,
        has_unseen: bool,
    ) {
        let mut told = BTreeSet::new();
        let mut denied = self.denied(there);
        let mut domains: Vec<_> =
            self.0.iter().filter(|it| !it.1.is_left_to(private, it.0)).collect();
        // Those of one length that do the same stand together, and become one rule.
        domains.sort_by_key(|(pattern, domain)| (pattern.order(), domain.action()));
        let mut users: HashMap<&[String], usize> = HashMap::new();
        for (_, domain) in &domains {
            *users.entry(&domain.servers).or_default() += 1;
        }
        let mut routes = Vec::with_capacity(domains.len());
        for (pattern, domain) in &domains {
            draft.at(domain.line);
            let is_alone = users.get(&*domain.servers).is_some_and(|users| *users == 1);
            let route = || domain.route(pattern, is_alone, policy, draft);
            routes.push(domain.is_asked().then(route));
        }
        let needing = ruled::needing(&domains, &routes, private);
        for (((pattern, domain), route), needs_rule) in domains.iter().zip(routes).zip(needing) {
            draft.at(domain.line);
            if needs_rule && has_unseen && pattern.is_of_addresses() && told.insert(domain.line) {
                let reason = "here this comes before the names of addresses (PTR) in hosts files that could not be looked at";
                draft.note(domain.line, pattern.to_string(), reason);
            }
            let route = route.filter(|_| needs_rule).map(|(route, _)| route);
            domain.emit(pattern, ttl, route, denied.remove(pattern), draft);
        }
    }
}

/// So many domains with addresses may stand in two rules: with names of some thirty octets, a fifth of what a manifest may have.
const MAX_TWICE: usize = 10_000;

/// "No such name" becomes "nothing of this type".
fn exists(matches: Match) -> Rule {
    let (from, to) = (ResponseCode::NXDOMAIN, ResponseCode::NOERROR);
    let rcodes = Some(vec![RcodeChange { from, to }]);
    let response = Some(ResponseChange { rcodes, ..ResponseChange::default() });
    Rule { matches, response, then: Some(Then::Continue), ..Rule::default() }
}

/// These names have nothing of types about which nothing was said before.
pub(super) fn nodata(names: Vec<String>) -> Rule {
    let matches = draft::names(NameMatch { exact: Some(names), ..NameMatch::default() });
    Rule { matches, ..block(BlockWith::NODATA) }
}

fn block(with: BlockWith) -> Rule {
    Rule { block: Some(Block { with, ttl: None }), ..Rule::default() }
}

impl Domain {
    /// What is done with its names.
    fn action(&self) -> (bool, &[IpAddr], &[String], bool) {
        (self.is_local, &self.addresses, &self.servers, self.is_lost)
    }

    fn add(&mut self, address: Address) {
        match address {
            Address::None => self.is_local = true,
            Address::Null => self.is_null = true,
            Address::Given(address) if self.given.contains(&address) => {}
            Address::Given(address) => self.given.push(address),
        }
        self.addresses.clone_from(&self.given);
        let nulls: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let is_open = |null: &IpAddr| self.given.iter().all(|it| it.is_ipv4() != null.is_ipv4());
        self.addresses.extend(nulls.into_iter().filter(|null| self.is_null && is_open(null)));
    }

    /// That nobody is asked counts more than any server, wherever it stands.
    fn is_asked(&self) -> bool {
        !self.is_local && (self.is_standard || !self.servers.is_empty())
    }

    /// Whether there are no names in it, but for those that have records.
    fn denies(&self) -> bool {
        self.is_local && self.addresses.is_empty()
    }

    /// Since dnsmasq 2.86 other types than those of the addresses are forwarded, unless the domain is local.
    fn answer(&self, ttl: u32) -> StaticAnswer {
        let records = self.addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => format!("{ttl} A {v4}"),
            IpAddr::V6(v6) => format!("{ttl} AAAA {v6}"),
        });
        let other_types = if self.is_local { OtherTypes::NODATA } else { OtherTypes::Forward };
        draft::records(records.collect(), other_types)
    }

    /// Whether names of which nobody is asked are kept here without a rule.
    fn is_left_to(&self, private: &Private, pattern: &Pattern) -> bool {
        let Pattern::Zone(zone) = pattern else { return false };
        self.denies() && private.keeps(zone)
    }

    /// Writes its rules: for addresses, then for what has none. `there` are names that are not denied.
    fn emit(
        &self,
        pattern: &Pattern,
        ttl: u32,
        route: Option<String>,
        there: Option<Vec<String>>,
        draft: &mut Draft,
    ) {
        let mut add = |rule: Rule| {
            draft.rule_for_more(pattern.hint(), Rule { matches: pattern.matches(), ..rule });
        };
        if !self.addresses.is_empty() {
            add(Rule { answer: Some(self.answer(ttl)), ..Rule::default() });
        }
        if let Some(route) = route {
            add(Rule { forward: Some(Forward { route }), ..Rule::default() });
        } else if self.is_lost && !self.is_local && !self.is_asked() {
            add(block(BlockWith::REFUSED));
        } else if self.denies() {
            if let Some(names) = there {
                draft.rule("other types", nodata(names));
            }
            let rule = Rule { matches: pattern.matches(), ..block(BlockWith::NXDOMAIN) };
            draft.rule_for_more(pattern.hint(), rule);
        }
    }

    /// The name of the route to its servers, of which the standard ones count most, and whether that has the domain as a zone.
    /// That of one domain has its name, that of several the first server's, whatever they are.
    fn route(
        &self,
        pattern: &Pattern,
        is_alone: bool,
        policy: Policy,
        draft: &mut Draft,
    ) -> (String, bool) {
        if self.is_standard {
            return (draft::DEFAULT.to_owned(), take_zone(pattern, draft.route(draft::DEFAULT)));
        }
        let routes = draft.spec.routes.as_deref().unwrap_or_default();
        let same = routes
            .iter()
            .find(|route| route.upstreams == self.servers && route.name != draft::DEFAULT);
        let name = match same {
            Some(same) => same.name.clone(),
            None if is_alone => draft.route_name(pattern.hint()),
            None => draft.route_name(self.servers.first().map_or("servers", String::as_str)),
        };
        let route = draft.route(&name);
        route.upstreams.clone_from(&self.servers);
        route.policy = policy;
        let has_zone = take_zone(pattern, route);
        (name, has_zone)
    }
}

/// Gives a domain to a route, if it is one and there is room.
fn take_zone(pattern: &Pattern, route: &mut Route) -> bool {
    let has_room = route.zones.len() < dnsproxy_api::bounds::ZONES as usize;
    match pattern {
        Pattern::Zone(zone) if has_room => {
            route.zones.push(zone.clone());
            true
        }
        _ => false,
    }
}

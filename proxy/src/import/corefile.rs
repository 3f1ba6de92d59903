//! A Corefile, the configuration of CoreDNS 1.14.
//!
//! A server block is chosen by the longest zone. In a block, plugins come in the order that CoreDNS was built with,
//! not in that of the file: any, rewrite, acl, cache, template, hosts, forward. So rules are written in that order.

use std::{cmp::Reverse, collections::BTreeMap, net::SocketAddr};

use dnsproxy_api::{
    bounds,
    v1alpha1::{
        self, Allow, AnyQuestions, Block as BlockRule, BlockWith, Cache, CacheMode, DnsListener,
        Listeners, NameMatch, rule::Rule,
    },
    validate::CLUSTER_DNS,
};

use super::{Draft, Imported, draft};

mod acl;
mod asked;
mod cache;
mod forward;
mod hosts;
mod leads;
mod log;
mod rewrite;
mod syntax;
mod template;
mod zones;

use asked::{Share, Shares};
use forward::Forward;
use leads::Lead;
use rewrite::{Landing, Reach};
use syntax::{Block, Directive};

/// Reads a Corefile.
pub fn import(text: &str) -> Imported {
    let mut draft = Draft::new();
    match syntax::read(text) {
        Ok(blocks) => read(&blocks, &mut draft),
        Err((line, reason)) => draft.note(line, "this block", reason),
    }
    draft.finish()
}

fn read(blocks: &[Block], draft: &mut Draft) {
    let own = own_zones(blocks, draft);
    let is_alone = own.len() == 1;
    let is_logged = is_alone || log::is_everywhere(blocks);
    let mut listeners = Vec::new();
    let mut read: Vec<Read<'_>> = Vec::new();
    for (block, zones) in own {
        let mut reader = Reader { draft, zones, is_alone, is_logged };
        reader.keys(block, &mut listeners);
        let forwards = reader.settings(block);
        read.push(Read { block, zones: reader.zones, forwards });
    }
    let shares = Shares::of(&read);
    let leads: Vec<_> =
        (0..read.len()).map(|index| leads::of(index, &read, &shares, draft)).collect();
    let routes = routes(&read, &shares, &leads, draft);
    tell_of_settings(&read, draft);
    for (index, zone, it) in in_order(&read) {
        let zones = it.zones.clone();
        let mut reader = Reader { draft, zones, is_alone, is_logged };
        let place = Place { index, read: it, shares: &shares, routes: &routes, leads: &leads };
        match zone {
            None => reader.rules(it.block, &place),
            Some(zone) => reader.end(it.block, zone, &place),
        }
    }
    draft.drop_last_allowing();
    listen(draft, listeners);
    defaults(draft, blocks);
}

/// Settings that are one for all names here.
fn tell_of_settings(read: &[Read<'_>], draft: &mut Draft) {
    for plugin in ["any", "bufsize", "cache"] {
        let all: Vec<_> = read.iter().map(|it| it.block.has(plugin)).collect();
        let text = |directive: &Directive| {
            let lines = directive.lines.iter().map(|line| line.words.clone());
            (directive.args.clone(), lines.collect::<Vec<_>>())
        };
        if all.windows(2).all(|two| matches!(two, [one, other] if one.map(text) == other.map(text)))
        {
            continue;
        }
        for directive in all.into_iter().flatten() {
            let reason = "here it is one for the names of all blocks: what stands last holds";
            draft.note(directive.line, directive.text(), reason);
        }
    }
}

/// The zones of each block; a zone is that of the first block that has it, as here every port has all zones.
fn own_zones<'b>(blocks: &'b [Block], draft: &mut Draft) -> Vec<(&'b Block, Vec<String>)> {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    let mut own = Vec::new();
    for block in blocks {
        let (left, lost): (Vec<_>, Vec<_>) =
            zones::of_all(&block.keys).into_iter().partition(|zone| !owners.contains_key(zone));
        for zone in lost {
            let owner = owners.get(&zone).copied().unwrap_or_default();
            let reason = format!(
                "the block of line {owner} is for this zone, on every port; what this one says about it is left out"
            );
            draft.note(block.line, zone, reason);
        }
        owners.extend(left.iter().map(|zone| (zone.clone(), block.line)));
        if !left.is_empty() {
            own.push((block, left));
        }
    }
    own
}

/// A block, and what it says about whom to ask.
struct Read<'b> {
    block: &'b Block,
    zones: Vec<String>,
    forwards: Vec<Forward<'b>>,
}

impl Read<'_> {
    /// The first `forward` that takes a name.
    fn first_for(&self, name: &str) -> Option<usize> {
        self.forwards.iter().position(|forward| forward.takes(name))
    }
}

/// The name of the route of each `forward` of each block; none where it cannot be asked from here.
type Routes = Vec<Vec<Option<String>>>;

fn routes(read: &[Read<'_>], shares: &Shares, leads: &[Vec<Lead>], draft: &mut Draft) -> Routes {
    let mut routes = Vec::new();
    for (index, Read { zones, forwards, .. }) in read.iter().enumerate() {
        let mut made = Vec::new();
        for (number, forward) in forwards.iter().enumerate() {
            let directive = forward.directive;
            let taken = shares.zones(index, number);
            let is_led = |leads: &Vec<Lead>| leads.iter().any(|lead| lead.forward == number);
            if taken.is_empty() && !leads.get(index).is_some_and(is_led) {
                let reason = format!(
                    "left out: another `forward` or another block takes each name in {} that it is for",
                    zones.join(", ")
                );
                draft.note(directive.line, directive.text(), reason);
                made.push(None);
                continue;
            }
            let route = forward.route(taken, draft);
            match &route {
                Ok(_) => draft.carry(),
                Err(reason) => draft.note(directive.line, directive.text(), reason),
            }
            made.push(route.ok());
        }
        routes.push(made);
    }
    routes
}

/// The rules of each block, and the end of what is said about each of its zones: there a query is for the block with the
/// longest zone alone, here the first rule that matches decides.
fn in_order<'r, 'b>(read: &'r [Read<'b>]) -> Vec<(usize, Option<&'r str>, &'r Read<'b>)> {
    let mut parts = Vec::new();
    for (index, it) in read.iter().enumerate() {
        let zones = || it.zones.iter().map(|zone| (zones::depth(zone), &**zone));
        let deepest = zones().map(|(depth, _)| depth).max().unwrap_or_default();
        parts.push((Reverse(deepest), false, index, None, it));
        parts.extend(zones().map(|(depth, zone)| (Reverse(depth), true, index, Some(zone), it)));
    }
    parts.sort_by_key(|(depth, is_end, ..)| (*depth, *is_end));
    parts.into_iter().map(|(_, _, index, zone, it)| (index, zone, it)).collect()
}

/// One block among the others: which names are its own, and who is asked for them.
struct Place<'r, 'b> {
    index: usize,
    read: &'r Read<'b>,
    shares: &'r Shares,
    routes: &'r Routes,
    leads: &'r [Vec<Lead>],
}

impl Place<'_, '_> {
    fn zones(&self) -> &[String] {
        &self.read.zones
    }

    /// Whether a query for a name is for this block.
    fn has(&self, name: &str) -> bool {
        self.shares.at(name).is_some_and(|share| share.block == self.index)
    }

    /// Whether queries for a name and for all below it are.
    fn has_all(&self, name: &str) -> bool {
        let below = |share: &&Share| zones::is_within(&share.zone, name);
        self.has(name) && self.shares.iter().filter(below).all(|it| it.block == self.index)
    }

    /// The TTL of an answer of its own, once the cache of the block has had it.
    fn cached(&self, ttl: u32) -> u32 {
        let mut caches = self.read.block.directives.iter().filter(|it| it.name == "cache");
        let bounds = caches.next().and_then(cache::ttl);
        bounds.map_or(ttl, |(least, most)| ttl.max(least).min(most))
    }

    /// The shares of one of its zones, the deepest first, but for those that go the same way as the one around them.
    fn shares(&self, zone: &str) -> Vec<(&Share, bool)> {
        let own = |share: &&Share| share.block == self.index && share.of == zone;
        let around = |share: &Share| self.shares.around(share).filter(own);
        let shares = self.shares.iter().filter(own).map(|share| (share, self.is_asked(share)));
        let shares = shares.filter(|(share, is_asked)| {
            around(share).is_none_or(|around| self.is_asked(around) != *is_asked)
        });
        shares.collect()
    }

    fn is_asked(&self, share: &Share) -> bool {
        share.forward.is_some_and(|forward| self.route(share.block, forward).is_some())
    }

    fn route(&self, block: usize, forward: usize) -> Option<&String> {
        self.routes.get(block)?.get(forward)?.as_ref()
    }

    /// The zones into which names are rewritten, and the routes for them.
    fn leads(&self) -> impl Iterator<Item = (String, String)> {
        let leads = self.leads.get(self.index).into_iter().flatten();
        leads.filter_map(|lead| {
            let route = self.route(self.index, lead.forward)?;
            Some((lead.zone.clone(), route.clone()))
        })
    }

    /// The `forward` that leaves a zone out.
    fn except(&self, zone: &str) -> Option<&Directive> {
        let mut forwards = self.read.forwards.iter();
        forwards.find(|it| zones::hold(&it.except, zone)).map(|it| it.directive)
    }
}

/// One server block on its way into the manifest.
struct Reader<'d> {
    draft: &'d mut Draft,
    zones: Vec<String>,
    /// Whether there is no other block, so that nothing else is asked of what it says.
    is_alone: bool,
    /// Whether each block logs, so that queries for all names may be logged here.
    is_logged: bool,
}

/// What the rewrites above one say.
#[derive(Default)]
struct Before {
    /// The line of the first that ends the way of a query, and whether it changes the question.
    stopped: Option<(usize, bool)>,
    /// Whether a name may be another one by now.
    has_renamed: bool,
}

/// The plugins that make rules, in CoreDNS's order.
const ORDERED: [&str; 4] = ["rewrite", "acl", "template", "hosts"];

impl Reader<'_> {
    /// Everything but rules. Tells whom the block asks.
    fn settings<'b>(&mut self, block: &'b Block) -> Vec<Forward<'b>> {
        let mut forwards = Vec::new();
        for directive in block.directives.iter().filter(|it| !ORDERED.contains(&&*it.name)) {
            self.draft.at(directive.line);
            if directive.name != "forward" {
                let result = self.setting(directive);
                self.settle(directive, result);
                continue;
            }
            match Forward::read(directive, self.draft) {
                Ok(forward) => forwards.push(forward),
                Err(reason) => self.draft.note(directive.line, directive.text(), reason),
            }
        }
        forwards
    }

    fn rules(&mut self, block: &Block, place: &Place<'_, '_>) {
        for plugin in ORDERED {
            if plugin == "acl" {
                acl::read(block, place, self.is_alone, self.draft);
                continue;
            }
            let mut before = Before::default();
            for directive in block.directives.iter().filter(|it| it.name == plugin) {
                self.draft.at(directive.line);
                let result = match plugin {
                    "rewrite" => self.rewrite(directive, block, &mut before),
                    "template" => template::read(directive, place, self.draft),
                    _ => hosts::read(directive, place, self.draft),
                };
                self.settle(directive, result);
            }
        }
        self.lead(block, place);
    }

    /// Sends names that were rewritten to the upstreams of the block. Those of its own zones are not looked at for that.
    fn lead(&mut self, block: &Block, place: &Place<'_, '_>) {
        self.draft.at(block.line);
        let leads: Vec<_> = place.leads().collect();
        if leads.iter().any(|(zone, _)| self.zones.iter().any(|own| is_above(zone, own))) {
            for zone in self.zones.clone() {
                let shares = place.shares(&zone);
                self.parts(&zone, place, &shares, true);
                self.draft.rule(&format!("{zone} own"), allowing(vec![zone]));
            }
        }
        for (zone, route) in leads {
            let forward = Some(v1alpha1::Forward { route });
            let matches = draft::zone(&zone);
            self.draft
                .rule(&format!("{zone} rewritten"), Rule { matches, forward, ..Rule::default() });
        }
    }

    /// What shorter zones say is not for names of this one, and whom they ask is not asked for them.
    fn end(&mut self, block: &Block, zone: &str, place: &Place<'_, '_>) {
        self.draft.at(block.line);
        let name = format!("{zone} end");
        let shares = place.shares(zone);
        let is_asked = shares.iter().any(|(share, is_asked)| share.zone == zone && *is_asked);
        self.parts(zone, place, &shares, is_asked);
        if is_asked {
            if !self.is_alone && zone != "." {
                self.draft.rule(&name, allowing(vec![zone.to_owned()]));
            }
            return;
        }
        let has_file = block.has("hosts").is_some_and(|it| !it.args.is_empty());
        let reason = if block.has("kubernetes").is_some() && zone != "." {
            let (matches, route) = (draft::zone(zone), CLUSTER_DNS.to_owned());
            let forward = Some(v1alpha1::Forward { route });
            self.draft.rule(&name, Rule { matches, forward, ..Rule::default() });
            return;
        } else if has_file && zone != "." {
            "no `forward` that can be carried over: names that are not in the file go the way of all others; give them a route"
        } else {
            if zone != "." {
                self.draft.rule(&name, refusing(vec![zone.to_owned()]));
            }
            "no `forward` that can be carried over: names of this block that no rule answers are refused"
        };
        self.draft.note(block.line, zone, reason);
    }

    /// The parts of a zone for which others are asked than for the rest, or nobody.
    fn parts(
        &mut self,
        zone: &str,
        place: &Place<'_, '_>,
        shares: &[(&Share, bool)],
        is_asked: bool,
    ) {
        // Where nobody is asked for the root, there is no route either, so that a rule is not needed.
        if !is_asked && zone == "." {
            return;
        }
        let name = format!("{zone} end");
        let parts: Vec<_> = shares.iter().filter(|(share, _)| share.zone != zone).collect();
        for part in parts.chunk_by(|(_, one), (_, other)| one == other) {
            let zones: Vec<_> = part.iter().map(|(share, _)| share.zone.clone()).collect();
            match part {
                [(_, true), ..] => self.draft.rule(&name, allowing(zones)),
                _ => self.draft.rule(&name, refusing(zones)),
            };
            self.tell_of_excepts(part, place);
        }
    }

    fn tell_of_excepts(&mut self, part: &[&(&Share, bool)], place: &Place<'_, '_>) {
        let mut lost: BTreeMap<usize, (&Directive, Vec<&str>)> = BTreeMap::new();
        for (share, _) in part.iter().filter(|(share, _)| share.forward.is_none()) {
            if let Some(directive) = place.except(&share.zone) {
                let (_, zones) = lost.entry(directive.line).or_insert((directive, Vec::new()));
                zones.push(&share.zone);
            }
        }
        for (line, (directive, zones)) in lost {
            let reason = format!(
                "`except`: no other `forward` of this block takes {}: REFUSED, where CoreDNS has SERVFAIL",
                zones.join(", ")
            );
            self.draft.note(line, directive.text(), reason);
        }
    }

    fn settle(&mut self, directive: &Directive, result: Result<(), String>) {
        match result {
            Ok(()) => self.draft.carry(),
            Err(reason) => self.draft.note(directive.line, directive.text(), reason),
        }
    }

    /// The zones and ports of a block.
    fn keys(&mut self, block: &Block, listeners: &mut Vec<String>) {
        for key in &block.keys {
            let (scheme, rest) = key.split_once("://").unwrap_or(("dns", key));
            if scheme != "dns" {
                let reason =
                    format!("{scheme}:// is not served here yet: clients are served plain DNS");
                self.draft.note(block.line, key, reason);
                continue;
            }
            let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            let binds = block.directives.iter().filter(|it| it.name == "bind");
            let addresses: Vec<&String> = binds.flat_map(|bind| &bind.args).collect();
            let port = port.unwrap_or(53);
            for address in &addresses {
                match address.parse() {
                    Ok(ip) => listeners.push(SocketAddr::new(ip, port).to_string()),
                    Err(_) => {
                        let reason = "give the interface's address in `listeners.dns.addresses`";
                        self.draft.note(block.line, format!("bind {address}"), reason);
                    }
                }
            }
            if addresses.is_empty() {
                listeners.push(format!("[::]:{port}"));
            }
        }
    }

    fn rewrite(
        &mut self,
        directive: &Directive,
        block: &Block,
        before: &mut Before,
    ) -> Result<(), String> {
        let mut rule = rewrite::read(directive)?;
        let changes_question = rule.rewrite.is_some();
        if let Some((line, kind)) = before.stopped
            && kind != changes_question
        {
            let reason = format!(
                "in CoreDNS line {line} ends the way of queries that it matches; here this rule is looked at for them as well"
            );
            self.draft.note(directive.line, directive.text(), reason);
        }
        if rule.then.is_none() && before.stopped.is_none() {
            before.stopped = Some((directive.line, changes_question));
        }
        match rewrite::reach(&mut rule, &self.zones) {
            Reach::Outside if !before.has_renamed => {
                return Err(format!("left out: no name in {} matches", self.zones.join(", ")));
            }
            Reach::Outside | Reach::Beyond => self.tell_of_reach(directive, &rule),
            Reach::Inside => {}
        }
        self.tell_of_answers(directive, &rule, block);
        before.has_renamed |=
            rule.then.is_some() && rule.rewrite.as_ref().is_some_and(|it| it.name.is_some());
        let inner = directive.lines.iter().flat_map(|line| &line.words);
        let words = directive.args.iter().chain(inner);
        let name = words.filter(|word| !matches!(&***word, "stop" | "continue"));
        let name = name.take(3).map(String::as_str).collect::<Vec<_>>().join(" ");
        check(&rule)?;
        self.draft.rule(&name, rule);
        Ok(())
    }

    /// What of an answer is not changed as it is there.
    fn tell_of_answers(&mut self, directive: &Directive, rule: &Rule, block: &Block) {
        if rewrite::has_chain(rule) {
            let reason = "CoreDNS makes each change of a name in the answer in turn, the last one first, and then the automatic one; here the first of these that matches is made";
            self.draft.note(directive.line, directive.text(), reason);
        }
        let response = rule.response.as_ref();
        if response.is_some_and(|it| it.cname_target.is_some()) {
            let reason = "the new target is looked up for every type, and what that says is the answer; a target matches in either case";
            self.draft.note(directive.line, directive.text(), reason);
        }
        let is_of_all = response.is_some_and(|it| it.ttl.is_some() || it.rcodes.is_some());
        if is_of_all && block.has("hosts").or(block.has("template")).is_some() {
            let reason = "answers of `hosts` and `template` stay as they are: this is for those of upstreams";
            self.draft.note(directive.line, directive.text(), reason);
        }
        if is_of_all && block.has("cache").is_some() {
            let reason = "the bounds of the cache hold for what this makes of a TTL, too";
            if response.is_some_and(|it| it.ttl.is_some()) {
                self.draft.note(directive.line, directive.text(), reason);
            }
        }
    }

    /// What a block says about names holds for the names of its zones alone.
    fn tell_of_reach(&mut self, directive: &Directive, rule: &Rule) {
        // Names that nobody else has are refused, unless they become some of these zones.
        let stays = Landing::of(rule).is_none_or(|landing| landing == Landing::Near);
        if self.is_alone && stays {
            return;
        }
        let zones = self.zones.join(", ");
        let reason = format!("here it holds for every name, not for those in {zones} alone");
        self.draft.note(directive.line, directive.text(), reason);
    }

    /// What stands in the braces of a directive for which nothing is set here.
    fn tell_of_lines(&mut self, directive: &Directive) {
        for line in &directive.lines {
            let text = format!("{} {}", directive.name, line.words.join(" "));
            self.draft.note(line.number, text, "there is nothing like it here");
        }
    }

    /// Everything but rules and routes.
    fn setting(&mut self, directive: &Directive) -> Result<(), String> {
        match &*directive.name {
            // Always so, or done above.
            "errors" | "reload" | "loop" | "bind" => {
                self.tell_of_lines(directive);
                Ok(())
            }
            "health" | "ready" | "prometheus" => {
                let reason = "served at the admin address (`--admin`): /livez, /readyz and /metrics, with names of their own";
                self.draft.note(directive.line, directive.text(), reason);
                Ok(())
            }
            "log" => log::read(directive, self.is_logged, self.draft),
            "any" => {
                self.draft.responses().any = AnyQuestions::Minimal;
                Ok(())
            }
            "bufsize" => {
                let size = directive.args.first().map_or(Ok(1232), |size| size.parse());
                let size: u32 = size.map_err(|_| "not a number of octets")?;
                let [least, most] = bounds::EDNS_BUFFER_SIZE;
                let kept = u16::try_from(size).unwrap_or(most).clamp(least, most);
                if u32::from(kept) != size {
                    let reason = format!("{kept} octets instead: larger ones invite fragments");
                    self.draft.note(directive.line, directive.text(), reason);
                }
                self.draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(kept);
                Ok(())
            }
            "cache" => cache::read(directive, self.draft),
            "kubernetes" => {
                Err("names of the cluster are asked of the cluster's own DNS: see `clusterDNS`"
                    .into())
            }
            "loadbalance" => Err("records stay in the order of the upstream".into()),
            "minimal" => Err("answers stay as the upstream gives them".into()),
            "import" => Err("other files are not read: import each of them".into()),
            _ => Err("there is nothing like it here".into()),
        }
    }
}

/// A rule that the manifest would not take is told with its own line.
fn check(rule: &Rule) -> Result<(), String> {
    crate::rules::Rules::compile(std::slice::from_ref(rule), &[], 0).map(drop).map_err(|error| {
        let dnsproxy_text = error.0;
        format!("`{dnsproxy_text}` is not known here")
    })
}

fn is_above(zone: &str, other: &str) -> bool {
    zone != other && zones::is_within(other, zone)
}

fn allowing(zones: Vec<String>) -> Rule {
    let names = NameMatch { zone: Some(zones), ..NameMatch::default() };
    Rule { matches: draft::names(names), allow: Some(Allow {}), ..Rule::default() }
}

fn refusing(zones: Vec<String>) -> Rule {
    let names = NameMatch { zone: Some(zones), ..NameMatch::default() };
    let block = Some(BlockRule { with: BlockWith::REFUSED, ttl: None });
    Rule { matches: draft::names(names), block, ..Rule::default() }
}

fn listen(draft: &mut Draft, mut addresses: Vec<String>) {
    addresses.sort();
    addresses.dedup();
    if !addresses.is_empty() {
        draft.spec.listeners = Some(Listeners { dns: Some(DnsListener { addresses }) });
    }
}

/// What CoreDNS does where a plugin is not there.
fn defaults(draft: &mut Draft, blocks: &[Block]) {
    let has =
        |plugin: &str| blocks.iter().flat_map(|it| &it.directives).any(|it| it.name == plugin);
    if !has("any") {
        draft.responses().any = AnyQuestions::Forward;
    }
    if !has("cache") {
        draft.spec.cache = Some(Cache { mode: CacheMode::Disabled, ..Cache::default() });
    }
    if draft.spec.upstreams.is_empty() {
        // A manifest has an upstream; this one is asked for nothing that the Corefile would not ask.
        let name = draft.unknown_upstream();
        draft.route("nowhere").upstreams.push(name);
    }
}

#[cfg(test)]
mod tests;

//! A Corefile, the configuration of CoreDNS 1.14.
//!
//! A server block is chosen by the longest zone. In a block, plugins come in the order that CoreDNS was built with,
//! not in that of the file: any, rewrite, acl, cache, template, hosts, forward. So rules are written in that order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use dnsproxy_api::{
    v1alpha1::{self, Allow, Block as BlockRule, BlockWith, NameMatch, rule::Rule},
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
mod place;
mod rewrite;
mod rewrites;
mod settings;
mod syntax;
mod template;
mod zones;

use asked::{Share, Shares};
use forward::Forward;
use place::{Place, Read, Way, own_zones, routes};
use rewrites::Before;
use settings::{defaults, listen, tell_of_listeners, tell_of_settings};
use syntax::{Block, Corefile, Directive};

/// Reads a Corefile.
pub fn import(text: &str) -> Imported {
    let mut draft = Draft::new();
    match syntax::read(text) {
        Ok(Corefile { blocks, imports }) => {
            for line in imports {
                let reason = "other files are not read: put their blocks in the place of this line, and import all as one text";
                draft.note(line.number, line.words.join(" "), reason);
            }
            read(&merged(blocks), &mut draft);
        }
        Err((line, reason)) => draft.note(line, "this block", reason),
    }
    draft.finish()
}

/// Blocks that say the same are one: lists of domains are delivered as one block each.
fn merged(blocks: Vec<Block>) -> Vec<Block> {
    let mut merged: Vec<Block> = Vec::with_capacity(blocks.len());
    let mut known: HashMap<Vec<String>, usize> = HashMap::new();
    for block in blocks {
        let at = (block.has("view").is_none())
            .then(|| *known.entry(block.content()).or_insert(merged.len()));
        match at.and_then(|at| merged.get_mut(at)) {
            Some(same) => same.keys.extend(block.keys),
            None => merged.push(block),
        }
    }
    merged
}

fn read(blocks: &[Block], draft: &mut Draft) {
    let own = own_zones(blocks, draft);
    let is_alone = own.len() == 1;
    let is_logged = is_alone || log::is_everywhere(blocks);
    // Also those of blocks of which the zones are others': every port has all zones here.
    let mut listeners = Vec::new();
    blocks.iter().for_each(|block| settings::keys(block, &mut listeners, draft));
    let mut read: Vec<Read<'_>> = Vec::new();
    // Of settings that there is one of here, the last one holds: that of most names.
    let (root, others): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|(_, zones)| zones.iter().any(|zone| zone == "."));
    for (block, zones) in others.into_iter().chain(root) {
        let mut reader = Reader { draft, zones: &zones, is_alone, is_logged };
        let forwards = reader.settings(block);
        read.push(Read { block, zones, forwards });
    }
    read.sort_by_key(|it| it.block.line);
    let shares = Shares::of(&read);
    let leads: Vec<_> =
        (0..read.len()).map(|index| leads::of(index, &read, &shares, draft)).collect();
    let routes = routes(&read, &shares, &leads, draft);
    tell_of_settings(&read, draft);
    tell_of_listeners(&read, draft);
    for (index, zone, it) in in_order(&read) {
        let mut reader = Reader { draft, zones: &it.zones, is_alone, is_logged };
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

/// One server block on its way into the manifest.
struct Reader<'d> {
    draft: &'d mut Draft,
    zones: &'d [String],
    /// Whether there is no other block, so that nothing else is asked of what it says.
    is_alone: bool,
    /// Whether each block logs, so that queries for all names may be logged here.
    is_logged: bool,
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
            for zone in self.zones {
                let shares = place.shares(zone);
                self.parts(zone, place, &shares);
                let way = shares.iter().find(|(share, _)| share.zone == *zone);
                let way = way.map_or(Way::Zone, |(_, way)| *way);
                let way = if way == Way::Nobody { Way::Zone } else { way };
                self.ends(&format!("{zone} own"), vec![zone.clone()], way);
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
        let way = shares.iter().find(|(share, _)| share.zone == zone);
        let way = way.map_or(Way::Nobody, |(_, way)| *way);
        self.parts(zone, place, &shares);
        match way {
            Way::Nobody => {}
            Way::Zone if self.is_alone || zone == "." => return,
            Way::Zone | Way::Rule(_) => return self.ends(&name, vec![zone.to_owned()], way),
        }
        let has_file = block.has("hosts").is_some_and(|it| !it.args.is_empty());
        let reason = if block.has("kubernetes").is_some() && zone != "." {
            let (matches, route) = (draft::zone(zone), CLUSTER_DNS.to_owned());
            let forward = Some(v1alpha1::Forward { route });
            self.draft.rule(&name, Rule { matches, forward, ..Rule::default() });
            return;
        } else {
            if zone != "." {
                if has_file {
                    self.let_hosts_pass();
                }
                self.draft.rule(&name, refusing(vec![zone.to_owned()]));
            }
            "no `forward` that can be carried over: names of this block that no rule answers are refused"
        };
        self.draft.note(block.line, zone, reason);
    }

    /// The last rule for names of some zones.
    fn ends(&mut self, name: &str, zones: Vec<String>, way: Way<'_>) {
        let rule = match way {
            Way::Nobody => refusing(zones),
            Way::Zone => allowing(zones),
            Way::Rule(route) => {
                let forward = Some(v1alpha1::Forward { route: route.to_owned() });
                Rule { forward, ..of_zones(zones) }
            }
        };
        self.draft.rule_for_more(name, rule);
    }

    /// Names of hosts files are answered behind the rules.
    fn let_hosts_pass(&mut self) {
        let lists = Some(vec![self.draft.hosts_list()]);
        let matches = draft::names(NameMatch { lists, ..NameMatch::default() });
        self.draft.rule("hosts", Rule { matches, allow: Some(Allow {}), ..Rule::default() });
    }

    /// The parts of a zone for which others are asked than for the rest, or nobody.
    fn parts(&mut self, zone: &str, place: &Place<'_, '_>, shares: &[(&Share, Way<'_>)]) {
        let parts: Vec<_> = shares.iter().filter(|(share, _)| share.zone != zone).collect();
        for part in parts.chunk_by(|(_, one), (_, other)| one == other) {
            let zones: Vec<_> = part.iter().map(|(share, _)| share.zone.clone()).collect();
            if let [(_, way), ..] = part {
                self.ends(&format!("{zone} end"), zones, *way);
            }
            self.tell_of_excepts(part, place);
        }
    }

    fn tell_of_excepts(&mut self, part: &[&(&Share, Way<'_>)], place: &Place<'_, '_>) {
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
                zones::listed(&zones)
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

fn of_zones(zones: Vec<String>) -> Rule {
    let names = NameMatch { zone: Some(zones), ..NameMatch::default() };
    Rule { matches: draft::names(names), ..Rule::default() }
}

fn allowing(zones: Vec<String>) -> Rule {
    Rule { allow: Some(Allow {}), ..of_zones(zones) }
}

fn refusing(zones: Vec<String>) -> Rule {
    let block = Some(BlockRule { with: BlockWith::REFUSED, ttl: None });
    Rule { block, ..of_zones(zones) }
}

#[cfg(test)]
mod tests;

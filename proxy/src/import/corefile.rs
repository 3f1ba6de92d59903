//! A Corefile, the configuration of CoreDNS 1.14.
//!
//! A server block is chosen by the longest zone. In a block, plugins come in the order that CoreDNS was built with,
//! not in that of the file: any, rewrite, acl, cache, template, hosts, forward. So rules are written in that order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use dnsproxy_api::v1alpha1::{Source, rule::Rule};

use super::{Draft, Imported};

mod acl;
mod asked;
mod cache;
mod ends;
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
mod ttls;
mod zones;

use asked::Shares;
use forward::Forward;
use place::{Place, Read, Whole, own_zones, routes};
use rewrites::Before;
use settings::{defaults, listen, tell_of_listeners, tell_of_settings};
use syntax::{Block, Corefile, Directive};
use ttls::Changes;

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
    let own = by_depth(own_zones(blocks, draft));
    let is_alone = own.len() == 1;
    let are_many = hosts::are_many(blocks);
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
        let is_listed = hosts::are_listed(block, are_many);
        let changes = Changes::of(block);
        read.push(Read { block, zones, forwards, is_listed, changes });
    }
    read.sort_by_key(|it| it.block.line);
    let shares = Shares::of(&read);
    let leads: Vec<_> =
        (0..read.len()).map(|index| leads::of(index, &read, &shares, draft)).collect();
    let routes = routes(&read, &shares, &leads, draft);
    let listed = read.iter().filter(|it| it.is_listed).count();
    let has_rewrites = read.iter().any(|it| it.block.has("rewrite").is_some());
    let has_acl = |it: &&Read<'_>| it.block.has("acl").is_some();
    let acls = read.iter().filter(has_acl).map(|it| (it.block.line, it.zones.clone())).collect();
    let whole = Whole { shares, routes, leads, listed, has_rewrites, acls };
    tell_of_settings(&read, draft);
    tell_of_listeners(&read, draft);
    let mut hosts: HashMap<usize, Vec<Source>> = HashMap::new();
    for (index, ending, it) in in_order(&read) {
        let own = hosts.get(&index).map(Vec::as_slice).unwrap_or_default();
        let place = Place { index, read: it, whole: &whole, hosts: own };
        let mut reader = Reader { draft, zones: &it.zones, is_alone, is_logged };
        match ending {
            None => {
                let others = reader.draft.spec.hosts.as_ref().map_or(0, |it| it.sources.len());
                reader.rules(it.block, &place);
                hosts.insert(index, draft.hosts_sources(others));
            }
            Some(zones) => reader.end(&zones, &place),
        }
    }
    if listed > 0 && !read.iter().any(|it| zones::hold(&it.zones, ".")) {
        draft.rule("others", ends::refusing(vec![".".to_owned()]));
    }
    draft.drop_last_allowing();
    listen(draft, listeners);
    defaults(draft, blocks);
}

/// Zones of another block may be in a zone of a block and not so deep as its deepest: then its rules stand once for the zones of
/// each depth, as it is several blocks to CoreDNS.
fn by_depth(own: Vec<(&Block, Vec<String>)>) -> Vec<(&Block, Vec<String>)> {
    let depths =
        |zones: &[String]| zones.iter().map(|it| zones::depth(it)).collect::<BTreeSet<_>>();
    let all: Vec<_> = own.iter().map(|(_, zones)| depths(zones)).collect();
    // How many blocks have zones of a depth: there may be very many blocks.
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for depth in all.iter().flatten() {
        *counts.entry(*depth).or_default() += 1;
    }
    let is_split = |index: usize, block: &Block| {
        let Some(own) = all.get(index).filter(|own| own.len() > 1) else { return false };
        let (Some(least), Some(most)) = (own.first(), own.last()) else { return false };
        // Those of `hosts` are for single names.
        let mut plugins = ORDERED.iter().filter(|plugin| **plugin != "hosts");
        let has_rules = plugins.any(|plugin| block.has(plugin).is_some());
        let mut between = counts.range(least + 1..=*most);
        has_rules && between.any(|(depth, count)| *count > usize::from(own.contains(depth)))
    };
    let mut parts = Vec::new();
    for (index, (block, zones)) in own.into_iter().enumerate() {
        if !is_split(index, block) {
            parts.push((block, zones));
            continue;
        }
        for depth in depths(&zones) {
            let of_depth = zones.iter().filter(|zone| zones::depth(zone) == depth);
            parts.push((block, of_depth.cloned().collect()));
        }
    }
    parts
}

/// The rules of each block, and the end of what is said about its zones, those of one depth together: there a query is for
/// the block with the longest zone alone, here the first rule that matches decides.
fn in_order<'r, 'b>(read: &'r [Read<'b>]) -> Vec<(usize, Option<Vec<&'r str>>, &'r Read<'b>)> {
    let mut parts = Vec::new();
    for (index, it) in read.iter().enumerate() {
        let mut by_depth: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for zone in &it.zones {
            by_depth.entry(zones::depth(zone)).or_default().push(zone);
        }
        let deepest = by_depth.keys().next_back().copied().unwrap_or_default();
        parts.push((Reverse(deepest), false, index, None, it));
        let ends = by_depth.into_iter();
        parts.extend(ends.map(|(depth, zones)| (Reverse(depth), true, index, Some(zones), it)));
    }
    parts.sort_by_key(|(depth, is_end, ..)| (*depth, *is_end));
    parts.into_iter().map(|(_, _, index, zones, it)| (index, zones, it)).collect()
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
        self.lead(place);
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

#[cfg(test)]
mod tests;

//! A Corefile, the configuration of CoreDNS 1.14.
//!
//! A server block is chosen by the longest zone. In a block, plugins come in the order that CoreDNS was built with,
//! not in that of the file: acl, any, cache, rewrite, template, hosts, forward. So rules are written in that order.

use std::{cmp::Reverse, net::SocketAddr};

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{
        Allow, AnyQuestions, Block as BlockRule, BlockWith, Cache, CacheMode, DnsListener, Forward,
        Listeners, NameMatch, rule::Rule,
    },
    validate::CLUSTER_DNS,
};

use super::{Draft, Imported, addresses::reverse_zones, draft};

mod acl;
mod cache;
mod forward;
mod hosts;
mod log;
mod rewrite;
mod syntax;
mod template;

use forward::Forwards;
use syntax::{Block, Directive};

/// Reads a Corefile.
pub fn import(text: &str) -> Imported {
    let mut draft = Draft::new();
    match syntax::read(text) {
        Ok(blocks) => {
            let is_alone = blocks.len() == 1;
            let is_logged = is_alone || log::is_everywhere(&blocks);
            let mut listeners = Vec::new();
            let mut read: Vec<Read<'_>> = Vec::new();
            for block in &blocks {
                let zones = zones(block);
                let mut reader = Reader { draft: &mut draft, zones, is_alone, is_logged };
                reader.keys(block, &mut listeners);
                let forwards = reader.settings(block);
                read.push(Read { block, zones: reader.zones, forwards });
            }
            for (zone, Read { block, zones, forwards }) in in_order(&read) {
                let zones = zones.clone();
                let mut reader = Reader { draft: &mut draft, zones, is_alone, is_logged };
                match zone {
                    None => reader.rules(block, forwards),
                    Some(zone) => reader.end(block, zone, forwards),
                }
            }
            draft.drop_last_allowing();
            listen(&mut draft, listeners);
            defaults(&mut draft, &blocks);
        }
        Err((line, reason)) => draft.note(line, "this block", reason),
    }
    draft.finish()
}

/// A block, and what came of its forwards.
struct Read<'b> {
    block: &'b Block,
    zones: Vec<String>,
    forwards: Forwards,
}

/// The rules of each block, and the end of what is said about each of its zones: there a query is for the block with the
/// longest zone alone, here the first rule that matches decides.
fn in_order<'r, 'b>(read: &'r [Read<'b>]) -> Vec<(Option<&'r str>, &'r Read<'b>)> {
    let mut parts = Vec::new();
    for it in read {
        let zones = || it.zones.iter().map(|zone| (depth(zone), &**zone));
        let deepest = zones().map(|(depth, _)| depth).max().unwrap_or_default();
        parts.push((Reverse(deepest), false, None, it));
        parts.extend(zones().map(|(depth, zone)| (Reverse(depth), true, Some(zone), it)));
    }
    parts.sort_by_key(|(depth, is_end, ..)| (*depth, *is_end));
    parts.into_iter().map(|(_, _, zone, it)| (zone, it)).collect()
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

/// The plugins that make rules, in CoreDNS's order.
const ORDERED: [&str; 4] = ["acl", "rewrite", "template", "hosts"];

impl Reader<'_> {
    /// Everything but rules. Tells whom the block asks.
    fn settings(&mut self, block: &Block) -> Forwards {
        let mut forwards = Forwards::default();
        for directive in block.directives.iter().filter(|it| !ORDERED.contains(&&*it.name)) {
            self.draft.at(directive.line);
            let result = match &*directive.name {
                "forward" => forward::read(directive, &self.zones, self.draft, &mut forwards),
                _ => self.setting(directive),
            };
            self.settle(directive, result);
        }
        forwards
    }

    fn rules(&mut self, block: &Block, forwards: &Forwards) {
        for plugin in ORDERED {
            let mut stopped = None;
            for directive in block.directives.iter().filter(|it| it.name == plugin) {
                self.draft.at(directive.line);
                let result = match plugin {
                    "acl" => acl::read(directive, &self.zones, self.is_alone, self.draft),
                    "rewrite" => self.rewrite(directive, &mut stopped),
                    "template" => template::read(directive, &self.zones, self.draft),
                    _ => hosts::read(directive, self.draft),
                };
                self.settle(directive, result);
            }
        }
        forward::leave_out(&forwards.excepts, self.draft);
    }

    /// What shorter zones say is not for names of this one, and whom they ask is not asked for them.
    fn end(&mut self, block: &Block, zone: &str, forwards: &Forwards) {
        self.draft.at(block.line);
        let name = format!("{zone} end");
        let has = |plugin: &str| block.directives.iter().any(|it| it.name == plugin);
        let is_asked = forwards.asked.iter().any(|asked| asked == zone);
        let within = |zones: &[String]| {
            let zones = zones.iter().filter(|it| *it != zone && is_within(it, zone)).cloned();
            zones.collect::<Vec<_>>()
        };
        let (asked, failed) = (within(&forwards.asked), within(&forwards.failed));
        if !asked.is_empty() && (!failed.is_empty() || !is_asked) {
            self.draft.rule(&name, allowing(asked));
        }
        if !failed.is_empty() {
            self.draft.rule(&name, refusing(failed));
        }
        if is_asked {
            if !self.is_alone && zone != "." {
                self.draft.rule(&name, allowing(vec![zone.to_owned()]));
            }
            return;
        }
        let has_file = block.directives.iter().any(|it| it.name == "hosts" && !it.args.is_empty());
        let reason = if has("kubernetes") && zone != "." {
            let (matches, route) = (draft::zone(zone), CLUSTER_DNS.to_owned());
            let forward = Some(Forward { route });
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
        stopped: &mut Option<(usize, bool)>,
    ) -> Result<(), String> {
        let rule = rewrite::read(directive)?;
        let changes_question = rule.rewrite.is_some();
        if let Some((line, kind)) = *stopped
            && kind != changes_question
        {
            let reason = format!(
                "in CoreDNS line {line} ends the way of queries that it matches; here this rule is looked at for them as well"
            );
            self.draft.note(directive.line, directive.text(), reason);
        }
        if rule.then.is_none() && stopped.is_none() {
            *stopped = Some((directive.line, changes_question));
        }
        self.scope(directive);
        let inner = directive.lines.iter().flat_map(|line| &line.words);
        let words = directive.args.iter().chain(inner);
        let name = words.filter(|word| !matches!(&***word, "stop" | "continue"));
        let name = name.take(3).map(String::as_str).collect::<Vec<_>>().join(" ");
        check(&rule)?;
        self.draft.rule(&name, rule);
        Ok(())
    }

    /// What a block says about names holds for the names of its zones alone.
    fn scope(&mut self, directive: &Directive) {
        if !self.is_alone && !self.zones.iter().any(|zone| zone == ".") {
            let reason = format!(
                "here it holds for every name, not for those in {} alone, and a new name goes the way of that name",
                self.zones.join(", ")
            );
            self.draft.note(directive.line, directive.text(), reason);
        }
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
                let size = size.map_err(|_| "not a number of octets")?;
                self.draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(size);
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

/// The zones of a block; a network is its reverse zone.
fn zones(block: &Block) -> Vec<String> {
    let keys = block.keys.iter().map(|key| key.split_once("://").map_or(&**key, |(_, rest)| rest));
    let zones = keys.map(|key| match key.rsplit_once(':') {
        Some((zone, port)) if port.parse::<u16>().is_ok() => zone,
        _ => key,
    });
    zones.flat_map(zones_of).collect()
}

/// A zone; of a network its reverse zones.
fn zones_of(text: &str) -> Vec<String> {
    let networks = text.contains('/').then(|| reverse_zones(text).ok()).flatten();
    let zone = match text.trim_end_matches('.') {
        "" => ".",
        zone => zone,
    };
    networks.unwrap_or_else(|| vec![zone.to_owned()])
}

/// How many labels a zone has; none that is none.
fn depth(zone: &str) -> usize {
    zone.parse::<Zone>().map_or(0, |zone| zone.labels().count())
}

/// Whether a zone is another one or below it.
fn is_within(zone: &str, other: &str) -> bool {
    let parsed = zone.parse::<Zone>().ok().zip(other.parse::<Zone>().ok());
    parsed.is_some_and(|(zone, other)| zone.is_within(&other))
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

//! The end of what is said about names: there a query is for one block alone, so what shorter zones say is not for it, and
//! whom they ask is not asked.

use std::collections::BTreeMap;

use dnsproxy_api::{
    v1alpha1::{Allow, Block, BlockWith, Forward, NameMatch, rule::Rule},
    validate::CLUSTER_DNS,
};

use super::{
    super::draft,
    Reader,
    asked::Share,
    place::{Place, Way},
    syntax::Directive,
    zones,
};

impl Reader<'_> {
    /// Sends names that were rewritten to the upstreams of the block. Those of its own zones are not looked at for that.
    pub(super) fn lead(&mut self, place: &Place<'_, '_>) {
        self.draft.at(place.read.block.line);
        let leads: Vec<_> = place.leads().collect();
        if leads.iter().any(|(zone, _)| self.zones.iter().any(|own| is_above(zone, own))) {
            for zone in self.zones {
                let way = self.parts(zone, place);
                let way = if way == Way::Nobody { Way::Zone } else { way };
                self.ends(&format!("{zone} own"), vec![zone.clone()], way, place);
            }
        }
        for (zone, route) in leads {
            self.draft.rule(&format!("{zone} rewritten"), forwarding(vec![zone], route));
        }
    }

    /// Ends what is said about some zones of a block.
    pub(super) fn end(&mut self, zones: &[&str], place: &Place<'_, '_>) {
        self.draft.at(place.read.block.line);
        let mut ways: Vec<(Way<'_>, Vec<String>)> = Vec::new();
        for zone in zones {
            let way = self.parts(zone, place);
            match ways.iter_mut().find(|(other, _)| *other == way) {
                Some((_, zones)) => zones.push((*zone).to_owned()),
                None => ways.push((way, vec![(*zone).to_owned()])),
            }
        }
        for (way, zones) in ways {
            let Some(first) = zones.first() else { continue };
            let name = format!("{first} end");
            // Behind these nothing is left that would be for their names.
            let is_last = (self.is_alone && place.whole.listed == 0) || first == ".";
            match way {
                Way::Nobody => self.deny(&name, zones, place),
                Way::Zone if is_last => {}
                Way::Zone | Way::Rule(_) => self.ends(&name, zones, way, place),
            }
        }
    }

    /// Nobody is asked for these names, but for those of the cluster.
    fn deny(&mut self, name: &str, zones: Vec<String>, place: &Place<'_, '_>) {
        let block = place.read.block;
        let is_root = zones.iter().any(|zone| zone == ".");
        if block.has("kubernetes").is_some() && !is_root {
            self.draft.rule_for_more(name, forwarding(zones, CLUSTER_DNS.to_owned()));
            return;
        }
        let reason = "no `forward` that can be carried over: names of this block that no rule answers are refused";
        self.draft.note(block.line, zones::listed(&zones), reason);
        // The route for every name is not there.
        if !is_root || place.has_hosts_of_others() {
            self.ends(name, zones, Way::Nobody, place);
        }
    }

    /// The last rule for names of some zones. Rewritten names are looked at by rules that allow and block once more.
    fn ends(&mut self, name: &str, zones: Vec<String>, way: Way<'_>, place: &Place<'_, '_>) {
        let is_behind_hosts = place.read.is_listed && way != Way::Zone;
        if is_behind_hosts {
            self.let_hosts_pass(place);
        }
        match way {
            Way::Nobody => self.draft.rule_for_more(name, refusing(zones)),
            Way::Zone => self.draft.rule_for_more(name, allowing(zones)),
            Way::Rule(route) => {
                let allow = place.whole.has_rewrites.then(|| allowing(zones.clone()));
                self.draft.rule_for_more(name, forwarding(zones, route.to_owned()));
                if let Some(allow) = allow {
                    self.draft.rule_for_more(name, allow);
                }
            }
        }
    }

    /// Names of the hosts files of a block are answered behind the rules. Those of other blocks are not let pass here: rules
    /// of theirs, such as an `acl`, are still to come.
    fn let_hosts_pass(&mut self, place: &Place<'_, '_>) {
        if place.hosts.is_empty() {
            return;
        }
        let lists = Some(vec![self.draft.hosts_list(place.hosts.to_vec())]);
        let matches = draft::names(NameMatch { lists, ..NameMatch::default() });
        let rule = Rule { matches, allow: Some(Allow {}), ..Rule::default() };
        let is_same = |it: &Rule| it.allow.is_some() && it.matches == rule.matches;
        if !self.draft.spec.rules.iter().flatten().any(is_same) {
            self.draft.rule("hosts", rule);
            self.tell_of_passing(place);
        }
    }

    /// A file may have names of wider zones, too, and a rule cannot be for those of a list that are in a zone.
    fn tell_of_passing(&mut self, place: &Place<'_, '_>) {
        let is_above = |zone: &String| place.zones().iter().any(|own| is_above(zone, own));
        for directive in place.read.block.directives.iter().filter(|it| it.name == "hosts") {
            let Some(file) = directive.args.first() else { continue };
            for (line, zones) in &place.whole.acls {
                if let Some(zone) = zones.iter().find(|zone| is_above(zone)) {
                    let reason = format!(
                        "the `acl` of {zone} (line {line}) does NOT hold for names that stand in {file}: let it have names of {} alone",
                        zones::listed(place.zones())
                    );
                    self.draft.note(directive.line, directive.text(), reason);
                }
            }
        }
    }

    /// Ends the parts of a zone for which others are asked than for the rest, or nobody. Returns the way of the rest.
    fn parts<'p>(&mut self, zone: &str, place: &'p Place<'_, '_>) -> Way<'p> {
        let shares = place.shares(zone);
        let parts: Vec<_> = shares.iter().filter(|(share, _)| share.zone != zone).collect();
        for part in parts.chunk_by(|(_, one), (_, other)| one == other) {
            let zones: Vec<_> = part.iter().map(|(share, _)| share.zone.clone()).collect();
            if let [(_, way), ..] = part {
                self.ends(&format!("{zone} end"), zones, *way, place);
            }
            self.tell_of_excepts(part, place);
        }
        let rest = shares.iter().find(|(share, _)| share.zone == zone);
        rest.map_or(Way::Nobody, |(_, way)| *way)
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

fn forwarding(zones: Vec<String>, route: String) -> Rule {
    Rule { forward: Some(Forward { route }), ..of_zones(zones) }
}

pub(super) fn refusing(zones: Vec<String>) -> Rule {
    let block = Some(Block { with: BlockWith::REFUSED, ttl: None });
    Rule { block, ..of_zones(zones) }
}

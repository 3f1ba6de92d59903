//! Where rewritten names go. There the block is chosen before a name is rewritten, so the upstreams of that block are
//! asked for the new name; here the new name would go to the route of its own zone.

use std::cmp::Reverse;

use super::{
    asked::{Share, Shares},
    place::Read,
    rewrite::{self, Landing},
    syntax::Directive,
    zones,
};
use crate::import::Draft;

/// One zone into which names of a block are rewritten, though it is not the block's.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) zone: String,
    /// The `forward` of the block that takes it.
    pub(super) forward: usize,
}

/// The zones into which one block leads. Tells of those for which a rule cannot do the same.
pub(super) fn of(index: usize, read: &[Read<'_>], shares: &Shares, draft: &mut Draft) -> Vec<Lead> {
    let Some(own) = read.get(index) else { return Vec::new() };
    let mut leads: Vec<Lead> = Vec::new();
    for directive in own.block.directives.iter().filter(|it| it.name == "rewrite") {
        let landing = rewrite::read(directive).ok().and_then(|rule| Landing::of(&rule));
        let Some(landing) = landing else { continue };
        for zone in points(&landing, shares) {
            let known = leads.iter().any(|lead| lead.zone == zone);
            let way = way(&zone, index, read, shares, landing == Landing::Near);
            match way {
                Way::Own | Way::Leave => {}
                Way::Lead(_) if known => {}
                Way::Lead(forward) => leads.push(Lead { zone, forward }),
                Way::Shared(forward) => {
                    tell_of_shared(directive, &zone, own, draft);
                    if !known {
                        leads.push(Lead { zone, forward });
                    }
                }
                Way::Other => {
                    let reason = format!(
                        "a name that becomes one in {zone} goes the way of that name, not that of this block"
                    );
                    draft.note(directive.line, directive.text(), reason);
                }
            }
        }
    }
    leads.sort_by_key(|lead| Reverse(zones::depth(&lead.zone)));
    leads
}

fn tell_of_shared(directive: &Directive, zone: &str, own: &Read<'_>, draft: &mut Draft) {
    let reason = format!(
        "this block's upstreams are asked for names in {zone} whoever asks for them; CoreDNS refuses what is not in {}",
        zones::listed(&own.zones)
    );
    draft.note(directive.line, directive.text(), reason);
}

/// The zones that new names may be in, as far as others are asked for them than for what is around.
fn points(landing: &Landing, shares: &Shares) -> Vec<String> {
    let all = shares.iter().map(|share| share.zone.clone());
    match landing {
        Landing::Near => all.collect(),
        Landing::Anywhere => all.filter(|zone| zone != ".").chain([".".to_owned()]).collect(),
        Landing::In(zone) => {
            let below = all.filter(|it| it != zone && zones::is_within(it, zone));
            below.chain([zone.clone()]).collect()
        }
    }
}

/// How a new name can be sent to the upstreams of the block that rewrote it.
enum Way {
    /// It is the block's own.
    Own,
    /// Nothing is to be done.
    Leave,
    /// By a rule: queries for it that were not rewritten have had their way before.
    Lead(usize),
    /// By a rule, which is for all queries for it: nobody else has it.
    Shared(usize),
    /// Not at all.
    Other,
}

fn way(zone: &str, index: usize, read: &[Read<'_>], shares: &Shares, is_near: bool) -> Way {
    let Some(own) = read.get(index) else { return Way::Leave };
    let deepest = own.zones.iter().map(|zone| zones::depth(zone)).max().unwrap_or_default();
    let forward = own.first_for(zone);
    match (shares.at(zone), forward) {
        (Some(share), _) if share.block == index => Way::Own,
        (None, None) => Way::Leave,
        (None, Some(forward)) => Way::Shared(forward),
        (Some(share), Some(forward))
            if zones::depth(&share.of) > deepest && lets_pass(share, read) =>
        {
            Way::Lead(forward)
        }
        (Some(_), _) if is_near => Way::Leave,
        (Some(_), _) => Way::Other,
    }
}

/// Whether the block of some names ends with a rule that allows them: rules that block are looked at for new names, too.
fn lets_pass(share: &Share, read: &[Read<'_>]) -> bool {
    let block = read.get(share.block).map(|it| it.block);
    let has_acl = block.is_some_and(|it| it.directives.iter().any(|it| it.name == "acl"));
    share.forward.is_some() && !has_acl
}

//! The names that options are about, as rules: in the order in which dnsmasq looks at them.

use std::collections::BTreeSet;

use dnsproxy_api::v1alpha1::{Block, BlockWith, NameMatch, Policy, ResponseChange, rule::Rule};

use super::{
    domains::{self, Domains},
    draft,
    hosts::HostsFiles,
    private::Private,
    records::Records,
};
use crate::import::Draft;

/// What is said about names.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) domains: Domains,
    pub(super) records: Records,
    pub(super) hosts: HostsFiles,
    pub(super) policy: Policy,
    /// Of records of our own, in seconds.
    pub(super) ttl: u32,
    pub(super) are_plain_local: bool,
    pub(super) are_private_local: bool,
}

impl Names {
    /// Records, hosts, then domains. `filter`: what is done to all that upstreams answer.
    pub(super) fn emit(&self, filter: Option<ResponseChange>, draft: &mut Draft) {
        let Self { domains, records, ttl, are_plain_local, .. } = self;
        let has_hosts = draft.spec.hosts.is_some();
        // Hosts files may have other types, and they come behind records.
        let keep = |name: &str| !has_hosts && domains.keep(name);
        let own = records.own();
        let is_closed = |name: &str| own.contains(name) && keep(name);
        let there = self.there(draft);
        domains.emit_existence(draft, &there);
        records.emit(draft, *ttl, keep);
        let is_denied = |name: &str| domains.deny(name) && !is_closed(name);
        records.tell_of_aliases(draft, is_denied, |name| domains.have_addresses(name));
        draft.at(0);
        if filter.is_some() {
            let matches = draft::zone(".");
            draft.rule("filter", Rule { matches, response: filter, ..Rule::default() });
        }
        if has_hosts && (*are_plain_local || !domains.is_empty()) {
            let rule = self.hosts.known(draft, domains);
            draft.rule("hosts", rule);
        }
        let is_first = !domains.have_plain_literals();
        if *are_plain_local && is_first {
            domain_needed(draft, &there);
        }
        let private = Private::of(self.are_private_local, has_hosts);
        let open = there.iter().filter(|name| !is_closed(name)).cloned().collect();
        domains.emit(draft, *ttl, &private, &open, self.policy, self.hosts.has_unseen);
        private.emit(draft);
        if *are_plain_local && !is_first {
            domain_needed(draft, &there);
        }
    }

    /// The names that are there, if not with records, then as names above others.
    fn there(&self, draft: &mut Draft) -> BTreeSet<String> {
        let mut there = self.records.there();
        let is_denied = |name: &&String| {
            self.domains.deny(name) || (self.are_plain_local && !name.contains('.'))
        };
        let above: Vec<_> = self.hosts.above.iter().filter(is_denied).cloned().collect();
        if !above.is_empty() {
            let reason =
                "the names above theirs are known as they are now: import again when they change";
            draft.note(0, "hosts files", reason);
        }
        there.extend(above);
        there
    }
}

/// Addresses of host names without a dot are known here or nowhere.
fn domain_needed(draft: &mut Draft, there: &BTreeSet<String>) {
    let of_addresses = |mut rule: Rule| {
        rule.matches.types = Some(vec!["A".into(), "AAAA".into()]);
        rule
    };
    let known: Vec<_> = there.iter().filter(|name| !name.contains('.')).cloned().collect();
    if !known.is_empty() {
        draft.rule("other types", of_addresses(domains::nodata(known)));
    }
    let names = NameMatch { max_labels: Some(1), ..NameMatch::default() };
    let block = Some(Block { with: BlockWith::NXDOMAIN, ttl: None });
    let matches = draft::names(names);
    draft.rule("domain-needed", of_addresses(Rule { matches, block, ..Rule::default() }));
}

//! The configuration of dnsmasq (its manual page, version 2.93), as far as it is about DNS.
//!
//! dnsmasq looks a name up among its own records first, then takes the domain option with the longest domain that
//! matches. Rules here are taken in order, so records come first and domains after them, the longest first.

use std::collections::{BTreeMap, BTreeSet};

use dnsproxy_api::v1alpha1::{QueryLog, QueryLogMode};

use super::{Draft, Imported, draft};

mod caching;
mod checks;
mod domain;
mod domains;
mod hosts;
mod names;
mod option;
mod pattern;
mod private;
mod records;
mod servers;
mod serving;
mod synth;
#[cfg(test)]
mod tests;

use caching::Caching;
use checks::Checks;
use domain::OwnDomains;
use domains::Domains;
use hosts::HostsFiles;
use names::Names;
use option::Opt;
use records::Records;
use servers::Servers;
use serving::Serving;

/// Reads a configuration.
pub fn import(text: &str) -> Imported {
    let mut reader = Reader { draft: Draft::new(), ..Reader::default() };
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(option) = Opt::read(number, line) {
            reader.take(&option);
        }
    }
    reader.finish()
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    draft: Draft,
    domains: Domains,
    records: Records,
    hosts: HostsFiles,
    servers: Servers,
    serving: Serving,
    caching: Caching,
    checks: Checks,
    /// The options that stand there.
    given: BTreeSet<String>,
    are_private_names_local: bool,
    are_plain_names_local: bool,
    own_domains: OwnDomains,
}

impl Reader {
    fn take(&mut self, option: &Opt<'_>) {
        self.given.insert(option.key.to_owned());
        let understood = match option.text.contains(char::REPLACEMENT_CHARACTER) {
            true => Err("it has octets that are no UTF-8: write it so".into()),
            false => self.understand(option),
        };
        match understood {
            Ok(()) => self.draft.carry(),
            Err(reason) => self.draft.note(option.line, option.text, reason),
        }
    }

    fn understand(&mut self, option: &Opt<'_>) -> Result<(), String> {
        match option.key {
            "server" | "local" => self.servers.take(option, &mut self.domains, &mut self.draft),
            "rev-server" => servers::take_reverse(option, &mut self.domains, &mut self.draft),
            "address" => self.domains.address(option),
            "host-record" | "cname" | "txt-record" | "srv-host" | "mx-host" | "mx-target"
            | "ptr-record" | "caa-record" | "naptr-record" | "dns-rr" => self.records.add(option),
            "synth-domain" => self.records.synthesize(option),
            "alias"
            | "bogus-nxdomain"
            | "filter-A"
            | "filter-AAAA"
            | "filter-rr"
            | "stop-dns-rebind"
            | "rebind-localhost-ok"
            | "rebind-domain-ok" => self.checks.take(option, &mut self.draft),
            "cache-size" | "no-negcache" | "max-ttl" | "max-cache-ttl" | "min-cache-ttl"
            | "local-ttl" | "use-stale-cache" => self.caching.take(option, &mut self.draft),
            "domain-needed" => {
                self.are_plain_names_local = true;
                Ok(())
            }
            "bogus-priv" => {
                self.are_private_names_local = true;
                Ok(())
            }
            "addn-hosts" => self.hosts.take(option),
            // Always so, or looked at in the end.
            "no-resolv" | "no-poll" | "no-hosts" | "bind-interfaces" | "bind-dynamic"
            | "dns-loop-detect" | "keep-in-foreground" | "no-daemon" | "cache-rr"
            | "expand-hosts" => Ok(()),
            "dns-forward-max" | "edns-packet-max" | "listen-address" | "port" | "interface" => {
                self.serving.take(option, &mut self.draft)
            }
            "strict-order" => {
                self.servers.is_in_order = true;
                Ok(())
            }
            "log-queries" => {
                let queries = QueryLog { mode: QueryLogMode::All, ..QueryLog::default() };
                self.draft.spec.logging.get_or_insert_default().queries = Some(queries);
                Ok(())
            }
            "domain" => self.own_domains.take(option, &mut self.domains),
            other => Err(elsewhere(other).to_owned()),
        }
    }

    fn finish(mut self) -> Imported {
        // A file of comments alone, as it is delivered, says that all is as usual.
        if self.given.is_empty() {
            self.draft.carry();
        }
        let has = |key: &str| self.given.contains(key);
        let policy = self.servers.policy();
        let has_standard = self.servers.are_some() || !has("no-resolv");
        self.servers.emit(has("no-resolv"), &mut self.domains, &mut self.draft);
        self.domains.tell_of_servers_of_nobody(has_standard, &mut self.draft);
        if self.are_plain_names_local {
            self.domains.forward_plain(&mut self.draft);
        }
        self.serving.emit(&mut self.draft);
        let own_domains = has("expand-hosts").then_some(&self.own_domains);
        self.hosts.read(own_domains, !has("no-hosts"), &mut self.draft);
        if has("server") && !has("no-resolv") && !has("resolv-file") {
            let reason = "dnsmasq asks the servers of resolv.conf as well: here they are written as `upstreams`";
            self.draft.note(0, "no `no-resolv`", reason);
        }
        self.records.settle(self.own_domains.default(), &mut self.draft);
        let listed = self.records.list(&mut self.draft);
        self.hosts.know_addresses(listed);
        let names = Names {
            domains: self.domains,
            records: self.records,
            hosts: self.hosts,
            policy,
            ttl: self.caching.ttl,
            are_plain_local: self.are_plain_names_local,
            are_private_local: self.are_private_names_local,
        };
        let mut draft = self.draft;
        let filter = self.checks.change(self.caching.ttls());
        self.checks.emit(&mut draft, names.domains.have_servers());
        draft.spec.cache = Some(self.caching.cache());
        if let Some(hosts) = &mut draft.spec.hosts {
            hosts.ttl = Some(format!("{}s", self.caching.ttl));
        }
        names.emit(filter, &mut draft);
        draft.finish()
    }
}

/// Why an option is not carried over.
fn elsewhere(key: &str) -> &'static str {
    let known = BTreeMap::from([
        ("ignore-address", "answers are never waited past: use `responses.bogusAddresses`"),
        ("resolv-file", "resolv.conf is never read here: write its servers as `upstreams`"),
        ("hostsdir", "write each of its files as a source of `hosts`"),
        ("all-servers", "the fastest server is asked; a second one when it is slow"),
        ("dnssec", "answers are not validated here: take an upstream that validates"),
        ("conf-file", "other files are not read: import each of them"),
        ("conf-dir", "other files are not read: import each of them"),
        ("user", "the process keeps the user that starts it"),
        ("neg-ttl", "an answer without an SOA record is not kept (RFC 2308)"),
        ("proxy-dnssec", "that an answer was validated is taken from upstreams over TLS alone"),
    ]);
    let dhcp = ["dhcp", "enable-tftp", "tftp", "pxe", "enable-ra", "ra-param"];
    match known.get(key) {
        Some(reason) => reason,
        None if dhcp.iter().any(|prefix| key.starts_with(prefix)) => "it is not about DNS",
        None => "there is nothing like it here",
    }
}

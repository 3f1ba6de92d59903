//! The configuration of dnsmasq (its manual page, version 2.93), as far as it is about DNS.
//!
//! dnsmasq looks a name up among its own records first, then takes the domain option with the longest domain that
//! matches. Rules here are taken in order, so records come first and domains after them, the longest first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dnsproxy_api::v1alpha1::{
    Block, BlockWith, DnsListener, Listeners, NameMatch, Policy, Protocol, QueryLog, QueryLogMode,
    ResponseChange, rule::Rule,
};

use super::{Draft, Imported, addresses::reverse_zones, draft};

mod caching;
mod checks;
mod domains;
mod hosts;
mod option;
mod pattern;
mod private;
mod records;
mod synth;
#[cfg(test)]
mod tests;

use caching::Caching;
use checks::Checks;
use domains::{Domains, Target};
use hosts::HostsFiles;
use option::Opt;
use pattern::{Pattern, patterns};
use private::Private;
use records::Records;

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
    /// Servers for every name.
    servers: Vec<String>,
    caching: Caching,
    checks: Checks,
    /// The options that stand there.
    given: BTreeSet<String>,
    is_in_order: bool,
    are_private_names_local: bool,
    are_plain_names_local: bool,
    addresses: Vec<IpAddr>,
    port: Option<u16>,
    /// That of the machine.
    domain: Option<String>,
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
            "server" | "local" => self.server(option),
            "rev-server" => self.rev_server(option),
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
            "addn-hosts" => self.hosts.take(option, &mut self.draft),
            // Always so, or looked at in the end.
            "no-resolv" | "no-poll" | "no-hosts" | "bind-interfaces" | "bind-dynamic"
            | "dns-loop-detect" | "keep-in-foreground" | "no-daemon" | "cache-rr" => Ok(()),
            "dns-forward-max" => self.in_flight(option),
            "edns-packet-max" => self.buffer_size(option),
            "strict-order" => {
                self.is_in_order = true;
                Ok(())
            }
            "log-queries" => {
                let queries = QueryLog { mode: QueryLogMode::All, ..QueryLog::default() };
                self.draft.spec.logging.get_or_insert_default().queries = Some(queries);
                Ok(())
            }
            "listen-address" => self.listen(option),
            "port" => option
                .value
                .parse()
                .map(|port| self.port = Some(port))
                .map_err(|_| "not a port".into()),
            "domain" => {
                // One for some networks alone is no service's.
                let is_for_all = !option.value.is_empty() && !option.value.contains([',', '#']);
                self.domain = is_for_all.then(|| option.value.to_owned()).or(self.domain.take());
                Err(elsewhere("domain").to_owned())
            }
            other => Err(elsewhere(other).to_owned()),
        }
    }

    fn server(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let (patterns, rest) = patterns(option.value)?;
        let target = match rest {
            "" if patterns.is_empty() => return Err("no server".into()),
            "" => Target::Nobody,
            "#" => Target::Standard,
            server => match self.upstream(option, server) {
                Ok(name) => Target::Server(name),
                // What was meant for it is for nobody else.
                Err(reason) => {
                    self.domains.server(option.line, patterns, &Target::Unknown);
                    return Err(reason);
                }
            },
        };
        match (target, patterns.is_empty()) {
            (Target::Server(name), true) => self.servers.push(name),
            (_, true) => return Err("no server".into()),
            (target, false) => self.domains.server(option.line, patterns, &target),
        }
        Ok(())
    }

    fn rev_server(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let (network, server) = option.value.split_once(',').unwrap_or((option.value, ""));
        let zones: Vec<_> = reverse_zones(network)?.into_iter().map(Pattern::Zone).collect();
        let target = match server.trim() {
            "" => Target::Nobody,
            "#" => Target::Standard,
            server => match self.upstream(option, server) {
                Ok(name) => Target::Server(name),
                Err(reason) => {
                    self.domains.server(option.line, zones, &Target::Unknown);
                    return Err(reason);
                }
            },
        };
        self.domains.server(option.line, zones, &target);
        Ok(())
    }

    fn upstream(&mut self, option: &Opt<'_>, server: &str) -> Result<String, String> {
        let (server, source) = server
            .split_once('@')
            .map_or((server, None), |(server, source)| (server, Some(source)));
        if let Some(source) = source {
            let reason = format!("the source `{source}` is left out: the system chooses it");
            self.draft.note(option.line, option.text, reason);
        }
        let address = server_address(server)?;
        if address.ip().is_unspecified() || address.port() == 0 {
            return Err(format!("`{server}` is not the address of a server"));
        }
        let reason = "it stays plain, as it was; where the server speaks DNS-over-TLS, leave out `protocol` and give `tls.serverName`";
        self.draft.note(option.line, option.text, reason);
        Ok(self.draft.plain_upstream(address, Protocol::UDP))
    }

    fn in_flight(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let most: u32 = option.value.parse().map_err(|_| "not a number of queries")?;
        let bounds = [1, dnsproxy_api::bounds::IN_FLIGHT];
        let most = self.clamped(option, most, bounds, "queries");
        self.draft.spec.limits.get_or_insert_default().max_in_flight = Some(most);
        Ok(())
    }

    fn buffer_size(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let size: u16 = option.value.parse().map_err(|_| "not a number of octets")?;
        let size = self.clamped(option, size, dnsproxy_api::bounds::EDNS_BUFFER_SIZE, "octets");
        self.draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(size);
        Ok(())
    }

    /// The nearest number that there can be here; another one is told.
    fn clamped<T: Ord + Copy + Display>(
        &mut self,
        option: &Opt<'_>,
        number: T,
        [least, most]: [T; 2],
        unit: &str,
    ) -> T {
        if !(least..=most).contains(&number) {
            let reason = format!("it is from {least} to {most} {unit} here");
            self.draft.note(option.line, option.text, reason);
        }
        number.clamp(least, most)
    }

    fn listen(&mut self, option: &Opt<'_>) -> Result<(), String> {
        for part in option.parts() {
            let address = part.parse().map_err(|_| format!("`{part}` is no address"))?;
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Imported {
        self.defaults();
        self.tell_of_files();
        let policy = self.policy();
        if let Err(reason) = self.records.settle(self.domain.as_deref()) {
            self.draft.note(0, "srv-host", reason);
        }
        let Self { mut draft, domains, records, hosts, caching, mut checks, .. } = self;
        let filtered = std::mem::take(&mut checks.filtered);
        checks.emit(&mut draft, domains.have_servers());
        draft.spec.cache = Some(caching.cache());
        let has_hosts = draft.spec.hosts.is_some();
        // Hosts files may have other types, and they come behind records.
        let keep = |name: &str| !has_hosts && domains.keep(name);
        let mut there = records.there();
        let are_plain_names_local = self.are_plain_names_local;
        let is_denied =
            |name: &String| domains.deny(name) || (are_plain_names_local && !name.contains('.'));
        let above: Vec<_> = hosts.above.into_iter().filter(is_denied).collect();
        if !above.is_empty() {
            let reason =
                "the names above theirs are known as they are now: import again when they change";
            draft.note(0, "hosts files", reason);
        }
        there.extend(above);
        domains.emit_existence(&mut draft, &there);
        records.emit(&mut draft, caching.ttl, keep);
        records.tell_of_aliases(&mut draft, |name| {
            domains.deny(name) && !(records.have(name) && keep(name))
        });
        draft.at(0);
        let of_all = ResponseChange {
            remove_types: (!filtered.is_empty()).then_some(filtered),
            ttl: caching.ttls(),
            ..ResponseChange::default()
        };
        if of_all != ResponseChange::default() {
            let matches = draft::zone(".");
            draft.rule("filter", Rule { matches, response: Some(of_all), ..Rule::default() });
        }
        if has_hosts && (self.are_plain_names_local || !domains.is_empty()) {
            let rule = hosts::known(&mut draft);
            draft.rule("hosts", rule);
        }
        let needs_domain = self.are_plain_names_local && !domains.have_plain_literals();
        if needs_domain {
            domain_needed(&mut draft, &there);
        }
        let private = Private::of(self.are_private_names_local, has_hosts);
        let mut open = there.clone();
        open.retain(|name| !(records.have(name) && keep(name)));
        domains.emit(&mut draft, caching.ttl, &private, &open, policy);
        private.emit(&mut draft);
        if self.are_plain_names_local && !needs_domain {
            domain_needed(&mut draft, &there);
        }
        if let Some(hosts) = &mut draft.spec.hosts {
            hosts.ttl = Some(format!("{}s", caching.ttl));
        }
        draft.finish()
    }

    /// What dnsmasq reads unless it is told not to.
    fn tell_of_files(&mut self) {
        let Self { draft, given, hosts, .. } = self;
        let has = |key: &str| given.contains(key);
        if !has("no-hosts") {
            hosts.of_machine(draft);
        }
        if has("server") && !has("no-resolv") && !has("resolv-file") {
            let reason = "dnsmasq asks the servers of resolv.conf as well: here they are written as `upstreams`";
            draft.note(0, "no `no-resolv`", reason);
        }
    }

    /// The servers for every name, and where queries are taken.
    fn defaults(&mut self) {
        // A file of comments alone, as it is delivered, says that all is as usual.
        if self.given.is_empty() {
            self.draft.carry();
        }
        if self.servers.is_empty() && self.given.contains("no-resolv") {
            self.domains.lose_standard();
            let reason =
                "other names than those of domains with servers are refused, as dnsmasq does";
            self.draft.note(0, "no `server=`", reason);
        } else if self.servers.is_empty() {
            self.servers.push(self.draft.unknown_upstream());
            let reason = "dnsmasq would read the servers for other names from resolv.conf: write them in place of 192.0.2.53 in the upstream `replace-me`; until then these names are not resolved";
            self.draft.note(0, "no `server=`", reason);
        }
        let servers = std::mem::take(&mut self.servers);
        if !servers.is_empty() || !self.domains.have_servers() {
            self.default_route(servers);
        }
        self.listeners();
    }

    fn listeners(&mut self) {
        if self.port == Some(0) {
            self.draft.note(0, "port=0", "queries are taken all the same");
        }
        let port = self.port.filter(|port| *port > 0).unwrap_or(53);
        // Which addresses an interface has is not known here, and all would be too many.
        if self.addresses.is_empty() && self.given.contains("interface") {
            return;
        }
        if self.addresses.is_empty() {
            self.addresses.push(Ipv6Addr::UNSPECIFIED.into());
        }
        let addresses = self.addresses.iter().map(|ip| SocketAddr::new(*ip, port).to_string());
        let dns = Some(DnsListener { addresses: addresses.collect() });
        self.draft.spec.listeners = Some(Listeners { dns });
    }

    /// The route for every name. Where there is nobody to be asked it is for none, as there is always one.
    fn default_route(&mut self, mut servers: Vec<String>) {
        let zones = if servers.is_empty() { Vec::new() } else { vec![".".to_owned()] };
        if servers.is_empty() {
            servers.push(self.draft.unknown_upstream());
        }
        let policy = self.policy();
        let route = self.draft.route(draft::DEFAULT);
        route.zones = zones;
        route.policy = policy;
        for server in servers {
            if !route.upstreams.contains(&server) {
                route.upstreams.push(server);
            }
        }
    }

    fn policy(&self) -> Policy {
        if self.is_in_order { Policy::Sequential } else { Policy::Fastest }
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

/// `ip` or `ip#port`.
fn server_address(text: &str) -> Result<SocketAddr, String> {
    let (ip, port) = text.split_once('#').unwrap_or((text, "53"));
    let ip: IpAddr = ip.parse().map_err(|_| format!("`{ip}` is no address"))?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    Ok(SocketAddr::new(ip, port))
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
        ("interface", "give the interface's address in `listeners.dns.addresses`"),
        ("neg-ttl", "an answer without an SOA record is not kept (RFC 2308)"),
        ("expand-hosts", "write the whole names"),
        ("domain", "it is about DHCP and /etc/hosts; services without a domain are in it"),
        ("proxy-dnssec", "that an answer was validated is taken from upstreams over TLS alone"),
    ]);
    let dhcp = ["dhcp", "enable-tftp", "tftp", "pxe", "enable-ra", "ra-param"];
    match known.get(key) {
        Some(reason) => reason,
        None if dhcp.iter().any(|prefix| key.starts_with(prefix)) => "it is not about DNS",
        None => "there is nothing like it here",
    }
}

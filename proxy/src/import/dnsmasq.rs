//! The configuration of dnsmasq (its manual page, version 2.93), as far as it is about DNS.
//!
//! dnsmasq looks a name up among its own records first, then takes the domain option with the longest domain that
//! matches. Rules here are taken in order, so records come first and domains after them, the longest first.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dnsproxy_api::v1alpha1::{
    AddressAlias, Allow, Block, BlockWith, Cache, CacheMode, DnsListener, Listeners, Match,
    NameMatch, Policy, Prefetch, Protocol, QueryLog, QueryLogMode, RebindProtection,
    ResponseChange, ServeStale, TtlRange, rule::Rule,
};

use super::{
    Draft, Imported,
    addresses::{network, reverse_zones},
    draft,
};
use crate::lists::domains::OWN_NAMES;

mod domains;
mod private;
mod records;
mod synth;

use domains::{Domains, Pattern, Target};
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

/// One line: `key=value`, or `key` alone.
pub(super) struct Opt<'t> {
    line: usize,
    key: &'t str,
    value: &'t str,
    text: &'t str,
}

impl<'t> Opt<'t> {
    fn read(line: usize, text: &'t str) -> Option<Self> {
        let text = without_comment(text).trim();
        let text = text.strip_prefix("--").unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Some(Self { line, key: key.trim(), value: value.trim(), text })
    }

    /// The parts of the value, without quotes.
    fn parts(&self) -> Vec<String> {
        split(self.value)
    }
}

/// A comment begins with `#` at the start of the line or behind a space; a `#` inside of a word is a port.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    let mut is_quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if before.is_whitespace() && !is_quoted => return line.get(..at).unwrap_or(line),
            _ => {}
        }
        before = c;
    }
    line
}

/// Splits at commas outside of quotes.
fn split(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in value.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    draft: Draft,
    domains: Domains,
    records: Records,
    /// Servers for every name.
    servers: Vec<String>,
    /// Types that are taken out of answers.
    filtered: Vec<String>,
    cache: Cache,
    ttl: u32,
    /// Of what clients see.
    max_ttl: Option<u32>,
    rebinding: RebindProtection,
    /// The options that stand there.
    given: BTreeSet<String>,
    is_in_order: bool,
    are_private_names_local: bool,
    are_plain_names_local: bool,
    addresses: Vec<IpAddr>,
    port: Option<u16>,
}

impl Reader {
    fn take(&mut self, option: &Opt<'_>) {
        self.given.insert(option.key.to_owned());
        match self.understand(option) {
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
            "alias" => self.alias(option),
            "bogus-nxdomain" => self.bogus(option),
            "filter-A" => self.filter("A"),
            "filter-AAAA" => self.filter("AAAA"),
            "filter-rr" => option.parts().iter().try_for_each(|rtype| self.filter(rtype)),
            "rebind-localhost-ok" => {
                let networks = self.rebinding.allow_networks.get_or_insert_default();
                networks.extend(["127.0.0.0/8".to_owned(), "::1/128".to_owned()]);
                Ok(())
            }
            "rebind-domain-ok" => self.rebind_domains(option),
            "domain-needed" => {
                self.are_plain_names_local = true;
                Ok(())
            }
            "bogus-priv" => {
                self.are_private_names_local = true;
                Ok(())
            }
            "addn-hosts" => {
                self.draft.hosts_file(option.value);
                self.draft.note(option.line, option.text, OF_HOSTS);
                Ok(())
            }
            // Always so, or looked at in the end.
            "stop-dns-rebind" | "no-resolv" | "no-poll" | "no-hosts" | "bind-interfaces"
            | "bind-dynamic" | "dns-loop-detect" | "proxy-dnssec" | "keep-in-foreground"
            | "no-daemon" | "cache-rr" => Ok(()),
            "dns-forward-max" => {
                let most = option.value.parse().map_err(|_| "not a number of queries")?;
                self.draft.spec.limits.get_or_insert_default().max_in_flight = Some(most);
                Ok(())
            }
            "edns-packet-max" => {
                let size: u16 = option.value.parse().map_err(|_| "not a number of octets")?;
                let [least, most] = dnsproxy_api::bounds::EDNS_BUFFER_SIZE;
                if !(least..=most).contains(&size) {
                    let reason = format!("it is from {least} to {most} octets here");
                    self.draft.note(option.line, option.text, reason);
                }
                let size = size.clamp(least, most);
                self.draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(size);
                Ok(())
            }
            "strict-order" => {
                self.is_in_order = true;
                Ok(())
            }
            "cache-size" => self.cache_size(option),
            "no-negcache" => {
                self.cache.negative_max_ttl = Some("0s".into());
                Ok(())
            }
            "max-ttl" => {
                let most: u32 = option.value.parse().map_err(|_| "not a number of seconds")?;
                self.max_ttl = Some(most.min(WEEK)).filter(|most| *most > 0);
                Ok(())
            }
            "max-cache-ttl" => {
                let most: u32 = option.value.parse().map_err(|_| "not a number of seconds")?;
                self.cache.max_ttl =
                    Some(most.min(WEEK)).filter(|most| *most > 0).map(|most| format!("{most}s"));
                Ok(())
            }
            "min-cache-ttl" => {
                let least: u32 = option.value.parse().map_err(|_| "not a number of seconds")?;
                // As there.
                self.cache.min_ttl = Some(format!("{}s", least.min(3600)));
                Ok(())
            }
            "local-ttl" => self.local_ttl(option),
            "use-stale-cache" => self.stale(option),
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
            other => Err(elsewhere(other).to_owned()),
        }
    }

    fn server(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let (patterns, rest) = domains::patterns(option.value)?;
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
        let reason = "it stays plain, as it was; where the server speaks DNS-over-TLS, leave out `protocol` and give `tls.serverName`";
        self.draft.note(option.line, option.text, reason);
        Ok(self.draft.plain_upstream(address, Protocol::UDP))
    }

    fn alias(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let parts = option.parts();
        let (Some(old), Some(new)) = (parts.first(), parts.get(1)) else {
            return Err("an old and a new address".into());
        };
        let pairs = domains::alias_networks(old, new, parts.get(2).map(String::as_str))?;
        let aliases = self.draft.responses().address_aliases.get_or_insert_default();
        aliases.extend(pairs.into_iter().map(|(from, to)| AddressAlias { from, to }));
        Ok(())
    }

    fn bogus(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let network = network(option.value)?;
        self.draft.responses().bogus_addresses.get_or_insert_default().push(network);
        Ok(())
    }

    fn filter(&mut self, rtype: &str) -> Result<(), String> {
        let rtype = rtype.to_ascii_uppercase();
        if rtype == "ANY" {
            return Err("what ANY is answered is for `responses.any`".into());
        }
        let known: Result<dnsproxy_api::units::QueryType, _> = rtype.parse();
        known.map_err(|error| format!("{rtype}: {error}"))?;
        self.filtered.push(rtype);
        Ok(())
    }

    fn rebind_domains(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let parts = option.value.split('/').filter(|part| !part.is_empty());
        let zones: Vec<_> = parts.map(str::to_owned).collect();
        if zones.is_empty() {
            return Err("no domain".into());
        }
        self.rebinding.allow.get_or_insert_default().extend(zones);
        Ok(())
    }

    fn cache_size(&mut self, option: &Opt<'_>) -> Result<(), String> {
        match option.value.parse::<u64>() {
            Ok(0) => self.cache.mode = CacheMode::Disabled,
            Ok(_) => {
                let reason = "the cache is bounded by octets here, not by names: see `cache.size`";
                self.draft.note(option.line, option.text, reason);
            }
            Err(_) => return Err("not a number".into()),
        }
        Ok(())
    }

    fn local_ttl(&mut self, option: &Opt<'_>) -> Result<(), String> {
        self.ttl = option.value.parse().map_err(|_| "not a number of seconds")?;
        Ok(())
    }

    fn stale(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let stale = self.cache.serve_stale.get_or_insert_default();
        match option.value {
            "" => {}
            // For ever, there.
            "0" => stale.max_age = Some(format!("{WEEK}s")),
            age => {
                let age: u32 = age.parse().map_err(|_| "not a number of seconds")?;
                stale.max_age = Some(format!("{}s", age.min(WEEK)));
            }
        }
        self.draft.note(
            option.line,
            option.text,
            "the upstreams are asked first here, as RFC 8767 has it",
        );
        Ok(())
    }

    fn listen(&mut self, option: &Opt<'_>) -> Result<(), String> {
        for part in option.parts() {
            self.addresses.push(part.parse().map_err(|_| format!("`{part}` is no address"))?);
        }
        Ok(())
    }

    fn finish(mut self) -> Imported {
        self.defaults();
        self.tell_of_files();
        let Self { mut draft, domains, records, filtered, cache, ttl, rebinding, given, .. } = self;
        // What is spared from the check does not begin it.
        if given.contains("stop-dns-rebind") {
            if domains.have_servers() {
                let reason = "answers of servers for a domain of their own are not checked here";
                draft.note(0, "stop-dns-rebind", reason);
            }
            draft.responses().rebind_protection = Some(rebinding);
        }
        draft.spec.cache = Some(as_there(cache));
        let is_local = |name: &str| {
            domains.is_local(name) || (self.are_plain_names_local && !name.contains('.'))
        };
        records.emit(&mut draft, ttl, is_local);
        draft.at(0);
        let of_all = ResponseChange {
            remove_types: (!filtered.is_empty()).then_some(filtered),
            ttl: self.max_ttl.map(|most| TtlRange { min: None, max: Some(format!("{most}s")) }),
            ..ResponseChange::default()
        };
        if of_all != ResponseChange::default() {
            let matches = draft::zone(".");
            draft.rule("filter", Rule { matches, response: Some(of_all), ..Rule::default() });
        }
        let has_hosts = draft.spec.hosts.is_some();
        if has_hosts && (self.are_plain_names_local || !domains.is_empty()) {
            let rule = known_hosts(&mut draft);
            draft.rule("hosts", rule);
        }
        records.emit_denials(&mut draft, is_local);
        let needs_domain = self.are_plain_names_local && !domains.have_plain_literals();
        if needs_domain {
            draft.rule("domain-needed", domain_needed());
        }
        let private = Private::of(self.are_private_names_local, has_hosts);
        domains.emit(&mut draft, ttl, &private);
        private.emit(&mut draft);
        if self.are_plain_names_local && !needs_domain {
            draft.rule("domain-needed", domain_needed());
        }
        if let Some(hosts) = &mut draft.spec.hosts {
            hosts.ttl = Some(format!("{ttl}s"));
        }
        draft.finish()
    }

    /// What dnsmasq reads unless it is told not to.
    fn tell_of_files(&mut self) {
        let Self { draft, given, .. } = self;
        let has = |key: &str| given.contains(key);
        if !has("no-hosts") {
            draft.hosts_file(ETC_HOSTS);
            let reason =
                format!("the names of {ETC_HOSTS} are answered, as dnsmasq does; {OF_HOSTS}");
            draft.note(0, "no `no-hosts`", reason);
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
        if self.servers.is_empty() {
            self.servers.push(self.draft.unknown_upstream());
            let reason = "dnsmasq would read the servers for other names from resolv.conf: write them in place of 192.0.2.53 in the upstream `replace-me`; until then these names are not resolved";
            self.draft.note(0, "no `server=`", reason);
        }
        let servers = std::mem::take(&mut self.servers);
        let route = self.draft.route(draft::DEFAULT);
        route.zones = vec![".".into()];
        for server in servers {
            if !route.upstreams.contains(&server) {
                route.upstreams.push(server);
            }
        }
        route.policy = if self.is_in_order { Policy::Sequential } else { Policy::Fastest };
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
}

/// dnsmasq keeps answers for as long as they say, and asks for none before somebody else does.
fn as_there(mut cache: Cache) -> Cache {
    if cache.mode == CacheMode::Disabled {
        return Cache { mode: CacheMode::Disabled, ..Cache::default() };
    }
    Draft::bound_ttl(&mut cache);
    cache.max_ttl.get_or_insert_with(|| format!("{WEEK}s"));
    cache.negative_max_ttl.get_or_insert_with(|| "24h".into());
    let disabled = CacheMode::Disabled;
    cache.serve_stale.get_or_insert_with(|| ServeStale { mode: disabled, ..ServeStale::default() });
    cache.prefetch.get_or_insert_with(|| Prefetch { mode: disabled, ..Prefetch::default() });
    cache
}

const ETC_HOSTS: &str = "/etc/hosts";

const OF_HOSTS: &str = "questions for other types than addresses get NODATA here";

/// As long as a TTL can be here, in seconds.
const WEEK: u32 = 604_800;

/// dnsmasq looks into hosts files before anything but records is looked at: their names are let pass to where they are
/// answered. A list of that format leaves out what each machine's own file has, such as `localhost`.
fn known_hosts(draft: &mut Draft) -> Rule {
    let lists = Some(vec![draft.hosts_list()]);
    let own = OWN_NAMES.iter().filter(|name| name.parse::<IpAddr>().is_err());
    let exact = Some(own.map(|name| (*name).to_owned()).collect());
    let matches = draft::names(NameMatch { lists, exact, ..NameMatch::default() });
    Rule { matches, allow: Some(Allow {}), ..Rule::default() }
}

/// Addresses of host names without a dot are known here or nowhere.
fn domain_needed() -> Rule {
    let names = NameMatch { max_labels: Some(1), ..NameMatch::default() };
    let types = Some(vec!["A".into(), "AAAA".into()]);
    let matches = Match { types, ..draft::names(names) };
    Rule { matches, block: Some(nxdomain()), ..Rule::default() }
}

fn nxdomain() -> Block {
    Block { with: BlockWith::NXDOMAIN, ttl: None }
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
        ("domain", "it is about DHCP and /etc/hosts"),
    ]);
    let dhcp = ["dhcp", "enable-tftp", "tftp", "pxe", "enable-ra", "ra-param"];
    match known.get(key) {
        Some(reason) => reason,
        None if dhcp.iter().any(|prefix| key.starts_with(prefix)) => "it is not about DNS",
        None => "there is nothing like it here",
    }
}

//! Options that make records: `host-record`, `cname`, `txt-record` and the like. Names without such a record of a type
//! are forwarded for that type.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use dnsproxy_api::{
    units::{Record, Zone},
    v1alpha1::{OtherTypes, OwnAlias, StaticAnswer, rule::Rule},
};

use super::{Opt, draft, pattern::upwards, synth::Synth};

mod list;
mod synthesized;
use crate::import::{Draft, addresses::reverse_name};

/// The records so far.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order in which they came.
    names: Vec<Own>,
    /// Where each name is.
    at: HashMap<String, usize>,
    synths: Vec<Synth>,
    /// Lines, and the names of `synth-domain` with a number each.
    numbered: Vec<(usize, Vec<(String, IpAddr)>)>,
    /// Lines, names and records of `srv-host` without a domain.
    services: Vec<(usize, String, String)>,
    line: usize,
    /// The host of `mx-host` without one.
    mx_target: Option<String>,
}

/// One name with its records.
#[derive(Debug)]
struct Own {
    name: String,
    line: usize,
    records: Vec<Line>,
    /// Whether it stands in `spec.hosts`.
    is_listed: bool,
}

#[derive(Debug)]
struct Line {
    /// That of the option, if it has one.
    ttl: Option<u32>,
    text: String,
    /// Whether it comes of an option for something else, as the name of an address does.
    is_derived: bool,
}

impl Own {
    fn is_there(&self) -> bool {
        self.records.iter().any(Line::counts)
    }
}

impl Line {
    /// Whether the name is there because of it: to dnsmasq it is not because of some kinds of records.
    fn counts(&self) -> bool {
        !self.is_derived && !self.text.starts_with("CAA ") && !self.text.starts_with("TYPE")
    }

    /// Where it leads to, if it is an alias.
    fn target(&self) -> Option<String> {
        let target = self.text.strip_prefix("CNAME ")?.parse::<Zone>().ok()?;
        Some(target.to_string())
    }

    fn has_address(&self) -> bool {
        ["A ", "AAAA "].iter().any(|rtype| self.text.starts_with(rtype))
    }
}

impl Records {
    pub(super) fn add(&mut self, option: &Opt<'_>) -> Result<(), String> {
        self.line = option.line;
        let parts = option.parts();
        match option.key {
            "host-record" => self.host(&parts),
            "cname" => self.alias(&parts),
            "txt-record" => {
                let (name, texts) = parts.split_first().ok_or("a name")?;
                let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
                let texts = if texts.is_empty() { "\"\"".to_owned() } else { texts.join(" ") };
                self.record(name, None, format!("TXT {texts}"))
            }
            "srv-host" => {
                let part = |index: usize, default: &'static str| {
                    parts
                        .get(index)
                        .map(String::as_str)
                        .filter(|text| !text.is_empty())
                        .unwrap_or(default)
                };
                let (target, port) = (part(1, "."), part(2, "1"));
                let (priority, weight) = (part(3, "0"), part(4, "0"));
                let text = format!("SRV {priority} {weight} {port} {}", absolute(target));
                self.service(part(0, ""), text)
            }
            "mx-target" => {
                self.mx_target = parts.first().filter(|host| !host.is_empty()).cloned();
                Ok(())
            }
            "mx-host" => {
                let name = parts.first().ok_or("a name")?;
                let host = parts.get(1).filter(|host| !host.is_empty()).or(self.mx_target.as_ref());
                let host = host.ok_or("the host is missing: it would be the machine's own name")?;
                let preference = parts.get(2).map_or("1", String::as_str);
                self.record(name, None, format!("MX {preference} {}", absolute(host)))
            }
            "ptr-record" => {
                let [name, target] = &*parts else { return Err("a name and a target".into()) };
                self.record(name, None, format!("PTR {}", absolute(&target.replace(' ', "\\032"))))
            }
            "caa-record" => {
                let [name, flags, tag, value] = &*parts else {
                    return Err("a name, flags, a tag and a value".into());
                };
                self.record(name, None, format!("CAA {flags} {tag} {}", quoted(value)))
            }
            "naptr-record" => {
                let [name, order, preference, flags, service, regexp, rest @ ..] = &*parts else {
                    return Err(
                        "a name, an order, a preference, flags, a service and an expression".into(),
                    );
                };
                let replacement = absolute(rest.first().map_or(".", String::as_str));
                let [flags, service, regexp] = [flags, service, regexp].map(|text| quoted(text));
                let text =
                    format!("NAPTR {order} {preference} {flags} {service} {regexp} {replacement}");
                self.record(name, None, text)
            }
            "dns-rr" => {
                let [name, rtype, octets @ ..] = &*parts else {
                    return Err("a name and a type".into());
                };
                let hex: String =
                    octets.concat().chars().filter(|c| c.is_ascii_hexdigit()).collect();
                self.record(name, None, format!("TYPE{rtype} \\# {} {hex}", hex.len() / 2))
            }
            _ => Err("there is nothing like it here".into()),
        }
    }

    /// `name[,name...],[address...][,TTL]`: the reverse name of an address leads to the first name.
    fn host(&mut self, parts: &[String]) -> Result<(), String> {
        let (mut names, mut addresses, mut ttl) = (Vec::new(), Vec::new(), None);
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match (part.parse::<IpAddr>(), part.parse::<u32>()) {
                (Ok(address), _) => addresses.push(address),
                (Err(_), Ok(seconds)) if !addresses.is_empty() => ttl = Some(seconds),
                (Err(_), _) => names.push(part.clone()),
            }
        }
        let first = names.first().cloned().ok_or("a name")?;
        if addresses.is_empty() {
            return Err("no address: it would be read from /etc/hosts".into());
        }
        for address in addresses {
            let text = match address {
                IpAddr::V4(v4) => format!("A {v4}"),
                IpAddr::V6(v6) => format!("AAAA {v6}"),
            };
            for name in &names {
                self.record(name, ttl, text.clone())?;
            }
            let text = format!("PTR {}", absolute(&first));
            self.add_line(&reverse_name(address), Line { ttl, text, is_derived: true })?;
        }
        Ok(())
    }

    /// A name of a service and a protocol alone gets a domain in the end, when there is one.
    fn service(&mut self, name: &str, text: String) -> Result<(), String> {
        if name.matches('.').count() != 1 {
            return self.record(name, None, text);
        }
        valid(name, &text)?;
        self.services.push((self.line, name.to_owned(), text));
        Ok(())
    }

    /// Puts services without a domain into that of the machine. Of a name that is an alias nothing else counts.
    pub(super) fn settle(&mut self, domain: Option<&str>, draft: &mut Draft) {
        self.settle_numbered(draft);
        for (line, name, text) in std::mem::take(&mut self.services) {
            self.line = line;
            let name = domain.map_or_else(|| name.clone(), |domain| format!("{name}.{domain}"));
            if let Err(reason) = self.record(&name, None, text) {
                draft.note(line, format!("srv-host={name}"), reason);
            }
        }
        for Own { name, line, records, is_listed: _ } in &mut self.names {
            let alias = records.iter().position(|it| it.target().is_some());
            if let Some(alias) = alias.filter(|_| records.len() > 1) {
                let alias = records.swap_remove(alias);
                let reason = "an alias has no other records (RFC 2181 section 10.1): they are left out, as dnsmasq does";
                draft.note(*line, format!("cname={name}"), reason);
                *records = vec![alias];
            }
        }
    }

    /// `alias[,alias...],target[,TTL]`.
    fn alias(&mut self, parts: &[String]) -> Result<(), String> {
        let (ttl, parts) = match parts.split_last() {
            Some((last, rest)) if rest.len() > 1 && last.parse::<u32>().is_ok() => {
                (last.parse().ok(), rest)
            }
            _ => (None, parts),
        };
        let (target, aliases) = parts.split_last().ok_or("an alias and its target")?;
        if aliases.is_empty() {
            return Err("an alias and its target".into());
        }
        aliases
            .iter()
            .try_for_each(|alias| self.record(alias, ttl, format!("CNAME {}", absolute(target))))
    }

    fn record(&mut self, name: &str, ttl: Option<u32>, text: String) -> Result<(), String> {
        self.add_line(name, Line { ttl, text, is_derived: false })
    }

    fn add_line(&mut self, name: &str, line: Line) -> Result<(), String> {
        let name = valid(name, &line.text)?.to_string();
        let at = self.at.get(&name).copied();
        match at.and_then(|at| self.names.get_mut(at)) {
            Some(own) => {
                // Of an address that two names share the first name counts, and less than a `ptr-record`.
                if line.is_derived && own.records.iter().any(|it| it.text.starts_with("PTR ")) {
                    return Ok(());
                }
                if line.text.starts_with("PTR ") {
                    own.records.retain(|it| !it.is_derived);
                }
                if own.records.iter().all(|it| it.text != line.text) {
                    own.records.push(line);
                }
            }
            None => {
                self.at.insert(name.clone(), self.names.len());
                let records = vec![line];
                self.names.push(Own { name, line: self.line, records, is_listed: false });
            }
        }
        Ok(())
    }

    /// Writes a rule for each name. Whether other types are denied is told by `keep`; else it is decided behind.
    pub(super) fn emit(&self, draft: &mut Draft, ttl: u32, keep: impl Fn(&str) -> bool) {
        let has_hosts = draft.spec.hosts.is_some();
        let kept = |is_kept: bool| if is_kept { OtherTypes::NODATA } else { OtherTypes::Forward };
        for own @ Own { name, line, records, is_listed } in &self.names {
            if *is_listed {
                continue;
            }
            draft.at(*line);
            // The target of an alias is looked for here alone: which names a hosts file has is not known yet.
            let is_elsewhere = has_hosts && records.iter().any(|it| self.leads_elsewhere(it));
            let is_followed = is_elsewhere || records.iter().any(|it| self.leads_into_list(it));
            let cname = if is_followed { OwnAlias::Follow } else { OwnAlias::Leave };
            if is_elsewhere {
                let reason = "here the target is asked of the upstreams when no hosts file has it";
                draft.note(*line, format!("cname={name}"), reason);
            }
            let records = records.iter().map(|it| format!("{} {}", it.ttl.unwrap_or(ttl), it.text));
            let other_types = kept(own.is_there() && keep(name));
            let answer = StaticAnswer { cname, ..draft::records(records.collect(), other_types) };
            let rule =
                Rule { matches: draft::exact(name), answer: Some(answer), ..Rule::default() };
            draft.rule(name, rule);
        }
        // The last one of an address counts.
        for synth in self.synths.iter().rev() {
            synth.emit(draft, ttl, kept(keep(synth.domain())));
        }
        if has_hosts && self.names.iter().all(|own| !own.is_listed) {
            self.tell_of_addresses(draft);
        }
    }

    fn tell_of_addresses(&self, draft: &mut Draft) {
        let own = self.names.iter().find(|own| own.records.iter().any(Line::has_address));
        if let Some(Own { name, line, records: _, is_listed: _ }) = own {
            draft.note(*line, format!("host-record={name}"), OF_BOTH);
        }
    }

    /// Whether a record is an alias of a name that has no addresses here, and no alias.
    fn leads_elsewhere(&self, line: &Line) -> bool {
        let leads_on = |it: &Line| it.has_address() || it.target().is_some();
        let is_known = |own: &Own| own.records.iter().any(leads_on);
        line.target().is_some_and(|target| !self.own_of(&target).is_some_and(is_known))
    }

    fn leads_into_list(&self, line: &Line) -> bool {
        line.target().and_then(|target| self.own_of(&target)).is_some_and(|own| own.is_listed)
    }

    fn own_of(&self, name: &str) -> Option<&Own> {
        self.names.get(*self.at.get(name)?)
    }

    /// Tells of aliases that are answered in another way here. `is_denied`: whether rules deny what a name does not have;
    /// `has_addresses`: whether its domain has addresses.
    pub(super) fn tell_of_aliases(
        &self,
        draft: &mut Draft,
        is_denied: impl Fn(&str) -> bool,
        has_addresses: impl Fn(&str) -> bool,
    ) {
        let targets: BTreeMap<&str, String> = self.names.iter().filter_map(target_of).collect();
        for Own { name, line, records: _, is_listed: _ } in &self.names {
            let Some(target) = targets.get(&**name) else { continue };
            if is_denied(target) {
                let reason = format!(
                    "where {target} has nothing that is asked for, here the denial is given without the alias"
                );
                draft.note(*line, format!("cname={name}"), reason);
            }
            if has_addresses(target) {
                let reason = format!("here an address of the domain of {target} is given with it");
                draft.note(*line, format!("cname={name}"), reason);
            }
            let way = std::iter::successors(Some(target), |next| targets.get(&***next));
            if way.take(targets.len()).any(|next| next == name) {
                draft.note(
                    *line,
                    format!("cname={name}"),
                    "it leads back to itself: dnsmasq does not start with it",
                );
            }
        }
    }

    /// The names that are there: those with records, and those above them (RFC 8020).
    pub(super) fn there(&self) -> BTreeSet<String> {
        let known = self.names.iter().filter(|own| own.is_there());
        known.flat_map(|own| upwards(&own.name)).map(str::to_owned).collect()
    }

    /// Those that are there because of their own records.
    pub(super) fn own(&self) -> BTreeSet<&str> {
        self.names.iter().filter(|own| own.is_there()).map(|own| &*own.name).collect()
    }
}

const OF_BOTH: &str = "for a name that a hosts file has as well, dnsmasq gives the addresses of both, here those of the record alone";

/// The name of a record, if there can be such a record.
fn valid(name: &str, text: &str) -> Result<Zone, String> {
    let record: Result<Record, _> = text.parse();
    record.map_err(|error| format!("`{text}`: {error}"))?;
    name.trim_end_matches('.').parse().map_err(|error| format!("`{name}`: {error}"))
}

fn target_of(own: &Own) -> Option<(&str, String)> {
    own.records.iter().find_map(|it| Some((&*own.name, it.target()?)))
}

pub(super) fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// A character-string of a zone file.
fn quoted(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'"' | b'\\' => format!("\\{}", char::from(octet)),
        b' '..=b'~' => char::from(octet).into(),
        _ => format!("\\{octet:03}"),
    };
    format!("\"{}\"", text.bytes().map(octet).collect::<String>())
}

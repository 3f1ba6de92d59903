//! Options that make records: `host-record`, `cname`, `txt-record` and the like. Names without such a record of a type
//! are forwarded for that type.

use std::{collections::BTreeSet, net::IpAddr};

use dnsproxy_api::{
    units::{Record, Zone},
    v1alpha1::{OtherTypes, OwnAlias, StaticAnswer, rule::Rule},
};

use super::{Opt, draft, pattern::upwards, synth::Synth};
use crate::import::{Draft, addresses::reverse_name};

/// The records so far.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order in which they came.
    names: Vec<Own>,
    synths: Vec<Synth>,
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
}

#[derive(Debug)]
struct Line {
    /// That of the option, if it has one.
    ttl: Option<u32>,
    text: String,
    /// Whether it comes of an option for something else, as the name of an address does.
    is_derived: bool,
}

impl Line {
    /// Whether the name is there because of it: to dnsmasq it is not because of some kinds of records.
    fn counts(&self) -> bool {
        !self.is_derived && !self.text.starts_with("CAA ") && !self.text.starts_with("TYPE")
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
                self.record(part(0, ""), None, text)
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

    pub(super) fn synthesize(&mut self, option: &Opt<'_>) -> Result<(), String> {
        self.synths.push(Synth::read(&option.parts(), option.line)?);
        Ok(())
    }

    fn record(&mut self, name: &str, ttl: Option<u32>, text: String) -> Result<(), String> {
        self.add_line(name, Line { ttl, text, is_derived: false })
    }

    fn add_line(&mut self, name: &str, line: Line) -> Result<(), String> {
        let name: Zone =
            name.trim_end_matches('.').parse().map_err(|error| format!("`{name}`: {error}"))?;
        let record: Result<Record, _> = line.text.parse();
        record.map_err(|error| format!("`{}`: {error}", line.text))?;
        let name = name.to_string();
        match self.names.iter_mut().find(|own| own.name == name) {
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
            None => self.names.push(Own { name, line: self.line, records: vec![line] }),
        }
        Ok(())
    }

    /// Writes a rule for each name. Whether other types are denied is told by `keep`; else it is decided behind.
    pub(super) fn emit(&self, draft: &mut Draft, ttl: u32, keep: impl Fn(&str) -> bool) {
        let has_hosts = draft.spec.hosts.is_some();
        let kept = |is_kept: bool| if is_kept { OtherTypes::NODATA } else { OtherTypes::Forward };
        for Own { name, line, records } in &self.names {
            draft.at(*line);
            // The target of an alias is looked for here alone: which names a hosts file has is not known yet.
            let is_followed = has_hosts && records.iter().any(|it| self.leads_elsewhere(it));
            let cname = if is_followed { OwnAlias::Follow } else { OwnAlias::Leave };
            if is_followed {
                let reason = "here the target is asked of the upstreams when no hosts file has it";
                draft.note(*line, format!("cname={name}"), reason);
            }
            let records = records.iter().map(|it| format!("{} {}", it.ttl.unwrap_or(ttl), it.text));
            let other_types = kept(keep(name));
            let answer = StaticAnswer { cname, ..draft::records(records.collect(), other_types) };
            let rule =
                Rule { matches: draft::exact(name), answer: Some(answer), ..Rule::default() };
            draft.rule(name, rule);
        }
        for synth in &self.synths {
            synth.emit(draft, ttl, kept(keep(synth.domain())));
        }
        if has_hosts {
            self.tell_of_addresses(draft);
        }
    }

    fn tell_of_addresses(&self, draft: &mut Draft) {
        let own = self.names.iter().find(|own| own.records.iter().any(Line::has_address));
        if let Some(Own { name, line, records: _ }) = own {
            draft.note(*line, format!("host-record={name}"), OF_BOTH);
        }
    }

    /// Whether a record is an alias of a name that has no addresses here, and no alias.
    fn leads_elsewhere(&self, line: &Line) -> bool {
        let target = line.text.strip_prefix("CNAME ").and_then(|text| text.parse::<Zone>().ok());
        let target = target.map(|zone| zone.to_string());
        let leads_on = |it: &Line| it.has_address() || it.text.starts_with("CNAME ");
        let is_known = |target: &String| {
            self.names.iter().any(|own| own.name == *target && own.records.iter().any(leads_on))
        };
        target.is_some_and(|target| !is_known(&target))
    }

    /// The names that are there: those with records, and those above them (RFC 8020).
    pub(super) fn there(&self) -> BTreeSet<String> {
        let known = self.names.iter().filter(|own| own.records.iter().any(Line::counts));
        known.flat_map(|own| upwards(&own.name)).map(str::to_owned).collect()
    }

    pub(super) fn have(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.name == name)
    }
}

const OF_BOTH: &str = "for a name that a hosts file has as well, dnsmasq gives the addresses of both, here those of the record alone";

pub(super) fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// A character-string of a zone file.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

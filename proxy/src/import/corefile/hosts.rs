//! CoreDNS's `hosts`: names and addresses, of a file or of its own lines.

use std::{collections::BTreeMap, net::IpAddr};

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{NameMatch, OtherTypes, rule::Rule},
};

use super::{
    super::{addresses::reverse_name, draft},
    syntax::Directive,
};
use crate::import::Draft;

/// Lines of /etc/hosts; a name that is there has no records of other types.
pub(super) fn read(directive: &Directive, draft: &mut Draft) -> Result<(), String> {
    let (mut ttl, mut has_reverse, mut falls_through) = (3600, true, false);
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut reverse: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(file) = directive.args.first() {
        draft.hosts_file(file);
        if directive.args.len() > 1 {
            let reason = "its names are answered in every zone";
            draft.note(directive.line, directive.text(), reason);
        }
    } else {
        draft.note(
            directive.line,
            directive.text(),
            "/etc/hosts is not read: for its names, write `hosts: {sources: [{file: /etc/hosts}]}`",
        );
    }
    for line in &directive.lines {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match &*words {
            ["ttl", seconds] => ttl = seconds.parse().map_err(|_| "not a number of seconds")?,
            ["no_reverse"] => has_reverse = false,
            ["fallthrough", ..] => falls_through = true,
            ["reload", _] => {}
            [address, hosts @ ..] => match address.parse::<IpAddr>() {
                Ok(address) => {
                    for host in hosts {
                        let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                        names
                            .entry(host.to_ascii_lowercase())
                            .or_default()
                            .push(format!("{rtype} {address}"));
                    }
                    let whole = hosts.iter().filter(|host| !host.starts_with('*'));
                    reverse
                        .entry(reverse_name(address))
                        .or_default()
                        .extend(whole.map(|host| (*host).to_owned()));
                }
                Err(_) => draft.note(line.number, words.join(" "), "there is nothing like it here"),
            },
            [] => {}
        }
    }
    if let Some(hosts) = &mut draft.spec.hosts {
        hosts.ttl = Some(format!("{ttl}s"));
        if !has_reverse {
            let reason = "addresses of the file have names (PTR)";
            draft.note(directive.line, "no_reverse", reason);
        }
    }
    if !falls_through && (!names.is_empty() || !directive.args.is_empty()) {
        let reason =
            "names that are not there would get SERVFAIL; here they go on to the upstreams";
        draft.note(directive.line, directive.text(), reason);
    }
    for (name, records) in names {
        let (matches, name) = match name.strip_prefix("*.") {
            // One label, as CoreDNS has it.
            Some(below) => {
                let regex = format!("^[^.]+\\.{}\\.$", below.replace('.', "\\."));
                let names = NameMatch { regex: Some(vec![regex]), ..NameMatch::default() };
                (draft::names(names), below.to_owned())
            }
            None => (draft::exact(&name), name),
        };
        name.parse::<Zone>().map_err(|error| format!("`{name}`: {error}"))?;
        let records = records.iter().map(|record| format!("{ttl} {record}")).collect();
        let answer = Some(draft::records(records, OtherTypes::NODATA));
        draft.rule(&name, Rule { matches, answer, ..Rule::default() });
    }
    for (name, hosts) in reverse.into_iter().filter(|(_, hosts)| has_reverse && !hosts.is_empty()) {
        let records =
            hosts.iter().map(|host| format!("{ttl} PTR {}.", host.trim_end_matches('.'))).collect();
        let answer = Some(draft::records(records, OtherTypes::Forward));
        draft.rule(&name, Rule { matches: draft::exact(&name), answer, ..Rule::default() });
    }
    Ok(())
}

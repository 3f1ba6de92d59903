//! `synth-domain`: names that are made of addresses, and addresses of names.

use std::net::{IpAddr, Ipv4Addr};

use dnsproxy_api::{
    units::{Network, Zone},
    v1alpha1::{Match, NameMatch, OtherTypes, rule::Rule},
};

use super::{draft, records::absolute};
use crate::import::Draft;

/// One option: IPv4 addresses of a range have a name each.
#[derive(Debug)]
pub(super) struct Synth {
    domain: String,
    prefix: String,
    first: u32,
    last: u32,
    line: usize,
}

impl Synth {
    /// `domain,network[,prefix]` or `domain,first,last[,prefix]`.
    pub(super) fn read(parts: &[String], line: usize) -> Result<Self, String> {
        let (domain, range) = parts.split_first().ok_or("a domain and addresses")?;
        let domain: Zone = domain.parse().map_err(|error| format!("`{domain}`: {error}"))?;
        let (first, rest) = range.split_first().ok_or("no addresses")?;
        // An address alone is the first one of a range.
        let network = Some(first).filter(|it| it.contains('/')).map(|it| it.parse::<Network>());
        let (first, last, prefix) = match network {
            Some(network) => {
                let network = network.map_err(|error| format!("`{first}`: {error}"))?;
                let IpAddr::V4(base) = network.address() else { return Err(V6.into()) };
                let host = u32::MAX.checked_shr(network.prefix().into()).unwrap_or_default();
                (base.to_bits(), base.to_bits() | host, rest.first())
            }
            None => {
                let v4 = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| V6.to_owned());
                let last = rest.first().ok_or("a network, or a first and a last address")?;
                (v4(first)?.to_bits(), v4(last)?.to_bits(), rest.get(1))
            }
        };
        let prefix = prefix.map(String::as_str).unwrap_or_default();
        if prefix.ends_with('*') {
            return Err(
                "a `*` numbers the addresses, for which there is nothing like it here".into()
            );
        }
        if last < first || last - first > MAX_ADDRESSES {
            return Err("more than 65536 addresses: make several of it".into());
        }
        Ok(Self {
            domain: domain.to_string(),
            prefix: prefix.to_ascii_lowercase(),
            first,
            last,
            line,
        })
    }

    pub(super) fn emit(&self, draft: &mut Draft, ttl: u32, other_types: OtherTypes) {
        draft.at(self.line);
        for part in self.parts() {
            let [a, b, c, _] = part.base.octets();
            let numbers = part.numbers();
            let literal = |text: &str| text.replace('.', "\\.");
            let (prefix, domain) = (literal(&self.prefix), literal(&absolute(&self.domain)));
            let forward = format!("^{prefix}{a}-{b}-{c}-({numbers})\\.{domain}$");
            let address = format!("{ttl} A {a}.{b}.{c}.{{1}}");
            draft.rule(&self.domain, rule(forward, address, other_types));
            let reverse = format!("^({numbers})\\.{c}\\.{b}\\.{a}\\.in-addr\\.arpa\\.$");
            let name =
                format!("{ttl} PTR {}{a}-{b}-{c}-{{1}}.{}", self.prefix, absolute(&self.domain));
            draft.rule(
                &format!("{} reverse", self.domain),
                rule(reverse, name, OtherTypes::Forward),
            );
        }
    }

    /// The domain that the names are in.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// The range, cut where the third octet changes.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = self.first;
        loop {
            let end = (at | 0xff).min(self.last);
            parts.push(Part { base: Ipv4Addr::from_bits(at), last: end & 0xff });
            if end == self.last {
                return parts;
            }
            at = end + 1;
        }
    }
}

const V6: &str = "only IPv4 addresses are made names of here";

/// As many as two octets count.
const MAX_ADDRESSES: u32 = 0xffff;

/// Addresses that differ in the last octet alone.
struct Part {
    base: Ipv4Addr,
    last: u32,
}

impl Part {
    /// The last octets, as a regular expression.
    fn numbers(&self) -> String {
        let first = u32::from(self.base.octets()[3]);
        if (first, self.last) == (0, 255) {
            return "25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]".into();
        }
        (first..=self.last).map(|number| number.to_string()).collect::<Vec<_>>().join("|")
    }
}

fn rule(regex: String, record: String, other_types: OtherTypes) -> Rule {
    let names = NameMatch { regex: Some(vec![regex]), ..NameMatch::default() };
    let answer = draft::records(vec![record], other_types);
    Rule {
        matches: Match { names: Some(names), ..Match::default() },
        answer: Some(answer),
        ..Rule::default()
    }
}

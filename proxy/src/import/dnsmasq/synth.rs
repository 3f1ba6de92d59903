//! `synth-domain`: names that are made of addresses, and addresses of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dnsproxy_api::{
    units::{Network, Zone},
    v1alpha1::{Match, NameMatch, OtherTypes, rule::Rule},
};

use super::{draft, records::absolute};
use crate::import::Draft;

/// One option: the addresses of a range have a name each.
#[derive(Debug)]
pub(super) struct Range {
    domain: Zone,
    prefix: String,
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// `domain,network[,prefix]` or `domain,first,last[,prefix]`.
    pub(super) fn read(parts: &[String]) -> Result<Self, String> {
        let (domain, range) = parts.split_first().ok_or("a domain and addresses")?;
        let domain = domain.parse().map_err(|error| format!("`{domain}`: {error}"))?;
        let (first, rest) = range.split_first().ok_or("no addresses")?;
        // An address alone is the first one of a range.
        let network = Some(first).filter(|it| it.contains('/')).map(|it| it.parse::<Network>());
        let (first, last, prefix) = match network {
            Some(network) => {
                let network = network.map_err(|error| format!("`{first}`: {error}"))?;
                (network.address(), last_of(network), rest.first())
            }
            None => {
                let address = |text: &str| {
                    text.parse::<IpAddr>().map_err(|error| format!("`{text}`: {error}"))
                };
                let last = rest.first().ok_or("a network, or a first and a last address")?;
                (address(first)?, address(last)?, rest.get(1))
            }
        };
        let count = distance(first, last).ok_or("the last address is none behind the first one")?;
        let prefix = prefix.map(|prefix| prefix.to_ascii_lowercase()).unwrap_or_default();
        let is_numbered = prefix.ends_with('*');
        if !is_numbered && first.is_ipv6() {
            return Err(V6.into());
        }
        let most = if is_numbered { MAX_NUMBERED } else { MAX_ADDRESSES };
        if count >= most {
            return Err(format!("more than {most} addresses: make several of it"));
        }
        Ok(Self { domain, prefix, first, last })
    }

    /// The names with their addresses where a `*` numbers them, the first one by 0.
    pub(super) fn numbered(&self) -> Option<Vec<(String, IpAddr)>> {
        let prefix = self.prefix.strip_suffix('*')?;
        let name = |number| format!("{prefix}{number}.{}", self.domain);
        let count = distance(self.first, self.last)?;
        Some((0..=count).map(|number| (name(number), above(self.first, number))).collect())
    }
}

fn last_of(network: Network) -> IpAddr {
    let prefix = network.prefix().into();
    match network.address() {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(prefix).unwrap_or_default();
            Ipv4Addr::from_bits(v4.to_bits() | hosts).into()
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(prefix).unwrap_or_default();
            Ipv6Addr::from_bits(v6.to_bits() | hosts).into()
        }
    }
}

/// How far an address is behind another one of its family.
fn distance(first: IpAddr, last: IpAddr) -> Option<u128> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            last.to_bits().checked_sub(first.to_bits()).map(u128::from)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => last.to_bits().checked_sub(first.to_bits()),
        _ => None,
    }
}

/// The address that far behind.
fn above(first: IpAddr, distance: u128) -> IpAddr {
    match first {
        IpAddr::V4(first) => {
            let distance = u32::try_from(distance).unwrap_or_default();
            Ipv4Addr::from_bits(first.to_bits().saturating_add(distance)).into()
        }
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().saturating_add(distance)).into(),
    }
}

/// IPv4 addresses of a range, each of which is spelled in its name.
#[derive(Debug)]
pub(super) struct Synth {
    domain: String,
    prefix: String,
    first: u32,
    last: u32,
    line: usize,
}

impl Synth {
    pub(super) fn of(range: Range, line: usize) -> Result<Self, String> {
        let Range { domain, prefix, first, last } = range;
        let (IpAddr::V4(first), IpAddr::V4(last)) = (first, last) else {
            return Err(V6.into());
        };
        let (first, last) = (first.to_bits(), last.to_bits());
        Ok(Self { domain: domain.to_string(), prefix, first, last, line })
    }

    pub(super) fn emit(&self, draft: &mut Draft, ttl: u32, other_types: OtherTypes) {
        draft.at(self.line);
        for part in self.parts() {
            let [a, b, c, _] = part.base.octets();
            let numbers = part.numbers();
            let forward = self.names(&part.spelled());
            let address = format!("{ttl} A {a}.{b}.{c}.{{1}}");
            draft.rule(&self.domain, rule(&forward, address, other_types));
            let reverse = format!("^({numbers})\\.{c}\\.{b}\\.{a}\\.in-addr\\.arpa\\.$");
            let name =
                format!("{ttl} PTR {}{a}-{b}-{c}-{{1}}.{}", self.prefix, absolute(&self.domain));
            draft.rule(
                &format!("{} reverse", self.domain),
                rule(&reverse, name, OtherTypes::Forward),
            );
        }
    }

    /// Names with an address that is spelled like this, as a regular expression.
    fn names(&self, address: &str) -> String {
        let literal = |text: &str| text.replace('.', "\\.");
        let (prefix, domain) = (literal(&self.prefix), literal(&absolute(&self.domain)));
        format!("^{prefix}{address}\\.{domain}$")
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

const V6: &str = "only IPv4 addresses are spelled in names here";

/// As many as two octets count.
const MAX_ADDRESSES: u128 = 0x1_0000;

/// Each of these is a name of its own in the manifest.
const MAX_NUMBERED: u128 = 4096;

/// Addresses that differ in the last octet alone.
struct Part {
    base: Ipv4Addr,
    last: u32,
}

impl Part {
    /// The addresses as names spell them, as a regular expression.
    fn spelled(&self) -> String {
        let [a, b, c, _] = self.base.octets();
        format!("{a}-{b}-{c}-({})", self.numbers())
    }

    /// The last octets, as a regular expression.
    fn numbers(&self) -> String {
        let first = u32::from(self.base.octets()[3]);
        if (first, self.last) == (0, 255) {
            return "25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]".into();
        }
        (first..=self.last).map(|number| number.to_string()).collect::<Vec<_>>().join("|")
    }
}

fn rule(names: &str, record: String, other_types: OtherTypes) -> Rule {
    let answer = draft::records(vec![record], other_types);
    Rule { matches: regex(names), answer: Some(answer), ..Rule::default() }
}

fn regex(names: &str) -> Match {
    draft::names(NameMatch { regex: Some(vec![names.to_owned()]), ..NameMatch::default() })
}

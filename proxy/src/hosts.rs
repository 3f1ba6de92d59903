//! Names and addresses in the format of /etc/hosts (hosts(5)): `10.0.0.9 printer.corp.example printer`.
//!
//! A name has the addresses of all lines that it stands on, and nothing of other types. An address has the first name
//! of each of its lines (PTR). `*.name` is any one label in front of the name, for which no line of its own stands.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    path::PathBuf,
};

use dnsproxy_api::units::{Network, Zone};

use crate::{
    lists::{
        self, Problems, Source,
        domains::{hosts_fields, wire_of},
    },
    message::{
        Name, Qclass, Qtype, Question,
        name::MAX_NAME_LEN,
        response::{Data, Record, Response},
    },
    rules::denial,
};

/// Names that are answered here.
#[derive(Debug, Default)]
pub struct Hosts {
    sources: Vec<Source>,
    /// In wire form and in lower case.
    names: HashMap<Box<[u8]>, Vec<IpAddr>>,
    /// By what stands behind the star.
    wildcards: HashMap<Box<[u8]>, Vec<IpAddr>>,
    /// By the name in `in-addr.arpa` or `ip6.arpa`.
    reverse: HashMap<Box<[u8]>, Vec<Name<'static>>>,
    /// In seconds.
    ttl: u32,
    /// Whether something of it is out of reach.
    is_partial: bool,
    problems: Problems,
    hashes: Vec<Option<String>>,
    fingerprint: u64,
}

/// Addresses of a name, and names of an address: our guess at more than anybody uses, and what fits into an answer.
const MAX_RECORDS: usize = 1024;
/// Names and addresses of all lines: our guess; lists of names to be blocked have more, and have a better place.
const MAX_ENTRIES: usize = 1_000_000;

impl Hosts {
    /// Reads the sources. What cannot be read is told by [`Self::problems`].
    pub fn load(sources: Vec<Source>, ttl: u32) -> Self {
        let mut hosts = Self { ttl, ..Self::default() };
        let mut hasher = DefaultHasher::new();
        ttl.hash(&mut hasher);
        let (problems, hashes) = lists::read(&sources, |line, bad| {
            let Some((number, text)) = line else { return };
            text.hash(&mut hasher);
            hosts.add(text).unwrap_or_else(|reason| bad(number, reason));
        });
        let is_partial = sources.contains(&Source::Elsewhere) || !problems.sources.is_empty();
        Self { sources, is_partial, problems, hashes, fingerprint: hasher.finish(), ..hosts }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let Some((address, names)) = hosts_fields(line)? else { return Ok(()) };
        if line.split_ascii_whitespace().next().is_some_and(|address| address.contains('%')) {
            return Err("an address with a zone means something on one machine alone".into());
        }
        let address = address.to_canonical();
        let mut has_first = false;
        let mut result = Ok(());
        // Some lists name the unspecified address after itself.
        for name in names.filter(|name| name.parse::<IpAddr>().is_err()) {
            if self.len() >= MAX_ENTRIES {
                return Err(format!("there are {MAX_ENTRIES} names already"));
            }
            // One bad name shall not hide the others.
            match self.add_name(address, name, !has_first) {
                Ok(()) => has_first |= !name.starts_with("*."),
                Err(reason) => result = result.and(Err(reason)),
            }
        }
        result
    }

    fn add_name(&mut self, address: IpAddr, name: &str, is_first: bool) -> Result<(), String> {
        let mut buffer = [0; MAX_NAME_LEN];
        if let Some(parent) = name.strip_prefix("*.") {
            let wire = wire_of(parent, &mut buffer)?;
            return add(self.wildcards.entry(wire.into()).or_default(), address);
        }
        let wire = wire_of(name, &mut buffer)?;
        add(self.names.entry(wire.into()).or_default(), address)?;
        // The unspecified address is no machine's, and in some files that of many names.
        if is_first && !address.is_unspecified() {
            let reverse = Zone::reverse(Network::containing(address, u8::MAX));
            let name = Name::from_wire(wire.to_vec()).map_err(|error| error.to_string())?;
            let names = self.reverse.entry(reverse.as_wire().into()).or_default();
            // More do not fit into an answer, as where a list has 127.0.0.1 for all it blocks. Each name is answered.
            if names.len() < MAX_RECORDS {
                add(names, name)?;
            }
        }
        Ok(())
    }

    /// The answer to a question; `None` when there is nothing about its name.
    pub fn answer(&self, question: &Question<'_>) -> Option<Response> {
        if question.qclass != Qclass::IN || self.is_empty() {
            return None;
        }
        let mut buffer = [0; MAX_NAME_LEN];
        let folded = question.name.fold(&mut buffer);
        let data = match self.addresses(folded) {
            Some(addresses) => {
                addresses.iter().filter_map(|it| of_address(question, *it)).collect()
            }
            None => {
                self.reverse.get(folded)?.iter().filter_map(|it| of_name(question, it)).collect()
            }
        };
        Some(self.respond(question, data))
    }

    fn addresses(&self, folded: &[u8]) -> Option<&Vec<IpAddr>> {
        let wildcard = || {
            let parent = folded.get(1 + usize::from(*folded.first().filter(|len| **len > 0)?)..)?;
            self.wildcards.get(parent)
        };
        self.names.get(folded).or_else(wildcard)
    }

    fn respond(&self, question: &Question<'_>, data: Vec<(Qtype, Data)>) -> Response {
        let mut response = Response::empty(question.clone().into_owned());
        let [answers, authorities, _] = &mut response.sections;
        if data.is_empty() {
            authorities.push(denial(question, self.ttl));
        }
        let record = |(rtype, data)| Record {
            owner: question.name.clone().into_owned(),
            rtype,
            class: Qclass::IN,
            ttl: self.ttl,
            data,
        };
        answers.extend(data.into_iter().map(record));
        response
    }

    /// Whether it is made of the same.
    pub fn is_of(&self, sources: &[Source], ttl: u32) -> bool {
        self.sources == sources && self.ttl == ttl
    }

    /// Where it comes from.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// How many names it has, wildcards among them.
    pub fn len(&self) -> usize {
        self.names.len() + self.wildcards.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something of it is out of reach.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// What of it could not be read.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The SHA-256 of each file; `None` for one that is missing.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, Option<&String>)> {
        lists::files(&self.sources, &self.hashes)
    }

    /// A hash of its content.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

fn add<T: PartialEq>(known: &mut Vec<T>, new: T) -> Result<(), String> {
    if known.contains(&new) {
        return Ok(());
    }
    if known.len() >= MAX_RECORDS {
        return Err(format!("more than {MAX_RECORDS} lines about one name or address"));
    }
    known.push(new);
    Ok(())
}

fn of_address(question: &Question<'_>, address: IpAddr) -> Option<(Qtype, Data)> {
    let (rtype, octets) = match address {
        IpAddr::V4(v4) => (Qtype::A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (Qtype::AAAA, v6.octets().to_vec()),
    };
    is_asked(question, rtype).then(|| (rtype, Data::opaque(octets)))
}

fn of_name(question: &Question<'_>, name: &Name<'static>) -> Option<(Qtype, Data)> {
    let data = Data { head: Vec::new(), names: vec![name.clone()], tail: Vec::new() };
    is_asked(question, Qtype::PTR).then_some((Qtype::PTR, data))
}

fn is_asked(question: &Question<'_>, rtype: Qtype) -> bool {
    question.qtype == rtype || question.qtype == Qtype::ANY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Hosts {
        Hosts::load(vec![Source::Inline(text.into())], 60)
    }

    /// The data of the answer, as text; `-` is that there is nothing of this type.
    fn get(hosts: &Hosts, name: &str, qtype: Qtype) -> Option<String> {
        let question = Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN };
        let response = hosts.answer(&question)?;
        let [answers, authorities, _] = &response.sections;
        assert_eq!(answers.is_empty(), authorities.len() == 1, "a denial has its SOA record");
        let text = |record: &Record| match (record.rtype, &*record.data.head) {
            (Qtype::PTR, _) => record.data.names[0].to_string(),
            (_, [a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
            (_, octets) => {
                <[u8; 16]>::try_from(octets).map(|it| IpAddr::from(it).to_string()).unwrap()
            }
        };
        let texts: Vec<_> = answers.iter().map(text).collect();
        Some(if texts.is_empty() { "-".into() } else { texts.join(" ") })
    }

    const TEXT: &str = "\
# a comment
10.0.0.9   Printer.Corp.Example printer  # the one on the third floor
10.0.0.8   printer.corp.example
2001:db8::9\tprinter.corp.example
10.0.0.7   *.apps.example
10.0.0.6   own.apps.example
10.0.0.9   scanner.corp.example
::ffff:10.0.0.5 mapped.example
0.0.0.0    ads.example
";

    #[test]
    fn names_addresses_and_stars_are_answered() {
        let hosts = hosts(TEXT);
        let reverse = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
        let cases = [
            ("printer.corp.example.", Qtype::A, Some("10.0.0.9 10.0.0.8")),
            ("PRINTER.corp.example.", Qtype::AAAA, Some("2001:db8::9")),
            ("printer.", Qtype::A, Some("10.0.0.9")),
            ("printer.", Qtype::AAAA, Some("-")),
            ("printer.corp.example.", Qtype::MX, Some("-")),
            ("x.printer.corp.example.", Qtype::A, None),
            ("corp.example.", Qtype::A, None),
            ("any.apps.example.", Qtype::A, Some("10.0.0.7")),
            ("any.apps.example.", Qtype::AAAA, Some("-")),
            ("own.apps.example.", Qtype::A, Some("10.0.0.6")),
            ("a.b.apps.example.", Qtype::A, None),
            ("apps.example.", Qtype::A, None),
            ("mapped.example.", Qtype::A, Some("10.0.0.5")),
            (
                "9.0.0.10.in-addr.arpa.",
                Qtype::PTR,
                Some("printer.corp.example. scanner.corp.example."),
            ),
            ("9.0.0.10.in-addr.arpa.", Qtype::A, Some("-")),
            (reverse, Qtype::PTR, Some("printer.corp.example.")),
            ("7.0.0.10.in-addr.arpa.", Qtype::PTR, None),
            ("0.0.0.0.in-addr.arpa.", Qtype::PTR, None),
            (".", Qtype::NS, None),
        ];

        assert_eq!(hosts.problems().count, 0, "{:?}", hosts.problems());
        for (name, qtype, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(get(&hosts, name, qtype), expected, "{name} {qtype}");
        }
    }

    #[test]
    fn a_bad_line_is_told_and_hides_no_other() {
        let hosts = hosts(
            "10.0.0.9 a.example\nprinter 10.0.0.8\n10.0.0.7 b..example c.example\n10.0.0.6\n",
        );
        let lines: Vec<_> = hosts.problems().first.iter().map(|bad| bad.line).collect();

        assert_eq!(lines, [2, 3, 4]);
        assert_eq!(get(&hosts, "a.example.", Qtype::A).unwrap(), "10.0.0.9");
        assert_eq!(get(&hosts, "c.example.", Qtype::A).unwrap(), "10.0.0.7");
        assert_eq!(get(&hosts, "7.0.0.10.in-addr.arpa.", Qtype::PTR).unwrap(), "c.example.");
    }

    #[test]
    fn the_first_name_is_the_first_one_without_a_star_and_addresses_are_none() {
        let hosts = hosts("0.0.0.0 0.0.0.0\n10.0.0.7 *.apps.example apps.example www.example\n");

        assert_eq!(hosts.problems().count, 0, "{:?}", hosts.problems());
        let reverse = get(&hosts, "7.0.0.10.in-addr.arpa.", Qtype::PTR);
        assert_eq!(reverse.as_deref(), Some("apps.example."));
    }

    #[test]
    fn an_address_may_have_more_names_than_an_answer_has_room_for() {
        let lines: String =
            (0..2 * MAX_RECORDS).map(|i| format!("127.0.0.1 a{i}.example\n")).collect();
        let hosts = hosts(&lines);

        assert_eq!(hosts.problems().count, 0, "{:?}", hosts.problems());
        let last = format!("a{}.example.", 2 * MAX_RECORDS - 1);
        assert_eq!(get(&hosts, &last, Qtype::A).as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn a_name_has_no_more_addresses_than_an_answer_has_room_for() {
        let lines: String = (0..=MAX_RECORDS)
            .map(|i| format!("10.0.{}.{} a.example\n", i / 256, i % 256))
            .collect();
        let hosts = hosts(&lines);

        assert_eq!(hosts.problems().count, 1);
        assert_eq!(hosts.problems().first[0].line, MAX_RECORDS + 1);
    }
}

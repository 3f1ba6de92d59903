//! Names that mean something here alone, and that nobody outside should be asked for.
//!
//! | names | answer |
//! |---|---|
//! | `localhost` and below (RFC 6761 section 6.3) | 127.0.0.1 and ::1 |
//! | `local` (RFC 6762), `onion` (RFC 7686), `invalid` and `test` (RFC 6761), `home.arpa` (RFC 8375), `service.arpa` (RFC 9665), and below | there is no such name |
//! | `resolver.arpa` and below (RFC 9462 section 6.4) | nothing of any type: we designate no other resolver, and those that upstreams designate are theirs |
//! | host names without a dot, for addresses | there is no such name; nothing that could be remembered of a whole TLD |
//! | reverse zones of private, local and example addresses (RFC 6303, RFC 7793) | there is no such name |

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    message::{
        Name, Qclass, Qtype, Question, Rcode,
        response::{Data, Record, Response},
    },
    rules::denial,
};

/// How long clients may remember these answers, in seconds: they never change.
const TTL: u32 = 3600;

/// What a question gets from here; `None` when it is for a name of the world outside.
pub fn answer(question: &Question<'_>) -> Option<(Rcode, Response)> {
    if !may_be_private(&question.name) {
        return None;
    }
    let labels = Labels::of(&question.name);
    let is_address = matches!(question.qtype, Qtype::A | Qtype::AAAA);
    if labels.is(0, b"localhost") {
        return Some((Rcode::NOERROR, loopback(question)));
    }
    let Some(apex) = labels.apex() else {
        let is_host = labels.count == 1 && is_address;
        return is_host.then(|| (Rcode::NXDOMAIN, empty(question)));
    };
    // DS belongs to the parent's side of the cut (RFC 4035 section 3.1.4.1), which is not ours.
    if apex == labels.count && question.qtype == Qtype::DS {
        return None;
    }
    let is_there = apex == labels.count || labels.is_of_resolver();
    let rcode = if is_there { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let mut response = empty(question);
    let [_, authorities, _] = &mut response.sections;
    let name = labels.ancestor(&question.name, apex)?;
    authorities.push(denial(&Question { name, ..question.clone() }, TTL));
    Some((rcode, response))
}

/// Whether the name's last label is worth a look at the others: for most queries it is not.
fn may_be_private(name: &Name<'_>) -> bool {
    const LAST: [&[u8]; 6] = [b"arpa", b"test", b"local", b"onion", b"invalid", b"localhost"];
    // A name without a dot may be a host's.
    let last = name.labels().skip(1).last();
    last.is_none_or(|last| LAST.iter().any(|known| last.eq_ignore_ascii_case(known)))
}

fn empty(question: &Question<'_>) -> Response {
    Response::empty(question.clone().into_owned())
}

fn loopback(question: &Question<'_>) -> Response {
    let mut response = empty(question);
    // Of ANY one set is enough (RFC 8482 section 4.1).
    let rtype = if question.qtype == Qtype::ANY { Qtype::A } else { question.qtype };
    let octets = match rtype {
        Qtype::A => Some(Ipv4Addr::LOCALHOST.octets().to_vec()),
        Qtype::AAAA => Some(Ipv6Addr::LOCALHOST.octets().to_vec()),
        _ => None,
    };
    let [answers, authorities, _] = &mut response.sections;
    match octets.filter(|_| question.qclass == Qclass::IN) {
        Some(octets) => answers.push(Record {
            owner: question.name.clone().into_owned(),
            rtype,
            class: Qclass::IN,
            ttl: TTL,
            data: Data::opaque(octets),
        }),
        None => authorities.push(denial(question, TTL)),
    }
    response
}

/// The last labels of a name, the last one first: as many as decide.
struct Labels<'n> {
    last: [&'n [u8]; MAX_LABELS],
    count: usize,
}

/// An address of IPv6 has 32 of them, below `ip6.arpa`.
const MAX_LABELS: usize = 34;

impl<'n> Labels<'n> {
    fn of(name: &'n Name<'_>) -> Self {
        let count = name.label_count();
        let mut last = [&[][..]; MAX_LABELS];
        let behind = name.labels().skip(count.saturating_sub(MAX_LABELS));
        let kept = count.min(MAX_LABELS);
        for (index, label) in behind.enumerate() {
            if let Some(place) = last.get_mut(kept - 1 - index) {
                *place = label;
            }
        }
        Self { last, count }
    }

    /// Whether the label at an index is this one.
    fn is(&self, index: usize, label: &[u8]) -> bool {
        index < self.count
            && self.last.get(index).is_some_and(|own| own.eq_ignore_ascii_case(label))
    }

    fn number(&self, index: usize) -> Option<u8> {
        let label = self.last.get(index).filter(|_| index < self.count)?;
        let text = str::from_utf8(label).ok()?;
        let number: u8 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    }

    /// Whether clients look there for other ways to their resolver: `resolver.arpa`.
    fn is_of_resolver(&self) -> bool {
        self.is(0, b"arpa") && self.is(1, b"resolver")
    }

    /// How many labels the zone has that is ours and that the name is in.
    fn apex(&self) -> Option<usize> {
        let is_alone =
            [&b"local"[..], b"onion", b"invalid", b"test"].iter().any(|name| self.is(0, name));
        if is_alone {
            return Some(1);
        }
        if !self.is(0, b"arpa") {
            return None;
        }
        if self.is(1, b"home") || self.is(1, b"service") || self.is_of_resolver() {
            return Some(2);
        }
        if self.is(1, b"in-addr") {
            return self.private_v4().map(|labels| 2 + labels);
        }
        if self.is(1, b"ip6") {
            return self.private_v6().map(|labels| 2 + labels);
        }
        None
    }

    /// How many octets the private network has that the reverse name is in.
    fn private_v4(&self) -> Option<usize> {
        let octet = |index: usize| self.number(2 + index);
        match (octet(0)?, octet(1), octet(2)) {
            (0 | 10 | 127, _, _) => Some(1),
            (169, Some(254), _) | (192, Some(168), _) => Some(2),
            (172, Some(16..=31), _) | (100, Some(64..=127), _) => Some(2),
            (192, Some(0), Some(2)) | (198, Some(51), Some(100)) | (203, Some(0), Some(113)) => {
                Some(3)
            }
            (255, Some(255), Some(255)) => Some(4).filter(|_| octet(3) == Some(255)),
            _ => None,
        }
    }

    /// How many nibbles the private network has that the reverse name is in.
    fn private_v6(&self) -> Option<usize> {
        let is = |nibbles: &[u8]| {
            nibbles.iter().enumerate().all(|(index, nibble)| self.is(2 + index, &[*nibble]))
        };
        if is(b"fc") || is(b"fd") {
            return Some(2);
        }
        if is(b"fe8") || is(b"fe9") || is(b"fea") || is(b"feb") {
            return Some(3);
        }
        if is(b"20010db8") {
            return Some(8);
        }
        // :: and ::1
        let zeros = [b'0'; 31];
        (is(&zeros) && (self.is(33, b"0") || self.is(33, b"1"))).then_some(32)
    }

    /// The name's ancestor of so many labels.
    fn ancestor(&self, name: &Name<'_>, labels: usize) -> Option<Name<'static>> {
        let suffix = name.suffixes().nth(self.count.checked_sub(labels)?)?;
        Name::from_wire(suffix.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rcode, and the owner of the SOA record or the address.
    fn get(name: &str, qtype: Qtype) -> Option<(Rcode, String)> {
        let question = Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN };
        let (rcode, response) = answer(&question)?;
        let [answers, authorities, _] = &response.sections;
        let text = match (answers.first(), authorities.first()) {
            (Some(record), _) => format!("{:?}", record.data.head),
            (None, Some(soa)) => soa.owner.to_string(),
            (None, None) => String::new(),
        };
        Some((rcode, text))
    }

    #[test]
    fn names_that_mean_something_here_alone_are_answered_here() {
        let (no, nothing) = (Rcode::NXDOMAIN, Rcode::NOERROR);
        let v6 = |nibbles: &str| {
            let nibbles: Vec<_> =
                nibbles.chars().rev().map(|nibble| format!("{nibble}.")).collect();
            nibbles.concat() + "ip6.arpa."
        };
        let (loopback, documented) = (v6(&format!("{:0>32}", 1)), v6("20010db8"));
        let cases = [
            ("printer.local.", Qtype::A, Some((no, "local."))),
            ("LOCAL.", Qtype::NS, Some((nothing, "LOCAL."))),
            ("local.", Qtype::A, Some((nothing, "local."))),
            ("local.", Qtype::DS, None),
            ("x.onion.", Qtype::AAAA, Some((no, "onion."))),
            ("x.y.invalid.", Qtype::MX, Some((no, "invalid."))),
            ("x.test.", Qtype::A, Some((no, "test."))),
            ("x.home.arpa.", Qtype::A, Some((no, "home.arpa."))),
            ("x.service.arpa.", Qtype::A, Some((no, "service.arpa."))),
            ("_dns.resolver.arpa.", Qtype(64), Some((nothing, "resolver.arpa."))),
            ("resolver.arpa.", Qtype::A, Some((nothing, "resolver.arpa."))),
            ("x.y.Resolver.ARPA.", Qtype::AAAA, Some((nothing, "Resolver.ARPA."))),
            ("resolver.arpa.", Qtype::DS, None),
            ("x.resolver.example.", Qtype::A, None),
            ("localhost.", Qtype::A, Some((nothing, "[127, 0, 0, 1]"))),
            ("localhost.", Qtype::ANY, Some((nothing, "[127, 0, 0, 1]"))),
            ("x.LocalHost.", Qtype::MX, Some((nothing, "x.LocalHost."))),
            ("host.", Qtype::A, Some((no, ""))),
            ("com.", Qtype::NS, None),
            ("1.2.3.10.in-addr.arpa.", Qtype::PTR, Some((no, "10.in-addr.arpa."))),
            ("16.172.in-addr.arpa.", Qtype::PTR, Some((nothing, "16.172.in-addr.arpa."))),
            ("1.32.172.in-addr.arpa.", Qtype::PTR, None),
            ("1.64.100.in-addr.arpa.", Qtype::PTR, Some((no, "64.100.in-addr.arpa."))),
            ("8.8.8.8.in-addr.arpa.", Qtype::PTR, None),
            ("010.in-addr.arpa.", Qtype::PTR, None),
            ("in-addr.arpa.", Qtype::NS, None),
            ("1.0.d.f.ip6.arpa.", Qtype::PTR, Some((no, "d.f.ip6.arpa."))),
            (&loopback, Qtype::PTR, Some((nothing, &*loopback))),
            (&documented, Qtype::PTR, Some((nothing, &*documented))),
            ("www.example.com.", Qtype::A, None),
            ("notlocal.", Qtype::MX, None),
            (".", Qtype::NS, None),
        ];

        for (name, qtype, expected) in cases {
            let expected = expected.map(|(rcode, text)| (rcode, text.to_owned()));
            assert_eq!(get(name, qtype), expected, "{name} {qtype}");
        }
    }
}

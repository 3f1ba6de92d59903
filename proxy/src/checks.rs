//! What is checked in every upstream's answer before it is believed: addresses that must not be there, and addresses
//! that are to be others.
//!
//! Only the address records of the answer section are looked at, and the hints of SVCB and HTTPS records (RFC 9460
//! section 7.3); an answer without such an address stays as it is. What is changed here is cached as it is given.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dnsproxy_api::{
    units::{Network, Zone},
    v1alpha1::RebindAction,
};

use crate::{
    message::{
        HEADER_LEN, Layout, Name, Qclass, Qtype, Question, Rcode,
        response::{Data, Record, Response},
    },
    rules::denial,
};

mod addresses;

use addresses::{HTTPS, SVCB, address_of, addresses, hints, is_private, meant};

/// What is checked.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Private addresses in answers to public names, when that is checked.
    pub rebinding: Option<Rebinding>,
    /// Addresses of which the answer becomes NXDOMAIN.
    pub bogus: Vec<Network>,
    /// Addresses that become others.
    pub aliases: Vec<(Network, Network)>,
    /// A hash of all that.
    pub fingerprint: u64,
}

/// What is done about private addresses in answers to public names.
#[derive(Clone, Debug)]
pub struct Rebinding {
    /// What the client gets.
    pub action: RebindAction,
    /// Names that may have them.
    pub zones: Vec<Zone>,
    /// Addresses that any name may have.
    pub networks: Vec<Network>,
}

/// What an answer becomes.
#[derive(Debug)]
pub struct Checked {
    /// Its response code.
    pub rcode: Rcode,
    /// The message.
    pub response: Response,
    /// What to tell the client.
    pub reason: &'static str,
}

/// How long clients may remember that an answer was taken from them, in seconds; our guess.
const TTL: u32 = 60;

impl Checks {
    /// A hash of what changes the answers of one route.
    pub fn fingerprint_for(&self, is_public: bool) -> u64 {
        if self.fingerprint == 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, is_public && self.rebinding.is_some()).hash(&mut hasher);
        hasher.finish()
    }

    /// What an upstream's answer becomes; `None` when it stays as it is. `is_public` says whether it came by a route
    /// for every name.
    pub fn apply(&self, message: &[u8], layout: &Layout, is_public: bool) -> Option<Checked> {
        let rebinding = self.rebinding.as_ref().filter(|_| is_public);
        if rebinding.is_none() && self.bogus.is_empty() && self.aliases.is_empty() {
            return None;
        }
        let addresses = addresses(message, layout);
        if addresses.iter().any(|address| contain(&self.bogus, *address)) {
            return Some(self.denied(message, RebindAction::NXDOMAIN, "a bogus address"));
        }
        if let Some(rebinding) = rebinding
            && addresses.iter().any(|address| rebinding.is_unwanted(*address))
            && !rebinding.may(message)
        {
            return Some(self.denied(
                message,
                rebinding.action,
                "a private address for a public name",
            ));
        }
        if addresses.iter().any(|address| self.alias(*address).is_some()) {
            return self.with_aliases(message);
        }
        None
    }

    fn denied(&self, message: &[u8], action: RebindAction, reason: &'static str) -> Checked {
        let read = Response::read(message);
        let mut response = read.unwrap_or_else(|_| Response::empty(root_question()));
        let [answers, authorities, additionals] = &mut response.sections;
        answers.clear();
        authorities.clear();
        additionals.clear();
        let rcode = match action {
            RebindAction::NODATA => Rcode::NOERROR,
            RebindAction::NXDOMAIN => Rcode::NXDOMAIN,
            RebindAction::REFUSED => Rcode::REFUSED,
        };
        response.header.disown();
        if rcode != Rcode::REFUSED {
            authorities.push(denial(&response.question, TTL));
        }
        Checked { rcode, response, reason }
    }

    fn with_aliases(&self, message: &[u8]) -> Option<Checked> {
        let mut response = Response::read(message).ok()?;
        let [answers, ..] = &mut response.sections;
        for Record { rtype, data, .. } in answers {
            let Data { head, names: _, tail } = data;
            match *rtype {
                Qtype::A | Qtype::AAAA => self.change(head),
                SVCB | HTTPS => {
                    for place in hints(tail) {
                        tail.get_mut(place).into_iter().for_each(|hint| self.change(hint));
                    }
                }
                _ => {}
            }
        }
        response.header.disown();
        Some(Checked { rcode: response.header.rcode(), response, reason: "another address" })
    }

    /// Changes an address in place, when it has an alias.
    fn change(&self, octets: &mut [u8]) {
        match address_of(octets).and_then(|address| self.alias(address)) {
            Some(IpAddr::V4(v4)) => octets.copy_from_slice(&v4.octets()),
            Some(IpAddr::V6(v6)) => octets.copy_from_slice(&v6.octets()),
            None => {}
        }
    }

    /// What becomes of an address; `None` when it stays. It stays one of the same kind.
    fn alias(&self, address: IpAddr) -> Option<IpAddr> {
        let (from, to) = self.aliases.iter().find(|(from, _)| from.contains(address))?;
        Some(match (address, to.address()) {
            (IpAddr::V4(old), IpAddr::V4(new)) => {
                let host = u32::MAX.checked_shr(from.prefix().into()).unwrap_or_default();
                IpAddr::V4(Ipv4Addr::from_bits(new.to_bits() & !host | old.to_bits() & host))
            }
            (IpAddr::V6(old), IpAddr::V6(new)) => {
                let host = u128::MAX.checked_shr(from.prefix().into()).unwrap_or_default();
                IpAddr::V6(Ipv6Addr::from_bits(new.to_bits() & !host | old.to_bits() & host))
            }
            (other, _) => other,
        })
    }
}

impl Rebinding {
    fn is_unwanted(&self, address: IpAddr) -> bool {
        let meant = meant(address);
        (is_private(address) || is_private(meant))
            && !contain(&self.networks, address)
            && !contain(&self.networks, meant)
    }

    /// Whether the name that was asked for may have private addresses.
    fn may(&self, message: &[u8]) -> bool {
        let Ok((name, _)) = Name::read(message, HEADER_LEN) else { return false };
        let folded = name.to_folded();
        let Ok((name, _)) = Name::read(&folded, 0) else { return false };
        self.zones.iter().any(|zone| name.suffixes().any(|suffix| suffix == zone.as_wire()))
    }
}

fn contain(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn root_question() -> Question<'static> {
    Question { name: Name::root(), qtype: Qtype::A, qclass: Qclass::IN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Header;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn message(name: &str, rtype: Qtype, data: &[u8]) -> Vec<u8> {
        let question = Question { name: name.parse().unwrap(), qtype: rtype, qclass: Qclass::IN };
        let mut response = Response::empty(question.clone());
        response.header.flags |= Header::AA | Header::AD;
        response.sections[0].push(Record {
            owner: question.name,
            rtype,
            class: Qclass::IN,
            ttl: 5,
            data: Data::of(rtype, data).unwrap(),
        });
        response.write().unwrap()
    }

    fn apply(checks: &Checks, message: &[u8], is_public: bool) -> Option<Checked> {
        checks.apply(message, &Layout::of(message).unwrap(), is_public)
    }

    #[test]
    fn private_addresses_of_public_names_are_taken_out() {
        let rebinding = Rebinding {
            action: RebindAction::NODATA,
            zones: vec!["corp.example".parse().unwrap()],
            networks: vec![network("127.0.0.0/8")],
        };
        let checks = Checks { rebinding: Some(rebinding), fingerprint: 1, ..Checks::default() };
        let v4_mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let ula = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let hint = [
            &b"\0\x01\0"[..],
            &[0, 1, 0, 3, 2, b'h', b'2', 0, 4, 0, 8],
            &[1, 1, 1, 1, 10, 0, 0, 1],
        ]
        .concat();
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let (translated, public) = (address("64:ff9b::10.0.0.1"), address("64:ff9b::1.1.1.1"));
        let (local, allowed) = (address("64:ff9b:1::10.0.0.1"), address("64:ff9b::127.0.0.1"));
        let (compatible, site) = (address("::192.168.0.1"), address("fec0::2"));
        let cases: [(&str, &str, Qtype, &[u8], bool); 17] = [
            ("public", "a.example.", Qtype::A, &[1, 1, 1, 1], false),
            ("private", "a.example.", Qtype::A, &[192, 168, 0, 1], true),
            ("carrier-grade NAT", "a.example.", Qtype::A, &[100, 64, 0, 1], true),
            ("link-local", "a.example.", Qtype::A, &[169, 254, 0, 1], true),
            ("this host", "a.example.", Qtype::A, &[0, 0, 0, 0], true),
            ("allowed network", "a.example.", Qtype::A, &[127, 0, 0, 1], false),
            ("allowed zone", "X.Corp.example.", Qtype::A, &[10, 0, 0, 1], false),
            ("a name that only ends so", "xcorp.example.", Qtype::A, &[10, 0, 0, 1], true),
            ("mapped into IPv6", "a.example.", Qtype::AAAA, &v4_mapped, true),
            ("behind a translator", "a.example.", Qtype::AAAA, &translated, true),
            ("behind a local one", "a.example.", Qtype::AAAA, &local, true),
            ("an allowed one behind it", "a.example.", Qtype::AAAA, &allowed, false),
            ("a public one behind it", "a.example.", Qtype::AAAA, &public, false),
            ("as the oldest hosts write it", "a.example.", Qtype::AAAA, &compatible, true),
            ("unique local", "a.example.", Qtype::AAAA, &ula, true),
            ("site-local, as QEMU's networks are", "a.example.", Qtype::AAAA, &site, true),
            ("a hint of a service binding", "a.example.", HTTPS, &hint, true),
        ];

        for (why, name, rtype, data, is_taken) in cases {
            let message = message(name, rtype, data);
            assert_eq!(apply(&checks, &message, true).is_some(), is_taken, "{why}");
            assert!(
                apply(&checks, &message, false).is_none(),
                "{why}: a route for a zone is trusted"
            );
        }
        // A pointer to the question where the hint's record has its root.
        let mut compressed = message("a.example.", HTTPS, &hint);
        let at = compressed.len() - hint.len();
        compressed.splice(at + 2..at + 3, [0xc0, 12]);
        compressed[at - 1] += 1;
        assert!(apply(&checks, &compressed, true).is_some(), "behind a compressed name");

        let checked =
            apply(&checks, &message("a.example.", Qtype::A, &[10, 0, 0, 1]), true).unwrap();
        assert_eq!((checked.rcode, checked.response.sections[0].len()), (Rcode::NOERROR, 0));
    }

    #[test]
    fn bogus_addresses_become_denials_and_others_move() {
        let checks = Checks {
            bogus: vec![network("192.0.2.66/32")],
            aliases: vec![(network("198.51.100.0/24"), network("203.0.113.0/24"))],
            fingerprint: 1,
            ..Checks::default()
        };

        let bogus =
            apply(&checks, &message("a.example.", Qtype::A, &[192, 0, 2, 66]), false).unwrap();
        assert_eq!(bogus.rcode, Rcode::NXDOMAIN);
        let moved =
            apply(&checks, &message("a.example.", Qtype::A, &[198, 51, 100, 7]), false).unwrap();
        assert_eq!(moved.response.sections[0][0].data.head, [203, 0, 113, 7]);
        for Checked { response, reason, .. } in [bogus, moved] {
            let told = response.header.flags & (Header::AA | Header::AD);
            assert_eq!(told, 0, "{reason}: nobody said or signed that");
        }
        assert!(apply(&checks, &message("a.example.", Qtype::A, &[192, 0, 2, 1]), false).is_none());
    }

    /// A client that uses the hints instead of the addresses gets to the same place.
    #[test]
    fn hints_of_service_bindings_move_as_addresses_do() {
        let checks = Checks {
            aliases: vec![
                (network("198.51.100.0/24"), network("203.0.113.0/24")),
                (network("2001:db8:1::/48"), network("2001:db8:2::/48")),
            ],
            fingerprint: 1,
            ..Checks::default()
        };
        let v6 = |third: u8| [0x20, 0x01, 0x0d, 0xb8, 0, third, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let params = |v4: [u8; 8], v6: [u8; 16]| {
            let (alpn, v4_key, v6_key) = ([0, 1, 0, 3, 2, b'h', b'2'], [0, 4, 0, 8], [0, 6, 0, 16]);
            [&alpn[..], &v4_key, &v4, &v6_key, &v6].concat()
        };
        let before = params([198, 51, 100, 7, 192, 0, 2, 1], v6(1));
        let after = params([203, 0, 113, 7, 192, 0, 2, 1], v6(2));
        let data = |params: &[u8]| [b"\0\x01\x03www\0", params].concat();

        let moved = apply(&checks, &message("a.example.", HTTPS, &data(&before)), false).unwrap();
        assert_eq!(moved.response.sections[0][0].data.tail, after);
        // One octet short of an address, and a length that goes beyond the record.
        for end in 1..before.len() {
            let cut = message("a.example.", HTTPS, &data(&before[..end]));
            let Some(moved) = apply(&checks, &cut, false) else { continue };
            assert_eq!(moved.response.sections[0][0].data.tail.len(), end);
        }
    }
}

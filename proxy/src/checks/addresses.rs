//! The addresses that an answer brings along, and what one of them means.
//!
//! They are in address records, and in the hints of SVCB and HTTPS records (RFC 9460 section 7.3). One of IPv6 may lead to
//! one of IPv4.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use smallvec::SmallVec;

use crate::message::{Layout, Qtype, record, u16_at};

/// The addresses in an answer section.
pub(super) fn addresses(message: &[u8], layout: &Layout) -> SmallVec<[IpAddr; 4]> {
    let mut found = SmallVec::new();
    let mut at = layout.questions_end;
    while at < layout.answers_end {
        let Some(record) = record::Record::read(message, at) else { break };
        at = record.end;
        match record.rtype {
            Qtype::A | Qtype::AAAA => found.extend(address_of(record.data_of(message))),
            SVCB | HTTPS => {
                // A name there must not be compressed (RFC 9460 section 2.2); where it is, clients may read it all the same.
                let behind = record::skip_name(message, record.data() + 2);
                let params = behind.and_then(|start| message.get(start..at)).unwrap_or_default();
                let places = hints(params).into_iter();
                found.extend(places.filter_map(|place| address_of(params.get(place)?)));
            }
            _ => {}
        }
    }
    found
}

pub(super) const SVCB: Qtype = Qtype(64);
pub(super) const HTTPS: Qtype = Qtype(65);

/// An address of 4 or 16 octets.
pub(super) fn address_of(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Where the addresses are that a service binding brings along, in its parameters (RFC 9460 sections 2.2 and 7.3).
pub(super) fn hints(params: &[u8]) -> Vec<Range<usize>> {
    const IPV4_HINT: u16 = 4;
    const IPV6_HINT: u16 = 6;
    let mut found = Vec::new();
    let mut at = 0;
    while let (Some(key), Some(len)) = (u16_at(params, at), u16_at(params, at + 2)) {
        let start = at + 4;
        at = start + usize::from(len);
        let each = match key {
            IPV4_HINT => 4,
            IPV6_HINT => 16,
            _ => continue,
        };
        let places = (start..at).step_by(each).map(|start| start..start + each);
        found.extend(places.take_while(|place| place.end <= at.min(params.len())));
    }
    found
}

/// Whether an address means something in this network or on this machine alone: RFC 1918, 6598, 3927, 4193, 4291,
/// site-local ones, which are deprecated (RFC 3879) and in use all the same, loopback, and the unspecified one, by which
/// some systems reach themselves.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.segments().first().is_some_and(|first| first & 0xffc0 == 0xfec0)
        }
    }
}

/// The address of IPv4 that one of IPv6 leads to, itself otherwise: one that is mapped or, by the oldest hosts, compatible
/// (RFC 4291 section 2.5.5), or behind a translator (RFC 6052 section 2.1, RFC 8215).
pub(super) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        // Not :: and ::1.
        [0, 0, 0, 0, 0, 0, 1..=u16::MAX, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [0x64, 0xff9b, 1, ..] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address.to_canonical(),
    }
}

//! Addresses inside of SVCB and HTTPS records: where a rule takes the records of a type of addresses out, the hints of the
//! same addresses go as well (RFC 9460 section 7.3), or clients would connect to them all the same.

use super::change::signs;
use crate::message::{
    Name, Qtype,
    response::{Record, Response},
    u16_at,
};

const SVCB: Qtype = Qtype(64);
const HTTPS: Qtype = Qtype(65);

/// The keys of parameters (RFC 9460 section 14.3.2).
const MANDATORY: u16 = 0;
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

/// Takes the hints out that stand for records of these types, and the signatures of what had some.
pub(super) fn remove(types: &[Qtype], response: &mut Response) {
    let keys: Vec<u16> = types.iter().copied().filter_map(hint).collect();
    if keys.is_empty() {
        return;
    }
    for section in &mut response.sections {
        let mut changed = Vec::new();
        for record in section.iter_mut().filter(|it| matches!(it.rtype, SVCB | HTTPS)) {
            if let Some(kept) = without(&record.data.tail, &keys) {
                record.data.tail = kept;
                changed.push((record.owner.clone(), record.rtype));
            }
        }
        section.retain(|record| !is_signature(record, &changed));
    }
}

fn hint(qtype: Qtype) -> Option<u16> {
    match qtype {
        Qtype::A => Some(IPV4HINT),
        Qtype::AAAA => Some(IPV6HINT),
        _ => None,
    }
}

fn is_signature(record: &Record, changed: &[(Name<'_>, Qtype)]) -> bool {
    changed
        .iter()
        .any(|(owner, rtype)| signs(record, &[*rtype]) && record.owner.eq_ignore_case(owner))
}

/// Parameters without those of these keys; `None` when there is none of them, or when they cannot be read.
fn without(parameters: &[u8], keys: &[u16]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(parameters.len());
    let mut rest = parameters;
    while !rest.is_empty() {
        let (key, value, behind) = split(rest)?;
        let mandatory = (key == MANDATORY).then(|| without_keys(value, keys));
        let value = mandatory.as_deref().unwrap_or(value);
        // A list of mandatory keys has one at least (RFC 9460 section 8).
        let is_gone = keys.contains(&key) || (key == MANDATORY && value.is_empty());
        if !is_gone {
            kept.extend(key.to_be_bytes());
            kept.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
            kept.extend(value);
        }
        rest = behind;
    }
    (kept != parameters).then_some(kept)
}

/// The key and the value of the first parameter, and what is behind it (RFC 9460 section 2.2).
fn split(parameters: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (key, len) = (u16_at(parameters, 0)?, u16_at(parameters, 2)?);
    let (value, behind) = parameters.get(4..)?.split_at_checked(usize::from(len))?;
    Some((key, value, behind))
}

fn without_keys(list: &[u8], keys: &[u16]) -> Vec<u8> {
    let kept = list.chunks(2).filter(|key| u16_at(key, 0).is_none_or(|key| !keys.contains(&key)));
    kept.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_cut_out_of_parameters_and_of_what_is_mandatory() {
        const ALPN: &[u8] = b"\0\x01\0\x03\x02h2";
        const V4: &[u8] = b"\0\x04\0\x04\xc0\0\x02\x01";
        const V6: &[u8] = b"\0\x06\0\x100123456789abcdef";
        let all = |parts: &[&[u8]]| parts.concat();
        let cases: [(_, Vec<u8>, Option<Vec<u8>>); 8] = [
            // (why, parameters, without those of IPv6)
            ("one of several", all(&[ALPN, V4, V6]), Some(all(&[ALPN, V4]))),
            ("the only one", all(&[V6]), Some(vec![])),
            ("none of it", all(&[ALPN, V4]), None),
            ("no parameters", vec![], None),
            (
                "a key that is mandatory",
                all(&[b"\0\0\0\x04\0\x01\0\x06", ALPN, V6]),
                Some(all(&[b"\0\0\0\x02\0\x01", ALPN])),
            ),
            ("the only one that is", all(&[b"\0\0\0\x02\0\x06", ALPN, V6]), Some(all(&[ALPN]))),
            ("other keys that are", all(&[b"\0\0\0\x04\0\x01\0\x04", ALPN, V4]), None),
            ("cut off", all(&[V6, b"\0\x07\0\x05a"]), None),
        ];

        for (why, parameters, expected) in cases {
            assert_eq!(without(&parameters, &[IPV6HINT]), expected, "{why}");
        }
    }
}

//! What an answer is found by.
//!
//! The question as the client asked it, the two bits that change what an upstream answers (DO, RFC 3225; CD,
//! RFC 4035 section 3.2.2), and the scope. The store knows entries by a keyed hash of these; what it finds is
//! compared octet by octet, so that a collision is a miss and never a foreign answer.

use std::hash::RandomState;

use crate::message::{Qclass, Qtype, Question, name::keyed_hash};

/// What rules, route and bounds decided: a hash of their content. Entries of different scopes never meet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Scope(pub u64);

/// What an answer is looked up by, and made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key<'q> {
    /// The name in wire form, uncompressed, in any case.
    pub name: &'q [u8],
    /// The type asked for.
    pub qtype: Qtype,
    /// The class asked for.
    pub qclass: Qclass,
    /// DO of the query.
    pub dnssec_ok: bool,
    /// CD of the query.
    pub checking_disabled: bool,
    /// What was decided about the query.
    pub scope: Scope,
}

impl<'q> Key<'q> {
    /// What the answer to a question is found by.
    pub fn of(
        question: &'q Question<'_>,
        dnssec_ok: bool,
        checking_disabled: bool,
        scope: Scope,
    ) -> Self {
        let Question { name, qtype, qclass } = question;
        let (name, qtype, qclass) = (name.as_wire(), *qtype, *qclass);
        Self { name, qtype, qclass, dnssec_ok, checking_disabled, scope }
    }
}

/// The places where an entry for a key can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    /// What there is of one type.
    Answer(Qtype),
    /// That there is nothing of any type: the name does not exist (RFC 2308 section 5).
    Denial,
    /// That asking for one type failed. Apart from the answers, which it must not shadow.
    Failure(Qtype),
}

impl Slot {
    /// Where a denial of the whole name is, when it matters for this type. DS belongs to the parent zone (RFC 4035
    /// section 3.1.4.1): what is said about it holds for it alone.
    pub(super) fn of_denial(qtype: Qtype) -> Option<Self> {
        (qtype != Qtype::DS).then_some(Self::Denial)
    }

    /// The type that it is about; none for all.
    fn qtype(self) -> u64 {
        match self {
            Self::Answer(Qtype(qtype)) | Self::Failure(Qtype(qtype)) => qtype.into(),
            Self::Denial => 0,
        }
    }

    /// A number that no other slot has.
    fn number(self) -> u64 {
        let kind = match self {
            Self::Answer(_) => 0,
            Self::Failure(_) => 1,
            Self::Denial => 2,
        };
        self.qtype() << 2 | kind
    }
}

/// The secret of this process that hashes depend on: who does not know it cannot make names collide.
#[derive(Debug, Default)]
pub(super) struct KeyHasher {
    secret: RandomState,
}

/// The hash of all of a key but its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Base(u64);

impl KeyHasher {
    /// Hashes name, class, DO, CD and scope, without regard to the case of letters.
    pub(super) fn base(&self, key: &Key<'_>) -> Base {
        let bits = u64::from(key.dnssec_ok) << 1 | u64::from(key.checking_disabled);
        let numbers = [u64::from(key.qclass.0) << 2 | bits, key.scope.0];
        Base(keyed_hash(&self.secret, key.name, numbers))
    }
}

impl Base {
    /// The hash of one slot. Those of a base differ in their lower halves, since an odd factor loses nothing.
    ///
    /// The upper half says where an entry is. What is known of a name is in one place, as long as it is about types that
    /// are asked for: the many others would be a long way to go, and so have places of their own, 128 types in each.
    pub(super) fn slot(self, slot: Slot) -> u64 {
        const ODD: u64 = 0x9e37_79b9;
        let number = slot.number().wrapping_mul(ODD) & u64::from(u32::MAX);
        self.0 ^ number ^ slot.qtype() >> 7 << 32
    }

    /// A number that is the same for every look at the same name.
    pub(super) fn jitter(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::message::name::MAX_NAME_LEN;

    const KEY: Key<'_> = Key {
        name: b"\x03www\x07example\0",
        qtype: Qtype::A,
        qclass: Qclass::IN,
        dnssec_ok: false,
        checking_disabled: false,
        scope: Scope(7),
    };

    #[test]
    fn the_hash_depends_on_all_that_tells_answers_apart() {
        let hasher = KeyHasher::default();
        let base = hasher.base(&KEY);
        let longest = [63; MAX_NAME_LEN];
        let cases = [
            ("a letter's case", Key { name: b"\x03wWW\x07EXAMPLE\0", ..KEY }, true),
            ("a letter", Key { name: b"\x03wwx\x07example\0", ..KEY }, false),
            ("where a label ends", Key { name: b"\x04www\x07\x06xample\0", ..KEY }, false),
            ("the longest name", Key { name: &longest, ..KEY }, false),
            ("the class", Key { qclass: Qclass::CH, ..KEY }, false),
            ("DO", Key { dnssec_ok: true, ..KEY }, false),
            ("CD", Key { checking_disabled: true, ..KEY }, false),
            ("the scope", Key { scope: Scope(8), ..KEY }, false),
        ];

        for (why, key, is_same) in cases {
            assert_eq!(hasher.base(&key) == base, is_same, "{why}");
        }
        assert_ne!(KeyHasher::default().base(&KEY), base, "another process hashes otherwise");
    }

    #[test]
    fn the_slots_of_a_name_are_all_different() {
        let base = KeyHasher::default().base(&KEY);
        let of_types = (0..=u16::MAX).map(Qtype);
        let slots = of_types.flat_map(|qtype| [Slot::Answer(qtype), Slot::Failure(qtype)]);
        let mut hashes: Vec<_> = slots.chain([Slot::Denial]).map(|slot| base.slot(slot)).collect();
        assert!(hashes.iter().all(|hash| hash >> 56 == base.0 >> 56), "they are in one shard");
        for place in hashes.chunk_by(|a, b| a >> 32 == b >> 32) {
            assert!(place.len() <= 2 * 128, "{} in one place", place.len());
        }

        let known = [1, 5, 12, 16, 28, 33, 64, 65].map(Qtype);
        let known = known.map(|qtype| [Slot::Answer(qtype), Slot::Failure(qtype)]);
        let known = known.into_iter().flatten().chain([Slot::Denial]);
        assert!(known.into_iter().all(|slot| base.slot(slot) >> 32 == base.0 >> 32));

        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();

        assert_eq!(hashes.len(), all);
    }
}

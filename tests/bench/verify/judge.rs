//! Whether an answer is the right one for its question.

use dnsproxy_tests::wire::{Query, Record, Reply, options, rcodes, types};

use crate::{
    group::{Expected, Group, OWN_TTL, Own, Passed},
    truth::{Stamp, Truth, between},
};

/// How long an answer may be on its way from the upstream to the cache, in milliseconds, in which it does not age yet; and
/// what is lost where a TTL is counted in whole seconds.
const GRACE: i64 = 2000;

/// The same where nothing may be kept.
const GRACE_OF_0: i64 = 500;

/// The TTL of what a server serves although it has expired, as the upstream is not there (RFC 8767 section 5).
const STALE_TTL: u32 = 30;

/// The Extended DNS Errors that say so (RFC 8914 sections 4.4 and 4.20).
const STALE: [u16; 2] = [3, 19];

/// What was asked, and when.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// As it was sent.
    pub(crate) name: String,
    /// A or AAAA.
    pub(crate) qtype: u16,
    /// Whether it had an OPT record.
    pub(crate) edns: bool,
    /// By [`crate::truth::now`].
    pub(crate) at: u32,
    /// By whom.
    pub(crate) group: Group,
}

impl Asked {
    pub(crate) fn query(&self, id: u16) -> Vec<u8> {
        let query = Query::new(&self.name, self.qtype).id(id);
        if self.edns { query.edns(1232) } else { query }.encode()
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Right, and given by the upstream after it was asked for.
    Fresh,
    /// Right, and older than the question.
    Cached,
    /// Right, and said to be stale.
    Stale,
    /// Right, and made by a rule.
    Own,
    /// No answer: the server says that it failed.
    Failed,
    /// It must not be.
    Wrong(Fault),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It cannot be read.
    Malformed,
    /// Another question than the one that was asked with this ID, or another spelling of it.
    Question,
    /// Another rcode than the upstream's, or the rules'.
    Rcode,
    /// The answer to another question, or of other rules.
    Foreign,
    /// A record too many or too few.
    Records,
    /// A TTL above the one that is left.
    Ttl,
    /// It should be gone.
    Expired,
    /// An OPT record for a client without, or none for one with EDNS.
    Edns,
}

/// `message` came with the ID of this question.
pub(crate) fn judge(asked: &Asked, message: &[u8]) -> Verdict {
    let Ok(reply) = Reply::parse(message) else { return Verdict::Wrong(Fault::Malformed) };
    match weigh(asked, &reply) {
        Ok(verdict) => verdict,
        Err(fault) => Verdict::Wrong(fault),
    }
}

fn weigh(asked: &Asked, reply: &Reply) -> Result<Verdict, Fault> {
    let is_same = |(name, qtype, class): &(String, u16, u16)| {
        (name, *qtype, *class) == (&asked.name, asked.qtype, 1)
    };
    require(reply.has(0x8000) && reply.question.as_ref().is_some_and(is_same), Fault::Question)?;
    require(reply.edns.is_some() == asked.edns, Fault::Edns)?;
    if matches!(reply.rcode(), rcodes::SERVFAIL | rcodes::REFUSED) {
        return Ok(Verdict::Failed);
    }
    match asked.group.expects(&asked.name.to_ascii_lowercase(), asked.qtype) {
        Expected::Upstream(passed) => weigh_passed(asked, reply, &passed),
        Expected::Own(own) => weigh_own(asked, reply, &own),
    }
}

/// An answer of the upstream's.
fn weigh_passed(asked: &Asked, reply: &Reply, passed: &Passed) -> Result<Verdict, Fault> {
    let truth = Truth::of(&passed.name, asked.qtype);
    require(reply.rcode() == passed.rcode(truth), Fault::Rcode)?;
    let (ttl, bits) = content(asked, reply, truth, &passed.name)?;
    let (marks, stamps): (Vec<u32>, Vec<u32>) =
        bits.into_iter().partition(|bits| Stamp::read(*bits).is_none());
    require(marks == [truth.mark()], Fault::Foreign)?;
    let [stamp] = stamps.as_slice() else { return Err(Fault::Records) };
    let verdict = age(asked, reply, ttl, Stamp::read(*stamp).ok_or(Fault::Records)?)?;
    require(ttl <= passed.max_ttl || verdict == Verdict::Stale, Fault::Ttl)?;
    Ok(verdict)
}

/// An answer that the rules make.
fn weigh_own(asked: &Asked, reply: &Reply, own: &Own) -> Result<Verdict, Fault> {
    require(reply.rcode() == own.rcode, Fault::Rcode)?;
    let is_mine = |record: &Record| {
        record.owner == asked.name
            && record.rtype == types::A
            && own.address.is_some_and(|address| record.rdata == address.octets())
    };
    require(reply.answers.iter().all(is_mine), Fault::Foreign)?;
    // It is made for each query, and so never aged.
    require(reply.answers.iter().all(|record| record.ttl == OWN_TTL), Fault::Ttl)?;
    require(reply.answers.len() == usize::from(own.address.is_some()), Fault::Records)?;
    let others = reply.authorities.iter().chain(&reply.additionals);
    require(others.into_iter().all(|record| record.rtype == types::SOA), Fault::Records)?;
    Ok(Verdict::Own)
}

/// The TTL, and what the upstream put into the records when it was asked for that name.
fn content(
    asked: &Asked,
    reply: &Reply,
    truth: Truth,
    name: &str,
) -> Result<(u32, Vec<u32>), Fault> {
    let (records, others) = match truth {
        Truth::Record(_) => (&reply.answers, [&reply.authorities, &reply.additionals]),
        Truth::NoData(_) | Truth::NoName(_) => {
            (&reply.authorities, [&reply.answers, &reply.additionals])
        }
    };
    require(others.iter().all(|section| section.is_empty()), Fault::Records)?;
    let [first, rest @ ..] = records.as_slice() else { return Err(Fault::Records) };
    require(rest.iter().all(|record| record.ttl == first.ttl), Fault::Ttl)?;
    let owner = match truth {
        Truth::Record(_) => Some(asked.name.as_str()),
        Truth::NoData(_) | Truth::NoName(_) => name.split_once('.').map(|(_, rest)| rest),
    };
    let is_owner =
        |record: &Record| owner.is_some_and(|name| record.owner.eq_ignore_ascii_case(name));
    require(records.iter().all(is_owner), Fault::Foreign)?;
    let bits = match truth {
        Truth::Record(_) => records.iter().map(|record| last_bits(asked, record)).collect(),
        Truth::NoData(_) | Truth::NoName(_) => serial_and_refresh(first),
    };
    Ok((first.ttl, bits.ok_or(Fault::Foreign)?))
}

fn last_bits(asked: &Asked, record: &Record) -> Option<u32> {
    let length = if asked.qtype == types::AAAA { 16 } else { 4 };
    let is_address = record.rtype == asked.qtype && record.rdata.len() == length;
    let bits = record.rdata.last_chunk::<4>()?;
    is_address.then_some(u32::from_be_bytes(*bits))
}

/// Of an SOA record, whose five numbers come last.
fn serial_and_refresh(record: &Record) -> Option<Vec<u32>> {
    let numbers = record.rdata.last_chunk::<20>()?;
    let (numbers, _) = numbers.as_chunks::<4>();
    let two = numbers.iter().take(2).map(|number| u32::from_be_bytes(*number));
    (record.rtype == types::SOA).then(|| two.collect())
}

/// What is left of the upstream's TTL is all that a client may be told.
fn age(asked: &Asked, reply: &Reply, ttl: u32, stamp: Stamp) -> Result<Verdict, Fault> {
    let age = between(stamp.at, asked.at);
    if ttl == STALE_TTL && (!asked.edns || STALE.iter().any(|code| has_error(reply, *code))) {
        return Ok(Verdict::Stale);
    }
    require(ttl <= stamp.ttl, Fault::Ttl)?;
    let grace = if stamp.ttl == 0 { GRACE_OF_0 } else { GRACE };
    let left = i64::from(stamp.ttl) * 1000 + grace - age;
    require(left >= 0, Fault::Expired)?;
    require(i64::from(ttl) * 1000 <= left, Fault::Ttl)?;
    Ok(if age > 0 { Verdict::Cached } else { Verdict::Fresh })
}

fn has_error(reply: &Reply, code: u16) -> bool {
    let errors = reply.edns.iter().flat_map(|edns| &edns.options);
    errors
        .filter(|(option, _)| *option == options::EXTENDED_ERROR)
        .any(|(_, value)| value.starts_with(&code.to_be_bytes()))
}

fn require(is_so: bool, fault: Fault) -> Result<(), Fault> {
    if is_so { Ok(()) } else { Err(fault) }
}

#[cfg(test)]
mod tests {
    use dnsproxy_tests::wire::Response;

    use super::*;
    use crate::truth::answer;

    const ASKED_AT: u32 = 1_000_000;

    fn asked(name: &str, qtype: u16) -> Asked {
        Asked { name: name.to_owned(), qtype, edns: false, at: ASKED_AT, group: Group::Free }
    }

    /// The upstream's answer of so many milliseconds ago, to the question in the client's spelling.
    fn answered(asked: &Asked, ago: u32, ttl: u32) -> Vec<u8> {
        let stamp = Stamp { at: ASKED_AT.wrapping_sub(ago), ttl };
        answer(&asked.query(7), &asked.name, asked.qtype, stamp)
    }

    /// Names as they are asked for.
    fn names_that(is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        let names = (0..).map(|number| format!("www.n{number}.bench.example."));
        names.filter(move |name| is_wanted(name))
    }

    /// Names with each kind of truth, by looking for them.
    fn name_with(is_wanted: impl Fn(Truth) -> bool) -> String {
        names_that(|name| is_wanted(Truth::of(name, types::A))).next().unwrap()
    }

    /// One with an address.
    fn name_with_prefix(prefix: &str) -> String {
        let is_record = |name: &str| matches!(Truth::of(name, types::A), Truth::Record(_));
        names_that(|name| name.starts_with(prefix) && is_record(name)).next().unwrap()
    }

    fn some_name() -> String {
        name_with(|truth| matches!(truth, Truth::Record(_)))
    }

    /// With the TTL of all records but OPT set to this.
    fn told(mut message: Vec<u8>, from: u32, to: u32) -> Vec<u8> {
        let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
        let starts: Vec<usize> = (0..message.len() - 10)
            .filter(|&at| {
                message[at] == 0xc0
                    && message[at + 4..at + 6] == [0, 1]
                    && message[at + 6..at + 10] == from
            })
            .collect();
        assert!(!starts.is_empty());
        for at in starts {
            message[at + 6..at + 10].copy_from_slice(&to);
        }
        message
    }

    #[test]
    fn what_the_upstream_said_is_right_as_long_as_it_lives() {
        let kinds = [
            ("an address", some_name(), types::A),
            ("no such record", name_with(|truth| matches!(truth, Truth::NoData(_))), types::A),
            ("no such name", name_with(|truth| matches!(truth, Truth::NoName(_))), types::A),
            ("a long address", "www.n1.bench.example.".to_owned(), types::AAAA),
        ];
        let cases = [
            ("just answered", 0, 5, 5, Verdict::Fresh),
            ("of another client, a little ago", 100, 5, 5, Verdict::Cached),
            ("aged", 3500, 5, 2, Verdict::Cached),
            ("not aged", 4500, 5, 5, Verdict::Wrong(Fault::Ttl)),
            ("grown", 0, 4, 5, Verdict::Wrong(Fault::Ttl)),
            ("immortal", 60_000, 5, 1, Verdict::Wrong(Fault::Expired)),
            ("kept, though it must not be", 900, 0, 0, Verdict::Wrong(Fault::Expired)),
            ("shared by two who asked at the same time", 20, 0, 0, Verdict::Cached),
            ("served stale", 60_000, 5, 30, Verdict::Stale),
        ];

        for (kind, name, qtype) in kinds {
            let asked = asked(&name, qtype);
            for (why, ago, ttl, seen, expected) in &cases {
                let message = told(answered(&asked, *ago, *ttl), *ttl, *seen);
                assert_eq!(judge(&asked, &message), *expected, "{kind}, {why}");
            }
        }
    }

    #[test]
    fn another_question_s_answer_is_foreign() {
        let mine = asked(&some_name(), types::A);
        let other = name_with(|truth| {
            matches!(truth, Truth::Record(_)) && truth != Truth::of(&mine.name, types::A)
        });
        let theirs = asked(&other, types::A);
        let spelled = asked(&mine.name.to_uppercase(), types::A);
        let with_edns = Asked { edns: true, ..mine.clone() };
        // Their records under my question, as a cache would do that mixes up its entries.
        let stamp = Stamp { at: ASKED_AT, ttl: 5 };
        let mixed = answer(&mine.query(7), &theirs.name, types::A, stamp);
        let cases = [
            ("their message", answered(&theirs, 0, 5), Fault::Question),
            ("their records", mixed, Fault::Foreign),
            ("another client's spelling", answered(&spelled, 0, 5), Fault::Question),
            ("another type", answered(&asked(&mine.name, types::AAAA), 0, 5), Fault::Question),
            ("another client's EDNS", answered(&with_edns, 0, 5), Fault::Edns),
            ("my own question", mine.query(7), Fault::Question),
            ("a message that ends early", answered(&mine, 0, 5)[..40].to_vec(), Fault::Malformed),
        ];

        for (why, message, fault) in cases {
            assert_eq!(judge(&mine, &message), Verdict::Wrong(fault), "{why}");
        }
    }

    #[test]
    fn each_group_has_answers_of_its_own() {
        let name = name_with_prefix("www.n1");
        let groups = Group::ALL.map(|group| Asked { group, ..asked(&name, types::A) });
        let upstream_names =
            ["www.n1", "www.a1", "www.b1"].map(|new| name.replacen("www.n1", new, 1));

        for (mine, asked) in groups.iter().enumerate() {
            for (theirs, upstream_name) in upstream_names.iter().enumerate() {
                let stamp = Stamp { at: ASKED_AT, ttl: 5 };
                let message = answer(&asked.query(7), upstream_name, types::A, stamp);
                let is_right = judge(asked, &message) == Verdict::Fresh;
                assert_eq!(is_right, mine == theirs, "{upstream_name} for {asked:?}");
            }
        }
    }

    #[test]
    fn what_rules_answer_is_known() {
        let blocked =
            |asked: &Asked| Response::to(&asked.query(7)).rcode(rcodes::NXDOMAIN).encode();
        let with_ttl = |asked: &Asked, ttl, last| {
            Response::to(&asked.query(7)).record(types::A, ttl, &[198, 51, 100, last]).encode()
        };
        let told = |asked: &Asked, last| with_ttl(asked, OWN_TTL, last);
        let [free, first, second] =
            Group::ALL.map(|group| Asked { group, ..asked(&name_with_prefix("www.n2"), types::A) });
        let cases = [
            ("blocked", &first, blocked(&first), Verdict::Own),
            ("blocked for others", &second, blocked(&second), Verdict::Wrong(Fault::Rcode)),
            ("answered", &second, told(&second, 2), Verdict::Own),
            ("aged", &second, with_ttl(&second, 6, 2), Verdict::Wrong(Fault::Ttl)),
            ("answered by another rule", &second, told(&second, 3), Verdict::Wrong(Fault::Foreign)),
            ("answered for others", &first, told(&first, 2), Verdict::Wrong(Fault::Rcode)),
            ("no rule's business", &free, told(&free, 2), Verdict::Wrong(Fault::Foreign)),
        ];

        for (why, asked, message, expected) in cases {
            assert_eq!(judge(asked, &message), expected, "{why}");
        }
    }

    #[test]
    fn a_shorter_ttl_and_another_rcode_are_for_one_group_each() {
        let name = name_with_prefix("www.n4");
        let [free, first, second] =
            Group::ALL.map(|group| Asked { group, ..asked(&name, types::A) });
        let seen = |asked: &Asked| judge(asked, &answered(asked, 0, 5));

        assert_eq!(seen(&free), Verdict::Fresh);
        assert_eq!(seen(&second), Verdict::Fresh);
        assert_eq!(seen(&first), Verdict::Wrong(Fault::Ttl));
        assert_eq!(judge(&first, &told(answered(&first, 0, 5), 5, 1)), Verdict::Fresh);

        let mut missing = names_that(|name| matches!(Truth::of(name, types::A), Truth::NoName(_)));
        let missing = missing.find(|name| name.starts_with("www.n4")).unwrap();
        let asked = |group| Asked { group, ..asked(&missing, types::A) };
        assert_eq!(seen(&asked(Group::First)), Verdict::Wrong(Fault::Ttl));
        assert_eq!(seen(&asked(Group::Second)), Verdict::Wrong(Fault::Rcode));
    }
}

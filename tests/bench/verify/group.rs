//! What clients are to be told where rules, which look at who asks, stand between them and the upstream: those of
//! `conf/check/dnsproxy.yaml`.

use std::net::Ipv4Addr;

use dnsproxy_tests::wire::{rcodes, types};

use crate::truth::{MAX_TTL, Truth};

/// Clients of one address, for which the same rules hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// No rule speaks of them.
    Free,
    /// Their rules, in words of their own.
    First,
    /// Other rules for the same names.
    Second,
}

/// What a question has for an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    /// What the upstream says.
    Upstream(Passed),
    /// What the rules say by themselves.
    Own(Own),
}

/// The upstream's answer, and what becomes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Passed {
    /// The name that the upstream is asked for, in lower case.
    pub(crate) name: String,
    /// No client is told more.
    pub(crate) max_ttl: u32,
    /// What clients are told where the name does not exist.
    pub(crate) no_name: u16,
}

/// Of the records that the rules have.
pub(crate) const OWN_TTL: u32 = 7;

/// An answer that needs no upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Own {
    pub(crate) rcode: u16,
    /// Its only record.
    pub(crate) address: Option<Ipv4Addr>,
}

impl Group {
    /// All of them, each with clients of an address of its own.
    pub(crate) const ALL: [Self; 3] = [Self::Free, Self::First, Self::Second];

    /// Of a name in lower case with its final dot.
    pub(crate) fn expects(self, name: &str, qtype: u16) -> Expected {
        let first_digit = name.strip_prefix("www.n").and_then(|rest| rest.chars().next());
        match (self, first_digit) {
            (Self::First, Some('1')) => Expected::renamed(name, "www.a1", "www.n1"),
            (Self::Second, Some('1')) => Expected::renamed(name, "www.b1", "www.n1"),
            (Self::First, Some('2')) => Expected::own(rcodes::NXDOMAIN, None),
            (Self::Second, Some('2')) => Expected::address([198, 51, 100, 2].into(), qtype),
            (Self::First, Some('3')) => Expected::address([198, 51, 100, 3].into(), qtype),
            // As clients without rules, and both of these groups, ask for as well.
            (Self::Second, Some('3')) => Expected::renamed(name, "www.n5", "www.n3"),
            (Self::First, Some('4')) => Passed { max_ttl: 1, ..Passed::as_asked(name) }.into(),
            (Self::Second, Some('4')) => {
                Passed { no_name: rcodes::NOERROR, ..Passed::as_asked(name) }.into()
            }
            _ => Passed::as_asked(name).into(),
        }
    }
}

impl Expected {
    /// The answer for a name of which the start is replaced.
    fn renamed(name: &str, new: &str, old: &str) -> Self {
        Passed::as_asked(&name.replacen(old, new, 1)).into()
    }

    fn own(rcode: u16, address: Option<Ipv4Addr>) -> Self {
        Self::Own(Own { rcode, address })
    }

    /// An address, and nothing of other types.
    fn address(address: Ipv4Addr, qtype: u16) -> Self {
        Self::own(rcodes::NOERROR, (qtype == types::A).then_some(address))
    }
}

impl From<Passed> for Expected {
    fn from(passed: Passed) -> Self {
        Self::Upstream(passed)
    }
}

impl Passed {
    /// Without any rule.
    fn as_asked(name: &str) -> Self {
        Self { name: name.to_owned(), max_ttl: MAX_TTL, no_name: rcodes::NXDOMAIN }
    }

    /// The rcode that the client is told.
    pub(crate) fn rcode(&self, truth: Truth) -> u16 {
        if let Truth::NoName(_) = truth { self.no_name } else { truth.rcode() }
    }
}

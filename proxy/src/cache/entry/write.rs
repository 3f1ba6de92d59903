//! Writing an entry for one client.
//!
//! The message is copied, and what is the client's own is patched: ID, RD, CD, the spelling of the name (RFC 4343;
//! mixed case is some clients' defence), AA, AD (RFC 6840 section 5.8), the age of the TTLs, and an OPT record that tells
//! EDNS clients what else there is to say (RFC 6891 section 6.1.1, RFC 8914).

use tokio::time::Instant;

use super::Entry;
use crate::message::{
    HEADER_LEN, Header, Query, Rcode,
    edns::{ExtendedError, OptWriter},
    reply::{self, Terms},
    set_u16, set_u32, u16_at, u32_at,
};

/// How an entry is given out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// It just came: its TTLs are as they are.
    Fresh,
    /// It was found in the cache: it has aged, and a failure says that it is remembered.
    Cached,
    /// It is beyond its end: every TTL is this one, and the client is told (RFC 8767 section 4).
    Stale {
        /// In seconds.
        ttl: u32,
    },
}

impl Entry {
    /// Appends the reply to `query`, which must ask what the entry was made for.
    ///
    /// A message of which the capacity suffices is written without an allocation. It is not cut to what the client
    /// can take.
    pub fn write(
        &self,
        query: &Query<'_>,
        how: How,
        terms: Terms,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        // Without an OPT record there is no room for the upper bits, and the lower ones alone would lie.
        let has_room = !self.rcode().is_extended() || query.edns.is_some();
        let rcode = if has_room { self.rcode() } else { Rcode::SERVFAIL };
        out.extend_from_slice(self.message());
        if let Some(message) = out.get_mut(start..) {
            self.address(message, query, how, rcode);
            match how {
                How::Fresh => {}
                How::Cached => {
                    let age = self.age(now);
                    self.map_ttls(message, |ttl| ttl.saturating_sub(age));
                }
                How::Stale { ttl } => self.map_ttls(message, |_| ttl),
            }
        }
        reply::write_opt(out, query, rcode, terms, |opt| {
            // Some clients show the first one alone: what has a code of its own comes before what has none.
            let is_other = u16_at(self.errors(), 4) == Some(ExtendedError::OTHER);
            if is_other {
                self.explain(how, now, opt);
            }
            opt.encoded(self.errors());
            if !is_other {
                self.explain(how, now, opt);
            }
        });
    }

    /// Makes header and question those of the reply to `query`.
    fn address(&self, message: &mut [u8], query: &Query<'_>, how: How, rcode: Rcode) {
        // A cache is no authority (RFC 1035 section 4.1.1). Beyond its end, signatures that were good may have ended, too
        // (RFC 4035 section 5.3.3).
        let told = match how {
            How::Fresh => u16::MAX,
            How::Cached => !Header::AA,
            How::Stale { .. } => !(Header::AA | Header::AD),
        };
        let asked = if query.wants_authentic_data() { u16::MAX } else { !Header::AD };
        let flags = u16_at(message, 2).unwrap_or_default() & told & asked;
        let additionals = u16_at(message, 10).unwrap_or_default();
        set_u16(message, 0, query.header.id);
        set_u16(message, 2, flags | reply::flags(query.header, rcode));
        set_u16(message, 10, additionals.saturating_add(query.edns.is_some().into()));
        let name = query.question.name.as_wire();
        if let Some(octets) = message.get_mut(HEADER_LEN..HEADER_LEN + name.len()) {
            octets.copy_from_slice(name);
        }
        // A denial answers every type.
        set_u16(message, HEADER_LEN + name.len(), query.question.qtype.0);
    }

    fn map_ttls(&self, message: &mut [u8], map: impl Fn(u32) -> u32) {
        let (places, _) = self.ttl_places().as_chunks::<2>();
        for place in places {
            let at = usize::from(u16::from_be_bytes(*place));
            let ttl = u32_at(message, at).unwrap_or_default();
            set_u32(message, at, map(ttl));
        }
    }

    /// Adds why the answer is not a fresh one (RFC 8914 sections 4.4, 4.14 and 4.20).
    fn explain(&self, how: How, now: Instant, opt: &mut OptWriter<'_>) {
        let age = self.age(now);
        match how {
            How::Cached if self.is_failure() => {
                opt.explain(
                    ExtendedError::CACHED_ERROR,
                    format_args!("remembered for {age} s of {} s", self.head().lifetime),
                );
            }
            How::Stale { .. } => {
                let is_denial = self.rcode() == Rcode::NXDOMAIN;
                let code = if is_denial {
                    ExtendedError::STALE_NXDOMAIN
                } else {
                    ExtendedError::STALE_ANSWER
                };
                let expired = age.saturating_sub(self.head().lifetime);
                opt.explain(code, format_args!("expired {expired} s ago"));
            }
            How::Fresh | How::Cached => {}
        }
    }
}

//! The OPT record (RFC 6891) and extended errors (RFC 8914).
//!
//! EDNS is hop by hop: what a client sent is read, never relayed, and what goes out is written anew.

use std::{fmt, io::Write};

use super::{Rcode, record::Record, u16_at};

/// The option codes that matter here (IANA "DNS EDNS0 Option Codes").
pub mod option {
    /// edns-tcp-keepalive (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

/// What every client must accept, and what a smaller offer counts as (RFC 6891 section 6.2.3).
pub const MIN_UDP_PAYLOAD: u16 = 512;

/// The DO bit in the TTL field of an OPT record (RFC 3225 section 3).
const DNSSEC_OK: u32 = 0x8000;

/// The longest text of an extended error that is sent, so that a failure never needs TCP: our guess.
const MAX_ERROR_TEXT: usize = 200;

/// What an OPT record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edns<'m> {
    /// The largest UDP message that the sender takes, in octets, as offered.
    pub udp_payload: u16,
    /// The upper eight bits of the rcode.
    pub rcode_high: u8,
    /// The version; 0 is the only one there is.
    pub version: u8,
    /// DO: the sender wants DNSSEC records.
    pub dnssec_ok: bool,
    /// The options, code and length before each.
    pub options: &'m [u8],
}

impl<'m> Edns<'m> {
    /// Reads an OPT record; `None` when an option reaches beyond it.
    pub fn read(message: &'m [u8], record: &Record) -> Option<Self> {
        Some(Self::of(message, record)).filter(Self::is_well_formed)
    }

    /// An OPT record, whatever its options are.
    pub(super) fn of(message: &'m [u8], record: &Record) -> Self {
        let [rcode_high, version, ..] = record.ttl.to_be_bytes();
        Self {
            udp_payload: record.class,
            rcode_high,
            version,
            dnssec_ok: record.ttl & DNSSEC_OK != 0,
            options: record.data_of(message),
        }
    }

    /// Whether its options fill it.
    pub(super) fn is_well_formed(&self) -> bool {
        let read: usize = self.options().map(|(_, data)| 4 + data.len()).sum();
        read == self.options.len()
    }

    /// The options, in order: code and data.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'m [u8])> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (code, len) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
            let data = rest.get(4..4 + usize::from(len))?;
            rest = rest.get(4 + data.len()..)?;
            Some((code, data))
        })
    }

    /// The data of the first option with this code.
    pub fn option(&self, wanted: u16) -> Option<&'m [u8]> {
        self.options().find_map(|(code, data)| (code == wanted).then_some(data))
    }

    /// The extended errors, in order.
    pub fn extended_errors(&self) -> impl Iterator<Item = ExtendedError> {
        self.options()
            .filter(|(code, _)| *code == option::EXTENDED_ERROR)
            .filter_map(|(_, data)| ExtendedError::read(data))
    }
}

/// Why an answer is what it is (RFC 8914).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtendedError {
    /// The INFO-CODE.
    pub code: u16,
    /// The EXTRA-TEXT, for people.
    pub text: String,
}

impl ExtendedError {
    /// Something without a code of its own; the text says what.
    pub const OTHER: u16 = 0;
    /// The answer is older than its TTL allows.
    pub const STALE_ANSWER: u16 = 3;
    /// The answer is ours and not that of the name's authorities.
    pub const FORGED: u16 = 4;
    /// The name is blocked.
    pub const BLOCKED: u16 = 15;
    /// The failure was met before, and is remembered.
    pub const CACHED_ERROR: u16 = 13;
    /// As [`Self::STALE_ANSWER`], of an answer that the name does not exist.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// The client may not ask.
    pub const PROHIBITED: u16 = 18;
    /// No upstream could be reached.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// An upstream was reached, but the exchange failed.
    pub const NETWORK_ERROR: u16 = 23;

    /// An error with this code and text.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Whether an upstream says that DNSSEC validation failed: such an answer must not be shopped around
    /// for another one.
    ///
    /// These are the codes that tell how a validator came to no good end (RFC 8914 sections 4.2, 4.3 and
    /// 4.6 to 4.13), 25, a signature that expires before it is valid (IANA "Extended DNS Error Codes"), and
    /// 27, more NSEC3 iterations than the validator computes (RFC 9276 section 3.2).
    pub fn is_validation_failure(&self) -> bool {
        matches!(self.code, 1 | 2 | 5..=12 | 25 | 27)
    }

    /// Whether an upstream says that it blocks the name: that is its decision, and no failure (RFC 8914 sections 4.16 to
    /// 4.18).
    pub fn is_block(&self) -> bool {
        matches!(self.code, 15..=17)
    }

    fn read(data: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(data.get(2..)?).trim_end_matches('\0').to_owned();
        Some(Self { code: u16_at(data, 0)?, text })
    }

    /// The text, cut at a character so that it stays short.
    fn text_octets(&self) -> &[u8] {
        let mut len = self.text.len().min(MAX_ERROR_TEXT);
        while !self.text.is_char_boundary(len) {
            len -= 1;
        }
        self.text.as_bytes().get(..len).unwrap_or_default()
    }
}

/// Writes one OPT record at the end of a message under construction.
///
/// The caller counts it in ARCOUNT; [`Self::finish`] fixes the length of its data.
pub struct OptWriter<'o> {
    out: &'o mut Vec<u8>,
    data: usize,
}

impl<'o> OptWriter<'o> {
    /// Starts the record; `rcode` gives its upper bits, which the header has no room for.
    pub fn start(out: &'o mut Vec<u8>, udp_payload: u16, rcode: Rcode, dnssec_ok: bool) -> Self {
        let flags = if dnssec_ok { DNSSEC_OK } else { 0 };
        out.push(0);
        out.extend_from_slice(&super::Qtype::OPT.0.to_be_bytes());
        out.extend_from_slice(&udp_payload.to_be_bytes());
        out.extend_from_slice(&(u32::from(rcode.0 >> 4) << 24 | flags).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        let data = out.len();
        Self { out, data }
    }

    /// Appends an option. Data beyond 65,535 octets is left out with its option.
    pub fn option(&mut self, code: u16, data: &[u8]) -> &mut Self {
        if let Ok(len) = u16::try_from(data.len()) {
            self.out.extend_from_slice(&code.to_be_bytes());
            self.out.extend_from_slice(&len.to_be_bytes());
            self.out.extend_from_slice(data);
        }
        self
    }

    /// Appends options that are encoded already.
    pub fn encoded(&mut self, options: &[u8]) -> &mut Self {
        self.out.extend_from_slice(options);
        self
    }

    /// Appends an extended error.
    pub fn extended_error(&mut self, error: &ExtendedError) -> &mut Self {
        encode_error(error, self.out);
        self
    }

    /// Appends an extended error of which the text, a short one, is made on the way.
    pub fn explain(&mut self, code: u16, text: fmt::Arguments<'_>) -> &mut Self {
        let start = self.out.len();
        encode_error_code(code, 0, self.out);
        // A vector takes whatever is written.
        let _ = self.out.write_fmt(text);
        let len = u16::try_from(self.out.len() - start - 4).unwrap_or_default();
        super::set_u16(self.out, start + 2, len);
        self
    }

    /// Pads the message that begins at `start` to a multiple of `block` octets (RFC 8467 section 4.1). Must be
    /// the last option.
    pub fn pad_to(&mut self, start: usize, block: usize) -> &mut Self {
        let unpadded = self.out.len() - start + 4;
        let padding = unpadded.next_multiple_of(block.max(1)) - unpadded;
        let Ok(len) = u16::try_from(padding) else { return self };
        self.out.extend_from_slice(&option::PADDING.to_be_bytes());
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.resize(self.out.len() + padding, 0);
        self
    }

    /// Fixes the length of the record's data.
    pub fn finish(self) {
        let len = u16::try_from(self.out.len() - self.data).unwrap_or(u16::MAX);
        super::set_u16(self.out, self.data - 2, len);
    }
}

/// Appends an extended error as an option (RFC 8914 section 2).
pub(crate) fn encode_error(error: &ExtendedError, out: &mut Vec<u8>) {
    let text = error.text_octets();
    encode_error_code(error.code, u16::try_from(text.len()).unwrap_or_default(), out);
    out.extend_from_slice(text);
}

fn encode_error_code(code: u16, text_len: u16, out: &mut Vec<u8>) {
    for field in [option::EXTENDED_ERROR, 2 + text_len, code] {
        out.extend_from_slice(&field.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut OptWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = OptWriter::start(&mut out, 1232, Rcode::BADVERS, true);
        write(&mut writer);
        writer.finish();
        out
    }

    #[test]
    fn what_is_written_reads_back() {
        let error = ExtendedError::new(22, "upstream lab 192.0.2.1:853: connection refused");
        let opt = written(|writer| {
            writer.extended_error(&error).option(option::TCP_KEEPALIVE, &[0, 100]);
        });

        let record = Record::read(&opt, 0).unwrap();
        let edns = Edns::read(&opt, &record).unwrap();

        assert!(record.is_owned_by_root());
        assert_eq!(
            (edns.udp_payload, edns.rcode_high, edns.version, edns.dnssec_ok),
            (1232, 1, 0, true)
        );
        assert_eq!(edns.extended_errors().collect::<Vec<_>>(), [error]);
        assert_eq!(edns.option(option::TCP_KEEPALIVE), Some(&[0, 100][..]));
        assert_eq!(edns.option(option::PADDING), None);
    }

    #[test]
    fn an_option_that_reaches_beyond_the_record_makes_it_malformed() {
        let cases: [(&str, &[u8]); 3] = [
            ("a length beyond the data", &[0, 10, 0xff, 0xff]),
            ("half an option header", &[0, 10, 0]),
            ("one good option and a bad one", &[0, 3, 0, 0, 0, 10, 0, 9]),
        ];

        for (why, options) in cases {
            let mut opt = written(|writer| writer.out.extend_from_slice(options));
            let record = Record::read(&opt, 0).unwrap();
            assert_eq!(Edns::read(&opt, &record), None, "{why}");
            opt.truncate(11);
        }
    }

    #[test]
    fn padding_fills_the_message_to_whole_blocks() {
        for already in 0..300 {
            let mut out = vec![0; already];
            let mut writer = OptWriter::start(&mut out, 1232, Rcode::NOERROR, false);
            writer.pad_to(0, 128);
            writer.finish();
            assert_eq!(out.len() % 128, 0, "with {already} octets before the OPT record");
        }
    }

    #[test]
    fn the_codes_of_a_failed_validation_are_those_of_the_registry() {
        let failures = [
            (1, "Unsupported DNSKEY Algorithm"),
            (2, "Unsupported DS Digest Type"),
            (5, "DNSSEC Indeterminate"),
            (6, "DNSSEC Bogus"),
            (7, "Signature Expired"),
            (8, "Signature Not Yet Valid"),
            (9, "DNSKEY Missing"),
            (10, "RRSIGs Missing"),
            (11, "No Zone Key Bit Set"),
            (12, "NSEC Missing"),
            (25, "Signature Expired before Valid"),
            (27, "Unsupported NSEC3 Iterations Value"),
        ];

        for code in 0..100 {
            let name = failures.iter().find(|(failure, _)| *failure == code).map(|(_, name)| name);
            let is_failure = ExtendedError::new(code, "").is_validation_failure();
            assert_eq!(is_failure, name.is_some(), "{code}: {name:?}");
        }
    }

    /// 18, prohibited, is about us and not about the name.
    #[test]
    fn blocks_are_known_by_their_codes() {
        let blocks = [(15, "Blocked"), (16, "Censored"), (17, "Filtered")];
        for code in 0..100 {
            let name = blocks.iter().find(|(block, _)| *block == code);
            assert_eq!(ExtendedError::new(code, "").is_block(), name.is_some(), "{code}: {name:?}");
        }
    }

    #[test]
    fn a_long_error_text_is_cut_between_characters() {
        let error = ExtendedError::new(0, "é".repeat(150));
        assert_eq!(error.text_octets().len(), MAX_ERROR_TEXT);
        assert!(std::str::from_utf8(error.text_octets()).is_ok());
    }
}

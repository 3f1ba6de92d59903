//! Reading a reply, with no mercy for a byte too many or too few.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};

use super::{Edns, flags, options, types};

/// A message as a client reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The ID.
    pub id: u16,
    /// Opcode, bits and the lower four bits of the rcode.
    pub flags: u16,
    /// Name, type and class of the question, if there is one.
    pub question: Option<(String, u16, u16)>,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// The OPT record.
    pub edns: Option<Edns>,
    /// How long the message was.
    pub length: usize,
}

/// A record with its data as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Whose record it is, as text without escapes, with the final dot.
    pub owner: String,
    /// The type.
    pub rtype: u16,
    /// The class.
    pub class: u16,
    /// The time to live.
    pub ttl: u32,
    /// The data; names inside it may be compressed.
    pub rdata: Vec<u8>,
    /// The name that the data of a CNAME or PTR record is.
    pub target: Option<String>,
}

impl Reply {
    /// Reads a whole message.
    ///
    /// # Errors
    /// When anything is out of place: a byte after the end, two OPT records, a pointer that does not point back.
    pub fn parse(message: &[u8]) -> Result<Self> {
        let mut reader = Reader { message, at: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        ensure!(counts[0] <= 1, "{} questions", counts[0]);
        let question = (counts[0] == 1).then(|| reader.question()).transpose()?;
        let answers = reader.records(counts[1])?;
        let authorities = reader.records(counts[2])?;
        let mut additionals = reader.records(counts[3])?;
        ensure!(reader.at == message.len(), "bytes after the last record");
        let edns = take_edns(&mut additionals)?;
        let length = message.len();
        Ok(Self { id, flags, question, answers, authorities, additionals, edns, length })
    }

    /// The whole rcode, with the bits that are in the OPT record.
    pub fn rcode(&self) -> u16 {
        let upper = self.edns.as_ref().map_or(0, |edns| u16::from(edns.extended_rcode) << 4);
        upper | (self.flags & 0xf)
    }

    /// Whether all these header bits are set.
    pub fn has(&self, bits: u16) -> bool {
        self.flags & bits == bits
    }

    /// Whether it was cut (TC).
    pub fn is_truncated(&self) -> bool {
        self.has(flags::TC)
    }

    /// The opcode.
    pub fn opcode(&self) -> u16 {
        (self.flags >> 11) & 0xf
    }

    /// The first Extended DNS Error: its code and its text.
    pub fn ede(&self) -> Option<(u16, String)> {
        let value = self.edns.as_ref()?.option(options::EXTENDED_ERROR)?;
        let (code, text) = value.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
    }

    /// The addresses in the answer section, in their order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.answers.iter().filter_map(Record::address).collect()
    }

    /// The addresses and targets in the answer section, in their order.
    pub fn values(&self) -> Vec<String> {
        let value = |record: &Record| match record.address() {
            Some(address) => Some(address.to_string()),
            None => record.target.clone(),
        };
        self.answers.iter().filter_map(value).collect()
    }

    /// The first strings of the TXT records in the answer section.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.answers.iter().filter(|record| record.rtype == types::TXT);
        texts.map(|record| String::from_utf8_lossy(&record.rdata[1..]).into_owned()).collect()
    }
}

impl Record {
    fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            types::A => <[u8; 4]>::try_from(&*self.rdata).ok().map(|ip| Ipv4Addr::from(ip).into()),
            types::AAAA => {
                <[u8; 16]>::try_from(&*self.rdata).ok().map(|ip| Ipv6Addr::from(ip).into())
            }
            _ => None,
        }
    }
}

/// Takes the OPT record out: its class, TTL and data are no class, TTL and data (RFC 6891 section 6.1.3).
fn take_edns(additionals: &mut Vec<Record>) -> Result<Option<Edns>> {
    let (mut found, others) =
        additionals.drain(..).partition::<Vec<_>, _>(|record| record.rtype == types::OPT);
    *additionals = others;
    ensure!(found.len() <= 1, "{} OPT records", found.len());
    let Some(Record { owner, class: payload, ttl, rdata, .. }) = found.pop() else {
        return Ok(None);
    };
    ensure!(owner == ".", "an OPT record of {owner}");
    let [extended_rcode, version, upper, lower] = ttl.to_be_bytes();
    let flags = u16::from_be_bytes([upper, lower]);
    Ok(Some(Edns { payload, extended_rcode, version, flags, options: read_options(&rdata)? }))
}

fn read_options(rdata: &[u8]) -> Result<Vec<(u16, Vec<u8>)>> {
    let mut reader = Reader { message: rdata, at: 0 };
    let mut options = Vec::new();
    while reader.at < rdata.len() {
        let (code, length) = (reader.u16()?, reader.u16()?);
        options.push((code, reader.take(usize::from(length))?.to_vec()));
    }
    Ok(options)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken =
            self.message.get(self.at..self.at + length).context("the message ends early")?;
        self.at += length;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn question(&mut self) -> Result<(String, u16, u16)> {
        Ok((self.name()?, self.u16()?, self.u16()?))
    }

    fn records(&mut self, count: u16) -> Result<Vec<Record>> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Result<Record> {
        let owner = self.name()?;
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let start = self.at;
        let is_name = matches!(rtype, types::CNAME | types::PTR);
        // What a hostile upstream says may be no name.
        let target = if is_name { self.name().ok() } else { None };
        let target = target.filter(|_| self.at == start + length);
        self.at = start;
        let rdata = self.take(length)?.to_vec();
        Ok(Record { owner, rtype, class, ttl, rdata, target })
    }

    /// A name, following pointers, which must go back (RFC 1035 section 4.1.4).
    fn name(&mut self) -> Result<String> {
        let mut text = String::new();
        let mut end = None;
        loop {
            let start = self.at;
            let length = usize::from(self.take(1)?[0]);
            if length & 0xc0 == 0xc0 {
                let target = (length & 0x3f) << 8 | usize::from(self.take(1)?[0]);
                ensure!(target < start, "a pointer that does not point back");
                end.get_or_insert(self.at);
                self.at = target;
                continue;
            }
            ensure!(length < 64, "a label of type {length:#x}");
            if length == 0 {
                break;
            }
            text.extend(self.take(length)?.iter().map(|octet| char::from(*octet)));
            text.push('.');
        }
        self.at = end.unwrap_or(self.at);
        Ok(if text.is_empty() { ".".to_owned() } else { text })
    }
}

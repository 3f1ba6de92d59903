//! Records as a zone file has them (RFC 1035 section 5.1).
//!
//! The library writes unusual octets of a name in octal, where zone files have decimal numbers: `a\040b` for `a b`, which
//! is another name to everybody who reads it, this program included.

use hickory_proto::{
    rr::{self, RData, Record},
    serialize::binary::BinEncodable,
};

use crate::message::Name;

/// A record in a line.
pub(crate) fn record(record: &Record) -> String {
    let (owner, rtype, data) = (name(&record.name), record.record_type(), data(&record.data));
    format!("{owner} {} {} {rtype} {data}", record.ttl, record.dns_class)
}

/// The data of a record.
pub(crate) fn data(data: &RData) -> String {
    match data {
        RData::CNAME(it) => name(it),
        RData::NS(it) => name(it),
        RData::PTR(it) => name(it),
        RData::MX(it) => format!("{} {}", it.preference, name(&it.exchange)),
        RData::SRV(it) => format!("{} {} {} {}", it.priority, it.weight, it.port, name(&it.target)),
        RData::SOA(it) => format!(
            "{} {} {} {} {} {} {}",
            name(&it.mname),
            name(&it.rname),
            it.serial,
            it.refresh,
            it.retry,
            it.expire,
            it.minimum
        ),
        other => other.to_string(),
    }
}

/// A name.
pub(crate) fn name(name: &rr::Name) -> String {
    let wire = name.to_bytes().unwrap_or_default();
    Name::read(&wire, 0).map_or_else(|_| name.to_string(), |(name, _)| name.to_string())
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{MX, PTR, SOA, SRV};

    use super::*;

    #[test]
    fn unusual_octets_of_names_are_decimal_as_in_zone_files() {
        let unusual = || rr::Name::from_labels([&b"My Printer"[..], b"example"]).unwrap();
        let (plain, text) =
            (|| "a.example.".parse::<rr::Name>().unwrap(), "My\\032Printer.example.");
        let cases = [
            (RData::PTR(PTR(unusual())), format!("PTR {text}")),
            (RData::MX(MX::new(5, unusual())), format!("MX 5 {text}")),
            (RData::SRV(SRV::new(1, 2, 3, unusual())), format!("SRV 1 2 3 {text}")),
            (
                RData::SOA(SOA::new(plain(), unusual(), 1, 2, 3, 4, 5)),
                format!("SOA a.example. {text} 1 2 3 4 5"),
            ),
        ];

        for (data, expected) in cases {
            let written = Record::from_rdata(unusual(), 60, data);
            assert_eq!(record(&written), format!("{text} 60 IN {expected}"));
        }
        let usual = Record::from_rdata(plain(), 60, RData::A(rr::rdata::A::new(192, 0, 2, 1)));
        assert_eq!(record(&usual), usual.to_string());
    }
}

//! Records as a zone file has them (RFC 1035 section 5.1, RFC 3597 section 5, RFC 9460 section 2.1).
//!
//! The library writes them for people alone: unusual octets of a name in octal, where zone files have decimal numbers
//! (`a\\040b` for `a b`, which is another name to everybody who reads it, this program included), texts without quotes and
//! without what is between them, octets of unknown types in base64, large numbers of an SOA as negative ones.

use hickory_proto::{
    rr::{
        self, RData, Record,
        rdata::{SVCB, svcb::SvcParamValue},
    },
    serialize::binary::BinEncodable,
};

use crate::message::{Name, Qtype};

/// A type that the library does not know (RFC 6672): its data is a name, never compressed.
const DNAME: u16 = 39;

/// A record in a line.
pub(crate) fn record(record: &Record) -> String {
    let rtype = Qtype(record.record_type().into());
    let (owner, data) = (name(&record.name), data(&record.data));
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
        RData::SOA(it) => {
            let [refresh, retry, expire] =
                [it.refresh, it.retry, it.expire].map(i32::cast_unsigned);
            let (mname, rname) = (name(&it.mname), name(&it.rname));
            format!("{mname} {rname} {} {refresh} {retry} {expire} {}", it.serial, it.minimum)
        }
        RData::TXT(it) => it.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::HINFO(it) => format!("{} {}", quoted(&it.cpu), quoted(&it.os)),
        RData::NAPTR(it) => {
            let texts = [&it.flags, &it.services, &it.regexp].map(|text| quoted(text)).join(" ");
            format!("{} {} {texts} {}", it.order, it.preference, name(&it.replacement))
        }
        RData::SVCB(it) => service(it),
        RData::HTTPS(it) => service(it),
        RData::Unknown { code, rdata } if u16::from(*code) == DNAME => {
            Name::read(&rdata.anything, 0)
                .map_or_else(|_| octets(&rdata.anything), |(it, _)| it.to_string())
        }
        RData::Unknown { rdata, .. } => octets(&rdata.anything),
        RData::Update0(_) => octets(&[]),
        other => other.to_string(),
    }
}

/// A character string, so that it reads back.
fn quoted(octets: &[u8]) -> String {
    let escaped = octets.iter().map(|&octet| match octet {
        b'"' | b'\\' => format!("\\{}", char::from(octet)),
        b' '..=b'~' => char::from(octet).to_string(),
        _ => format!("\\{octet:03}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn service(service: &SVCB) -> String {
    let parameters = service.svc_params.iter().map(|(key, value)| match value {
        SvcParamValue::NoDefaultAlpn => format!(" {key}"),
        // The library has a comma behind the last one of a list.
        value => format!(" {key}={}", value.to_string().trim_end_matches(',')),
    });
    let parameters: String = parameters.collect();
    format!("{} {}{parameters}", service.svc_priority, name(&service.target_name))
}

fn octets(octets: &[u8]) -> String {
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\\# {} {hex}", octets.len()).trim_end().to_owned()
}

/// A name.
pub(crate) fn name(name: &rr::Name) -> String {
    let wire = name.to_bytes().unwrap_or_default();
    Name::read(&wire, 0).map_or_else(|_| name.to_string(), |(name, _)| name.to_string())
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{HINFO, MX, NAPTR, NULL, PTR, SOA, SRV, TXT};

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
                RData::NAPTR(NAPTR::new(
                    1,
                    2,
                    b"s"[..].into(),
                    b"SIP+D2U"[..].into(),
                    b"\"\\"[..].into(),
                    unusual(),
                )),
                format!(r#"NAPTR 1 2 "s" "SIP+D2U" "\"\\" {text}"#),
            ),
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
    #[test]
    fn what_is_written_reads_back() {
        let unknown = |code: u16, octets: &[u8]| RData::Unknown {
            code: code.into(),
            rdata: NULL::with(octets.to_vec()),
        };
        let text = TXT::from_bytes(vec![b"third floor", b"\"b\\\xfc"]);
        let cases = [
            (RData::HINFO(HINFO::new("PC".into(), "Linux x".into())), r#"HINFO "PC" "Linux x""#),
            (RData::TXT(text), r#"TXT "third floor" "\"b\\\252""#),
            (unknown(65281, &[0xc0, 0x0c, 1, 2, 0xff]), r"TYPE65281 \# 5 c00c0102ff"),
            (unknown(39, b"\x01b\x07example\0"), "DNAME b.example."),
            (unknown(39, &[0xc0, 0x0c]), r"DNAME \# 2 c00c"),
            (RData::Update0(65280.into()), r"TYPE65280 \# 0"),
            (
                RData::SOA(SOA::new(rr::Name::root(), rr::Name::root(), 1, i32::MIN, 3, -1, 5)),
                "SOA . . 1 2147483648 3 4294967295 5",
            ),
            (
                RData::try_from_str(
                    rr::RecordType::HTTPS,
                    "1 . alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2",
                )
                .unwrap(),
                "HTTPS 1 . alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2",
            ),
        ];

        for (data, expected) in cases {
            let written = Record::from_rdata("a.example.".parse().unwrap(), 60, data);
            assert_eq!(record(&written), format!("a.example. 60 IN {expected}"));
        }
    }
}

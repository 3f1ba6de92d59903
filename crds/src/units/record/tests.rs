//! Records as people write them.

use proptest::prelude::*;

use super::*;

fn record(ttl: u32, rtype: u16, data: &[u8]) -> Result<Record, RecordError> {
    Ok(Record { ttl, rtype, data: data.to_vec() })
}

#[test]
fn records_of_any_type_are_read() {
    let cases = [
        ("60 IN A 10.0.0.9", record(60, 1, &[10, 0, 0, 9])),
        ("A 10.0.0.9", record(60, 1, &[10, 0, 0, 9])),
        ("IN 5 A 10.0.0.9", record(5, 1, &[10, 0, 0, 9])),
        ("3600 TXT \"third floor\" b", record(3600, 16, b"\x0bthird floor\x01b")),
        ("TXT \"\\200;\\\"\"", record(60, 16, b"\x03\xc8;\"")),
        ("CNAME real.example", record(60, 5, b"\x04real\x07example\0")),
        ("CNAME a\\.b.example.", record(60, 5, b"\x03a.b\x07example\0")),
        ("MX 10 mail.example.", record(60, 15, b"\x00\x0a\x04mail\x07example\0")),
        ("SRV 0 0 389 l.example.", record(60, 33, b"\0\0\0\0\x01\x85\x01l\x07example\0")),
        ("CAA 0 issue \"ca.example\"", record(60, 257, b"\0\x05issueca.example")),
        ("DNAME new.example.", record(60, 39, b"\x03new\x07example\0")),
        ("TXT ( a \"(\" ) ; (", record(60, 16, b"\x01a\x01(")),
        ("TYPE65280 \\# 3 0a0b0c", record(60, 65280, &[10, 11, 12])),
    ];

    for (text, expected) in cases {
        assert_eq!(text.parse::<Record>(), expected, "{text}");
    }
}

#[test]
fn a_record_is_the_same_by_type_and_data_alone() {
    let cases = [
        ("another TTL", "60 A 10.0.0.9", "5 IN A 10.0.0.9", true),
        ("another spelling", "AAAA 2001:db8::1", "AAAA 2001:DB8:0::1", true),
        ("another case of a name", "CNAME a.example", "CNAME A.Example.", true),
        ("behind a number", "MX 10 a.example", "MX 10 A.example", true),
        ("another data", "A 10.0.0.9", "A 10.0.0.8", false),
        ("a number that is no letter", "MX 65 a.example", "MX 97 a.example", false),
        ("a text has its case", "TXT a", "TXT A", false),
        ("so have octets", "TYPE65280 \\# 1 41", "TYPE65280 \\# 1 61", false),
        ("another type", "NS a.example", "PTR a.example", false),
    ];

    for (why, one, other, expected) in cases {
        let [one, other] = [one, other].map(|text| text.parse::<Record>().unwrap());
        assert_eq!(one.is_same(&other), expected, "{why}");
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let errors =
        ["A 10.0.0", "A", "NOTYPE x", "MX mail.example.", "TXT \"open", "60 IN", "CH TXT a"];
    for text in errors {
        assert!(matches!(text.parse::<Record>(), Err(RecordError::Form(_))), "{text}");
    }
    let cases = [
        ("", RecordError::Empty),
        (" ; nothing", RecordError::Empty),
        ("A 10.0.0.9\nA 10.0.0.8", RecordError::Lines),
        ("4294967295 A 10.0.0.9", RecordError::Ttl),
        ("TXT(1", RecordError::Parentheses),
        ("TXT ( \"v=spf1 -all\"", RecordError::Parentheses),
        ("TXT (\\)", RecordError::Parentheses),
        ("TXT (a ; )", RecordError::Parentheses),
        ("TXT a)", RecordError::Parentheses),
        ("TSIG \\# 1 11", RecordError::Type(250)),
        ("OPT \\# 4 000a0000", RecordError::Type(41)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Record>(), Err(expected), "{text}");
    }
}

/// It would end the name in a message, and what is behind it would be read as something else.
#[test]
fn a_name_with_an_empty_label_is_refused_in_the_data_of_every_type() {
    let types = [
        "CNAME {}",
        "DNAME {}",
        "NS {}",
        "PTR {}",
        "MX 1 {}",
        "SRV 1 2 3 {}",
        "SOA {} b. 1 2 3 4 5",
        "SOA b. {} 1 2 3 4 5",
        "RP {} b.",
        "RP b. {}",
        "NAPTR 1 2 s \"SIP+D2U\" \"\" {}",
        "HTTPS 1 {} alpn=h2",
        "SVCB 1 {}",
        "SVCB 1 {} key1=\"\\000\"",
        "NSEC {} A",
        "RRSIG A 8 2 60 20300101000000 20200101000000 1 {} AAAA",
    ];
    for text in types {
        for name in ["a..b.", "a..b", "x.example..", "pre..dest.example.", "a...b."] {
            let text = text.replace("{}", name);
            assert_eq!(text.parse::<Record>(), Err(RecordError::Data), "{text}");
        }
        let text = text.replace("{}", "a.b.");
        assert!(text.parse::<Record>().is_ok(), "{text}");
    }
    assert!("CNAME .dest.example.".parse::<Record>().is_err());
    let short = r"TYPE1 \# 3 0a0000".parse::<Record>().unwrap_err();
    assert!(short.to_string().contains("too short or too long"), "{short}");
}

#[test]
fn a_sound_record_of_every_type_is_taken() {
    let records = [
        "A 192.0.2.1",
        "AAAA 2001:db8::1",
        "NS ns.example.",
        "CNAME .",
        "SOA ns.example. admin.example. 1 7200 3600 1209600 3600",
        "MB a.",
        "MINFO a. b.",
        "PTR *.a.",
        "HINFO \"PC\" \"\"",
        "MX 0 .",
        "TXT a b \"\"",
        "RP a. b.",
        "SRV 0 0 0 .",
        "NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .",
        "DNAME a.",
        "DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
        "CDS 0 0 0 00",
        "SSHFP 2 1 123456789abcdef67890123456789abcdef67890",
        "IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
        "IPSECKEY 10 3 2 gw.example. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
        "RRSIG A 8 2 60 20300101000000 20200101000000 1 a. AAAA",
        "NSEC b.example. A MX RRSIG NSEC TYPE1234",
        "DNSKEY 257 3 8 AwEAAQ==",
        "CDNSKEY 0 3 0 AA==",
        "NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG",
        "NSEC3PARAM 1 0 0 -",
        "TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971",
        "OPENPGPKEY AQNRU3mG",
        "ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c",
        "SVCB 0 other.example.",
        "HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 mandatory=alpn",
        "CAA 128 issue \"ca.example; policy=ev\"",
    ];
    for text in records {
        assert!(text.parse::<Record>().is_ok(), "{text}: {:?}", text.parse::<Record>());
    }
}

#[test]
fn octets_are_those_of_their_type() {
    for (text, is_sound) in [
        ("TYPE5 \\# 3 016100", true),
        ("CNAME \\# 3 016100", true),
        ("TYPE5 \\# 4 01610000", false),
        ("TYPE5 \\# 2 c000", false),
        ("TYPE1 \\# 3 0a0000", false),
        ("TYPE1 \\# 4 0a000001", true),
        ("TYPE15 \\# 4 0001c000", false),
    ] {
        assert_eq!(text.parse::<Record>().is_ok(), is_sound, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_read_back_whole(
        rtype in "CNAME|NS|PTR|DNAME|MX 1|SRV 1 2 3|SVCB 1|HTTPS 1|SOA a.|RP a.|NSEC|NAPTR 1 2 a b c",
        name in r"(([ab*.]|\\\.|\\00[0-3]|\\192){0,9}|(a{60,64}\.{1,2}){1,5})",
        behind in r"( b\.)?( 1 2 3 4 5)?( A)?( port=[1-9])?",
        origin in "\\.|b\\.",
    ) {
        let text = format!("{rtype} {name}{behind}");
        let Ok(Record { rtype, data, .. }) = Record::read(&text, &origin) else { return Ok(()) };
        let mut parser = Parser::from_ref(&*data);
        let parsed = ZoneRecordData::<&[u8], ParsedName<&[u8]>>::parse_rdata(rtype.into(), &mut parser);
        prop_assert!(parsed.is_ok_and(|data| data.is_some()), "{}", text);
        prop_assert_eq!(parser.remaining(), 0, "{}", text);
        let (is_escaped, is_rooted) = (name.contains('\\'), name == ".");
        prop_assert!(is_escaped || is_rooted || !name.contains("..") && !name.starts_with('.'), "{}", text);
    }
}

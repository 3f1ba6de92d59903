use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::crypto::aws_lc_rs;

use super::*;
use crate::upstream::testing::{Authority, Identity, tls};

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;
const NAME: &str = "dns.example";
const ADDRESS: &str = "192.0.2.1";

/// The word for the verdict on a server; the name to be checked is the server name, else its address.
fn verdict(settings: &TlsSettings, identity: &Identity) -> &'static str {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let verifier = Verifier::new(settings, algorithms).unwrap();
    let name = settings.server_name.clone();
    let name = name.unwrap_or_else(|| ServerName::try_from(ADDRESS).unwrap());
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
    match verifier.judge(&identity.chain, &name, now) {
        Ok(()) => "accepted",
        Err(error) => crate::upstream::ExchangeError::from(error).reason(),
    }
}

#[test]
fn without_pins_the_path_and_the_name_decide() {
    let authority = Authority::new("the lab's");
    let other = Authority::new("another");
    let sub = authority.sub_authority("below the lab's");
    let roots = authority.roots();
    let by_name = tls(roots.clone(), Some(NAME));
    let by_address = tls(roots, None);
    let years = |from, to| {
        move |params: &mut CertificateParams| {
            (params.not_before, params.not_after) =
                (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        }
    };
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let as_authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let cases = [
        ("the right name", &by_name, authority.issue(&[NAME]), "accepted"),
        (
            "the right name among others",
            &by_name,
            authority.issue(&["a.example", NAME]),
            "accepted",
        ),
        ("a wildcard for its label", &by_name, authority.issue(&["*.example"]), "name_mismatch"),
        ("the right address", &by_address, authority.issue(&[ADDRESS]), "accepted"),
        (
            "an intermediate in the list",
            &by_name,
            sub.issue(&[NAME]).with(&sub.certificate),
            "accepted",
        ),
        ("an intermediate missing in the list", &by_name, sub.issue(&[NAME]), "untrusted"),
        ("another name", &by_name, authority.issue(&["evil.example"]), "name_mismatch"),
        ("no name", &by_name, authority.issue(&[]), "name_mismatch"),
        (
            "a name where an address is needed",
            &by_address,
            authority.issue(&[NAME]),
            "name_mismatch",
        ),
        ("another address", &by_address, authority.issue(&["192.0.2.2"]), "name_mismatch"),
        (
            "an address where a name is needed",
            &by_name,
            authority.issue(&[ADDRESS]),
            "name_mismatch",
        ),
        ("an authority of others", &by_name, other.issue(&[NAME]), "untrusted"),
        (
            "an authority of others, ours appended",
            &by_name,
            other.issue(&[NAME]).with(&authority.certificate),
            "untrusted",
        ),
        ("nobody's word", &by_name, Identity::self_signed(&[NAME]), "untrusted"),
        ("expired", &by_name, authority.issue_with(&[NAME], years(2020, 2029)), "expired"),
        (
            "not yet valid",
            &by_name,
            authority.issue_with(&[NAME], years(2031, 2040)),
            "not_yet_valid",
        ),
        (
            "a certificate for clients",
            &by_name,
            authority.issue_with(&[NAME], for_clients),
            "bad_certificate",
        ),
        (
            "an authority's certificate",
            &by_name,
            authority.issue_with(&[NAME], as_authority),
            "bad_certificate",
        ),
    ];

    for (why, settings, identity, expected) in cases {
        assert_eq!(verdict(settings, &identity), expected, "{why}");
    }
}

#[test]
fn with_pins_the_verified_path_must_have_a_pinned_key_as_well() {
    let authority = Authority::new("the lab's");
    let other = Authority::new("another");
    let sub = authority.sub_authority("below the lab's");
    let identity = sub.issue(&[NAME]).with(&sub.certificate);
    let cases = [
        ("the server's own key", vec![identity.pin], "accepted"),
        ("one of several", vec![other.pin, identity.pin], "accepted"),
        ("the key of an intermediate of the path", vec![sub.pin], "accepted"),
        ("the key of the anchor", vec![authority.pin], "accepted"),
        ("another key", vec![other.pin], "pin_mismatch"),
    ];

    for (why, pins, expected) in cases {
        let settings = TlsSettings { pins, ..tls(authority.roots(), Some(NAME)) };
        assert_eq!(verdict(&settings, &identity), expected, "{why}");
    }
}

#[test]
fn a_certificate_that_is_merely_appended_matches_no_pin() {
    let authority = Authority::new("the lab's");
    let pinned = authority.sub_authority("pinned");
    let (own, of_others) = (authority.issue(&[NAME]), Authority::new("another").issue(&[NAME]));
    let settings = TlsSettings { pins: vec![pinned.pin], ..tls(authority.roots(), Some(NAME)) };

    let appended = own.with(&pinned.certificate);
    assert_eq!(verdict(&settings, &appended), "pin_mismatch", "it is not on the path");
    let appended = of_others.with(&pinned.certificate);
    assert_eq!(verdict(&settings, &appended), "untrusted", "and a path is needed anyway");
}

#[test]
fn a_pin_does_not_replace_the_path_or_the_name() {
    let authority = Authority::new("the lab's");
    let other = Authority::new("another");
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2029, 1, 1);
    let cases = [
        ("nobody's word", Identity::self_signed(&[NAME]), "untrusted"),
        ("an authority of others", other.issue(&[NAME]), "untrusted"),
        ("another name", authority.issue(&["evil.example"]), "name_mismatch"),
        ("expired", authority.issue_with(&[NAME], expired), "expired"),
    ];

    for (why, identity, expected) in cases {
        let pins = vec![identity.pin];
        let settings = TlsSettings { pins, ..tls(authority.roots(), Some(NAME)) };
        assert_eq!(verdict(&settings, &identity), expected, "{why}");
    }
}

#[test]
fn pins_only_looks_at_the_servers_own_key_and_at_nothing_else() {
    let authority = Authority::new("the lab's");
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2029, 1, 1);
    let own = Identity::self_signed(&["other.example"]);
    let old = authority.issue_with(&[NAME], expired);
    let sub = authority.sub_authority("below the lab's");
    let below = sub.issue(&[NAME]).with(&sub.certificate);
    let cases = [
        ("a self-signed certificate for another name", own.pin, own, "accepted"),
        ("an expired certificate", old.pin, old, "accepted"),
        ("another key", authority.pin, Identity::self_signed(&[NAME]), "pin_mismatch"),
        (
            "the key of an intermediate: its holder could be anybody's customer",
            sub.pin,
            below,
            "pin_mismatch",
        ),
    ];

    for (why, pin, identity, expected) in cases {
        let authentication = Authentication::PinsOnly;
        let settings =
            TlsSettings { pins: vec![pin], authentication, ..tls(Roots::Mozilla, Some(NAME)) };
        assert_eq!(verdict(&settings, &identity), expected, "{why}");
    }
}

#[test]
fn a_mismatch_names_the_key_that_was_presented() {
    let identity = Identity::self_signed(&[NAME]);
    let (pins, authentication) = (vec![Authority::new("another").pin], Authentication::PinsOnly);
    let settings = TlsSettings { pins, authentication, ..tls(Roots::Mozilla, Some(NAME)) };
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let verifier = Verifier::new(&settings, algorithms).unwrap();
    let name = ServerName::try_from(NAME).unwrap();

    let error = verifier.judge(&identity.chain, &name, UnixTime::now()).unwrap_err();

    let expected = format!("pin mismatch: presented {}", identity.pin);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_bundle_needs_one_usable_authority() {
    let authority = Authority::new("the lab's");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = |text: &str| Roots::Pem(text.as_bytes().into());
    let cases = [
        ("one", pem(&authority.pem), true),
        ("one besides a broken one", pem(&format!("{broken}{}", authority.pem)), true),
        ("only a broken one", pem(broken), false),
        ("none", pem("# empty\n"), false),
        ("no file", Roots::Missing("ca.crt: no such file".into()), false),
    ];

    for (why, roots, expected) in cases {
        assert_eq!(Anchors::of(&roots).is_ok(), expected, "{why}");
    }
}

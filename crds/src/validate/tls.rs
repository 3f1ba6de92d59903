//! `tls` of an upstream: what it must prove, and where certificates come from.

use super::{
    Place, Report,
    source::{self, Use, check_object_name, refuse_file, refuse_reference},
};
use crate::{
    units::{Pin, ServerName},
    v1alpha1::{Authentication, ClientCertificate, Tls, Upstream},
};

pub(super) fn check(path: &str, tls: &Tls, place: Place, report: &mut Report) {
    let Tls { server_name, pins, authentication, ca, client_certificate, padding: _ } = tls;
    if let Some(name) = server_name {
        report.parse::<ServerName>(&format!("{path}.serverName"), name);
    }
    let pins = pins.as_deref().unwrap_or_default();
    report.parse_all::<Pin>(&format!("{path}.pins"), pins);
    if *authentication == Authentication::PinsOnly {
        report.require(
            !pins.is_empty(),
            format!("{path}.pins"),
            "authentication PinsOnly needs pins; `dnsproxy pins HOST:PORT` prints them",
        );
        report.require(
            ca.is_none(),
            format!("{path}.ca"),
            "has no meaning for authentication PinsOnly: leave it out",
        );
    }
    if let Some(source) = ca {
        let path = format!("{path}.ca");
        source::check(&path, source, Use::Certificate, place, report);
        let is_pem =
            source.inline.as_ref().is_none_or(|text| text.contains("-----BEGIN CERTIFICATE-----"));
        report.require(is_pem, format!("{path}.inline"), "not a certificate in PEM form");
    }
    if let Some(certificate) = client_certificate {
        check_client_certificate(&format!("{path}.clientCertificate"), certificate, place, report);
    }
}

fn check_client_certificate(
    path: &str,
    certificate: &ClientCertificate,
    place: Place,
    report: &mut Report,
) {
    let ClientCertificate { secret, certificate_file, key_file } = certificate;
    let [has_certificate, has_key] = [certificate_file.is_some(), key_file.is_some()];
    match (secret, has_certificate || has_key) {
        (Some(_), true) => report.add(path, "either secret, or certificateFile and keyFile"),
        (None, false) => report.add(path, "empty: write secret, or certificateFile and keyFile"),
        (None, true) => {
            report.require(
                has_certificate,
                format!("{path}.certificateFile"),
                "missing beside keyFile",
            );
            report.require(has_key, format!("{path}.keyFile"), "missing beside certificateFile");
        }
        (Some(_), false) => {}
    }
    refuse_file(place, &format!("{path}.certificateFile"), has_certificate, "secret", report);
    refuse_file(place, &format!("{path}.keyFile"), has_key, "secret", report);
    refuse_reference(
        place,
        &format!("{path}.secret"),
        secret.is_some(),
        "certificateFile and keyFile",
        report,
    );
    if let Some(secret) = secret {
        check_object_name(&format!("{path}.secret.name"), &secret.name, report);
    }
}

/// Warns of a single pin: with the key's next renewal nothing would work (RFC 7469 §4.3 wants a backup).
pub(super) fn warn(upstreams: &[Upstream], report: &mut Report) {
    for (index, upstream) in upstreams.iter().enumerate() {
        let pins = upstream.tls.as_ref().and_then(|tls| tls.pins.as_deref()).unwrap_or_default();
        let path = format!("spec.upstreams[{index}].tls.pins");
        report.require(pins.len() != 1, path, "a single pin: when the server's key changes, nothing is resolved; add the pin of a backup key");
    }
}

//! `tls` of an upstream: what it must prove, and where certificates come from.

use super::{Place, Report};
use crate::{
    units::{Pin, ServerName},
    v1alpha1::{Authentication, ClientCertificate, KeyReference, Source, Tls, Upstream},
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
        check_source(&format!("{path}.ca"), source, place, report);
    }
    if let Some(certificate) = client_certificate {
        check_client_certificate(&format!("{path}.clientCertificate"), certificate, place, report);
    }
}

fn check_source(path: &str, source: &Source, place: Place, report: &mut Report) {
    let Source { inline, file, config_map, secret } = source;
    let given = [inline.is_some(), file.is_some(), config_map.is_some(), secret.is_some()];
    let count = given.into_iter().filter(|is_given| *is_given).count();
    report.require(
        count == 1,
        path,
        "exactly one of inline, file, configMap and secret must be given",
    );
    if let Some(text) = inline {
        report.require(
            text.contains("-----BEGIN CERTIFICATE-----"),
            format!("{path}.inline"),
            "not a certificate in PEM form",
        );
    }
    refuse_file(place, &format!("{path}.file"), file.is_some(), "configMap or secret", report);
    refuse_reference(place, &format!("{path}.configMap"), config_map.is_some(), "file", report);
    refuse_reference(place, &format!("{path}.secret"), secret.is_some(), "file", report);
    for (field, reference) in [("configMap", config_map), ("secret", secret)] {
        if let Some(KeyReference { name, key }) = reference {
            check_object_name(&format!("{path}.{field}.name"), name, report);
            let is_key =
                key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            let is_key = is_key && !matches!(&**key, "" | "." | "..");
            report.require(
                is_key,
                format!("{path}.{field}.key"),
                "not a key: letters, digits, `-`, `_` and `.`",
            );
        }
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

/// In a cluster a path would be one of the operator's or the pods', which the author may not read.
fn refuse_file(place: Place, path: &str, is_given: bool, instead: &str, report: &mut Report) {
    let is_refused = is_given && place == Place::Cluster;
    report.require(!is_refused, path, format!("a cluster has no files for this: use {instead}"));
}

fn refuse_reference(place: Place, path: &str, is_given: bool, instead: &str, report: &mut Report) {
    let is_refused = is_given && place == Place::File;
    report.require(!is_refused, path, format!("only in a cluster: use {instead}"));
}

/// RFC 1123 subdomains, as Kubernetes names objects.
fn check_object_name(path: &str, name: &str, report: &mut Report) {
    let is_name = name.len() <= 253
        && name.split('.').all(|label| label.parse::<crate::units::Name>().is_ok());
    report.require(
        is_name,
        path,
        "not the name of an object: lower-case letters, digits, `-` and `.`",
    );
}

/// Warns of a single pin: with the key's next renewal nothing would work (RFC 7469 §4.3 wants a backup).
pub(super) fn warn(upstreams: &[Upstream], report: &mut Report) {
    for (index, upstream) in upstreams.iter().enumerate() {
        let pins = upstream.tls.as_ref().and_then(|tls| tls.pins.as_deref()).unwrap_or_default();
        let path = format!("spec.upstreams[{index}].tls.pins");
        report.require(pins.len() != 1, path, "a single pin: when the server's key changes, nothing is resolved; add the pin of a backup key");
    }
}

//! Files of `tls` with which no connection comes about. They are no problems of the manifest, since a file may come later,
//! and are told all the same.

use std::{fs::File, path::Path};

use dnsproxy_api::{
    v1alpha1::{ClientCertificate, Source, Upstream},
    validate::Problem,
};
use jiff::Timestamp;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use webpki::anchor_from_trusted_cert;

use crate::{config::read_bounded, upstream::Certificate};

/// What of the upstreams' files cannot be used. Relative paths start at `folder`.
pub(super) fn problems(upstreams: &[Upstream], folder: &Path, now: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let Some(tls) = &upstream.tls else { continue };
        let ca = tls.ca.as_ref().map(|ca| check_authorities(ca, folder, now));
        let certificate = tls.client_certificate.as_ref();
        let certificate = certificate.map(|it| check_client_certificate(it, folder, now));
        for (field, message) in [ca, certificate].into_iter().flatten().filter_map(Result::err) {
            problems.push(Problem::new(format!("spec.upstreams[{index}].tls.{field}"), message));
        }
    }
    problems
}

/// The field, and what is wrong with it.
type Checked = Result<(), (&'static str, String)>;

/// One of the authorities must be usable: bundles have old ones in them.
fn check_authorities(ca: &Source, folder: &Path, now: Timestamp) -> Checked {
    let (field, pem) = match (&ca.inline, &ca.file) {
        (Some(pem), _) => ("ca.inline", Ok(pem.as_bytes().to_vec())),
        (None, Some(file)) => ("ca.file", read(folder, file)),
        (None, None) => return Ok(()),
    };
    let pem = pem.map_err(|error| (field, error))?;
    let usable: Vec<_> =
        certificates(&pem).filter(|der| anchor_from_trusted_cert(der).is_ok()).collect();
    if usable.is_empty() {
        return Err((field, "no usable certificate in PEM: no server is believed".to_owned()));
    }
    let ends = usable.iter().map(|der| end_of(der)).collect::<Option<Vec<_>>>();
    match ends.into_iter().flatten().max().filter(|last| *last < now) {
        Some(last) => {
            // The dates of an authority are not looked at when a server is judged.
            Err((field, format!("has expired on {last}; it is believed all the same")))
        }
        None => Ok(()),
    }
}

fn check_client_certificate(
    certificate: &ClientCertificate,
    folder: &Path,
    now: Timestamp,
) -> Checked {
    const CERTIFICATE: &str = "clientCertificate.certificateFile";
    const KEY: &str = "clientCertificate.keyFile";
    let ClientCertificate { certificate_file, key_file, secret: _ } = certificate;
    let (Some(chain), Some(key)) = (certificate_file, key_file) else { return Ok(()) };
    let chain = read(folder, chain).map_err(|error| (CERTIFICATE, error))?;
    let key = read(folder, key).map_err(|error| (KEY, error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|_| (CERTIFICATE, "a part of it is no PEM".to_owned()))?;
    let own = chain.first().ok_or_else(|| (CERTIFICATE, "no certificate in PEM".to_owned()))?;
    let end = end_of(own);
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| (KEY, "no private key in PEM".to_owned()))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
        let message = match error {
            rustls::Error::InconsistentKeys(_) => {
                "the key is another one than that of the certificate".to_owned()
            }
            error => format!("cannot be used: {error}"),
        };
        (KEY, message)
    })?;
    match end.filter(|end| *end < now) {
        Some(end) => Err((CERTIFICATE, format!("it has expired on {end}"))),
        None => Ok(()),
    }
}

fn read(folder: &Path, path: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(path);
    let octets = File::open(&path).and_then(read_bounded);
    octets.map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn end_of(der: &[u8]) -> Option<Timestamp> {
    Certificate::read(der).map(|certificate| certificate.not_after)
}

//! Whether a TLS server is the one that the manifest means (RFC 7858 section 4.2, RFC 8310 section 8).
//!
//! - `PKIX`: a path to a trusted authority (RFC 5280), the right name or IP address in the certificate
//!   (RFC 6125, RFC 8310 section 8.1), and a pin when there are pins. A pin matches the server's own
//!   certificate or one of the *verified path*, its anchor included: what a server merely appends to its
//!   list proves nothing, since everybody has a copy of everybody's certificates.
//! - `PinsOnly`: the key of the server's own certificate is pinned; nothing else is looked at.
//!
//! Either way rustls has the server prove that it holds the key. Revocation is not looked up: it would
//! need names resolved before names can be resolved.

use std::{cell::Cell, sync::Arc};

use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime, pem::PemObject},
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert, spki_for_anchor};

use super::{
    error::{HandshakeError, MaterialError},
    pins::{self, Pin},
    settings::{Authentication, Roots, TlsSettings},
};

/// Judges the certificates of the servers of one upstream.
#[derive(Debug)]
pub struct Verifier {
    authentication: Authentication,
    pins: Vec<Pin>,
    anchors: Anchors,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// A verifier for these settings; an error when there is nobody to trust.
    pub fn new(
        settings: &TlsSettings,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, MaterialError> {
        let anchors = Anchors::of(&settings.roots)?;
        let (authentication, pins) = (settings.authentication, settings.pins.clone());
        Ok(Self { authentication, pins, anchors, algorithms })
    }

    /// Judges the certificate list of a server, its own certificate first.
    pub fn judge(
        &self,
        certificates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), HandshakeError> {
        let (own, others) = certificates
            .split_first()
            .ok_or(HandshakeError::BadCertificate(webpki::Error::BadDer))?;
        let own = EndEntityCert::try_from(own)?;
        match self.authentication {
            Authentication::Pkix => {
                self.verify_path(&own, others, now)?;
                Ok(own.verify_is_valid_for_subject_name(name)?)
            }
            Authentication::PinsOnly if self.pins.contains(&pin_of(&own)) => Ok(()),
            Authentication::PinsOnly => {
                Err(HandshakeError::PinMismatch { presented: pin_of(&own) })
            }
        }
    }

    /// Looks for a path to an authority that has a pinned key in it.
    fn verify_path(
        &self,
        own: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), HandshakeError> {
        let saw_unpinned_path = Cell::new(false);
        let check_pins = |path: &VerifiedPath<'_>| {
            if self.is_pinned(path) {
                return Ok(());
            }
            saw_unpinned_path.set(true);
            Err(webpki::Error::UnknownIssuer)
        };
        own.verify_for_usage(
            self.algorithms.all,
            self.anchors.as_slice(),
            others,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&check_pins),
        )
        .map(|_| ())
        .map_err(|error| match saw_unpinned_path.get() {
            true => HandshakeError::PinMismatch { presented: pin_of(own) },
            false => error.into(),
        })
    }

    fn is_pinned(&self, path: &VerifiedPath<'_>) -> bool {
        let has = |spki: &[u8]| self.pins.contains(&pins::of_spki(spki));
        self.pins.is_empty()
            || self.pins.contains(&pin_of(path.end_entity()))
            || path.intermediate_certificates().any(|ca| has(&ca.subject_public_key_info()))
            || has(&spki_for_anchor(path.anchor()))
    }
}

fn pin_of(certificate: &EndEntityCert<'_>) -> Pin {
    pins::of_spki(&certificate.subject_public_key_info())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificates: Vec<_> =
            std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.judge(&certificates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The authorities that a path may end at.
#[derive(Debug)]
enum Anchors {
    Mozilla,
    Own(Arc<[TrustAnchor<'static>]>),
}

impl Anchors {
    /// A certificate of a bundle that cannot be used is skipped, as everybody does: bundles of
    /// organisations have old ones in them. One at least must be usable.
    fn of(roots: &Roots) -> Result<Self, MaterialError> {
        let pem = match roots {
            Roots::Mozilla => return Ok(Self::Mozilla),
            Roots::Missing(why) => return Err(MaterialError::Missing(Arc::clone(why))),
            Roots::Pem(pem) => pem,
        };
        let anchors: Arc<[_]> = CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .filter_map(|der| Some(anchor_from_trusted_cert(&der).ok()?.to_owned()))
            .collect();
        if anchors.is_empty() { Err(MaterialError::NoAuthority) } else { Ok(Self::Own(anchors)) }
    }

    fn as_slice(&self) -> &[TrustAnchor<'static>] {
        match self {
            Self::Mozilla => webpki_roots::TLS_SERVER_ROOTS,
            Self::Own(anchors) => anchors,
        }
    }
}

#[cfg(test)]
mod tests;

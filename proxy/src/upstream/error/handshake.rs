//! Why a TLS handshake did not lead to an authenticated server, with the way out where there is one.

use std::{io, sync::Arc};

use jiff::Timestamp;
use rustls::pki_types::{ServerName, UnixTime};

use crate::upstream::pins::Pin;

/// Why a TLS handshake did not lead to an authenticated server.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// No pin matches.
    #[error(
        "pin mismatch: presented {presented}; add this pin only if the operator of the server confirms it"
    )]
    PinMismatch {
        /// The pin of the server's own certificate.
        presented: Pin,
    },
    /// The certificate is for others.
    #[error("name mismatch: wanted {}, the certificate is for {}", wanted.to_str(), list(presented))]
    NameMismatch {
        /// The name that was required.
        wanted: ServerName<'static>,
        /// The names that the certificate has.
        presented: Arc<[String]>,
    },
    /// A certificate of the path is too old.
    #[error("certificate expired on {}: the server must renew it, or our clock is wrong", date(*not_after))]
    Expired {
        /// The end of its validity.
        not_after: UnixTime,
    },
    /// A certificate of the path is from the future.
    #[error("certificate not valid before {}: is our clock right?", date(*not_before))]
    NotYetValid {
        /// The start of its validity.
        not_before: UnixTime,
    },
    /// No path leads to a trusted authority.
    #[error(
        "untrusted certificate: no path to a trusted authority; set tls.ca if the authority is your own"
    )]
    Untrusted,
    /// The certificate cannot serve as a server's.
    #[error("bad certificate: {error}{way_out}", error = .0, way_out = way_out(.0))]
    BadCertificate(webpki::Error),
    /// The server wants a certificate of ours, or another one.
    #[error("the server refused our client certificate ({0:?}): check tls.clientCertificate")]
    ClientCertificate(rustls::AlertDescription),
    /// TLS failed in another way.
    #[error("TLS handshake failed: {0}")]
    Protocol(#[source] rustls::Error),
    /// The connection ended during the handshake.
    #[error(
        "the connection broke during the TLS handshake: does the server speak DNS over TLS on this port? ({0})"
    )]
    Broken(#[source] Arc<io::Error>),
}

impl HandshakeError {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::PinMismatch { .. } => "pin_mismatch",
            Self::NameMismatch { .. } => "name_mismatch",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Untrusted => "untrusted",
            Self::BadCertificate(_) => "bad_certificate",
            Self::ClientCertificate(_) => "client_certificate",
            Self::Protocol(_) => "protocol",
            Self::Broken(_) => "handshake_broken",
        }
    }
}

impl From<webpki::Error> for HandshakeError {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { not_after, .. } => Self::Expired { not_after },
            webpki::Error::CertNotValidYet { not_before, .. } => Self::NotYetValid { not_before },
            webpki::Error::UnknownIssuer => Self::Untrusted,
            webpki::Error::InvalidSignatureForPublicKey => Self::Untrusted,
            webpki::Error::CertNotValidForName(context) => {
                let presented =
                    context.presented.iter().map(|name| bare(name).to_owned()).collect();
                Self::NameMismatch { wanted: context.expected, presented }
            }
            other => Self::BadCertificate(other),
        }
    }
}

/// The verifier's own refusals travel inside rustls' error; everything else is rustls' to name.
impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        else {
            return Self::Broken(Arc::new(error));
        };
        match tls {
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => other
                .0
                .downcast_ref::<Self>()
                .cloned()
                .unwrap_or_else(|| Self::Protocol(tls.clone())),
            rustls::Error::AlertReceived(
                alert @ (rustls::AlertDescription::CertificateRequired
                | rustls::AlertDescription::BadCertificate
                | rustls::AlertDescription::CertificateUnknown
                | rustls::AlertDescription::CertificateExpired
                | rustls::AlertDescription::UnknownCA
                | rustls::AlertDescription::AccessDenied),
            ) => Self::ClientCertificate(*alert),
            _ => Self::Protocol(tls.clone()),
        }
    }
}

impl From<HandshakeError> for rustls::Error {
    fn from(error: HandshakeError) -> Self {
        rustls::CertificateError::Other(rustls::OtherError(Arc::new(error))).into()
    }
}

/// What to do about a certificate that no server should have; empty where the error says it all.
fn way_out(error: &webpki::Error) -> &'static str {
    match error {
        webpki::Error::CaUsedAsEndEntity => {
            ": the server's own certificate is an authority's, as `openssl req -x509` makes them; have one issued with CA:FALSE, or pin its key with authentication: PinsOnly"
        }
        webpki::Error::EndEntityUsedAsCa => {
            ": what issued the server's certificate is no authority (CA:FALSE)"
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            ": it is not for servers, its extended key usage lacks serverAuth"
        }
        _ => "",
    }
}

/// A time as RFC 3339 writes it.
fn date(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The name in `DnsName("dns.example")`, or the address in `IpAddress(192.0.2.1)`.
fn bare(name: &str) -> &str {
    name.split(['(', ')', '"']).rfind(|part| !part.is_empty()).unwrap_or(name)
}

/// The first names of a certificate; a long list would drown the rest of the message.
fn list(names: &[String]) -> String {
    match names {
        [] => "no name".to_owned(),
        [first] => first.clone(),
        [first, second] => format!("{first}, {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_an_authority_has_a_way_out() {
        let error = HandshakeError::from(webpki::Error::CaUsedAsEndEntity).to_string();
        assert!(error.starts_with("bad certificate: CaUsedAsEndEntity: "), "{error}");
        assert!(error.contains("PinsOnly"), "{error}");
        let error = HandshakeError::from(webpki::Error::BadDer).to_string();
        assert_eq!(error, "bad certificate: BadDer");
    }
}

//! Certificates of our own: the good one, and one for every way of being bad.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// The name that the good certificates are for.
pub const NAME: &str = "dns.example";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a server shows, and the key that belongs to the first certificate.
#[derive(Clone)]
pub struct Identity {
    /// The chain as it is sent: the server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// The pin of the server's own certificate.
    pub pin: String,
    /// The chain as PEM.
    pub chain_pem: String,
    /// The private key as PEM.
    pub key_pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new("Test root")
    }
}

impl Authority {
    /// A root of its own.
    pub fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority_params(name), new_key());
        Self { issuer: issuer.expect("a root certificate") }
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| ())
    }

    /// An authority below this one, bent in some way.
    pub fn intermediate_with(&self, name: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        bend(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, new_key(), &self.issuer);
        Self { issuer: issuer.expect("an intermediate certificate") }
    }

    /// The certificate as PEM, to be given as `tls.ca`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The pin of its key.
    pub fn pin(&self) -> String {
        pin(self.issuer.key())
    }

    /// A good certificate for [`NAME`].
    pub fn server(&self) -> Identity {
        self.issue(&[NAME], |_| ())
    }

    /// A good certificate for an address, and for no name.
    pub fn server_at(&self, address: IpAddr) -> Identity {
        self.issue(&[], |params| params.subject_alt_names = vec![SanType::IpAddress(address)])
    }

    /// A certificate for these names, bent in some way.
    pub fn issue(&self, names: &[&str], bend: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.issue_for_key(names, new_key(), bend)
    }

    /// A certificate for a key that exists already: what a renewal that keeps its key gives.
    pub fn issue_for_key(
        &self,
        names: &[&str],
        key: KeyPair,
        bend: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = server_params(names);
        bend(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a server certificate");
        Identity::new(certificate.der().clone(), &key)
    }
}

impl Identity {
    /// A certificate that vouches for itself.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = new_key();
        let certificate =
            server_params(names).self_signed(&key).expect("a self-signed certificate");
        Self::new(certificate.der().clone(), &key)
    }

    fn new(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self {
            chain_pem: pem("CERTIFICATE", &certificate),
            chain: vec![certificate],
            key: Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der()).into()),
            pin: pin(key),
            key_pem: key.serialize_pem(),
        }
    }

    /// With another certificate behind those that are there.
    #[must_use]
    pub fn followed_by(mut self, authority: &Authority) -> Self {
        self.chain_pem += &authority.pem();
        self.chain.push(authority.certificate());
        self
    }
}

/// Dates from long ago.
pub fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 1, 1);
}

/// Dates far ahead.
pub fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2090, 1, 1);
    params.not_after = date_time_ymd(2091, 1, 1);
}

/// The name only where nobody may look any more (RFC 9525 section 4.1): in the subject.
pub fn common_name_only(params: &mut CertificateParams) {
    params.subject_alt_names.clear();
    params.distinguished_name.push(DnType::CommonName, NAME);
}

/// A key that may authenticate clients and nobody else.
pub fn for_clients_only(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// A certificate that is no authority, whoever it signs for.
pub fn not_an_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
}

/// A new key pair.
pub fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

/// The pin of a key: the hash of its SubjectPublicKeyInfo (RFC 7858 section 4.2).
pub fn pin(key: &KeyPair) -> String {
    let suite =
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(&key.subject_public_key_info());
    format!("sha256/{}", BASE64_STANDARD.encode(hash.as_ref()))
}

/// A pin that no key has.
pub fn wrong_pin() -> String {
    format!("sha256/{}", BASE64_STANDARD.encode([7; 32]))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names for a certificate");
    params.distinguished_name.push(DnType::CommonName, "A server of the tests");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

//! Which configuration runs, as `/config` shows it.
//!
//! Only public things: certificates and authorities by hash, expiry and pin; of a private key nothing.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Serialize;

use super::{Config, LoadError, PublicFile, chain};
use crate::upstream::Certificate;

/// The configuration that runs, and the one that was rejected since.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// The first 16 hexadecimal digits of the SHA-256 of the manifest's text.
    pub hash: String,
    /// `metadata.generation`, when the manifest has it.
    pub generation: Option<i64>,
    /// When it was loaded (RFC 3339).
    pub loaded_at: String,
    /// The newest configuration, when it could not be used.
    pub rejected: Option<Rejected>,
    /// The public files that it refers to.
    pub files: Vec<FileStatus>,
    /// The certificates in these files.
    pub certificates: Vec<CertificateStatus>,
}

/// A configuration that could not be used.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The hash of its content, when it could be read.
    pub hash: Option<String>,
    /// What is wrong with it.
    pub error: String,
}

/// A public file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStatus {
    /// Its path.
    pub path: String,
    /// The hash of its content; `None` while it is missing.
    pub sha256: Option<String>,
}

/// A certificate in a file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The file's path.
    pub path: String,
    /// When it expires (RFC 3339).
    pub not_after: String,
    /// Its pin.
    pub spki: String,
}

impl ConfigStatus {
    /// A configuration that has just been loaded.
    pub fn loaded(config: &Config) -> Self {
        let file = |file: &PublicFile| FileStatus {
            path: file.path.display().to_string(),
            sha256: file.sha256.clone(),
        };
        Self {
            hash: config.hash.clone(),
            generation: config.generation,
            loaded_at: Timestamp::now().to_string(),
            rejected: None,
            files: config.public_files.iter().map(file).collect(),
            certificates: config.public_files.iter().flat_map(certificates).collect(),
        }
    }

    /// Notes that a newer configuration could not be used.
    pub fn reject(&mut self, error: &LoadError) {
        self.rejected =
            Some(Rejected { hash: error.hash().map(str::to_owned), error: chain(error) });
    }
}

fn certificates(file: &PublicFile) -> Vec<CertificateStatus> {
    let ders = CertificateDer::pem_slice_iter(file.octets.as_deref().unwrap_or_default());
    let status = |certificate: Certificate| CertificateStatus {
        path: file.path.display().to_string(),
        not_after: certificate.not_after.to_string(),
        spki: certificate.pin.to_string(),
    };
    ders.flatten().filter_map(|der| Certificate::read(&der)).map(status).collect()
}

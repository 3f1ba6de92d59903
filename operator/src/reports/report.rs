//! What a pod says about itself: `/config` and `/upstreams` of the proxy, as far as the operator knows them.
//!
//! Another version of the proxy may say more or less. No more is kept of a part than there can be of it in a report.

use dnsproxy_api::bounds;
use serde::Deserialize;

use super::bounded;

/// What a pod says about itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its configuration.
    pub config: Option<ConfigReport>,
    /// Its upstreams.
    pub upstreams: Option<UpstreamsReport>,
    /// Whether it has not told its configuration for longer than a moment.
    pub is_silent: bool,
}

/// `/config` of the proxy. What else it says is for people.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigReport {
    /// The hash of the configuration that it runs.
    #[serde(deserialize_with = "bounded::optional_text::<_, WORD>")]
    pub hash: Option<String>,
    /// The configuration that it was given and did not take.
    pub rejected: Option<Rejected>,
    /// The files that its configuration refers to.
    #[serde(deserialize_with = "bounded::items::<_, _, FILES>")]
    pub files: Vec<FileReport>,
}

/// A file that a configuration refers to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FileReport {
    /// Where it should be.
    #[serde(deserialize_with = "bounded::text::<_, PATH>")]
    pub path: String,
    /// The hash of its content; none when it is not there. A private key is never told.
    #[serde(deserialize_with = "bounded::optional_text::<_, WORD>")]
    pub sha256: Option<String>,
}

/// A configuration that a pod did not take.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rejected {
    /// Its hash.
    #[serde(deserialize_with = "bounded::optional_text::<_, WORD>")]
    pub hash: Option<String>,
    /// Why not.
    #[serde(deserialize_with = "bounded::text::<_, ERROR>")]
    pub error: String,
}

/// `/upstreams` of the proxy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UpstreamsReport {
    /// All upstreams.
    #[serde(deserialize_with = "bounded::items::<_, _, UPSTREAMS>")]
    pub upstreams: Vec<UpstreamReport>,
}

/// One upstream as one pod sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UpstreamReport {
    /// The upstream's name.
    #[serde(deserialize_with = "bounded::text::<_, WORD>")]
    pub name: String,
    /// Its servers.
    #[serde(deserialize_with = "bounded::items::<_, _, SERVERS>")]
    pub servers: Vec<ServerReport>,
}

/// One server as one pod sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServerReport {
    /// Where it is.
    #[serde(deserialize_with = "bounded::text::<_, WORD>")]
    pub address: String,
    /// `Unknown`, `Healthy`, `Suspect` or `Unhealthy`.
    #[serde(deserialize_with = "bounded::text::<_, WORD>")]
    pub state: String,
    /// Why not, in one word.
    #[serde(deserialize_with = "bounded::optional_text::<_, WORD>")]
    pub reason: Option<String>,
    /// Why not, for people.
    #[serde(deserialize_with = "bounded::optional_text::<_, MESSAGE>")]
    pub message: Option<String>,
}

/// As many as a manifest may have.
pub(super) const UPSTREAMS: usize = bounds::UPSTREAMS as usize;
pub(super) const SERVERS: usize = bounds::ADDRESSES as usize;
/// More than the references of any manifest that was seen; the kubelet is not hastened for what is left out. Our guess.
pub(super) const FILES: usize = 1024;
/// In octets: an upstream's name, a SHA-256 in hexadecimal digits and an address with its port have no more.
pub(super) const WORD: usize = 64;
/// The names of a reference's object and key, and where they are put.
const PATH: usize = 1024;
/// As much as an upstream's status tells.
pub(super) const MESSAGE: usize = 512;
/// As much as a condition tells.
pub(super) const ERROR: usize = 4096;

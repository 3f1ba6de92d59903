//! Where certificates come from: a file, a ConfigMap, a Secret, or the manifest itself.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Exactly one of its members.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,

    /// A file; a relative path starts at the manifest's folder. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,

    /// A key of a ConfigMap in the object's namespace. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyReference>,

    /// A key of a Secret in the object's namespace. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyReference>,
}

/// One key of a ConfigMap or Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// The object's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// A certificate with its private key: a Secret of type `kubernetes.io/tls`, or two files.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// A Secret of type `kubernetes.io/tls` in the object's namespace. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<NameReference>,

    /// The PEM file with the certificate chain. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<String>,

    /// The PEM file with the private key. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
}

/// An object of the same namespace, by name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameReference {
    /// The object's name.
    pub name: String,
}

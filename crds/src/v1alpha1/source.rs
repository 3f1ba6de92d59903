//! Where certificates and lists come from: a file, a ConfigMap, a Secret, or the manifest itself.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;

/// Exactly one of its members.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.inline), has(self.file), has(self.configMap), has(self.secret)].exists_one(x, x)"
    )
    .message("exactly one of inline, file, configMap and secret must be given"),
    validation = Rule::new("!has(self.file)")
        .message("a cluster has no files for this: use configMap or secret")
)]
pub struct Source {
    /// The text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::INLINE))]
    pub inline: Option<String>,

    /// A file; a relative path starts at the manifest's folder. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::PATH))]
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
    #[schemars(length(min = 1, max = bounds::REFERENCE))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = bounds::REFERENCE))]
    pub key: String,
}

/// A certificate with its private key: a Secret of type `kubernetes.io/tls`, or two files.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.certificateFile) && !has(self.keyFile)")
        .message("a cluster has no files for this: use secret"),
    validation = Rule::new("has(self.secret) || (has(self.certificateFile) && has(self.keyFile))")
        .message("secret must be given")
)]
pub struct ClientCertificate {
    /// A Secret of type `kubernetes.io/tls` in the object's namespace. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<NameReference>,

    /// The PEM file with the certificate chain. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::PATH))]
    pub certificate_file: Option<String>,

    /// The PEM file with the private key. Refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::PATH))]
    pub key_file: Option<String>,
}

/// An object of the same namespace, by name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameReference {
    /// The object's name.
    #[schemars(length(min = 1, max = bounds::REFERENCE))]
    pub name: String,
}

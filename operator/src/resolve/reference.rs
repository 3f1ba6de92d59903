//! References: keys of ConfigMaps and Secrets that a spec names, and where pods find them.

use std::{collections::BTreeSet, fmt};

use dnsproxy_api::{
    DnsProxySpec, bounds,
    v1alpha1::{NameReference, Source, Tls},
    validate::is_key,
};

use crate::render::names;

/// One key of one object in the `DnsProxy`'s namespace.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    /// Of which kind the object is.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// The kinds that can be referred to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

impl Reference {
    /// Everything that a spec refers to.
    #[must_use]
    pub fn all(spec: &DnsProxySpec) -> BTreeSet<Self> {
        let tls = spec.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref());
        let lists = spec.lists.iter().flatten().flat_map(|list| &list.sources);
        let hosts = spec.hosts.iter().flat_map(|hosts| &hosts.sources);
        let names = lists.chain(hosts).filter_map(Self::of_source);
        tls.flat_map(Self::of_tls).chain(names).collect()
    }

    fn of_tls(tls: &Tls) -> Vec<Self> {
        let secret =
            tls.client_certificate.as_ref().and_then(|certificate| certificate.secret.as_ref());
        let ca = tls.ca.as_ref().and_then(Self::of_source);
        ca.into_iter().chain(secret.into_iter().flat_map(Self::of_tls_secret)).collect()
    }

    /// What a source refers to, when it is not the text itself.
    #[must_use]
    pub fn of_source(source: &Source) -> Option<Self> {
        let (kind, reference) = match (&source.config_map, &source.secret) {
            (Some(reference), _) => (Kind::ConfigMap, reference),
            (None, Some(reference)) => (Kind::Secret, reference),
            (None, None) => return None,
        };
        Some(Self { kind, name: reference.name.clone(), key: reference.key.clone() })
    }

    /// The certificate chain and the private key in a Secret of type `kubernetes.io/tls`.
    #[must_use]
    pub fn of_tls_secret(secret: &NameReference) -> [Self; 2] {
        ["tls.crt", "tls.key"].map(|key| Self {
            kind: Kind::Secret,
            name: secret.name.clone(),
            key: key.to_owned(),
        })
    }

    /// Where it is in the pods' volume.
    #[must_use]
    pub fn path(&self) -> String {
        format!("refs/{}/{}/{}", self.kind.folder(), self.name, self.key)
    }

    /// The file that it is for the proxy.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}/{}", names::DIRECTORY, self.path())
    }

    /// Whether an object can have this name (RFC 1123), and a key this one.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let is_part =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let is_name = !self.name.is_empty()
            && self.name.len() <= bounds::REFERENCE as usize
            && self.name.chars().all(is_part)
            && !self.name.contains("..");
        is_name && is_key(&self.key)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, key } = self;
        write!(f, "{kind} {name} (key {key})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_change_a_path_is_impossible() {
        let possible = |name: &str, key: &str| {
            Reference { kind: Kind::Secret, name: name.into(), key: key.into() }.is_possible()
        };

        assert!(possible("corp-ca.v2", "ca.crt"));
        assert!(possible("corp-ca", "ads..txt"), "Kubernetes takes it");
        assert!(!possible("", "ca.crt"), "nothing");
        assert!(!possible("a/b", "ca.crt"), "a path of its own");
        assert!(!possible("..", "ca.crt"), "the folder above");
        assert!(!possible("a", "."), "the folder itself");
        assert!(!possible("a", "..data"), "what the kubelet keeps for itself");
        assert!(!possible("a", "../ca.crt"), "another reference's folder");
    }
}

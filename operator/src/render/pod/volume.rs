//! The one volume: the configuration, and everything that it refers to.
//!
//! Mounted as a directory, since the kubelet never renews a file that is mounted by itself. What the
//! configuration refers to is optional: a Secret that appears later is delivered, and one that is
//! missing stops only the upstream that needs it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume,
    VolumeProjection,
};

use crate::{
    render::names,
    resolve::{Kind, Reference},
    validate::ValidatedDnsProxy,
};

pub(super) fn volume(proxy: &ValidatedDnsProxy) -> Volume {
    let mut by_object: BTreeMap<(Kind, &str), Vec<KeyToPath>> = BTreeMap::new();
    for reference in &proxy.references {
        by_object.entry((reference.kind, &reference.name)).or_default().push(item(reference));
    }
    let sources =
        by_object.into_iter().map(|((kind, name), items)| projection(kind, name, items, true));
    let config = projection(Kind::ConfigMap, &names::config_map(proxy), vec![file()], false);
    Volume {
        name: names::VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(std::iter::once(config).chain(sources).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The configuration itself: not optional, so that a pod waits for it and does not start without.
fn file() -> KeyToPath {
    KeyToPath { key: names::FILE.to_owned(), path: names::FILE.to_owned(), mode: None }
}

fn item(reference: &Reference) -> KeyToPath {
    KeyToPath { key: reference.key.clone(), path: reference.path(), mode: None }
}

fn projection(
    kind: Kind,
    name: &str,
    items: Vec<KeyToPath>,
    is_optional: bool,
) -> VolumeProjection {
    let optional = is_optional.then_some(true);
    let (name, items) = (name.to_owned(), Some(items));
    match kind {
        Kind::ConfigMap => VolumeProjection {
            config_map: Some(ConfigMapProjection { name, items, optional }),
            ..VolumeProjection::default()
        },
        Kind::Secret => VolumeProjection {
            secret: Some(SecretProjection { name, items, optional }),
            ..VolumeProjection::default()
        },
    }
}

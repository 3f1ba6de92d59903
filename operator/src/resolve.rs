//! Resolving: everything that one reconcile has to know beyond the object itself.
//!
//! Talks to the API, but never reads the contents of what a spec refers to: whether it exists, and with
//! which keys, is all that the operator may know; the kubelet delivers it to the pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use dnsproxy_api::DnsProxy;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _, api::ObjectMeta};
use tokio::time::Instant;

pub use found::Found;
pub use reference::{Kind, Reference};

use crate::{
    cluster::{Facts, dns},
    context::Context,
};

mod found;
mod keys;
mod reference;

/// What is known beyond the object.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// What all objects share.
    pub facts: Arc<Facts>,
    /// What the spec refers to and does not exist.
    pub missing: BTreeMap<Reference, Absence>,
    /// The addresses of the Services that the operator made, each with the `DnsProxy` it belongs to.
    pub own_services: Vec<(IpAddr, String)>,
}

/// What of a reference does not exist.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Absence {
    /// The object.
    Object,
    /// The key in it.
    Key,
}

/// Why something could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The API did not say whether a referenced object exists.
    #[error("cannot look for {reference}")]
    Lookup {
        /// What was looked for.
        reference: Reference,
        /// Why not.
        source: kube::Error,
    },
    /// The operator is ending.
    #[error("the watches have ended")]
    Ended,
}

/// Finds out what is known beyond the object. Waits until the watches have seen everything once.
///
/// # Errors
/// When the API does not answer.
pub async fn resolve(proxy: &DnsProxy, context: &Context) -> Result<Resolved, ResolveError> {
    context.owned.ready().await.map_err(|_| ResolveError::Ended)?;
    let facts = facts(context).await?;
    let namespace = proxy.namespace().unwrap_or_default();
    let references = Reference::all(&proxy.spec);
    let missing = missing(&context.client, &context.found, &namespace, references).await?;
    Ok(Resolved { facts, missing, own_services: own_services(context) })
}

async fn facts(context: &Context) -> Result<Arc<Facts>, ResolveError> {
    let mut facts = context.facts.clone();
    let known = facts.wait_for(Option::is_some).await.map_err(|_| ResolveError::Ended)?;
    known.clone().ok_or(ResolveError::Ended)
}

/// What does not exist of these. Each object is looked for once, whatever the number of its keys, and several at the
/// same time: a reconcile must come to its end with as many as a manifest may have. What was found before is not looked
/// for at all until something is heard of it.
async fn missing(
    client: &Client,
    found: &Found,
    namespace: &str,
    references: BTreeSet<Reference>,
) -> Result<BTreeMap<Reference, Absence>, ResolveError> {
    // A name that cannot be one must not become part of a request's path.
    let (possible, impossible): (BTreeSet<_>, BTreeSet<_>) =
        references.into_iter().partition(Reference::is_possible);
    let impossible = impossible.into_iter().map(|reference| (reference, Absence::Object));
    let look = found.look(Instant::now());
    let asked = possible.into_iter().filter(|reference| !found.has(namespace, reference, look));
    let asked: BTreeSet<_> = asked.collect();
    let mut objects = BTreeMap::<_, Vec<_>>::new();
    for reference in asked.iter().cloned() {
        objects.entry((reference.kind, reference.name.clone())).or_default().push(reference);
    }
    let looks: Vec<_> = objects
        .into_values()
        .map(|references| absent(client, found, namespace, references))
        .collect();
    let absent: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
    let absent: BTreeMap<_, _> = absent.into_iter().flatten().collect();
    let present = asked.into_iter().filter(|reference| !absent.contains_key(reference));
    found.remember(namespace, present.collect(), look);
    Ok(absent.into_iter().chain(impossible).collect())
}

/// What does not exist of these references to one object.
async fn absent(
    client: &Client,
    found: &Found,
    namespace: &str,
    references: Vec<Reference>,
) -> Result<Vec<(Reference, Absence)>, ResolveError> {
    let Some(reference) = references.first() else { return Ok(vec![]) };
    let metadata = metadata(client, namespace, reference).await;
    let metadata =
        metadata.map_err(|source| ResolveError::Lookup { reference: reference.clone(), source })?;
    if let Some(metadata) = &metadata {
        found.follow(reference.kind, metadata);
    }
    let keys = metadata.as_ref().map(keys::of);
    let absence = |reference: &Reference| match &keys {
        None => Some(Absence::Object),
        Some(Some(keys)) if !keys.contains(&*reference.key) => Some(Absence::Key),
        // A key that is not told may be there.
        Some(_) => None,
    };
    let absent = references.into_iter().filter_map(|it| absence(&it).map(|absence| (it, absence)));
    Ok(absent.collect())
}

async fn metadata(
    client: &Client,
    namespace: &str,
    reference: &Reference,
) -> Result<Option<ObjectMeta>, kube::Error> {
    Ok(match reference.kind {
        Kind::ConfigMap => {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            api.get_metadata_opt(&reference.name).await?.map(|object| object.metadata)
        }
        Kind::Secret => {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            api.get_metadata_opt(&reference.name).await?.map(|object| object.metadata)
        }
    })
}

fn own_services(context: &Context) -> Vec<(IpAddr, String)> {
    let services = context.owned.services.state();
    services
        .iter()
        .flat_map(|service| {
            let proxy =
                format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any());
            dns::cluster_ips(service).into_iter().map(move |address| (address, proxy.clone()))
        })
        .collect()
}

/// Objects of one reconcile that are looked for at the same time. Our guess.
const CONCURRENCY: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, api_server::ApiServer};

    const CA: &str = "/api/v1/namespaces/resolvers/configmaps/corp-ca";

    #[tokio::test]
    async fn what_is_referred_to_and_missing_is_found_out_without_reading_it() {
        let metadata = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "corp-ca", "namespace": "resolvers"},
        });
        let (resolved, asked) = ApiServer::default()
            .with(CA, metadata)
            .during(async |client| {
                resolve(&fixtures::proxy("full"), &fixtures::context(client)).await.unwrap()
            })
            .await;

        let missing: Vec<_> = resolved.missing.keys().map(ToString::to_string).collect();
        assert_eq!(
            missing,
            [
                "ConfigMap ads (key ads.txt.gz)",
                "ConfigMap ads (key hosts)",
                "Secret dot-client (key tls.crt)",
                "Secret dot-client (key tls.key)"
            ]
        );
        assert!(asked.contains(&format!("GET {CA} as metadata")), "{asked:#?}");
        assert!(asked.iter().all(|line| line.ends_with(" as metadata")), "{asked:#?}");
        assert_eq!(asked.len(), 3, "once for each object: {asked:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_references_are_found_out_in_time() {
        let reference = |name: usize, key: usize| Reference {
            kind: Kind::ConfigMap,
            name: format!("list-{name}"),
            key: format!("part-{key}"),
        };
        let references = (0..512).flat_map(|name| (0..8).map(move |key| reference(name, key)));
        let answer = Duration::from_millis(200);
        let started = Instant::now();
        let (missing, asked) = ApiServer::default()
            .answering_after(answer)
            .during(async |client| {
                missing(&client, &Found::default(), "resolvers", references.collect())
                    .await
                    .unwrap()
            })
            .await;

        assert_eq!((missing.len(), asked.len()), (4096, 512));
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn what_was_found_is_looked_for_again_when_it_changes_and_what_is_missing_always() {
        let metadata = ObjectMeta {
            name: Some("corp-ca".into()),
            namespace: Some("resolvers".into()),
            ..ObjectMeta::default()
        };
        let object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata,
        });
        let proxy = fixtures::proxy("full");
        let (_, asked) = ApiServer::default()
            .with(CA, object)
            .during(async |client| {
                let context = fixtures::context(client);
                let first = resolve(&proxy, &context).await.unwrap();
                assert_eq!(resolve(&proxy, &context).await.unwrap().missing, first.missing);
                context.found.forget(Kind::ConfigMap, &metadata, Instant::now());
                assert_eq!(resolve(&proxy, &context).await.unwrap().missing, first.missing);
            })
            .await;

        let of = |name: &str| asked.iter().filter(|line| line.contains(name)).count();
        assert_eq!((of("/corp-ca"), of("/ads"), of("/dot-client")), (2, 3, 3), "{asked:#?}");
    }

    #[tokio::test]
    async fn a_key_that_an_object_does_not_have_is_missing() {
        let ads = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "name": "ads", "namespace": "resolvers",
                "managedFields": [{"fieldsV1": {"f:data": {".": {}, "f:hosts": {}}}}],
            },
        });
        let untold = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "corp-ca", "namespace": "resolvers"},
        });
        let (resolved, asked) = ApiServer::default()
            .with("/api/v1/namespaces/resolvers/configmaps/ads", ads)
            .with(CA, untold)
            .during(async |client| {
                resolve(&fixtures::proxy("full"), &fixtures::context(client)).await.unwrap()
            })
            .await;

        let missing = resolved.missing.iter();
        let missing: Vec<_> =
            missing.map(|(reference, absence)| (reference.to_string(), *absence)).collect();
        assert_eq!(
            missing,
            [
                ("ConfigMap ads (key ads.txt.gz)".to_owned(), Absence::Key),
                ("Secret dot-client (key tls.crt)".to_owned(), Absence::Object),
                ("Secret dot-client (key tls.key)".to_owned(), Absence::Object),
            ]
        );
        assert!(asked.iter().all(|line| line.ends_with(" as metadata")), "{asked:#?}");
    }
}

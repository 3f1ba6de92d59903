//! Resolving: everything that one reconcile has to know beyond the object itself.
//!
//! Talks to the API, but never reads the contents of what a spec refers to: whether it exists is all
//! that the operator may know; the kubelet delivers it to the pods.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use dnsproxy_api::DnsProxy;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};

pub use reference::{Kind, Reference};

use crate::{
    cluster::{Facts, dns},
    context::Context,
};

mod reference;

/// What is known beyond the object.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// What all objects share.
    pub facts: Arc<Facts>,
    /// What the spec refers to and does not exist.
    pub missing: BTreeSet<Reference>,
    /// The addresses of the Services that the operator made, each with the `DnsProxy` it belongs to.
    pub own_services: Vec<(IpAddr, String)>,
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
    let missing = missing(&context.client, &namespace, Reference::all(&proxy.spec)).await?;
    Ok(Resolved { facts, missing, own_services: own_services(context) })
}

async fn facts(context: &Context) -> Result<Arc<Facts>, ResolveError> {
    let mut facts = context.facts.clone();
    let known = facts.wait_for(Option::is_some).await.map_err(|_| ResolveError::Ended)?;
    known.clone().ok_or(ResolveError::Ended)
}

async fn missing(
    client: &Client,
    namespace: &str,
    references: BTreeSet<Reference>,
) -> Result<BTreeSet<Reference>, ResolveError> {
    let mut missing = BTreeSet::new();
    for reference in references {
        let exists = exists(client, namespace, &reference).await;
        if !exists
            .map_err(|source| ResolveError::Lookup { reference: reference.clone(), source })?
        {
            missing.insert(reference);
        }
    }
    Ok(missing)
}

async fn exists(
    client: &Client,
    namespace: &str,
    reference: &Reference,
) -> Result<bool, kube::Error> {
    // A name that cannot be one must not become part of a request's path.
    if !reference.is_possible() {
        return Ok(false);
    }
    Ok(match reference.kind {
        Kind::ConfigMap => {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            api.get_metadata_opt(&reference.name).await?.is_some()
        }
        Kind::Secret => {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            api.get_metadata_opt(&reference.name).await?.is_some()
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

#[cfg(test)]
mod tests {
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

        let missing: Vec<_> = resolved.missing.iter().map(ToString::to_string).collect();
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
    }
}

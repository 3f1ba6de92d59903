//! The manifest that the proxy reads: the object's own, with everything resolved that a pod cannot
//! resolve for itself.
//!
//! References have become files of the pod's one volume, the cluster's DNS has its addresses, access
//! has the cluster's networks. What only the operator uses is left out, and so are defaults: the text
//! changes when something changes for the proxy, and only then.

use dnsproxy_api::{
    DnsProxy, DnsProxySpec,
    v1alpha1::{Access, ClientCertificate, Hosts, NameList, Source, Tls, Upstream},
};
use kube::api::ObjectMeta;

use crate::{resolve::Reference, validate::ValidatedDnsProxy};

/// The text of the file.
pub(super) fn text(proxy: &ValidatedDnsProxy) -> String {
    dnsproxy_api::manifest::write(&manifest(proxy))
}

fn manifest(proxy: &ValidatedDnsProxy) -> DnsProxy {
    // Destructured without `..`: a new field is either passed on or left out on purpose.
    let DnsProxySpec {
        upstreams,
        routes,
        cluster_dns: _,
        rules,
        // They were run before this is rendered.
        tests: _,
        lists,
        hosts,
        responses,
        cache,
        access,
        limits,
        listeners: _,
        logging,
        shutdown,
        workload: _,
        service: _,
    } = proxy.spec.clone();
    DnsProxy {
        metadata: ObjectMeta {
            name: Some(proxy.name.clone()),
            namespace: Some(proxy.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: DnsProxySpec {
            upstreams: upstreams.into_iter().map(upstream).collect(),
            routes,
            cluster_dns: proxy.cluster_dns.clone(),
            rules,
            tests: None,
            lists: lists.map(|lists| lists.into_iter().map(list).collect()),
            hosts: hosts.map(|hosts| Hosts { sources: sources(hosts.sources), ..hosts }),
            responses,
            cache,
            access: with_networks(access, proxy.allow.clone()),
            limits,
            listeners: None,
            logging,
            shutdown,
            workload: None,
            service: None,
        },
        status: None,
    }
}

fn with_networks(access: Option<Access>, allow: Option<Vec<String>>) -> Option<Access> {
    match (access, allow) {
        (access, None) => access,
        (access, allow) => Some(Access { allow, ..access.unwrap_or_default() }),
    }
}

fn upstream(upstream: Upstream) -> Upstream {
    Upstream { tls: upstream.tls.map(tls), ..upstream }
}

fn tls(tls: Tls) -> Tls {
    Tls {
        ca: tls.ca.map(source),
        client_certificate: tls.client_certificate.map(client_certificate),
        ..tls
    }
}

fn list(list: NameList) -> NameList {
    NameList { sources: sources(list.sources), ..list }
}

fn sources(sources: Vec<Source>) -> Vec<Source> {
    sources.into_iter().map(source).collect()
}

fn source(source: Source) -> Source {
    match Reference::of_source(&source) {
        Some(reference) => Source { file: Some(reference.file()), ..Source::default() },
        None => source,
    }
}

fn client_certificate(certificate: ClientCertificate) -> ClientCertificate {
    let Some(secret) = certificate.secret else { return certificate };
    let [certificate, key] =
        Reference::of_tls_secret(&secret).map(|reference| Some(reference.file()));
    ClientCertificate { secret: None, certificate_file: certificate, key_file: key }
}

#[cfg(test)]
mod tests {
    use dnsproxy_api::{manifest as reader, validate::Place};

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_proxy_can_read_it() {
        for fixture in fixtures::VALID {
            let written = manifest(&fixtures::validated(fixture));
            let text = reader::write(&written);

            assert_eq!(reader::read_one(&text, Place::File).unwrap(), written, "{fixture}");
        }
    }
}

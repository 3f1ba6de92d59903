//! The Service that clients send their queries to.

use dnsproxy_api::v1alpha1;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{labels, metadata, names};
use crate::validate::ValidatedDnsProxy;

/// Renders the Service of one `DnsProxy`.
///
/// UDP and TCP must be reachable at the same address and port: a client that is told its answer
/// was truncated asks again over TCP (RFC 7766 section 5).
pub(super) fn service(proxy: &ValidatedDnsProxy) -> Service {
    let v1alpha1::Service {
        type_,
        cluster_ip,
        cluster_ips,
        ip_families,
        ip_family_policy,
        traffic_distribution,
        internal_traffic_policy,
        external_traffic_policy,
        load_balancer_class,
        load_balancer_source_ranges,
    } = proxy.spec.service.clone().unwrap_or_default();
    Service {
        metadata: metadata(proxy),
        spec: Some(ServiceSpec {
            selector: Some(labels::selector(&proxy.name)),
            ports: Some(vec![port(names::DNS_UDP, "UDP"), port(names::DNS_TCP, "TCP")]),
            type_: Some(type_name(type_).to_owned()),
            // The API server wants the first of several addresses in both fields.
            cluster_ip: cluster_ip.or_else(|| cluster_ips.iter().flatten().next().cloned()),
            cluster_ips,
            ip_families,
            ip_family_policy,
            traffic_distribution,
            internal_traffic_policy,
            external_traffic_policy: external_traffic_policy.or_else(|| keep_addresses(type_)),
            load_balancer_class,
            load_balancer_source_ranges,
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Absent, the API server would choose `Cluster`: clients from outside then have the addresses of nodes, which
/// may ask.
fn keep_addresses(type_: v1alpha1::ServiceType) -> Option<String> {
    match type_ {
        v1alpha1::ServiceType::ClusterIP => None,
        v1alpha1::ServiceType::NodePort | v1alpha1::ServiceType::LoadBalancer => {
            Some("Local".to_owned())
        }
    }
}

fn port(name: &str, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        protocol: Some(protocol.to_owned()),
        port: names::SERVICE_PORT,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

fn type_name(type_: v1alpha1::ServiceType) -> &'static str {
    match type_ {
        v1alpha1::ServiceType::ClusterIP => "ClusterIP",
        v1alpha1::ServiceType::NodePort => "NodePort",
        v1alpha1::ServiceType::LoadBalancer => "LoadBalancer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn clients_from_outside_keep_their_addresses_unless_told_otherwise() {
        use v1alpha1::ServiceType::{ClusterIP, LoadBalancer, NodePort};
        let policy = |type_, written: Option<&str>| {
            let mut proxy = fixtures::validated("minimal");
            proxy.spec.service = Some(v1alpha1::Service {
                type_,
                external_traffic_policy: written.map(ToOwned::to_owned),
                ..v1alpha1::Service::default()
            });
            service(&proxy).spec.unwrap().external_traffic_policy
        };

        assert_eq!(policy(ClusterIP, None), None, "nobody outside asks, and it would be refused");
        assert_eq!(policy(NodePort, None).as_deref(), Some("Local"));
        assert_eq!(policy(LoadBalancer, None).as_deref(), Some("Local"));
        assert_eq!(policy(LoadBalancer, Some("Cluster")).as_deref(), Some("Cluster"), "on purpose");
    }

    #[test]
    fn serves_dns_over_udp_and_tcp_on_one_port() {
        for fixture in fixtures::VALID {
            insta::assert_yaml_snapshot!(
                format!("service_{fixture}"),
                service(&fixtures::validated(fixture))
            );
        }
    }
}

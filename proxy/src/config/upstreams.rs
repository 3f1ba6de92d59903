//! The upstreams and routes of a manifest, with the files that they refer to.

use std::{net::SocketAddr, sync::Arc};

use dnsproxy_api::{
    defaults,
    units::{Pin, RecordType, ServerAddress},
    v1alpha1 as api,
};
use rustls::pki_types::ServerName;

use super::{Unparsable, files::Reader, parse};
use crate::{
    message::{Name, Qtype},
    upstream::{
        Authentication, ClientCertificate, ConnectionLimits, HealthCheck, Policy, Roots,
        RouteSettings, Secret, TlsSettings, Transport, UpstreamSettings,
    },
};

/// The port of DNS over TLS (RFC 7858 section 3.1).
const TLS_PORT: u16 = 853;
/// The port of plain DNS.
const PLAIN_PORT: u16 = 53;

/// One upstream.
pub(super) fn settings(
    upstream: &api::Upstream,
    udp_payload: u16,
    files: &mut Reader,
) -> Result<UpstreamSettings, Unparsable> {
    // Destructured without `..`: a new field means something.
    let api::Upstream { name, addresses, protocol, tls, connections, timeouts, health_check } =
        upstream;
    let transport = match protocol {
        api::Protocol::TLS => Transport::Tls(self::tls(tls.as_ref(), files)?),
        api::Protocol::UDP => Transport::Udp,
        api::Protocol::TCP => Transport::Tcp,
    };
    let api::Timeouts { connect, query } = timeouts.clone().unwrap_or_default();
    Ok(UpstreamSettings {
        name: Arc::from(&**name),
        servers: servers(addresses, *protocol)?,
        transport,
        connect_timeout: super::duration(connect, defaults::CONNECT_TIMEOUT)?,
        query_timeout: super::duration(query, defaults::QUERY_TIMEOUT)?,
        connections: self::connections(connections.clone().unwrap_or_default())?,
        health_check: self::health_check(health_check.clone().unwrap_or_default())?,
        udp_payload,
    })
}

fn connections(connections: api::Connections) -> Result<ConnectionLimits, Unparsable> {
    let api::Connections { max, idle_timeout, max_in_flight } = connections;
    Ok(ConnectionLimits {
        max: super::count(max, defaults::CONNECTIONS),
        idle_timeout: super::duration(idle_timeout, defaults::CONNECTION_IDLE_TIMEOUT)?,
        max_in_flight: super::count(max_in_flight, defaults::CONNECTION_IN_FLIGHT),
    })
}

fn health_check(check: api::HealthCheck) -> Result<HealthCheck, Unparsable> {
    let api::HealthCheck { name, type_, failure_threshold, interval } = check;
    let qtype = parse::<RecordType>(type_.as_deref().unwrap_or(defaults::HEALTH_CHECK_TYPE))?;
    Ok(HealthCheck {
        name: parse(name.as_deref().unwrap_or(defaults::HEALTH_CHECK_NAME))?,
        qtype: Qtype(qtype.number()),
        failure_threshold: failure_threshold.unwrap_or(defaults::FAILURE_THRESHOLD),
        interval: super::duration(interval, defaults::HEALTH_CHECK_INTERVAL)?,
    })
}

/// Addresses with the port that the protocol has by default.
pub(super) fn servers(
    addresses: &[String],
    protocol: api::Protocol,
) -> Result<Vec<SocketAddr>, Unparsable> {
    let port = match protocol {
        api::Protocol::TLS => TLS_PORT,
        api::Protocol::UDP | api::Protocol::TCP => PLAIN_PORT,
    };
    addresses.iter().map(|text| Ok(parse::<ServerAddress>(text)?.socket_address(port))).collect()
}

fn tls(tls: Option<&api::Tls>, files: &mut Reader) -> Result<TlsSettings, Unparsable> {
    let api::Tls { server_name, pins, authentication, ca, client_certificate, padding } =
        tls.cloned().unwrap_or_default();
    let pin = |text: &String| parse::<Pin>(text);
    let server_name = server_name
        .map(|name| ServerName::try_from(name.clone()).map_err(|_| Unparsable(name)))
        .transpose()?;
    Ok(TlsSettings {
        server_name,
        pins: pins.unwrap_or_default().iter().map(pin).collect::<Result<_, _>>()?,
        authentication: match authentication {
            api::Authentication::PKIX => Authentication::Pkix,
            api::Authentication::PinsOnly => Authentication::PinsOnly,
        },
        roots: ca.map_or(Roots::Mozilla, |source| roots(&source, files)),
        client_certificate: client_certificate
            .map(|certificate| self::client_certificate(&certificate, files)),
        is_padded: match padding {
            api::Padding::Enabled => true,
            api::Padding::Disabled => false,
        },
    })
}

fn roots(source: &api::Source, files: &mut Reader) -> Roots {
    match (&source.inline, &source.file) {
        (Some(pem), _) => Roots::Pem(pem.as_bytes().into()),
        (None, Some(path)) => files.read_public(path).map_or_else(Roots::Missing, Roots::Pem),
        (None, None) => Roots::Missing("tls.ca is in a cluster".into()),
    }
}

fn client_certificate(
    certificate: &api::ClientCertificate,
    files: &mut Reader,
) -> ClientCertificate {
    let (Some(chain), Some(key)) = (&certificate.certificate_file, &certificate.key_file) else {
        return ClientCertificate::Missing("tls.clientCertificate is in a cluster".into());
    };
    match (files.read_public(chain), files.read(key)) {
        (Ok(chain), Ok(key)) => ClientCertificate::Pem { chain, key: Secret(key) },
        (Err(missing), _) | (_, Err(missing)) => ClientCertificate::Missing(missing),
    }
}

/// The routes; without any, one for every name to all upstreams.
pub(super) fn routes(spec: &api::DnsProxySpec) -> Result<Vec<RouteSettings>, Unparsable> {
    match &spec.routes {
        Some(routes) if !routes.is_empty() => routes.iter().map(route).collect(),
        _ => Ok(vec![RouteSettings {
            name: "default".into(),
            zones: vec![Name::root()],
            upstreams: spec.upstreams.iter().map(|upstream| Arc::from(&*upstream.name)).collect(),
            policy: Policy::default(),
            fallback: Vec::new(),
            max_in_flight: defaults::ROUTE_IN_FLIGHT as usize,
        }]),
    }
}

fn route(route: &api::Route) -> Result<RouteSettings, Unparsable> {
    // `allow_weaker` is the validation's affair.
    let api::Route { name, zones, upstreams, policy, fallback, allow_weaker: _, max_in_flight } =
        route;
    let names = |names: &[String]| names.iter().map(|name| Arc::from(&**name)).collect();
    Ok(RouteSettings {
        name: Arc::from(&**name),
        zones: zones.iter().map(|zone| parse(zone)).collect::<Result<_, _>>()?,
        upstreams: names(upstreams),
        policy: match policy {
            api::Policy::Fastest => Policy::Fastest,
            api::Policy::Sequential => Policy::Sequential,
            api::Policy::RoundRobin => Policy::RoundRobin,
            api::Policy::Random => Policy::Random,
        },
        fallback: names(fallback.as_deref().unwrap_or_default()),
        max_in_flight: super::count(*max_in_flight, defaults::ROUTE_IN_FLIGHT),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path, time::Duration};

    use super::*;
    use crate::config::{Config, Names, Purpose};

    fn config(spec: &str) -> Config {
        let text = format!(
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec: {{{spec}}}\n"
        );
        Config::from_text(Purpose::Run, &text, Path::new(""), BTreeMap::new(), &Names::default())
            .unwrap()
    }

    fn is_padded(upstream: &UpstreamSettings) -> bool {
        matches!(&upstream.transport, Transport::Tls(tls) if tls.is_padded)
    }

    #[test]
    fn a_weaker_fallback_is_known_and_an_equal_one_is_none() {
        let spec = |fallback: &str, allowed: &str| {
            format!(
                "upstreams: [{{name: a, addresses: [192.0.2.1]}}, {fallback}], \
                 routes: [{{name: r, zones: [.], upstreams: [a], fallback: [b]{allowed}}}]"
            )
        };
        let plain = "{name: b, addresses: [192.0.2.2], protocol: UDP}";
        let equal = "{name: b, addresses: [192.0.2.2]}";

        assert_eq!(config(&spec(plain, ", allowWeaker: true")).weaker_fallbacks, ["r"]);
        assert!(config(&spec(equal, ", allowWeaker: true")).weaker_fallbacks.is_empty());
    }

    #[test]
    fn what_a_manifest_does_not_say_is_the_same_by_whichever_way_it_is_left_out() {
        let specs = [
            // (why, spec)
            ("no field", "upstreams: [{name: a, addresses: [192.0.2.1]}]"),
            (
                "empty fields, which the schema fills in",
                "upstreams: [{name: a, addresses: [192.0.2.1], tls: {}, connections: {}, healthCheck: {}}], \
                 routes: [{name: default, zones: [.], upstreams: [a]}]",
            ),
        ];

        for (why, spec) in specs {
            let config = config(spec);
            let (upstream, route) = (&config.upstreams[0], &config.routes[0]);
            assert_eq!(upstream.connections, ConnectionLimits::default(), "{why}");
            assert_eq!(upstream.health_check, HealthCheck::default(), "{why}");
            assert!(is_padded(upstream), "{why}");
            assert_eq!((route.policy, route.max_in_flight), (Policy::Fastest, 4096), "{why}");
        }
    }

    #[test]
    fn what_a_manifest_says_holds() {
        let config = config(
            "upstreams: [{name: a, addresses: [192.0.2.1], tls: {padding: Disabled}, \
             connections: {max: 4, idleTimeout: 20s, maxInFlight: 256}, \
             healthCheck: {name: health.example, type: TYPE28, failureThreshold: 5, interval: 1.5s}}], \
             routes: [{name: r, zones: [.], upstreams: [a], policy: RoundRobin, maxInFlight: 7}]",
        );

        let upstream = &config.upstreams[0];
        assert_eq!(
            upstream.connections,
            ConnectionLimits { max: 4, idle_timeout: Duration::from_secs(20), max_in_flight: 256 }
        );
        assert_eq!(
            upstream.health_check,
            HealthCheck {
                name: "health.example".parse().unwrap(),
                qtype: Qtype::AAAA,
                failure_threshold: 5,
                interval: Duration::from_millis(1500),
            }
        );
        assert!(!is_padded(upstream));
        assert_eq!(
            (config.routes[0].policy, config.routes[0].max_in_flight),
            (Policy::RoundRobin, 7)
        );
    }

    #[test]
    fn every_policy_of_a_manifest_is_one_of_ours() {
        let policies = [
            ("Fastest", Policy::Fastest),
            ("Sequential", Policy::Sequential),
            ("RoundRobin", Policy::RoundRobin),
            ("Random", Policy::Random),
        ];

        for (text, policy) in policies {
            let config = config(&format!(
                "upstreams: [{{name: a, addresses: [192.0.2.1]}}], \
                 routes: [{{name: r, zones: [.], upstreams: [a], policy: {text}}}]"
            ));
            assert_eq!(config.routes[0].policy, policy, "{text}");
        }
    }

    #[test]
    fn the_clusters_dns_is_asked_in_the_order_of_its_addresses() {
        let config = config(
            "upstreams: [{name: a, addresses: [192.0.2.1]}], \
             clusterDNS: {addresses: [10.96.0.10, 10.96.0.11], domain: cluster.local}",
        );

        let route = config.routes.last().unwrap();
        assert_eq!((&*route.name, route.policy), ("cluster-dns", Policy::Sequential));
        assert_eq!(config.upstreams.last().unwrap().connections.max, 8);
    }
}

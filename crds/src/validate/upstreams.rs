//! `spec.upstreams`: names, addresses, protocol, connections, timeouts and health checks.

use std::net::{Ipv6Addr, SocketAddr};

use super::{Place, Report, tls};
use crate::{
    bounds,
    units::{RecordType, ServerAddress, Zone},
    v1alpha1::{Connections, HealthCheck, Protocol, Timeouts, Upstream},
};

pub(super) fn check(upstreams: &[Upstream], place: Place, report: &mut Report) {
    report.require(!upstreams.is_empty(), "spec.upstreams", "empty: nobody could be asked");
    report.names("spec.upstreams", upstreams.iter().map(|upstream| &*upstream.name));
    for (index, upstream) in upstreams.iter().enumerate() {
        check_one(&format!("spec.upstreams[{index}]"), upstream, place, report);
    }
}

fn check_one(path: &str, upstream: &Upstream, place: Place, report: &mut Report) {
    let Upstream { name: _, addresses, protocol, tls, connections, timeouts, health_check } =
        upstream;
    let list = format!("{path}.addresses");
    report.require(!addresses.is_empty(), &*list, "empty: the upstream could not be reached");
    report.parse_all::<ServerAddress>(&list, addresses);
    check_ports(&list, upstream, report);
    match (protocol, tls) {
        (Protocol::TLS, Some(tls)) => tls::check(&format!("{path}.tls"), tls, place, report),
        (Protocol::UDP | Protocol::TCP, Some(_)) => report.add(
            format!("{path}.tls"),
            format!("protocol {protocol:?} is plain: leave tls out, or use protocol TLS"),
        ),
        (_, None) => {}
    }
    if let Some(connections) = connections {
        check_connections(&format!("{path}.connections"), connections, report);
    }
    if let Some(Timeouts { connect, query }) = timeouts {
        report.duration(&format!("{path}.timeouts.connect"), connect.as_deref(), bounds::TIMEOUT);
        report.duration(&format!("{path}.timeouts.query"), query.as_deref(), bounds::TIMEOUT);
    }
    if let Some(check) = health_check {
        check_health(&format!("{path}.healthCheck"), check, report);
    }
}

/// Warns of an IPv6 address that may end with what was meant as a port.
pub(super) fn warn(upstreams: &[Upstream], report: &mut Report) {
    for (index, upstream) in upstreams.iter().enumerate() {
        for (item, text) in upstream.addresses.iter().enumerate() {
            let Some((ip, port)) = text.rsplit_once(':') else { continue };
            let is_port = port == upstream.protocol.default_port().to_string();
            report.require(
                !(is_port && ip.parse::<Ipv6Addr>().is_ok() && text.parse::<Ipv6Addr>().is_ok()),
                format!("spec.upstreams[{index}].addresses[{item}]"),
                format!("{port} is the end of the address {text}: if it is meant as a port, write `[{ip}]:{port}`"),
            );
        }
    }
}

/// An address without a port is the same server as one with the port that is meant.
fn check_ports(path: &str, upstream: &Upstream, report: &mut Report) {
    let port = upstream.protocol.default_port();
    let mut seen: Vec<(ServerAddress, usize)> = Vec::new();
    for (index, text) in upstream.addresses.iter().enumerate() {
        let Ok(address) = text.parse::<ServerAddress>() else { continue };
        let is_same = |(known, _): &&(ServerAddress, usize)| {
            *known != address && known.socket_address(port) == address.socket_address(port)
        };
        if let Some((_, first)) = seen.iter().find(is_same) {
            let reason =
                format!("{text} is the same server as item {first}: port {port} is the default");
            report.add(format!("{path}[{index}]"), reason);
        }
        seen.push((address, index));
    }
}

fn check_connections(path: &str, connections: &Connections, report: &mut Report) {
    let Connections { max, idle_timeout, max_in_flight } = connections;
    report.count(&format!("{path}.max"), *max, bounds::CONNECTIONS);
    report.duration(&format!("{path}.idleTimeout"), idle_timeout.as_deref(), bounds::IDLE);
    report.count(&format!("{path}.maxInFlight"), *max_in_flight, bounds::CONNECTION_IN_FLIGHT);
}

fn check_health(path: &str, check: &HealthCheck, report: &mut Report) {
    let HealthCheck { name, type_, failure_threshold, interval } = check;
    if let Some(name) = name {
        report.parse::<Zone>(&format!("{path}.name"), name);
    }
    if let Some(type_) = type_ {
        report.parse::<RecordType>(&format!("{path}.type"), type_);
    }
    report.count(
        &format!("{path}.failureThreshold"),
        *failure_threshold,
        bounds::FAILURE_THRESHOLD,
    );
    report.duration(&format!("{path}.interval"), interval.as_deref(), bounds::HEALTH_CHECK);
}

/// Where an upstream is reached, as far as its addresses are addresses.
pub(super) fn servers(upstream: &Upstream) -> impl Iterator<Item = SocketAddr> {
    let port = upstream.protocol.default_port();
    let addresses = upstream.addresses.iter().filter_map(|text| text.parse::<ServerAddress>().ok());
    addresses.map(move |address| address.socket_address(port))
}

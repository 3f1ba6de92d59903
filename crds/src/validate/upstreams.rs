//! `spec.upstreams`: names, addresses, protocol and timeouts.

use std::net::SocketAddr;

use super::{Place, Report, tls};
use crate::{
    bounds,
    units::ServerAddress,
    v1alpha1::{Protocol, Timeouts, Upstream},
};

pub(super) fn check(upstreams: &[Upstream], place: Place, report: &mut Report) {
    report.require(!upstreams.is_empty(), "spec.upstreams", "empty: nobody could be asked");
    report.names("spec.upstreams", upstreams.iter().map(|upstream| &*upstream.name));
    for (index, upstream) in upstreams.iter().enumerate() {
        check_one(&format!("spec.upstreams[{index}]"), upstream, place, report);
    }
}

fn check_one(path: &str, upstream: &Upstream, place: Place, report: &mut Report) {
    let Upstream { name: _, addresses, protocol, tls, timeouts } = upstream;
    let list = format!("{path}.addresses");
    report.require(!addresses.is_empty(), &*list, "empty: the upstream could not be reached");
    report.parse_all::<ServerAddress>(&list, addresses);
    match (protocol, tls) {
        (Protocol::TLS, Some(tls)) => tls::check(&format!("{path}.tls"), tls, place, report),
        (Protocol::UDP | Protocol::TCP, Some(_)) => report.add(
            format!("{path}.tls"),
            format!("protocol {protocol:?} is plain: leave tls out, or use protocol TLS"),
        ),
        (_, None) => {}
    }
    if let Some(Timeouts { connect, query }) = timeouts {
        report.duration(&format!("{path}.timeouts.connect"), connect.as_deref(), bounds::TIMEOUT);
        report.duration(&format!("{path}.timeouts.query"), query.as_deref(), bounds::TIMEOUT);
    }
}

/// Where an upstream is reached, as far as its addresses are addresses.
pub(super) fn servers(upstream: &Upstream) -> impl Iterator<Item = SocketAddr> {
    let port = upstream.protocol.default_port();
    let addresses = upstream.addresses.iter().filter_map(|text| text.parse::<ServerAddress>().ok());
    addresses.map(move |address| address.socket_address(port))
}

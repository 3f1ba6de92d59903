//! `spec.limits`, and the timeouts that must fit into the query deadline.

use super::Report;
use crate::{DnsProxy, bounds, defaults, units::Duration, v1alpha1::Limits};

pub(super) fn check(limits: Option<&Limits>, report: &mut Report) {
    // Destructured without `..`: a new limit needs a check.
    let Some(Limits {
        query_deadline,
        max_in_flight,
        tcp_connections,
        tcp_connections_per_client,
        tcp_idle_timeout,
        edns_buffer_size,
    }) = limits
    else {
        return;
    };
    let path = "spec.limits";
    report.duration(&format!("{path}.queryDeadline"), query_deadline.as_deref(), bounds::TIMEOUT);
    report.duration(&format!("{path}.tcpIdleTimeout"), tcp_idle_timeout.as_deref(), bounds::IDLE);
    let counts = [
        ("maxInFlight", max_in_flight),
        ("tcpConnections", tcp_connections),
        ("tcpConnectionsPerClient", tcp_connections_per_client),
    ];
    for (field, count) in counts {
        report.require(*count != Some(0), format!("{path}.{field}"), "nothing would be answered");
    }
    let [least, most] = bounds::EDNS_BUFFER_SIZE;
    let is_size = edns_buffer_size.is_none_or(|size| (least..=most).contains(&size));
    report.require(
        is_size,
        format!("{path}.ednsBufferSize"),
        format!("out of range, {least} to {most}"),
    );
}

/// Warns of times that the query deadline cuts off.
pub(super) fn warn(proxy: &DnsProxy, report: &mut Report) {
    let deadline = proxy.spec.limits.as_ref().and_then(|limits| limits.query_deadline.as_deref());
    let deadline = deadline.map_or(Ok(defaults::QUERY_DEADLINE), str::parse);
    for (index, upstream) in proxy.spec.upstreams.iter().enumerate() {
        let timeouts = upstream.timeouts.clone().unwrap_or_default();
        let query =
            timeouts.query.as_deref().map_or(Ok(defaults::QUERY_TIMEOUT), str::parse::<Duration>);
        let (Ok(deadline), Ok(query)) = (&deadline, query) else { continue };
        let path = format!("spec.upstreams[{index}].timeouts.query");
        let message =
            format!("{query} is never reached: limits.queryDeadline ends a query after {deadline}");
        report.require(query <= *deadline, path, message);
    }
    let stale = proxy.spec.cache.as_ref().and_then(|cache| cache.serve_stale.as_ref());
    let after = stale.and_then(|stale| stale.after.as_deref()?.parse::<Duration>().ok());
    if let (Ok(deadline), Some(after)) = (deadline, after) {
        let message =
            format!("{after} is never reached: limits.queryDeadline ends a query after {deadline}");
        report.require(after < deadline, "spec.cache.serveStale.after", message);
    }
}

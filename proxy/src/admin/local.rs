//! Requests that only this host may make: those that change something, and those that show what clients
//! asked for.
//!
//! Whoever is on this host (or in the pod, by `kubectl exec`) comes from a loopback address. That is not
//! enough: a web page in a browser of this host comes from there as well. A page of another site may send a
//! plain POST to any address, but a header of ours only after asking by OPTIONS, which is never allowed; and a
//! page whose own name has been made to lead to 127.0.0.1 (DNS rebinding) sends that name as `Host`. Browsers
//! say of themselves where a request comes from (`Origin`, and `Sec-Fetch-Site` of the Fetch Metadata
//! headers); the program never does.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header, uri::Authority};

/// Where a request came from: the other end of the accepted connection, whatever the request says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What a request has that means to change something; its value is not looked at.
pub const CHANGE: &str = "dnsproxy-change";

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// It came over the network.
    #[error(
        "only from a loopback address: ask on the proxy's own host, or in its pod by `kubectl exec`"
    )]
    Elsewhere,
    /// A browser sent it.
    #[error(
        "not from a web page: `Host` must be an address or `localhost`, and `{0}` is not expected"
    )]
    WebPage(&'static str),
    /// It may be an accident.
    #[error("a change needs the header `{CHANGE}`, which no web page can send from elsewhere")]
    NotMeant,
}

impl Peer {
    /// Lets a request pass that reads what is nobody else's business.
    pub(super) fn may_read(self, headers: &HeaderMap) -> Result<(), Refusal> {
        // On a socket for both families an IPv4 address is written as an IPv6 one.
        if !self.0.ip().to_canonical().is_loopback() {
            return Err(Refusal::Elsewhere);
        }
        let of_browsers = [header::ORIGIN.as_str(), "sec-fetch-site"];
        if let Some(header) = of_browsers.into_iter().find(|header| headers.contains_key(*header)) {
            return Err(Refusal::WebPage(header));
        }
        let is_name =
            headers.get_all(header::HOST).iter().any(|host| !is_this_host(host.as_bytes()));
        if is_name { Err(Refusal::WebPage(header::HOST.as_str())) } else { Ok(()) }
    }

    /// Lets a request pass that changes something.
    pub(super) fn may_change(self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.may_read(headers)?;
        if headers.contains_key(CHANGE) { Ok(()) } else { Err(Refusal::NotMeant) }
    }
}

/// Whether a `Host` is an address, or the only name that no DNS server decides about (RFC 6761 section 6.3).
fn is_this_host(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_the_program_on_this_host_may_change_anything() {
        let refused = Refusal::WebPage;
        type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], Result<(), Refusal>);
        let cases: [Case<'_>; 14] = [
            // (why, peer, headers, outcome)
            ("loopback", "127.0.0.1:9", &[("host", "127.0.0.1:8053")], Ok(())),
            ("all of 127.0.0.0/8", "127.9.9.9:9", &[], Ok(())),
            ("IPv6", "[::1]:9", &[("host", "[::1]:8053")], Ok(())),
            ("IPv4 on a socket for both", "[::ffff:127.0.0.1]:9", &[], Ok(())),
            ("a name for this host alone", "127.0.0.1:9", &[("host", "LocalHost")], Ok(())),
            ("the network", "192.0.2.1:9", &[("host", "127.0.0.1")], Err(Refusal::Elsewhere)),
            ("the network, mapped", "[::ffff:192.0.2.1]:9", &[], Err(Refusal::Elsewhere)),
            (
                "a proxy's word counts for nothing",
                "192.0.2.1:9",
                &[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")],
                Err(Refusal::Elsewhere),
            ),
            (
                "a page of another site",
                "127.0.0.1:9",
                &[("host", "127.0.0.1:8053"), ("origin", "https://site.example")],
                Err(refused("origin")),
            ),
            ("an opaque origin", "127.0.0.1:9", &[("origin", "null")], Err(refused("origin"))),
            (
                "a browser without an origin",
                "127.0.0.1:9",
                &[("sec-fetch-site", "none")],
                Err(refused("sec-fetch-site")),
            ),
            (
                "DNS rebinding",
                "127.0.0.1:9",
                &[("host", "site.example:8053")],
                Err(refused("host")),
            ),
            (
                "a name that looks like an address",
                "127.0.0.1:9",
                &[("host", "127.0.0.1.site.example")],
                Err(refused("host")),
            ),
            ("a host and another one", "127.0.0.1:9", &[("host", "::1 x")], Err(refused("host"))),
        ];

        for (why, peer, headers, outcome) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name = HeaderName::from_static(name);
                map.append(name, HeaderValue::from_static(value));
            }
            let peer = Peer(peer.parse().unwrap());
            assert_eq!(peer.may_read(&map), outcome, "{why}");
            let without = peer.may_change(&map);
            assert_eq!(without, outcome.and(Err(Refusal::NotMeant)), "{why}: without our header");
            map.insert(CHANGE, HeaderValue::from_static("1"));
            assert_eq!(peer.may_change(&map), outcome, "{why}");
        }
    }
}

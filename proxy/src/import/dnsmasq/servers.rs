//! Options that name servers: those for every name, and those for domains and reverse names.

use std::net::{IpAddr, SocketAddr};

use dnsproxy_api::{
    units::{AddressError, ServerAddress},
    v1alpha1::{Policy, Protocol},
};

use super::{
    Opt,
    domains::{Domains, Target},
    draft,
    pattern::{Pattern, patterns},
};
use crate::import::{Draft, addresses::reverse_zones};

/// The servers for every name.
#[derive(Debug, Default)]
pub(super) struct Servers {
    names: Vec<String>,
    pub(super) is_in_order: bool,
}

impl Servers {
    /// `server=[/domain/...][address]`, and `local=`, which is the same.
    pub(super) fn take(
        &mut self,
        option: &Opt<'_>,
        domains: &mut Domains,
        draft: &mut Draft,
    ) -> Result<(), String> {
        let (mut patterns, server) = patterns(option.value)?;
        let is_server = !matches!(server, "" | "#");
        // A server of any domain is one for every name, beside the others.
        let has_any = is_server && patterns.contains(&Pattern::Any);
        patterns.retain(|pattern| !has_any || *pattern != Pattern::Any);
        let is_for_all = patterns.is_empty();
        if is_for_all && !is_server {
            return Err("no server".into());
        }
        if is_for_all || has_any {
            self.names.push(upstream(option, server, draft)?);
        }
        if is_for_all { Ok(()) } else { for_domains(option, patterns, server, domains, draft) }
    }

    /// Writes the route for every name. Without a server it is for no name.
    pub(super) fn emit(self, no_resolv: bool, domains: &mut Domains, draft: &mut Draft) {
        let policy = self.policy();
        let mut names = self.names;
        let mut zones = vec![".".to_owned()];
        if names.is_empty() && no_resolv {
            domains.lose_standard();
            zones.clear();
            let reason =
                "other names than those of domains with servers are refused, as dnsmasq does";
            draft.note(0, "no `server=`", reason);
            // There is always a route.
            if domains.have_servers() {
                return;
            }
            names.push(draft.unknown_upstream());
        } else if names.is_empty() {
            names.push(draft.unknown_upstream());
            let reason = "dnsmasq would read the servers for other names from resolv.conf: write them in place of 192.0.2.53 in the upstream `replace-me`; until then these names are not resolved";
            draft.note(0, "no `server=`", reason);
        }
        let route = draft.route(draft::DEFAULT);
        (route.zones, route.policy) = (zones, policy);
        for name in names {
            if !route.upstreams.contains(&name) {
                route.upstreams.push(name);
            }
        }
    }

    pub(super) fn are_some(&self) -> bool {
        !self.names.is_empty()
    }

    /// How one of several servers is chosen.
    pub(super) fn policy(&self) -> Policy {
        if self.is_in_order { Policy::Sequential } else { Policy::Fastest }
    }
}

/// `rev-server=network[,address]`.
pub(super) fn take_reverse(
    option: &Opt<'_>,
    domains: &mut Domains,
    draft: &mut Draft,
) -> Result<(), String> {
    let (network, server) = option.value.split_once(',').unwrap_or((option.value, ""));
    let zones = reverse_zones(network)?.into_iter().map(Pattern::Zone).collect();
    for_domains(option, zones, server.trim(), domains, draft)
}

fn for_domains(
    option: &Opt<'_>,
    patterns: Vec<Pattern>,
    server: &str,
    domains: &mut Domains,
    draft: &mut Draft,
) -> Result<(), String> {
    let target = match server {
        "" => Ok(Target::Nobody),
        "#" => Ok(Target::Standard),
        server => upstream(option, server, draft).map(Target::Server),
    };
    // What was meant for a server that cannot be asked is for nobody else.
    domains.server(option.line, patterns, target.as_ref().unwrap_or(&Target::Unknown));
    target.map(|_| ())
}

/// The name of the upstream for a server.
fn upstream(option: &Opt<'_>, server: &str, draft: &mut Draft) -> Result<String, String> {
    let (server, source) = match server.split_once('@') {
        Some((server, source)) => (server, Some(source)),
        None => (server, None),
    };
    if let Some(source) = source {
        let reason = format!("the source `{source}` is left out: the system chooses it");
        draft.note(option.line, option.text, reason);
    }
    let address = address(server)?;
    let reason = "it stays plain, as it was; where the server speaks DNS-over-TLS, leave out `protocol` and give `tls.serverName`";
    draft.note(option.line, option.text, reason);
    Ok(draft.plain_upstream(address, Protocol::UDP))
}

/// `ip` or `ip#port`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let (ip, port) = text.split_once('#').unwrap_or((text, "53"));
    let ip: IpAddr = ip.parse().map_err(|_| format!("`{ip}` is no address"))?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let address = SocketAddr::new(ip, port);
    match address.to_string().parse::<ServerAddress>() {
        Ok(_) => Ok(address),
        Err(error @ AddressError::LinkLocal(_)) => Err(error.to_string()),
        Err(_) => Err(format!("`{text}` is not the address of a server")),
    }
}

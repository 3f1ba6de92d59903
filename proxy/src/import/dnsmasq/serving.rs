//! Options about how queries are taken.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dnsproxy_api::{
    bounds,
    v1alpha1::{DnsListener, Listeners},
};

use super::Opt;
use crate::import::{Draft, draft::UNTIL_THEN};

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Serving {
    addresses: Vec<IpAddr>,
    port: Option<u16>,
    has_interface: bool,
}

impl Serving {
    pub(super) fn take(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        match option.key {
            "listen-address" => return self.listen(option),
            "port" => self.port = Some(option.value.parse().map_err(|_| "not a port")?),
            "interface" => {
                self.has_interface = true;
                return Err("which addresses it has is not known here".into());
            }
            "dns-forward-max" => {
                let most = option.value.parse().map_err(|_| "not a number of queries")?;
                let most = clamped(option, most, [1, bounds::IN_FLIGHT], "queries", draft);
                draft.spec.limits.get_or_insert_default().max_in_flight = Some(most);
            }
            "edns-packet-max" => {
                let size = option.value.parse().map_err(|_| "not a number of octets")?;
                let size = clamped(option, size, bounds::EDNS_BUFFER_SIZE, "octets", draft);
                draft.spec.limits.get_or_insert_default().edns_buffer_size = Some(size);
            }
            _ => return Err("there is nothing like it here".into()),
        }
        Ok(())
    }

    fn listen(&mut self, option: &Opt<'_>) -> Result<(), String> {
        for part in option.parts() {
            let address = part.parse().map_err(|_| format!("`{part}` is no address"))?;
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        Ok(())
    }

    pub(super) fn emit(mut self, draft: &mut Draft) {
        if self.port == Some(0) {
            draft.note(0, "port=0", "queries are taken all the same");
        }
        let port = self.port.filter(|port| *port > 0).unwrap_or(53);
        // Which addresses an interface has is not known here, and all would be too many.
        if self.addresses.is_empty() && self.has_interface {
            let reason = format!(
                "write the interface's address, with port {port}, into `listeners.dns.addresses`: {UNTIL_THEN}"
            );
            return draft.note(0, "interface", reason);
        }
        if self.addresses.is_empty() {
            self.addresses.push(Ipv6Addr::UNSPECIFIED.into());
        }
        let addresses = self.addresses.iter().map(|ip| SocketAddr::new(*ip, port).to_string());
        let dns = Some(DnsListener { addresses: addresses.collect() });
        draft.spec.listeners = Some(Listeners { dns });
    }
}

/// The nearest number that there can be here; another one is told.
fn clamped<T: Ord + Copy + Display>(
    option: &Opt<'_>,
    number: T,
    [least, most]: [T; 2],
    unit: &str,
    draft: &mut Draft,
) -> T {
    if !(least..=most).contains(&number) {
        let reason = format!("it is from {least} to {most} {unit} here");
        draft.note(option.line, option.text, reason);
    }
    number.clamp(least, most)
}

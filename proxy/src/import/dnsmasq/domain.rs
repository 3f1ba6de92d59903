//! `domain`: what names without a dot are completed with, as far as there is something to be completed here.

use std::net::IpAddr;

use dnsproxy_api::units::{Network, Zone};

use super::{
    Opt,
    domains::{Domains, Target},
    pattern::Pattern,
};
use crate::import::addresses::{network, reverse_zones};

/// The domains of the machine: one for some addresses alone counts before that for all.
#[derive(Debug, Default)]
pub(super) struct OwnDomains {
    default: Option<String>,
    of_addresses: Vec<(Range, String)>,
}

/// The first and the last address.
type Range = (IpAddr, IpAddr);

impl OwnDomains {
    /// `domain=name[,network[,local]]` or `domain=name,first,last`.
    pub(super) fn take(&mut self, option: &Opt<'_>, domains: &mut Domains) -> Result<(), String> {
        let parts = option.parts();
        let (name, range) = parts.split_first().ok_or("no domain")?;
        if name == "#" {
            return Err("resolv.conf is never read here: write its domain".into());
        }
        let zone: Zone = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
        let name = zone.to_string();
        match range {
            [] => self.default = Some(name),
            [network, rest @ ..] if network.contains('/') => {
                self.of_addresses.push((range_of(network)?, name.clone()));
                if rest.iter().any(|word| word == "local") {
                    let zones = reverse_zones(network)?.into_iter().chain([name]);
                    let patterns = zones.map(Pattern::Zone).collect();
                    domains.server(option.line, patterns, &Target::Nobody);
                }
            }
            [first, last] => {
                let address = |text: &String| text.parse().map_err(|_| OF_INTERFACES.to_owned());
                self.of_addresses.push(((address(first)?, address(last)?), name));
            }
            _ => return Err(OF_INTERFACES.into()),
        }
        Ok(())
    }

    /// That of the machine.
    pub(super) fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// That of names of an address: the last one that is for it.
    pub(super) fn of(&self, address: IpAddr) -> Option<&str> {
        let is_in = |(first, last): &Range| {
            first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
        };
        let own = self.of_addresses.iter().rev().find(|(range, _)| is_in(range));
        own.map(|(_, name)| &**name).or_else(|| self.default())
    }
}

const OF_INTERFACES: &str = "which addresses an interface has is not known here";

fn range_of(text: &str) -> Result<Range, String> {
    let network: Network = network(text)?.parse().map_err(|_| "not a network")?;
    let first = network.address();
    let last = match first {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(network.prefix().into()).unwrap_or_default();
            IpAddr::V4((v4.to_bits() | host).into())
        }
        IpAddr::V6(v6) => {
            let host = u128::MAX.checked_shr(network.prefix().into()).unwrap_or_default();
            IpAddr::V6((v6.to_bits() | host).into())
        }
    };
    Ok((first, last))
}

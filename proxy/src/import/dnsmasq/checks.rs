//! Options about what upstreams answer: what is checked, exchanged and taken out.

use std::net::Ipv4Addr;

use dnsproxy_api::{
    units::Zone,
    v1alpha1::{AddressAlias, RebindProtection, ResponseChange, TtlRange},
};

use super::Opt;
use crate::import::{Draft, addresses::network};

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Checks {
    rebinding: RebindProtection,
    is_rebinding_checked: bool,
    /// Types that are taken out of answers.
    filtered: Vec<String>,
    aliases: Vec<AddressAlias>,
    bogus: Vec<String>,
}

impl Checks {
    pub(super) fn take(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        match option.key {
            "stop-dns-rebind" => self.is_rebinding_checked = true,
            "rebind-localhost-ok" => {
                let networks = self.rebinding.allow_networks.get_or_insert_default();
                LOCALHOST.iter().for_each(|it| add(networks, (*it).to_owned()));
            }
            "rebind-domain-ok" => return self.rebind_domains(option, draft),
            "alias" => return self.alias(option),
            "bogus-nxdomain" => add(&mut self.bogus, network(option.value)?),
            "filter-A" => return self.filter("A"),
            "filter-AAAA" => return self.filter("AAAA"),
            "filter-rr" => return option.parts().iter().try_for_each(|rtype| self.filter(rtype)),
            _ => return Err("there is nothing like it here".into()),
        }
        Ok(())
    }

    fn rebind_domains(&mut self, option: &Opt<'_>, draft: &mut Draft) -> Result<(), String> {
        let parts: Vec<_> = option.value.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err("no domain".into());
        }
        for part in parts {
            match part.trim().parse::<Zone>() {
                Ok(zone) => add(self.rebinding.allow.get_or_insert_default(), zone.to_string()),
                Err(error) => draft.note(option.line, option.text, format!("`{part}`: {error}")),
            }
        }
        Ok(())
    }

    fn alias(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let parts = option.parts();
        let (Some(old), Some(new)) = (parts.first(), parts.get(1)) else {
            return Err("an old and a new address".into());
        };
        let pairs = alias_networks(old, new, parts.get(2).map(String::as_str))?;
        self.aliases.extend(pairs.into_iter().map(|(from, to)| AddressAlias { from, to }));
        Ok(())
    }

    fn filter(&mut self, rtype: &str) -> Result<(), String> {
        let rtype = rtype.to_ascii_uppercase();
        if rtype == "ANY" {
            return Err("what ANY is answered is for `responses.any`".into());
        }
        let known: Result<dnsproxy_api::units::QueryType, _> = rtype.parse();
        known.map_err(|error| format!("{rtype}: {error}"))?;
        add(&mut self.filtered, rtype);
        Ok(())
    }

    /// What rules do to all answers.
    pub(super) fn change(&self, ttl: Option<TtlRange>) -> Option<ResponseChange> {
        let remove_types = Some(self.filtered.clone()).filter(|types| !types.is_empty());
        let change = ResponseChange { remove_types, ttl, ..ResponseChange::default() };
        (change != ResponseChange::default()).then_some(change)
    }

    /// Writes what is checked in all answers.
    pub(super) fn emit(self, draft: &mut Draft, have_servers: bool) {
        let Self { rebinding, is_rebinding_checked, filtered: _, mut aliases, bogus } = self;
        // What is spared from the check does not begin it.
        if is_rebinding_checked {
            if have_servers {
                let reason = "answers of servers for a domain of their own are not checked here";
                draft.note(0, "stop-dns-rebind", reason);
            }
            draft.note(0, "stop-dns-rebind", OF_DOCUMENTS);
            draft.responses().rebind_protection = Some(rebinding);
        }
        if !aliases.is_empty() && (is_rebinding_checked || !bogus.is_empty()) {
            let reason = "dnsmasq checks addresses as they are behind this, here they are checked as upstreams gave them";
            draft.note(0, "alias", reason);
        }
        // The last one that matches counts there, here the first.
        aliases.reverse();
        draft.responses().address_aliases = Some(aliases).filter(|them| !them.is_empty());
        draft.responses().bogus_addresses = Some(bogus).filter(|them| !them.is_empty());
    }
}

/// What is let through for the machine itself.
const LOCALHOST: [&str; 4] = ["127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128"];

const OF_DOCUMENTS: &str = "dnsmasq takes out 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 255.255.255.255 and 2001:db8::/32 as well";

/// Adds what is not there yet.
fn add(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// The pairs of networks of `alias=old[-end],new[,mask]`.
fn alias_networks(
    old: &str,
    new: &str,
    mask: Option<&str>,
) -> Result<Vec<(String, String)>, String> {
    let v4 =
        |text: &str| text.parse::<Ipv4Addr>().map_err(|_| format!("`{text}` is no IPv4 address"));
    if let Some((first, last)) = old.split_once('-') {
        let (first, last, new) = (v4(first)?.to_bits(), v4(last)?.to_bits(), v4(new)?.to_bits());
        if last < first || last - first > 255 {
            return Err("a range of at most 256 addresses".into());
        }
        // What the mask covers is the new one's, the rest stays.
        let mask = mask.map_or(Ok(u32::MAX), |mask| v4(mask).map(Ipv4Addr::to_bits))?;
        let pairs = (first..=last).map(|old| {
            let new = if mask == u32::MAX { new } else { new & mask | old & !mask };
            (format!("{}/32", Ipv4Addr::from_bits(old)), format!("{}/32", Ipv4Addr::from_bits(new)))
        });
        return Ok(pairs.collect());
    }
    let mask = mask.map_or(Ok(u32::MAX), |mask| v4(mask).map(Ipv4Addr::to_bits))?;
    if mask.leading_ones() + mask.trailing_zeros() != 32 {
        return Err("the mask is none of a network".into());
    }
    let network = |text: &str| {
        let address = Ipv4Addr::from_bits(v4(text)?.to_bits() & mask);
        Ok::<_, String>(format!("{address}/{}", mask.leading_ones()))
    };
    Ok(vec![(network(old)?, network(new)?)])
}

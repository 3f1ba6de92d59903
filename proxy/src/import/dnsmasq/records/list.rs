//! Names with addresses alone, where there are more than can be rules: they are lines of `spec.hosts`.

use std::{collections::BTreeMap, net::IpAddr};

use dnsproxy_api::bounds;

use super::{Line, Own, Records, absolute};
use crate::import::{Draft, addresses::reverse_name, draft::hosts_lines};

/// Names that may be rules each: half of what a manifest may have.
const MANY: usize = bounds::RULES as usize / 2;

impl Records {
    /// Puts them there. Returns the addresses.
    pub(in super::super) fn list(&mut self, draft: &mut Draft) -> Vec<IpAddr> {
        if self.names.len() <= MANY {
            return Vec::new();
        }
        let mut names: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        let (mut first, mut count) = (0, 0);
        for own in self.names.iter_mut().filter(|own| own.has_addresses_alone()) {
            own.is_listed = true;
            count += 1;
            first = if first == 0 { own.line } else { first };
            for address in own.records.iter().filter_map(Line::address) {
                names.entry(address).or_default().push(own.name.clone());
            }
        }
        for (address, names) in &mut names {
            // Each line gives its address a name: where there are several, a rule has the one that counts.
            if lines(*address, names).len() == 1 {
                self.lead_back(*address, names);
            }
        }
        if count > 0 {
            let reason = format!(
                "{count} names with addresses alone are in `hosts`, as they are too many for rules: other types of theirs get NODATA here, where dnsmasq asks the servers"
            );
            draft.note(first, "host-record", reason);
            hosts_lines(draft, names.iter().flat_map(|(address, names)| lines(*address, names)));
        }
        names.into_keys().collect()
    }

    /// The name that an address leads back to is the first of its line, so no rule is needed for that.
    fn lead_back(&mut self, address: IpAddr, names: &mut [String]) {
        let at = self.at.get(&reverse_name(address)).copied();
        let Some(own) = at.and_then(|at| self.names.get_mut(at)) else { return };
        let [Line { ttl: None, text, is_derived: true }] = &*own.records else { return };
        let at = names.iter().position(|name| *text == format!("PTR {}", absolute(name)));
        if let Some(before) = at.and_then(|at| names.get_mut(..=at)) {
            before.rotate_right(1);
            own.is_listed = true;
        }
    }
}

/// An address with its names, in lines that are not longer than a source may be.
fn lines(address: IpAddr, names: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        match lines.last_mut() {
            Some(line) if line.len() + name.len() + 2 <= bounds::INLINE as usize => {
                line.push(' ');
                line.push_str(name);
            }
            _ => lines.push(format!("{address} {name}")),
        }
    }
    lines.iter_mut().for_each(|line| line.push('\n'));
    lines
}

impl Own {
    /// Whether it has addresses alone, which live as long as all others.
    fn has_addresses_alone(&self) -> bool {
        let is_address = |it: &Line| it.ttl.is_none() && it.address().is_some();
        self.records.iter().all(is_address)
    }
}

impl Line {
    fn address(&self) -> Option<IpAddr> {
        let (rtype, address) = self.text.split_once(' ')?;
        matches!(rtype, "A" | "AAAA").then(|| address.parse().ok())?
    }
}

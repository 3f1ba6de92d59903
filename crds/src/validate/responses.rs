//! `spec.responses`: networks, zones, and pairs of networks of one size.

use super::Report;
use crate::{
    units::{Network, Zone},
    v1alpha1::{AddressAlias, RebindProtection, Responses},
};

pub(super) fn check(responses: Option<&Responses>, report: &mut Report) {
    // Destructured without `..`: a new field needs a check.
    let Some(Responses {
        rebind_protection,
        bogus_addresses,
        address_aliases,
        any: _,
        private_names: _,
    }) = responses
    else {
        return;
    };
    let path = "spec.responses";
    if let Some(RebindProtection { mode: _, action: _, allow, allow_networks }) = rebind_protection
    {
        let path = format!("{path}.rebindProtection");
        report.parse_all::<Zone>(&format!("{path}.allow"), allow.as_deref().unwrap_or_default());
        let networks = allow_networks.as_deref().unwrap_or_default();
        report.parse_all::<Network>(&format!("{path}.allowNetworks"), networks);
    }
    let bogus = bogus_addresses.as_deref().unwrap_or_default();
    report.parse_all::<Network>(&format!("{path}.bogusAddresses"), bogus);
    for (index, AddressAlias { from, to }) in address_aliases.iter().flatten().enumerate() {
        let path = format!("{path}.addressAliases[{index}]");
        let pair = (
            report.parse::<Network>(&format!("{path}.from"), from),
            report.parse::<Network>(&format!("{path}.to"), to),
        );
        let (Some(from), Some(to)) = pair else { continue };
        let is_pair =
            from.prefix() == to.prefix() && from.address().is_ipv4() == to.address().is_ipv4();
        report.require(is_pair, path, "from and to are networks of one family and one size");
    }
}

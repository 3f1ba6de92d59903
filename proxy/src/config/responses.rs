//! `spec.responses`, ready to be applied.

use std::hash::{DefaultHasher, Hash, Hasher};

use dnsproxy_api::v1alpha1::{AddressAlias, CacheMode, RebindProtection, Responses};

use super::{Unparsable, parse, parse_all};
use crate::checks::{Checks, Rebinding};

/// What is checked in every upstream's answer.
pub(super) fn checks(responses: Option<&Responses>) -> Result<Checks, Unparsable> {
    let Some(responses) = responses else { return Ok(Checks::default()) };
    let Responses { rebind_protection, bogus_addresses, address_aliases, any: _, private_names: _ } =
        responses;
    let rebinding = rebind_protection.as_ref().filter(|it| it.mode == CacheMode::Enabled);
    let aliases = address_aliases.iter().flatten();
    let aliases = aliases.map(|AddressAlias { from, to }| Ok((parse(from)?, parse(to)?)));
    let checked = (rebinding, bogus_addresses, address_aliases);
    Ok(Checks {
        rebinding: rebinding.map(self::rebinding).transpose()?,
        bogus: parse_all(bogus_addresses.as_deref().unwrap_or_default())?,
        aliases: aliases.collect::<Result<_, _>>()?,
        fingerprint: match checked {
            (None, None, None) => 0,
            checked => fingerprint(&serde_json::to_string(&checked).unwrap_or_default()),
        },
    })
}

fn rebinding(protection: &RebindProtection) -> Result<Rebinding, Unparsable> {
    let RebindProtection { mode: _, action, allow, allow_networks } = protection;
    Ok(Rebinding {
        action: *action,
        zones: parse_all(allow.as_deref().unwrap_or_default())?,
        networks: parse_all(allow_networks.as_deref().unwrap_or_default())?,
    })
}

fn fingerprint(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

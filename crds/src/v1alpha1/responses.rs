//! `spec.responses`: what is checked in every upstream's answer, and which names never leave.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::CacheMode;
use crate::{bounds, units::Zone};

/// What is done about answers that must not be believed, and about names that nobody outside can know.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Responses {
    /// Answers with private addresses for public names, which would let a web page reach into this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebind_protection: Option<RebindProtection>,

    /// An answer with an address of these networks becomes NXDOMAIN: some providers answer so where there is
    /// no such name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub bogus_addresses: Option<Vec<String>>,

    /// Addresses in answers that become others, the first that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NETWORKS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub address_aliases: Option<Vec<AddressAlias>>,

    /// What a question for ANY gets, where nothing here answers for the name: `Minimal`, one record that says so
    /// (RFC 8482), or what the upstream answers.
    #[serde(default)]
    pub any: AnyQuestions,

    /// What a question for a name gets that means something here alone: `local`, `onion`, `invalid`, `test`,
    /// `localhost`, `home.arpa`, `service.arpa`, `resolver.arpa` and names in them, host names without a dot, and the
    /// reverse zones of private addresses. `Local`: an answer from here, unless a route has a zone for it.
    #[serde(default)]
    pub private_names: PrivateNames,
}

/// Protection against DNS rebinding.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebindProtection {
    /// Whether answers of a route for `.` are checked.
    #[serde(default)]
    pub mode: CacheMode,

    /// What the client gets instead.
    #[serde(default)]
    pub action: RebindAction,

    /// Zones of which the answers may have private addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::ZONES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Option<Vec<String>>,

    /// Private networks that any answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow_networks: Option<Vec<String>>,
}

/// What the client gets instead of private addresses.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum RebindAction {
    /// That there is nothing of this type.
    #[default]
    NODATA,
    /// That there is no such name.
    NXDOMAIN,
    /// That it may not ask this.
    REFUSED,
}

/// Addresses that become others.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressAlias {
    /// The network of addresses that upstreams answer.
    #[schemars(length(min = 1, max = bounds::ADDRESS))]
    pub from: String,
    /// The network that they are moved into, of the same size.
    #[schemars(length(min = 1, max = bounds::ADDRESS))]
    pub to: String,
}

/// What a question for ANY gets.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum AnyQuestions {
    /// One record that says that there are no such answers (RFC 8482).
    #[default]
    Minimal,
    /// What the upstream answers.
    Forward,
}

/// What a question for a name gets that means something here alone.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PrivateNames {
    /// An answer from here.
    #[default]
    Local,
    /// What the upstream answers.
    Forward,
}

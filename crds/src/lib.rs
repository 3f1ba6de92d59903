//! The manifest of a DNS proxy: what a user writes, in a file or in a cluster.
//!
//! ```text
//! text --manifest::read--> DnsProxy --validate::problems--> (the proxy's Config | the operator's rendering)
//! ```
//!
//! The types hold what was written, text forms included; they refuse nothing that a newer version may
//! add. Strictness is the reader's ([`manifest`]) and the validation's ([`validate`]), which both name
//! every problem with its path. [`units`] holds the text forms, parsed into types that cannot hold
//! nonsense; [`defaults`] and [`bounds`] are the numbers of the schema. The CustomResourceDefinition is
//! made from the types, and the reader walks its schema, so that `dnsproxy check` and the API server agree
//! about what a manifest is. This crate knows no network.

pub mod bounds;
pub mod defaults;
pub mod manifest;
pub mod units;
pub mod v1alpha1;
pub mod validate;

mod crd;

pub use crd::{custom_resource_definition, custom_resource_definitions};
pub use v1alpha1::{DnsProxy, DnsProxySpec, DnsProxyStatus};

/// The API group of every kind in this crate.
pub const GROUP: &str = "dnsproxy.io";
/// The only version there is.
pub const VERSION: &str = "v1alpha1";

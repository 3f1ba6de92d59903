//! The pods' identity: one without any right, and without a token.

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{metadata, names};
use crate::validate::ValidatedDnsProxy;

pub(super) fn service_account(proxy: &ValidatedDnsProxy) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta { name: Some(names::service_account(proxy)), ..metadata(proxy) },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn has_no_token() {
        insta::assert_yaml_snapshot!(service_account(&fixtures::validated("minimal")));
    }
}

//! The ConfigMap with what the pods read.

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{metadata, names};
use crate::validate::ValidatedDnsProxy;

pub(super) fn config_map(proxy: &ValidatedDnsProxy, text: String) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(names::config_map(proxy)), ..metadata(proxy) },
        data: Some([(names::FILE.to_owned(), text)].into()),
        ..ConfigMap::default()
    }
}

/// What the data of a ConfigMap may take in all (kubernetes.io, "ConfigMaps").
pub const MAX_OCTETS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, render};

    #[test]
    fn holds_what_the_proxy_reads() {
        for fixture in fixtures::VALID {
            let mut config_map = render::render(&fixtures::validated(fixture)).config_map;
            let mut data = config_map.data.take().unwrap();

            insta::assert_yaml_snapshot!(format!("config_map_{fixture}"), config_map);
            insta::assert_snapshot!(format!("text_{fixture}"), data.remove(names::FILE).unwrap());
            assert!(data.is_empty(), "nothing else is in it");
        }
    }

    #[test]
    fn a_changed_text_keeps_the_name_and_a_new_image_or_reference_changes_it() {
        let proxy = fixtures::validated("full");
        let name = names::config_map(&proxy);

        let mut text = proxy.clone();
        text.spec.upstreams[0].addresses.push("192.0.2.99".into());
        let mut image = proxy.clone();
        image.image = "registry.example/dnsproxy:3".into();
        let mut reference = proxy;
        reference.references.pop_last();

        assert_eq!(names::config_map(&text), name);
        assert_ne!(names::config_map(&image), name);
        assert_ne!(names::config_map(&reference), name);
    }
}

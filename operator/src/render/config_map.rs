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
    use dnsproxy_api::DnsProxy;
    use serde_json::{Value, json};

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
    fn a_changed_text_keeps_the_name_and_what_only_new_pods_have_changes_it() {
        let proxy = fixtures::proxy("minimal");
        let rendered = |proxy: &DnsProxy, image: &str| {
            render::render(&fixtures::filled_in_after_check(proxy, image))
        };
        let before = rendered(&proxy, fixtures::IMAGE);
        let changed = |spec: Value| {
            let mut changed = serde_json::to_value(&proxy).unwrap();
            changed["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            serde_json::from_value::<DnsProxy>(changed).unwrap()
        };
        let memory = |limit: &str| json!({"resources": {"limits": {"memory": limit}}});
        let list =
            json!({"name": "ads", "sources": [{"configMap": {"name": "ads", "key": "hosts"}}]});
        let (image, other) = (fixtures::IMAGE, "registry.example/dnsproxy:3");
        let cases = [
            ("a larger cache", json!({"cache": {"size": "90Mi"}}), image, true),
            (
                "more upstreams",
                json!({"upstreams": [{"name": "a", "addresses": ["192.0.2.99"]}]}),
                image,
                true,
            ),
            (
                "the same time for the shutdown",
                json!({"shutdown": {"delay": "10s", "drain": "5s"}}),
                image,
                true,
            ),
            ("another image", json!({}), other, false),
            ("another reference", json!({"lists": [list]}), image, false),
            ("more time for the shutdown", json!({"shutdown": {"delay": "60s"}}), image, false),
            ("more memory", json!({"workload": memory("1Gi")}), image, false),
            (
                "a cache that old pods have no room for",
                json!({"cache": {"size": "700Mi"}, "workload": memory("1Gi")}),
                image,
                false,
            ),
        ];

        for (why, spec, image, is_same) in cases {
            let after = rendered(&changed(spec), image);
            let is_named_so = after.config_map.metadata.name == before.config_map.metadata.name;
            assert_eq!(is_named_so, is_same, "{why}");
            let template =
                |manifests: &render::Manifests| manifests.deployment.spec.clone().unwrap().template;
            assert_eq!(template(&after) == template(&before), is_same, "{why}: pods");
        }
    }
}

//! What was applied last: the comparison that makes an apply needless.
//!
//! The API server fills in defaults and rewrites quantities, so that a rendered object and the living
//! one never look the same. What can be compared is each with itself: as long as the same is rendered
//! and the living object is the one that the last apply left, another apply would change nothing.
//! After a restart every object is applied once more, which the API server finds to change nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::digest;

/// What was applied last, by object.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Seen>>);

type Key = (String, Option<String>, String);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    rendered: String,
    living: String,
}

impl Memory {
    /// Whether applying `desired` to `live` would change nothing.
    pub fn is_unchanged<K: Resource<DynamicType = ()> + Serialize>(
        &self,
        desired: &K,
        live: &K,
    ) -> bool {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(&key(desired)) == Some(&seen(desired, live))
    }

    /// Remembers what the API server made of `desired`.
    pub fn remember<K: Resource<DynamicType = ()> + Serialize>(&self, desired: &K, applied: &K) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // To forget costs one apply that changes nothing.
        if memory.len() >= MAX_OBJECTS {
            memory.clear();
        }
        memory.insert(key(desired), seen(desired, applied));
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (K::kind(&()).into_owned(), object.namespace(), object.name_any())
}

fn seen<K: Serialize>(desired: &K, live: &K) -> Seen {
    Seen { rendered: fingerprint(desired), living: fingerprint(live) }
}

/// Of everything but the status and the API server's bookkeeping.
fn fingerprint<K: Serialize>(object: &K) -> String {
    // An object that came from JSON, or goes there, can be written as JSON.
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(object) = &mut value {
        // Retained, not removed: that would change the order of what is left.
        object.retain(|field, _| field != "status");
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.retain(|field, _| !BOOKKEEPING.contains(&field.as_str()));
        }
    }
    digest::sha256(value.to_string().as_bytes(), DIGITS)
}

const BOOKKEEPING: [&str; 3] = ["generation", "managedFields", "resourceVersion"];
const DIGITS: usize = 32;
/// Four objects for each of some thousand DnsProxies; about 200 octets each.
const MAX_OBJECTS: usize = 20_000;

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn service(value: Value) -> Service {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_a_difference_is_applied_again() {
        let memory = Memory::default();
        let desired = service(json!({"metadata": {"name": "edge"}, "spec": {"type": "ClusterIP"}}));
        let applied = service(json!({
            "metadata": {
                "name": "edge", "labels": {"team": "net"}, "uid": "1",
                "generation": 1, "resourceVersion": "7", "managedFields": [{"manager": "us"}],
            },
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.53"},
        }));
        assert!(!memory.is_unchanged(&desired, &applied), "never applied");
        memory.remember(&desired, &applied);
        assert!(memory.is_unchanged(&desired, &applied), "just applied");

        let mut changed = desired.clone();
        changed.labels_mut().insert("team".into(), "net".into());
        assert!(!memory.is_unchanged(&changed, &applied), "something else is rendered");

        let mut drifted = applied.clone();
        drifted.spec.as_mut().unwrap().type_ = Some("NodePort".into());
        assert!(!memory.is_unchanged(&desired, &drifted), "somebody changed the object");

        let mut observed = applied;
        observed.metadata.resource_version = Some("8".into());
        observed.metadata.managed_fields = None;
        observed.status = Some(k8s_openapi::api::core::v1::ServiceStatus::default());
        assert!(memory.is_unchanged(&desired, &observed), "only its status changed");
    }
}

//! What was applied last: the comparison that makes an apply needless.
//!
//! The API server fills in defaults and rewrites quantities, so that a rendered object and the living
//! one never look the same. What can be compared is each with itself: as long as the same is rendered
//! and the living object is the one that the last apply left, another apply would change nothing.
//! After a restart every object is applied once more, which the API server finds to change nothing.
//!
//! A Deployment's generation grows with any change, its number of pods included. Since when its pods are
//! what they are is remembered, too: only a change of that is a rollout.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::digest;

/// What was applied last, by object.
#[derive(Debug, Default)]
pub struct Memory {
    applied: Mutex<HashMap<Key, Seen>>,
    templates: Mutex<HashMap<Key, Template>>,
}

type Key = (String, Option<String>, String);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    rendered: String,
    living: String,
}

/// The template of a Deployment's pods.
#[derive(Clone, Debug)]
struct Template {
    /// Of which Deployment.
    uid: Option<String>,
    fingerprint: String,
    /// The Deployment's generation when it came.
    since: i64,
    /// The Deployment's generation when it was seen last.
    seen: i64,
}

impl Template {
    /// Whether it was the same all the time up to this later look. A generation that nobody looked at may have had
    /// another one.
    fn is_still(&self, now: &Self) -> bool {
        self.uid == now.uid
            && self.fingerprint == now.fingerprint
            && (self.seen..=self.seen + 1).contains(&now.seen)
    }
}

impl Memory {
    /// Whether applying `desired` to `live` would change nothing.
    pub fn is_unchanged<K: Resource<DynamicType = ()> + Serialize>(
        &self,
        desired: &K,
        live: &K,
    ) -> bool {
        let memory = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(&key(desired)) == Some(&seen(desired, live))
    }

    /// Remembers what the API server made of `desired`.
    pub fn remember<K: Resource<DynamicType = ()> + Serialize>(&self, desired: &K, applied: &K) {
        let mut memory = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        // To forget costs one apply that changes nothing.
        if memory.len() >= MAX_OBJECTS {
            memory.clear();
        }
        memory.insert(key(desired), seen(desired, applied));
    }

    /// Since which generation this Deployment's pods have been what they are, as far as that is known; else its own.
    pub fn template_since(&self, deployment: &Deployment) -> i64 {
        let generation = deployment.metadata.generation.unwrap_or_default();
        let mut now = Template {
            uid: deployment.uid(),
            fingerprint: fingerprint(&deployment.spec.as_ref().map(|spec| &spec.template)),
            since: generation,
            seen: generation,
        };
        let mut memory = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        // To forget makes a change of the number of pods look like a rollout, for a moment.
        if memory.len() >= MAX_OBJECTS {
            memory.clear();
        }
        if let Some(known) = memory.get(&key(deployment)) {
            // A store that is late tells nothing new: what it has is not what was applied last, even where it looks so.
            if known.uid == now.uid && known.seen > now.seen {
                return known.since;
            }
            if known.is_still(&now) {
                now.since = known.since;
            }
        }
        let since = now.since;
        memory.insert(key(deployment), now);
        since
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
/// Five objects for each of some thousand DnsProxies; about 200 octets each.
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
    fn a_template_is_as_old_as_its_last_change() {
        let memory = Memory::default();
        let since = |uid: &str, generation: i64, replicas: i32, image: &str| {
            let template = json!({"spec": {"containers": [{"name": "dnsproxy", "image": image}]}});
            let deployment = json!({
                "metadata": {"name": "edge", "uid": uid, "generation": generation},
                "spec": {"replicas": replicas, "selector": {}, "template": template},
            });
            memory.template_since(&serde_json::from_value(deployment).unwrap())
        };

        let cases = [
            ("nothing is remembered", since("a", 3, 2, "x"), 3),
            ("another number of pods", since("a", 4, 3, "x"), 3),
            ("looked at again", since("a", 4, 3, "x"), 3),
            ("another image", since("a", 5, 3, "y"), 5),
            ("another number of pods after that", since("a", 6, 2, "y"), 5),
            ("a store that is late", since("a", 4, 3, "x"), 5),
            ("which changes nothing", since("a", 6, 2, "y"), 5),
            ("one in between was not seen, and may have been another", since("a", 8, 2, "y"), 8),
            ("made anew", since("b", 1, 2, "y"), 1),
        ];
        for (why, since, expected) in cases {
            assert_eq!(since, expected, "{why}");
        }
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

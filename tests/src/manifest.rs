//! Manifests for tests, written as JSON, which is YAML.

use serde_json::{Value, json};

/// A manifest with this spec.
pub fn manifest(spec: &Value) -> String {
    let manifest = json!({
        "apiVersion": "dnsproxy.io/v1alpha1",
        "kind": "DnsProxy",
        "metadata": {"name": "test"},
        "spec": spec,
    });
    format!("{manifest:#}\n")
}

/// A spec with these upstreams and nothing else.
pub fn upstreams(upstreams: impl IntoIterator<Item = Value>) -> Value {
    json!({"upstreams": Vec::from_iter(upstreams)})
}

/// Lays one object over another: objects are merged, everything else is replaced.
#[must_use]
pub fn merged(mut base: Value, over: Value) -> Value {
    merge(&mut base, over);
    base
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

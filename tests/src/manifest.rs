//! Manifests for tests, written as JSON, which is YAML.

use serde_json::{Value, json};

/// A manifest with this spec. Without a word about a cache there is none: most tests count what upstreams are asked.
pub fn manifest(spec: &Value) -> String {
    let mut spec = spec.clone();
    if spec.get("cache").is_none() {
        spec["cache"] = json!({"mode": "Disabled"});
    }
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

/// A spec with these upstreams, of which the first one that can is to answer, whatever their speed.
pub fn in_order(entries: impl IntoIterator<Item = Value>) -> Value {
    let mut spec = upstreams(entries);
    let all: Vec<Value> = (spec["upstreams"].as_array().into_iter().flatten())
        .map(|upstream| upstream["name"].clone())
        .collect();
    spec["routes"] =
        json!([{"name": "default", "zones": ["."], "upstreams": all, "policy": "Sequential"}]);
    spec
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

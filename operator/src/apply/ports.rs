//! Ports that somebody gave another number or protocol.
//!
//! The API server has lists of ports by number and protocol (kubernetes.io, "Server-Side Apply", `listType: map`): one that was
//! edited is another one for it, so that an apply does not put it back but adds ours beside it, and is refused because both have one
//! name. What was edited must be edited back first. Ports of other names are others' additions, and stay.

use serde::Serialize;
use serde_json::{Value, json};

/// The merge patch that gives ports of our names our numbers and protocols again; none when they have them. It holds for
/// this version of the living object alone.
pub(super) fn edited_back<K: Serialize>(desired: &K, live: &K) -> Option<Value> {
    // An object that came from JSON, or goes there, can be written as JSON.
    let [desired, live] = [desired, live].map(|object| serde_json::to_value(object).ok());
    let (desired, live) = (desired?, live?);
    let spec = of_service(&desired, &live).or_else(|| of_pods(&desired, &live))?;
    let version = live.pointer("/metadata/resourceVersion")?;
    Some(json!({"metadata": {"resourceVersion": version}, "spec": spec}))
}

fn of_service(desired: &Value, live: &Value) -> Option<Value> {
    let [ours, living] = [desired, live].map(|object| object.pointer("/spec/ports"));
    Some(json!({"ports": with_our_keys(ours?, living?, "port")?}))
}

/// A merge patch replaces the list of containers: those that others added are in it.
fn of_pods(desired: &Value, live: &Value) -> Option<Value> {
    let [ours, living] =
        [desired, live].map(|object| object.pointer("/spec/template/spec/containers"));
    let ours = ours?.as_array()?;
    let mut containers = living?.as_array()?.clone();
    let mut is_edited = false;
    for container in &mut containers {
        let Some(our) = ours.iter().find(|our| our.get("name") == container.get("name")) else {
            continue;
        };
        let (Some(our), Some(ports)) = (our.get("ports"), container.get_mut("ports")) else {
            continue;
        };
        if let Some(edited) = with_our_keys(our, ports, "containerPort") {
            *ports = Value::Array(edited);
            is_edited = true;
        }
    }
    is_edited.then(|| json!({"template": {"spec": {"containers": containers}}}))
}

/// The living ports; none when no port of our names has a key that is none of ours. An apply does the rest.
fn with_our_keys(ours: &Value, living: &Value, number: &str) -> Option<Vec<Value>> {
    let (ours, living) = (ours.as_array()?, living.as_array()?);
    let has_key_of = |port: &Value, other: &Value| {
        port.get(number) == other.get(number) && port.get("protocol") == other.get("protocol")
    };
    let ours_by_name = |port: &Value| {
        let is_foreign = !ours.iter().any(|our| has_key_of(our, port));
        let our = ours.iter().find(|our| our.get("name") == port.get("name"));
        our.filter(|_| is_foreign)
    };
    living.iter().find_map(ours_by_name)?;
    let edited = living.iter().filter_map(|port| match ours_by_name(port) {
        None => Some(port.clone()),
        Some(our) if living.iter().any(|other| has_key_of(our, other)) => None,
        // In place, so that it keeps the port of the nodes that it was given.
        Some(our) => {
            let mut port = port.clone();
            for field in [number, "protocol"] {
                *port.get_mut(field)? = our.get(field)?.clone();
            }
            Some(port)
        }
    });
    Some(edited.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, number: u16, protocol: &str) -> Value {
        json!({"name": name, "port": number, "protocol": protocol, "nodePort": number + 30_000})
    }

    #[test]
    fn only_what_would_stand_in_the_way_of_an_apply_is_edited_back() {
        let service = |ports: &[Value]| json!({"metadata": {"resourceVersion": "7"}, "spec": {"ports": ports}});
        let [udp, tcp] = [port("dns-udp", 53, "UDP"), port("dns-tcp", 53, "TCP")];
        let ours = [udp.clone(), tcp.clone()];
        let metrics = port("metrics", 9153, "TCP");
        let moved = port("dns-udp", 5300, "UDP");
        let mut back = udp.clone();
        back["nodePort"] = json!(35_300);
        let cases = [
            ("as it was", vec![udp.clone(), tcp.clone()], None),
            ("a port of somebody else", vec![udp.clone(), tcp.clone(), metrics.clone()], None),
            (
                "another name: an apply finds it by number and protocol",
                vec![port("x", 53, "UDP"), tcp.clone()],
                None,
            ),
            ("names exchanged", vec![port("dns-udp", 53, "TCP"), port("dns-tcp", 53, "UDP")], None),
            (
                "another number",
                vec![moved.clone(), tcp.clone(), metrics.clone()],
                Some(vec![back, tcp.clone(), metrics]),
            ),
            (
                "added by an earlier apply, beside the edited one",
                vec![moved, port("x", 53, "UDP"), tcp.clone()],
                Some(vec![port("x", 53, "UDP"), tcp]),
            ),
        ];

        for (why, living, expected) in cases {
            let patch = edited_back(&service(&ours), &service(&living));
            assert_eq!(patch, expected.map(|ports| service(&ports)), "{why}");
        }
    }

    #[test]
    fn containers_of_others_stay() {
        let deployment = |containers: Value| {
            let pod = json!({"spec": {"containers": containers}});
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"template": pod}})
        };
        let container = |number: u16| json!({"name": "dnsproxy", "image": "x", "ports": [{"name": "dns-udp", "containerPort": number, "protocol": "UDP"}]});
        let sidecar = json!({"name": "mesh"});
        let ours = deployment(json!([container(5353)]));

        assert_eq!(edited_back(&ours, &deployment(json!([container(5353), sidecar]))), None);
        assert_eq!(
            edited_back(&ours, &deployment(json!([sidecar, container(53)]))),
            Some(deployment(json!([sidecar, container(5353)])))
        );
    }
}

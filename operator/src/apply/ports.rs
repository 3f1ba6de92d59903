//! Ports that somebody gave another number or protocol.
//!
//! The API server has lists of ports by number and protocol (kubernetes.io, "Server-Side Apply", `listType: map`): one that was
//! edited is another one for it, so that an apply does not put it back but adds ours beside it, and is refused because both have one
//! name. What was edited must be edited back first. Ports of other names are others' additions, and stay.

use serde::Serialize;
use serde_json::{Value, json};

/// The strategic merge patch that gives ports of our names our numbers and protocols again; none when they have them. It
/// holds for this version of the living object alone, and touches nothing but these lists of ports.
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

fn of_pods(desired: &Value, live: &Value) -> Option<Value> {
    let [ours, living] =
        [desired, live].map(|object| object.pointer("/spec/template/spec/containers")?.as_array());
    let (ours, living) = (ours?, living?);
    let edited = living.iter().filter_map(|container| {
        let name = container.get("name")?;
        let our = ours.iter().find(|our| our.get("name") == Some(name))?;
        let ports = with_our_keys(our.get("ports")?, container.get("ports")?, "containerPort")?;
        Some(json!({"name": name, "ports": ports}))
    });
    let edited: Vec<_> = edited.collect();
    (!edited.is_empty()).then(|| json!({"template": {"spec": {"containers": edited}}}))
}

/// What the list of ports is to be replaced by: the living ones; none when no port of our names has a key that is none of
/// ours. An apply does the rest.
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
    let is_whole = json!({"$patch": "replace"});
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
    Some([is_whole].into_iter().chain(edited).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, number: u16, protocol: &str) -> Value {
        json!({"name": name, "port": number, "protocol": protocol, "nodePort": number + 30_000})
    }

    #[test]
    fn only_what_would_stand_in_the_way_of_an_apply_is_edited_back() {
        let is_whole = json!({"$patch": "replace"});
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
                Some(vec![is_whole.clone(), back, tcp.clone(), metrics]),
            ),
            (
                "added by an earlier apply, beside the edited one",
                vec![moved, port("x", 53, "UDP"), tcp.clone()],
                Some(vec![is_whole, port("x", 53, "UDP"), tcp]),
            ),
        ];

        for (why, living, expected) in cases {
            let patch = edited_back(&service(&ours), &service(&living));
            assert_eq!(patch, expected.map(|ports| service(&ports)), "{why}");
        }
    }

    #[test]
    fn containers_of_others_are_not_touched() {
        let deployment = |containers: Value| {
            let pod = json!({"spec": {"containers": containers}});
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"template": pod}})
        };
        let port =
            |number: u16| json!({"name": "dns-udp", "containerPort": number, "protocol": "UDP"});
        let container =
            |number: u16| json!({"name": "dnsproxy", "image": "x", "ports": [port(number)]});
        let sidecar = json!({"name": "mesh"});
        let ours = deployment(json!([container(5353)]));
        let edited = json!({"name": "dnsproxy", "ports": [{"$patch": "replace"}, port(5353)]});

        assert_eq!(edited_back(&ours, &deployment(json!([container(5353), sidecar]))), None);
        assert_eq!(
            edited_back(&ours, &deployment(json!([sidecar, container(53)]))),
            Some(deployment(json!([edited])))
        );
    }
}

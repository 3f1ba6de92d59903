use std::net::Ipv4Addr;

use serde_json::json;

use super::*;

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn reverse_zones_are_narrow() {
    let sixteen: Vec<_> = (96..112).map(|octet| format!("{octet}.10.in-addr.arpa")).collect();
    let mut sorted = sixteen.clone();
    sorted.sort_unstable();
    let cases: &[(&str, &[&str], Vec<String>)] = &[
        ("on a label", &["10.244.0.0/16"], vec!["244.10.in-addr.arpa".into()]),
        ("one node's", &["10.244.3.0/24"], vec!["3.244.10.in-addr.arpa".into()]),
        (
            "two zones",
            &["10.42.0.0/15"],
            vec!["42.10.in-addr.arpa".into(), "43.10.in-addr.arpa".into()],
        ),
        ("kubeadm's default", &["10.96.0.0/12"], sorted),
        ("too many zones of /24: one of /16", &["10.96.0.0/18"], vec!["96.10.in-addr.arpa".into()]),
        (
            "never wider than /16",
            &["10.0.0.0/15"],
            vec!["0.10.in-addr.arpa".into(), "1.10.in-addr.arpa".into()],
        ),
        (
            "a nibble",
            &["fd00:10:96::/112"],
            vec!["0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa".into()],
        ),
        ("never everything", &["0.0.0.0/0", "::/0"], vec![]),
    ];

    for (why, given, expected) in cases {
        assert_eq!(&reverse_zones(&networks(given), &[]), expected, "{why}");
    }
}

#[test]
fn service_networks_are_what_the_cluster_says() {
    let cidr: ServiceCIDR = serde_json::from_value(json!({
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12", "fd00::/108"]},
    }))
    .unwrap();

    assert_eq!(of_services(&[cidr], None), networks(&["10.96.0.0/12", "fd00::/108"]));
}

#[test]
fn service_networks_are_guessed_around_the_dns_of_an_older_cluster() {
    let server = dns::Server {
        service: "kube-system/kube-dns".into(),
        addresses: vec!["10.96.0.10".into(), "[fd00::a]:5353".into()],
        endpoints: vec![],
    };

    assert_eq!(
        of_services::<ServiceCIDR>(&[], Some(&server)),
        networks(&["10.96.0.0/16", "fd00::/112"])
    );
}

fn node(pods: &str, address: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {}, "spec": {"podCIDRs": [pods]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": address}, {"type": "Hostname", "address": "node"},
        ]},
    }))
    .unwrap()
}

#[test]
fn reverse_zones_of_many_pod_networks_are_widened_within_private_space_alone() {
    let pods = |nodes: u8, network: fn(u8) -> String| {
        let nodes: Vec<_> = (0..nodes).map(|n| node(&network(2 * n), "192.0.2.1")).collect();
        of_pods(&nodes)
    };
    let private = |n| format!("10.244.{n}.0/24");
    let public = |n| format!("198.51.{n}.0/24");
    let zones = |pods: &[IpNet]| reverse_zones(&[], pods);

    assert_eq!(zones(&pods(2, private)), ["0.244.10.in-addr.arpa", "2.244.10.in-addr.arpa"]);
    assert_eq!(zones(&pods(40, private)), ["244.10.in-addr.arpa"]);
    assert_eq!(zones(&pods(40, |n| format!("100.64.{n}.0/24"))), ["64.100.in-addr.arpa"]);
    assert_eq!(
        zones(&pods(9, |n| format!("fd00:10:244:{n:x}::/64"))),
        ["4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa"]
    );
    assert_eq!(zones(&pods(9, public)).len(), 9, "what is between them is somebody else's");
    assert_eq!(pods(9, public).len(), 9, "and who may ask follows from these");
    assert_eq!(
        of_pods(&[node("10.244.0.0/24", "192.0.2.1"), node("10.244.1.0/24", "192.0.2.2")]),
        networks(&["10.244.0.0/23"]),
        "neighbours are joined"
    );
}

#[test]
fn reverse_zones_of_services_come_before_those_of_many_pod_networks() {
    let pods: Vec<IpNet> = (0..300_u32)
        .map(|n| Ipv4Addr::from_bits(0xc633_0000 + (n << 9)))
        .map(|address| Ipv4Net::new_assert(address, 24).into())
        .collect();

    let zones = reverse_zones(&networks(&["203.0.113.0/24"]), &pods);
    assert_eq!(zones.len(), MAX_ZONES);
    assert!(zones.contains(&"113.0.203.in-addr.arpa".to_owned()), "{zones:?}");
}

#[test]
fn access_grows_by_what_the_defaults_do_not_cover() {
    let defaults = networks(&["10.0.0.0/8"]);
    let nodes = of_nodes(&[node("10.244.0.0/24", "192.0.2.1"), node("10.244.1.0/24", "10.0.0.2")]);

    assert_eq!(
        beyond(&defaults, &networks(&["10.244.0.0/16", "198.51.100.0/24"]), &nodes),
        networks(&["192.0.2.1/32", "198.51.100.0/24"])
    );
}

#[test]
fn neighbours_are_joined_before_anything_is_left_out_and_the_widest_stay() {
    let nodes: Vec<IpAddr> = (0..8_u8)
        .map(|n| IpAddr::from([192, 0, 2, n]))
        .chain(["198.51.100.1".parse().unwrap()])
        .collect();
    let networks = beyond(&[], &networks(&["203.0.113.0/24", "2001:db8::/48"]), &nodes);
    let texts =
        |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");

    let (all, left_out) = fitting(networks.clone(), 4);
    assert_eq!(texts(&all), "192.0.2.0/29 198.51.100.1/32 203.0.113.0/24 2001:db8::/48");
    assert_eq!(left_out, 0);
    let (widest, left_out) = fitting(networks, 2);
    assert_eq!(texts(&widest), "203.0.113.0/24 2001:db8::/48");
    assert_eq!(left_out, 2);
}

#[test]
fn no_family_takes_the_room_of_the_other() {
    let v4 = |count: u32| {
        let address = |n: u32| Ipv4Addr::from_bits(0xc633_0000 + (n << 9));
        (0..count).map(move |n| IpNet::from(Ipv4Net::new_assert(address(n), 24)))
    };
    let v6 = |count: u32| (0..count).map(|n| format!("2001:db8:{n:x}::/64").parse().unwrap());
    let cases = [
        ("both have too many", 300, 300, [50, 50]),
        ("IPv4 leaves room", 10, 300, [10, 90]),
        ("IPv6 leaves room", 300, 10, [90, 10]),
        ("there is no IPv6", 300, 0, [100, 0]),
        ("there is no IPv4", 0, 300, [0, 100]),
    ];

    for (why, of_v4, of_v6, expected) in cases {
        let (fitting, left_out) = fitting(v4(of_v4).chain(v6(of_v6)).collect(), 100);
        let is_v4 = |network: &&IpNet| network.addr().is_ipv4();
        let count = fitting.iter().filter(is_v4).count();
        assert_eq!([count, fitting.len() - count], expected, "{why}");
        assert_eq!(left_out, (of_v4 + of_v6 - 100) as usize, "{why}");
    }
}

#[test]
fn a_trimmed_node_says_the_same() {
    let whole = node("10.244.0.0/24", "192.0.2.1");
    let [mut trimmed, whole] = [[whole.clone()], [whole]];
    trim_node(&mut trimmed[0]);

    assert_eq!(of_pods(&trimmed), of_pods(&whole));
    assert_eq!(of_nodes(&trimmed), of_nodes(&whole));
}

use dnsproxy_api::v1alpha1::Access;

use super::*;
use crate::fixtures;

fn problems(proxy: &DnsProxy, resolved: &Resolved) -> Vec<String> {
    let outcome = check(proxy, loops(proxy, resolved), &resolved.facts, fixtures::IMAGE);
    outcome.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn problems_are_those_of_check_with_their_paths() {
    let problems = problems(&fixtures::proxy("invalid"), &fixtures::resolved());

    for path in [
        "spec.upstreams[0].tls.pins[0]: ",
        "spec.upstreams[1].name: ",
        "spec.routes[0].upstreams[0]: ",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(path)),
            "{path} in {problems:#?}"
        );
    }
}

#[test]
fn a_manifest_that_its_pods_could_not_be_given_is_refused_with_the_way_out() {
    let with_names = |count: usize| {
        let names: Vec<_> = (0..count).map(|it| format!("ads{it}.example.com")).collect();
        let rule =
            serde_json::json!({"name": "ads", "match": {"names": {"exact": names}}, "block": {}});
        let mut proxy = fixtures::proxy("minimal");
        proxy.spec.rules = Some(vec![serde_json::from_value(rule).unwrap()]);
        proxy
    };
    let fitting = with_names(40_000);
    assert_eq!(problems(&fitting, &fixtures::resolved()), Vec::<String>::new());
    let fitting = filled_in(&fitting, &fixtures::facts(), fixtures::IMAGE);
    let data = render::render(&fitting).config_map.data.unwrap();
    let size: usize = data.values().map(String::len).sum();
    assert!((900_000..MAX_OCTETS).contains(&size), "{size}");

    let problems = problems(&with_names(60_000), &fixtures::resolved());
    let [problem] = &*problems else { panic!("{problems:?}") };
    assert!(problem.starts_with("spec: too large for a ConfigMap: "), "{problem}");
    assert!(problem.contains("spec.lists[].sources[].configMap"), "{problem}");
}

#[test]
fn nothing_may_ask_itself() {
    let mut proxy = fixtures::proxy("minimal");
    proxy.spec.cluster_dns =
        Some(ClusterDns { addresses: Some(vec!["10.96.0.54:53".into()]), ..ClusterDns::default() });
    proxy.spec.upstreams[0].addresses.push("10.96.0.53".into());
    let own_services = vec![
        ("10.96.0.53".parse().unwrap(), "resolvers/edge".to_owned()),
        ("10.96.0.54".parse().unwrap(), "resolvers/other".to_owned()),
    ];
    let resolved = Resolved { own_services, ..fixtures::resolved() };

    assert_eq!(
        problems(&proxy, &resolved),
        [
            "spec.clusterDNS.addresses[0]: 10.96.0.54:53 is the address of DnsProxy resolvers/other: it would ask itself",
            "spec.upstreams[0].addresses[1]: 10.96.0.53 is the address of this DnsProxy: it would ask itself",
        ]
    );
}

#[test]
fn what_is_written_of_the_cluster_dns_wins_value_by_value() {
    let mut spec = fixtures::proxy("minimal").spec;
    spec.cluster_dns = Some(ClusterDns {
        domain: Some("corp.example".into()),
        reverse_zones: Some(vec!["10.in-addr.arpa".into()]),
        endpoints: Some(vec![]),
        ..ClusterDns::default()
    });

    let rendered = cluster_dns(&spec, &fixtures::facts()).unwrap();
    assert_eq!(rendered.addresses.unwrap(), ["10.96.0.10"], "discovered");
    assert_eq!(rendered.domain.unwrap(), "corp.example", "written");
    assert_eq!(rendered.reverse_zones.unwrap(), ["10.in-addr.arpa"], "written");
    assert_eq!(
        rendered.endpoints.unwrap(),
        ["10.244.0.2", "10.244.0.3"],
        "an empty list says nothing"
    );
}

#[test]
fn tests_of_a_manifest_know_who_may_ask_as_its_pods_do() {
    let mut proxy = fixtures::proxy("minimal");
    let test = serde_json::json!({
        "name": "www.example.com", "client": "203.0.113.7", "expect": {"route": "default"},
    });
    proxy.spec.tests = Some(vec![serde_json::from_value(test).unwrap()]);
    let mut resolved = fixtures::resolved();
    assert_ne!(problems(&proxy, &resolved), Vec::<String>::new(), "a foreigner");

    let facts = std::sync::Arc::make_mut(&mut resolved.facts);
    facts.node_addresses.push("203.0.113.7".parse().unwrap());
    assert_eq!(problems(&proxy, &resolved), Vec::<String>::new(), "a node");
}

#[test]
fn no_more_endpoints_are_rendered_than_a_manifest_may_have() {
    let mut facts = fixtures::facts();
    let server = facts.dns.as_mut().unwrap();
    server.endpoints = (0..2000_u32).map(|it| std::net::Ipv4Addr::from_bits(it).into()).collect();

    let rendered = cluster_dns(&fixtures::proxy("minimal").spec, &facts).unwrap();
    assert_eq!(rendered.endpoints.unwrap().len(), bounds::ENDPOINTS as usize);
}

#[test]
fn a_cluster_with_more_networks_than_a_manifest_may_have_is_allowed_in_part() {
    let mut facts = fixtures::facts();
    let node = |it: u32| std::net::Ipv4Addr::from_bits(0xc633_6400 + 2 * it);
    facts.node_addresses = (0..300).map(|it| node(it).into()).collect();
    let mut spec = fixtures::proxy("minimal").spec;

    assert_eq!(allow(&spec, &facts).unwrap().len(), bounds::NETWORKS as usize);
    assert_eq!(left_out(&spec, &facts), 300 + 9 - 256);

    spec.access = Some(Access { deny: Some(vec!["198.51.101.0/24".into()]), ..Access::default() });
    assert_eq!(left_out(&spec, &facts), 0, "who is denied needs no room");
    spec.access = Some(Access { allow: Some(vec!["198.51.0.0/16".into()]), ..Access::default() });
    assert_eq!(left_out(&spec, &facts), 0, "it was written who may ask");
}

#[test]
fn neighbours_of_many_public_pod_networks_may_not_ask() {
    let mut facts = fixtures::facts();
    let of_node = |it: u8| format!("2600:1900:4000:{:x}::/112", 16 + 2 * it);
    let pods: Vec<_> = (0..9).map(of_node).collect();
    facts.pod_networks = pods.iter().map(|network| network.parse().unwrap()).collect();

    let allowed = allow(&fixtures::proxy("minimal").spec, &facts).unwrap();
    let added = allowed.iter().filter(|network| network.starts_with("2600:"));
    assert_eq!(added.cloned().collect::<Vec<_>>(), pods);
}

#[test]
fn the_cluster_may_ask_wherever_its_addresses_are() {
    let mut facts = fixtures::facts();
    let spec = fixtures::proxy("minimal").spec;
    assert_eq!(allow(&spec, &facts), None, "the defaults cover it");

    facts.node_addresses.push("203.0.113.7".parse().unwrap());
    let allowed = allow(&spec, &facts).unwrap();
    assert!(allowed.contains(&"203.0.113.7/32".to_owned()), "{allowed:?}");
    assert!(allowed.contains(&"10.0.0.0/8".to_owned()), "the defaults stay: {allowed:?}");

    let mut spec = spec;
    let deny = vec!["192.168.0.0/16".to_owned(), "203.0.113.0/24".to_owned()];
    spec.access = Some(Access { deny: Some(deny), ..Access::default() });
    let allowed = allow(&spec, &facts).unwrap();
    let is_denied =
        |network: &&String| network.starts_with("192.168.") || network.starts_with("203.0.113.");
    assert_eq!(allowed.iter().find(is_denied), None, "pods refuse a manifest with both");
    assert!(allowed.contains(&"10.0.0.0/8".to_owned()), "{allowed:?}");

    let written = fixtures::proxy("without_cluster_dns").spec;
    assert_eq!(allow(&written, &facts), None, "what was written is what holds");
}

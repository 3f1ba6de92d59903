//! What the chart and the operator must agree on, word by word.

use clap::Parser as _;
use dnsproxy_operator::{
    NAME,
    apply::hasten,
    args::{Args, Command},
    leader,
    render::labels,
};

const DEPLOYMENT: &str = include_str!("../../charts/dnsproxy-operator/templates/deployment.yaml");
const ADMISSION: &str = include_str!("../../charts/dnsproxy-operator/templates/admission.yaml");
const RBAC: &str = include_str!("../../charts/dnsproxy-operator/templates/rbac.yaml");
const RBAC_LEASE: &str = include_str!("../../charts/dnsproxy-operator/templates/rbac-lease.yaml");
const RBAC_USERS: &str = include_str!("../../charts/dnsproxy-operator/templates/rbac-users.yaml");
const DEFINITIONS: &str = include_str!("../../charts/dnsproxy-operator/templates/_definitions.tpl");
const NOTES: &str = include_str!("../../charts/dnsproxy-operator/templates/NOTES.txt");
const SCHEMA: &str = include_str!("../../charts/dnsproxy-operator/values.schema.json");
const CRD: &str = include_str!("../../charts/dnsproxy-operator/files/dnsproxies.yaml");

#[test]
fn every_argument_of_the_chart_is_one_of_the_operator() {
    let lines = DEPLOYMENT.lines().map(str::trim);
    let arguments: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("- "))
        .filter(|item| item.starts_with("--"))
        .collect();
    // What a template fills in, as a user would.
    let filled = arguments.iter().map(|argument| match argument.split_once('=') {
        Some(("--log-format", _)) => "--log-format=json".to_owned(),
        Some((flag, _)) => format!("{flag}=x"),
        None => (*argument).to_owned(),
    });
    let args = Args::try_parse_from(
        ["dnsproxy-operator", "run"].map(String::from).into_iter().chain(filled),
    );

    let Command::Run(run) = args.unwrap().command else { panic!("not `run`") };
    assert!(run.fast_reload, "{arguments:?}");
    assert_eq!(Vec::from_iter(run.namespaces()), ["x"], "{arguments:?}");
    assert!(run.leader_elect, "the chart lets two run at a time");
}

#[test]
fn the_operator_may_change_the_annotation_that_it_changes() {
    assert_eq!(
        ADMISSION.matches(hasten::ANNOTATION).count(),
        3,
        "twice as a rule, once as a message"
    );
    let ours = format!("labels['{}'].orValue('') == '{NAME}'", labels::MANAGED_BY);
    assert!(ADMISSION.contains(&ours), "{ours}");
}

#[test]
fn the_definition_is_the_one_of_the_types() {
    assert!(
        CRD == dnsproxy_api::custom_resource_definitions(),
        "the chart's copy is another one: run `make generate`"
    );
}

#[test]
fn what_the_notes_say_can_be_pasted() {
    let (_, rest) = NOTES.split_once("<<MANIFEST\n").unwrap();
    // A shell looks for the word at the beginning of a line.
    let (manifest, _) = rest.split_once("\nMANIFEST\n").unwrap();

    let read = dnsproxy_api::manifest::read_one(manifest, dnsproxy_api::validate::Place::Cluster);
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn the_operator_may_write_the_lease_that_it_writes() {
    assert!(RBAC_LEASE.contains(&format!("resourceNames: [{}]", leader::LEASE)));
    assert!(
        RBAC_LEASE
            .contains("range .Values.namespaces | default (list .Values.leaderElection.namespace)")
    );
}

/// Two releases may have one name, in two namespaces, and watch the same ones.
#[test]
fn what_is_not_in_the_releases_namespace_has_that_in_its_name() {
    let files = [RBAC, RBAC_LEASE, RBAC_USERS, ADMISSION];
    let documents = files.into_iter().flat_map(|text| text.split("---\n"));
    let kinds = ["Cluster", "Role", "Validating"];
    let shared: Vec<_> = documents
        .filter(|text| kinds.iter().any(|kind| text.contains(&format!("\nkind: {kind}"))))
        .collect();

    assert_eq!(shared.len(), 12);
    for text in shared {
        let name = text.lines().find(|line| line.starts_with("  name: ")).unwrap();
        assert!(name.contains("{{ $clusterName }}"), "{name}");
    }
}

#[test]
fn a_parent_chart_may_switch_it_off_and_have_values_of_its_own() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    for (property, kind) in
        [("global", "object"), ("enabled", "boolean"), ("fullnameOverride", "string")]
    {
        assert_eq!(schema["properties"][property]["type"], kind, "{property}");
    }
    let (_, name) = DEFINITIONS.split_once(r#"define "operator.name""#).unwrap();
    let (root, child) = name.split_once("{{- else -}}").unwrap();
    assert!(root.contains("else if .Chart.IsRoot") && child.contains(".Chart.Name"), "{name}");
}

#[test]
fn a_value_that_is_taken_away_does_not_stop_the_chart() {
    assert!(DEPLOYMENT.contains("merge dict (.Values.nodeSelector | default dict)"));
}

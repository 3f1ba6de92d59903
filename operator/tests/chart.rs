//! What the chart and the operator must agree on, word by word.

use clap::Parser as _;
use dnsproxy_operator::{
    NAME,
    apply::hasten,
    args::{Args, Command},
    render::labels,
};

const DEPLOYMENT: &str = include_str!("../../charts/dnsproxy-operator/templates/deployment.yaml");
const ADMISSION: &str = include_str!("../../charts/dnsproxy-operator/templates/admission.yaml");
const RBAC: &str = include_str!("../../charts/dnsproxy-operator/templates/rbac.yaml");
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
    assert_eq!(run.namespaces, ["x"], "{arguments:?}");
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

/// Two releases may have one name, in two namespaces.
#[test]
fn what_is_in_no_namespace_has_the_releases_in_its_name() {
    let documents = [RBAC, RBAC_USERS, ADMISSION].into_iter().flat_map(|text| text.split("---\n"));
    let shared: Vec<_> = documents
        .filter(|text| text.contains("\nkind: Cluster") || text.contains("\nkind: Validating"))
        .collect();

    assert_eq!(shared.len(), 8);
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

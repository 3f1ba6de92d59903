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

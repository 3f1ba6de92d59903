//! What the README says is so: its manifests are valid, its commands exist, its list of metrics is the registry's.

use std::collections::BTreeSet;

use dnsproxy_api::{manifest, validate::Place};
use dnsproxy_tests::{
    proxy::{folder, run, text},
    readme::{self, root},
    stage::Stage,
    wire::types,
};
use serde_json::Value;

#[tokio::test]
async fn every_manifest_is_valid() {
    let manifests = readme::blocks("yaml");
    assert!(manifests.len() >= 4, "{} manifests", manifests.len());

    for manifest_text in manifests {
        let folder = folder();
        let path = folder.path().join("dnsproxy.yaml");
        std::fs::write(&path, &manifest_text).unwrap();
        let output = run(&["check", "-f", path.to_str().unwrap()]).await;
        assert!(output.status.success(), "{}\n{manifest_text}", text(&output.stderr));
        let fits = |place| manifest::read(&manifest_text, place).is_ok();
        assert!(fits(Place::File) || fits(Place::Cluster), "it fits nowhere:\n{manifest_text}");
    }
}

#[tokio::test]
async fn every_example_is_valid() {
    for entry in std::fs::read_dir(root().join("crds/examples")).unwrap() {
        let path = entry.unwrap().path();
        let output = run(&["check", "-f", path.to_str().unwrap()]).await;
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
    }
}

/// Each field that a single process uses stands in a manifest of the README.
#[test]
fn every_field_of_a_file_is_shown() {
    let manifests = readme::blocks("yaml").join("\n");
    let definition = serde_json::to_value(dnsproxy_api::custom_resource_definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let sections = [
        "upstreams",
        "routes",
        "rules",
        "tests",
        "lists",
        "hosts",
        "responses",
        "cache",
        "access",
        "limits",
        "listeners",
        "logging",
        "shutdown",
    ];
    // Other kinds of sources, and what the text explains.
    let elsewhere = ["inline", "certificateFile", "keyFile", "allowWeaker"];

    for section in sections {
        let mut names = BTreeSet::new();
        names_of(&schema["properties"]["spec"]["properties"][section], &mut names);
        for name in names.iter().filter(|name| !elsewhere.contains(&&***name)) {
            assert!(manifests.contains(&format!("{name}:")), "{section}: {name} is not shown");
        }
    }
}

fn names_of(schema: &Value, names: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        names.insert(name.clone());
        names_of(inner, names);
    }
    if schema["items"].is_object() {
        names_of(&schema["items"], names);
    }
}

#[test]
fn every_target_of_make_is_there() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let commands = readme::commands();
    let targets: Vec<&str> =
        commands.iter().filter_map(|line| line.strip_prefix("make ")).collect();

    assert!(targets.len() >= 3, "{targets:?}");
    for target in targets {
        let name = target.split(' ').next().unwrap();
        assert!(makefile.contains(&format!("\n{name}:")), "make {name}");
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    let folders = ["crds/", "charts/", "tests/", "proxy/", "operator/"];
    let text = readme::text();
    let words = text.split(|end: char| end.is_whitespace() || "`()[],;".contains(end));

    for word in words.filter(|word| folders.iter().any(|folder| word.starts_with(folder))) {
        assert!(root().join(word.trim_end_matches('.')).exists(), "{word}");
    }
}

#[tokio::test]
async fn every_command_takes_the_options_that_are_listed() {
    let listed = readme::blocks("text").concat();
    let lines: Vec<&str> = listed.lines().filter(|line| line.starts_with("dnsproxy ")).collect();
    assert_eq!(lines.len(), 8, "{lines:?}");

    for line in lines {
        let command = line.split(' ').nth(1).unwrap();
        let output = run(&[command, "--help"]).await;
        assert!(output.status.success(), "{command}");
        let help = text(&output.stdout);
        let words = line.split(|end: char| end.is_whitespace() || "[]|".contains(end));
        for option in words.filter(|word| word.starts_with('-')) {
            assert!(help.contains(option), "{command} {option}: {help}");
        }
    }
}

/// A proxy that has seen a bit of everything, so that each family has a series.
async fn stage() -> Stage {
    let rule = serde_json::json!({"name": "r", "match": {"types": ["A"]}, "allow": {}});
    let list = serde_json::json!({"name": "l", "sources": [{"inline": "a.example"}]});
    let stage = Stage::spec(serde_json::json!({"rules": [rule], "lists": [list]})).await;
    stage.client().ask("www.example", types::A).await;
    stage
}

const METRICS: &str = "| metric | |\n";

/// Nothing is missing, nothing is made up.
#[tokio::test]
async fn the_list_of_metrics_is_the_registry() {
    let page = stage().await.proxy.admin.get("/metrics").await.body;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exported: BTreeSet<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let cells = readme::first_cells(METRICS);
    let listed = cells.iter().filter_map(|cell| Some(cell.split('{').next()?.to_owned()));

    assert_eq!(listed.collect::<BTreeSet<_>>(), exported);
}

/// A query of Prometheus that names a label which is not there finds nothing, without a word.
#[tokio::test]
async fn the_labels_of_metrics_are_those_that_are_listed() {
    let samples = stage().await.proxy.admin.metrics().await;

    for cell in readme::first_cells(METRICS) {
        let Some((family, labels)) = cell.trim_end_matches('}').split_once('{') else { continue };
        let names = [family.to_owned(), format!("{family}_count")];
        let of_family =
            |key: &&String| names.iter().any(|name| key.split('{').next() == Some(name));
        // Of errors there is no series before there is one.
        let Some(sample) = samples.keys().find(of_family) else { continue };
        for label in labels.split(',') {
            assert!(
                sample.contains(&format!("{label}=\"")),
                "{family}: {label} is not in {sample}"
            );
        }
    }
}

#[tokio::test]
async fn the_admin_endpoints_are_those_that_are_listed() {
    let stage = stage().await;
    let text = readme::text();
    let (_, section) = text.split_once("## To watch it").expect("a section");
    let paragraph = section.split("\n\n").nth(1).unwrap();
    let paths: BTreeSet<&str> = paragraph.split('`').filter(|word| word.starts_with('/')).collect();

    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        assert_eq!(stage.proxy.admin.get(path).await.status, 200, "{path}");
    }
}

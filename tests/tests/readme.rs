//! What the README shows is true: its manifests, its commands, its metrics.

use std::{collections::BTreeSet, path::Path};

use dnsproxy_tests::{
    proxy::{folder, run, text},
    stage::Stage,
    wire::types,
};

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    readme
        .split(&*fence)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_manifest_is_valid() {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    let manifests = blocks("yaml");
    assert!(manifests.len() >= 4, "the README shows manifests");
    for manifest in manifests {
        std::fs::write(&path, &manifest).unwrap();
        let output = run(&["check", "-f", path.to_str().unwrap()]).await;
        assert!(output.status.success(), "{}\n{manifest}", text(&output.stderr));
    }
}

#[tokio::test]
async fn every_example_is_valid() {
    for entry in std::fs::read_dir(repository().join("crds/examples")).unwrap() {
        let path = entry.unwrap().path();
        let output = run(&["check", "-f", path.to_str().unwrap()]).await;
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
    }
}

#[tokio::test]
async fn every_command_and_option_is_there() {
    let commands = blocks("text").concat();
    let lines = commands.lines().filter_map(|line| line.strip_prefix("dnsproxy "));
    for line in lines {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap();
        let output = run(&[command, "--help"]).await;
        let help = text(&output.stdout);
        assert!(output.status.success(), "{command}");
        let options = line.split(['[', ']', '|', ' ']).filter(|word| word.starts_with("--"));
        for option in options {
            assert!(help.contains(option), "dnsproxy {command} has no {option}");
        }
    }
}

#[test]
fn every_make_target_is_there() {
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let readme = readme();
    let targets: BTreeSet<_> = readme
        .split("make ")
        .skip(1)
        .filter_map(|rest| rest.split([' ', '`', '\n']).next())
        .collect();
    for target in targets
        .iter()
        .filter(|target| blocks("console").concat().contains(&format!("make {target}")))
    {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}

/// The README's table is the registry: nothing missing, nothing made up.
#[tokio::test]
async fn the_list_of_metrics_is_the_registry() {
    let stage = Stage::new().await;
    stage.client().ask("www.example", types::A).await;
    let page = stage.proxy.admin.get("/metrics").await.body;

    let exported: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let listed: BTreeSet<String> = readme()
        .lines()
        .filter_map(|line| line.strip_prefix("| `dnsproxy_"))
        .filter_map(|rest| rest.split(['`', '{']).next())
        .map(|name| format!("dnsproxy_{name}"))
        .collect();
    assert_eq!(listed, exported);
}

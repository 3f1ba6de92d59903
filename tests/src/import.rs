//! Manifests that the program makes of other programs' configurations.

use std::{fs, process::Output};

use serde_json::Value;

use crate::proxy::{Launch, Proxy, folder, run, text};

/// What `dnsproxy import FORMAT` makes of a configuration.
pub async fn import(format: &str, configuration: &str) -> Output {
    let folder = folder();
    let file = folder.path().join("configuration");
    fs::write(&file, configuration).expect("a file in a folder of our own");
    run(&["import", format, &file.to_string_lossy()]).await
}

/// A proxy that runs with it.
///
/// # Panics
/// When nothing comes of the import, or when the proxy does not start.
pub async fn imported(format: &str, configuration: &str) -> Proxy {
    let output = import(format, configuration).await;
    let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{configuration}\n{notes}");
    let launch = Launch::text(&manifest);
    match launch.try_start().await {
        Ok(proxy) => proxy,
        Err(error) => panic!("{configuration}\n{manifest}\n{notes}\n{error:#}"),
    }
}

/// Checks that a manifest is one.
///
/// # Panics
/// When `dnsproxy check` says that it is not.
pub async fn assert_valid(manifest: &str) {
    let folder = folder();
    let file = folder.path().join("dnsproxy.yaml");
    fs::write(&file, manifest).expect("a file in a folder of our own");
    let check = run(&["check", "-f", &file.to_string_lossy()]).await;
    assert!(check.status.success(), "{manifest}\n{}", text(&check.stderr));
}

/// The cases of a file, each with its `id`.
///
/// # Panics
/// When the file is not what it should be.
pub fn cases(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).expect("JSON");
    file["cases"].as_array().expect("cases").clone()
}

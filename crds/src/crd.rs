//! The CustomResourceDefinition, as the API server gets it.
//!
//! The schema comes from the types. What they borrow from Kubernetes (affinity, resources, conditions)
//! comes with pages of description and without bounds; here the descriptions are cut to their first
//! sentence, so that the whole stays far below what one object may have, and every list and text gets a
//! bound. The reader of files walks the same schema, so that both say the same.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{DnsProxy, bounds, manifest};

/// The definition of `DnsProxy`.
pub fn custom_resource_definition() -> CustomResourceDefinition {
    let mut definition = of_documents();
    for schema in schemas(&mut definition) {
        // `kubectl scale` and autoscalers read spec.workload.replicas of every object: its default is filled in
        // only where spec.workload is. A file has no scale, so its reader does not need it.
        if let Some(workload) = at(schema, &["spec", "workload"]) {
            workload.default = Some(JSON(json!({})));
            workload.nullable = None;
        }
        if let Some(replicas) = at(schema, &["spec", "workload", "replicas"]) {
            replicas.nullable = None;
        }
    }
    definition
}

/// What holds for objects of a cluster and of files.
fn of_documents() -> CustomResourceDefinition {
    let mut definition = DnsProxy::crd();
    for schema in schemas(&mut definition) {
        visit(schema, &mut tidy);
        if let Some(message) = at(schema, MESSAGE) {
            message.max_length = Some(bounds::MESSAGE.into());
        }
        for part in BORROWED {
            if let Some(part) = at(schema, part) {
                visit(part, &mut trim);
            }
        }
        for (list, keys) in KEYED {
            if let Some(list) = at(schema, list) {
                list.x_kubernetes_list_type = Some("map".to_owned());
                list.x_kubernetes_list_map_keys =
                    Some(keys.iter().map(ToString::to_string).collect());
            }
        }
    }
    definition
}

fn schemas(
    definition: &mut CustomResourceDefinition,
) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = definition.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// All definitions as YAML, ready for `kubectl apply`.
pub fn custom_resource_definitions() -> String {
    let definition = serde_json::to_value(custom_resource_definition()).unwrap_or_default();
    format!(
        "# Generated from the types of crds/src by `make generate`; not to be edited.\n{}",
        manifest::yaml_text(&definition)
    )
}

/// The schema of a whole document.
pub(crate) fn schema() -> JSONSchemaProps {
    let mut versions = of_documents().spec.versions.into_iter();
    versions.find_map(|version| version.schema?.open_api_v3_schema).unwrap_or_default()
}

/// The part of a schema at a path, in which `[]` stands for the items of a list.
fn at<'s>(schema: &'s mut JSONSchemaProps, path: &[&str]) -> Option<&'s mut JSONSchemaProps> {
    path.iter().try_fold(schema, |schema, step| match (*step, &mut schema.items) {
        ("[]", Some(JSONSchemaPropsOrArray::Schema(items))) => Some(&mut **items),
        _ => schema.properties.as_mut()?.get_mut(*step),
    })
}

/// Does something to a schema and all its parts.
fn visit(schema: &mut JSONSchemaProps, step: &mut impl FnMut(&mut JSONSchemaProps)) {
    step(schema);
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        visit(property, step);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        visit(items, step);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values, step);
    }
}

/// One line for each paragraph, and no format that the API server warns of.
fn tidy(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n");
    }
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
}

/// The first sentence, and bounds.
fn trim(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        description.truncate(first_sentence(description).trim_end_matches('.').len());
        description.push('.');
    }
    match schema.type_.as_deref() {
        Some("string") if schema.enum_.is_none() && schema.format.is_none() => {
            schema.max_length.get_or_insert_with(|| bounds::TEXT.into());
        }
        Some("array") => {
            schema.max_items.get_or_insert_with(|| bounds::POD_ITEMS.into());
        }
        Some("object") if schema.additional_properties.is_some() => {
            schema.max_properties.get_or_insert_with(|| bounds::POD_ITEMS.into());
        }
        Some(_) | None => {}
    }
}

/// As far as the first full stop that ends a sentence: no small letter follows, as one does after `etc.`, and
/// no abbreviation is before.
fn first_sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let mut stops = line.match_indices(". ").filter_map(|(stop, _)| line.split_at_checked(stop));
    let sentence = stops.find(|(before, after)| {
        let next = after.chars().nth(2);
        let is_abbreviation = ["e.g", "i.e"].iter().any(|short| before.ends_with(short));
        !is_abbreviation && !next.is_some_and(char::is_lowercase)
    });
    sentence.map_or(line, |(before, _)| before)
}

/// Where the types are those of Kubernetes, or only the operator writes.
const BORROWED: [&[&str]; 3] =
    [&["spec", "workload", "resources"], &["spec", "workload", "template"], &["status"]];
/// Lists that a Deployment has by key: what stands there twice could never be applied, so it is refused at once.
const KEYED: [(&[&str], &[&str]); 2] = [
    (&["spec", "workload", "template", "spec", "imagePullSecrets"], &["name"]),
    (
        &["spec", "workload", "template", "spec", "topologySpreadConstraints"],
        &["topologyKey", "whenUnsatisfiable"],
    ),
];
/// What people read of a condition.
const MESSAGE: &[&str] = &["status", "conditions", "[]", "message"];

#[cfg(test)]
mod tests;

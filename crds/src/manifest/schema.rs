//! The schema of a whole document: that of the CustomResourceDefinition, with the metadata's own.

use std::sync::LazyLock;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::{generate::SchemaSettings, transform::AddNullable};

use crate::crd;

/// What a document may hold. Built once: it takes milliseconds, and a reload should not.
pub(super) static DOCUMENT: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
    let mut schema = crd::schema();
    let properties = schema.properties.get_or_insert_default();
    properties.insert("metadata".to_owned(), metadata());
    for key in ["apiVersion", "kind"] {
        properties.insert(
            key.to_owned(),
            JSONSchemaProps { type_: Some("string".to_owned()), ..Default::default() },
        );
    }
    schema
});

/// The API server checks the metadata of every object by a schema that no definition repeats.
fn metadata() -> JSONSchemaProps {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.with_transform(AddNullable::default()).into_generator();
    let schema = serde_json::to_value(generator.into_root_schema_for::<ObjectMeta>());
    schema.and_then(serde_json::from_value).unwrap_or_default()
}

/// The schema of a list's items.
pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// The schema of a map's values, whatever their keys are.
pub(super) fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(values) => Some(values),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

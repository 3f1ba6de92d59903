//! A manifest as YAML, always the same for the same object.
//!
//! The operator writes what the proxy reads, and the hash of the text decides what pods must load: so the
//! order is that of the types, and a field that equals its fixed default is left out, as the reader fills
//! it in again. `status` and what only the API server gives an object are never written.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Map, Value};

use super::{scalar, schema};
use crate::DnsProxy;

/// The text that reads back to the same object, its status and server-side metadata aside.
pub fn write(proxy: &DnsProxy) -> String {
    let mut value = serde_json::to_value(proxy).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.retain(|key, _| KEPT_METADATA.contains(&&**key));
        }
    }
    prune(&mut value, &schema::DOCUMENT);
    yaml_text(&value)
}

/// Takes out what equals its default.
fn prune(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(members) => {
            let part =
                |key: &str| schema.properties.as_ref().and_then(|properties| properties.get(key));
            members.retain(|key, value| {
                let default = part(key).and_then(|part| part.default.as_ref());
                default.is_none_or(|default| default.0 != *value)
            });
            for (key, value) in members.iter_mut() {
                if let Some(part) = part(key) {
                    prune(value, part);
                }
            }
        }
        Value::Array(items) => {
            if let Some(part) = schema::items(schema) {
                items.iter_mut().for_each(|item| prune(item, part));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Any JSON value as YAML in block style but for long lists, with a line break at its end.
pub(crate) fn yaml_text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => map(&mut text, members, 0, false),
        Value::Array(items) if !items.is_empty() => list(&mut text, items, 0),
        value => {
            text.push_str(&inline(value, 0));
            text.push('\n');
        }
    }
    text
}

/// The lines of a map; the first one stands behind `- ` where the map is an item of a list.
fn map(text: &mut String, members: &Map<String, Value>, indent: usize, mut is_item: bool) {
    for (key, value) in members {
        if !std::mem::take(&mut is_item) {
            pad(text, indent);
        }
        text.push_str(&inline_text(key));
        match value {
            Value::Object(members) if !members.is_empty() => {
                text.push_str(":\n");
                map(text, members, indent + 2, false);
            }
            Value::Array(items) if is_long(items) => {
                text.push_str(":\n");
                flow(text, items, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push_str(":\n");
                list(text, items, indent + 2);
            }
            value => {
                let _ = writeln!(text, ": {}", inline(value, indent + 2));
            }
        }
    }
}

fn list(text: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(text, indent);
        text.push_str("- ");
        match item {
            Value::Object(members) if !members.is_empty() => map(text, members, indent + 2, true),
            item => {
                text.push_str(&inline(item, indent + 2));
                text.push('\n');
            }
        }
    }
}

/// A line for each of thousands of names would be indentation for the most part, and a ConfigMap holds little.
fn is_long(items: &[Value]) -> bool {
    let is_short_scalar = |item: &Value| match item {
        Value::String(text) => !text.contains('\n'),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    };
    items.len() > FEW && items.iter().all(is_short_scalar)
}

/// A list in brackets, in lines of about [`WIDTH`].
fn flow(text: &mut String, items: &[Value], indent: usize) {
    pad(text, indent);
    let mut line = text.len();
    for (index, item) in items.iter().enumerate() {
        let item = inline(item, 0);
        if index == 0 {
            text.push('[');
        } else if text.len() - line + item.len() > WIDTH {
            text.push_str(",\n");
            line = text.len();
            pad(text, indent + 1);
        } else {
            text.push_str(", ");
        }
        text.push_str(&item);
    }
    text.push_str("]\n");
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// What fits behind `key: `; a text of several lines as a block below it.
fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) => block(text, indent).unwrap_or_else(|| inline_text(text)),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| whole(number.as_f64()?))
            .map_or_else(|| number.to_string(), |whole| whole.to_string()),
        // Flow style of JSON is YAML as well; only nested lists and empty collections come here.
        value => value.to_string(),
    }
}

/// The bounds of a schema are floats, and all of them whole.
#[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

/// A literal block, for certificates: printable lines, none of which begins with a space or ends with one.
fn block(text: &str, indent: usize) -> Option<String> {
    let (body, header) = text.strip_suffix('\n').map_or((text, "|-"), |body| (body, "|"));
    let is_plain = |line: &str| {
        !line.is_empty() && line.trim() == line && line.chars().all(|c| matches!(c, ' '..='~'))
    };
    if !body.contains('\n') || !body.split('\n').all(is_plain) {
        return None;
    }
    let lines = body.split('\n').map(|line| format!("\n{:indent$}{line}", ""));
    Some(format!("{header}{}", lines.collect::<String>()))
}

/// A text in one line, in quotes unless every reader of YAML takes it for a text without them.
fn inline_text(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-'))
        && scalar::resolve(text).is_string()
        && scalar::in_yaml_1_1(text).is_none();
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// So many items have a line each, which is easier to read and to compare. Our guess.
const FEW: usize = 12;
/// What fits beside the margin of most editors. Our guess.
const WIDTH: usize = 120;

/// What belongs to the author rather than to the API server.
const KEPT_METADATA: [&str; 5] = ["annotations", "generation", "labels", "name", "namespace"];

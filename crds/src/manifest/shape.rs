//! A node against the schema: every field known, every value of its type and within its bounds.
//!
//! A value comes out in any case. Where the node is at fault a neutral one stands in, so that the rest of
//! the manifest can be validated in the same go; problems that validation finds beside a fault are left
//! out then, since they may be about the neutral value. Patterns and CEL rules of the schema are not
//! evaluated here: [`crate::validate`] says the same with the way out.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use regex::bytes::RegexBuilder;
use serde_json::{Map, Value, json};

use super::{
    scalar, schema,
    suggest::{did_you_mean, nearest},
    yaml::{Content, Entry, Node},
};
use crate::validate::{Problem, excerpt};

/// A document in the schema's shape, and what was wrong with it.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) value: Value,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    lines: BTreeMap<String, usize>,
    /// Where values may be neutral ones.
    suspects: Vec<String>,
}

/// Reads a document.
pub(super) fn read(document: &Node) -> Shape {
    let mut walk = Walk { shape: Shape::default(), path: String::new() };
    let mut value = walk.value(document, &schema::DOCUMENT);
    // In a file the name is optional, and so is everything else of the metadata.
    if let Value::Object(members) = &mut value {
        members.entry("metadata").or_insert_with(|| json!({}));
    }
    walk.shape.value = value;
    walk.shape
}

impl Shape {
    /// Gives problems their lines, and leaves out those that a fault of the shape may have made.
    pub(super) fn locate(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let is_sound =
            |problem: &Problem| !self.suspects.iter().any(|suspect| spoils(suspect, &problem.path));
        let located = |problem: Problem| Problem { line: self.line(&problem.path), ..problem };
        problems.into_iter().filter(is_sound).map(located).collect()
    }

    /// The line of the path, or of the nearest part of it that is there.
    fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }
}

/// Whether what validation says of `path` may come from a fault at `suspect`: one is part of the other, or
/// it is about a route, and what its upstreams are is not known for sure.
fn spoils(suspect: &str, path: &str) -> bool {
    let is_part = |part: &str, whole: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let is_identity = is_part(suspect, "spec.upstreams")
        && [".name", ".protocol", ".tls", ".authentication", "]", "upstreams"]
            .iter()
            .any(|end| suspect.ends_with(end));
    is_part(suspect, path)
        || is_part(path, suspect)
        || (is_identity && is_part(path, "spec.routes"))
}

struct Walk {
    shape: Shape,
    path: String,
}

impl Walk {
    fn value(&mut self, node: &Node, schema: &JSONSchemaProps) -> Value {
        self.shape.lines.insert(self.path.clone(), node.line);
        if is_null(node) && schema.nullable == Some(true) {
            return Value::Null;
        }
        if schema.x_kubernetes_int_or_string == Some(true) {
            return self.scalar(node, &["integer", "string"], schema);
        }
        match schema.type_.as_deref() {
            Some("object") => self.object(node, schema),
            Some("array") => self.list(node, schema),
            Some(kind @ ("string" | "integer" | "number" | "boolean")) => {
                self.scalar(node, &[kind], schema)
            }
            Some(_) | None => loose(node),
        }
    }

    fn object(&mut self, node: &Node, schema: &JSONSchemaProps) -> Value {
        let Content::Map(entries) = &node.content else {
            self.wrong_type(node, "an object (`key: value`)");
            return neutral(schema);
        };
        let mut members = Map::new();
        for entry in entries {
            if let Some((key, value)) = self.member(entry, schema) {
                members.insert(key, value);
            }
        }
        self.count(node, "entries", members.len(), schema.min_properties, schema.max_properties);
        for key in schema.required.iter().flatten() {
            if !entries.iter().any(|entry| entry.key == *key) {
                self.at(key, |walk| walk.fault(node.line, "missing".to_owned()));
                let part = schema.properties.as_ref().and_then(|properties| properties.get(key));
                members.insert(key.clone(), part.map_or(Value::Null, neutral));
            }
        }
        fill(&mut members, schema);
        Value::Object(members)
    }

    /// One `key: value`; an optional one without a value is as good as absent.
    fn member(&mut self, entry: &Entry, schema: &JSONSchemaProps) -> Option<(String, Value)> {
        let Entry { key, line, value } = entry;
        let known = schema.properties.as_ref().and_then(|properties| properties.get(key));
        let Some(part) = known.or_else(|| schema::values(schema)) else {
            self.unknown(key, *line, value, schema);
            return None;
        };
        let is_required = schema.required.iter().flatten().any(|required| required == key);
        if is_null(value) && !is_required {
            return None;
        }
        Some((key.clone(), self.at(key, |walk| walk.value(value, part))))
    }

    fn unknown(&mut self, key: &str, line: usize, value: &Node, schema: &JSONSchemaProps) {
        if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            return;
        }
        let known =
            schema.properties.iter().flat_map(|properties| properties.keys().map(|key| &**key));
        let meant = nearest(key, known);
        let is_merge = key == "<<" && !matches!(value.content, Content::Scalar { .. });
        let hint = match meant {
            Some(meant) => format!(", did you mean {meant}?"),
            None if is_merge => ": merge keys are no part of YAML 1.2".to_owned(),
            None => String::new(),
        };
        self.at(key, |walk| walk.fault(line, format!("unknown field{hint}")));
        if let Some(meant) = meant {
            self.at(meant, |walk| walk.shape.suspects.push(walk.path.clone()));
        }
    }

    fn list(&mut self, node: &Node, schema: &JSONSchemaProps) -> Value {
        let Content::List(items) = &node.content else {
            self.wrong_type(node, "a list (`[...]`, or lines with `- `)");
            return neutral(schema);
        };
        self.count(node, "items", items.len(), schema.min_items, schema.max_items);
        let Some(part) = schema::items(schema) else { return loose(node) };
        let values = items.iter().enumerate().map(|(index, item)| {
            let length = self.path.len();
            self.path.push_str(&format!("[{index}]"));
            let value = self.value(item, part);
            self.path.truncate(length);
            value
        });
        Value::Array(values.collect())
    }

    /// A scalar of one of the kinds.
    fn scalar(&mut self, node: &Node, kinds: &[&str], schema: &JSONSchemaProps) -> Value {
        let Content::Scalar { text, is_plain } = &node.content else {
            self.wrong_type(node, &a(kinds));
            return neutral(schema);
        };
        let value = if *is_plain { scalar::resolve(text) } else { Value::String(text.clone()) };
        if !kinds.iter().any(|kind| is_a(kind, &value)) {
            let message = format!("{} instead of {}", found(node), a(kinds));
            if !kinds.contains(&"string") {
                self.fault(node.line, message);
                return neutral(schema);
            }
            if has_form(text, schema) {
                self.fault(node.line, message + ": put it into quotes");
            } else {
                self.say(node.line, message);
            }
            return Value::String(text.clone());
        }
        if let Some(other) = scalar::in_yaml_1_1(text).filter(|_| *is_plain) {
            let message = format!(
                "kubectl reads `{text}` as {other}: put it into quotes, or write it otherwise"
            );
            self.warn(node.line, message);
        }
        self.within(node, value, schema)
    }

    /// Checks enum, length and range; what is no choice becomes the first one.
    fn within(&mut self, node: &Node, value: Value, schema: &JSONSchemaProps) -> Value {
        let choices: Vec<_> =
            schema.enum_.iter().flatten().filter(|choice| !choice.0.is_null()).collect();
        if !choices.is_empty() && !choices.iter().any(|choice| choice.0 == value) {
            let names: Vec<_> = choices.iter().filter_map(|choice| choice.0.as_str()).collect();
            let hint = did_you_mean(value.as_str().unwrap_or_default(), names.iter().copied());
            let found = found(node);
            self.fault(node.line, format!("{found} is none of {}{hint}", names.join(", ")));
            return neutral(schema);
        }
        if let Some(text) = value.as_str() {
            let (length, known) = (text.chars().count(), self.shape.suspects.len());
            self.count(node, "characters", length, schema.min_length, schema.max_length);
            // To read the form takes long, and says nothing where the length is right.
            let is_suspect = self.shape.suspects.len() > known;
            if is_suspect && !text.is_empty() && !has_form(text, schema) {
                self.shape.suspects.truncate(known);
            }
        }
        let number = value.as_f64();
        let is_32_bit = schema.format.as_deref() == Some("int32");
        let [low, high] = [i32::MIN, i32::MAX].map(|end| is_32_bit.then(|| f64::from(end)));
        let (least, most) = (schema.minimum.or(low), schema.maximum.or(high));
        let is_low = number.zip(least).is_some_and(|(number, least)| number < least);
        if is_low || number.zip(most).is_some_and(|(number, most)| number > most) {
            let range = [
                least.map(|least| format!("at least {least}")),
                most.map(|most| format!("at most {most}")),
            ];
            let range = range.into_iter().flatten().collect::<Vec<_>>().join(" and ");
            self.fault(node.line, format!("{value} is out of range, {range}"));
            return neutral(schema);
        }
        value
    }

    fn count(
        &mut self,
        node: &Node,
        what: &str,
        count: usize,
        least: Option<i64>,
        most: Option<i64>,
    ) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(least) = least.filter(|least| count < *least) {
            let message = if count == 0 {
                "empty".to_owned()
            } else {
                format!("{count} {what}, at least {least} are needed")
            };
            self.fault(node.line, message);
        }
        if let Some(most) = most.filter(|most| count > *most) {
            self.fault(node.line, format!("{count} {what}, at most {most} may be given"));
        }
    }

    /// Does something one step down.
    fn at<T>(&mut self, key: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let is_word = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        match (is_word, length) {
            (true, 0) => self.path.push_str(key),
            (true, _) => self.path.push_str(&format!(".{key}")),
            (false, _) => self.path.push_str(&format!("[{key:?}]")),
        }
        let result = step(self);
        self.path.truncate(length);
        result
    }

    fn wrong_type(&mut self, node: &Node, wanted: &str) {
        self.fault(node.line, format!("{} instead of {wanted}", found(node)));
    }

    fn fault(&mut self, line: usize, message: String) {
        self.shape.suspects.push(self.path.clone());
        self.say(line, message);
    }

    /// A fault of which validation tells the way out: its value stands as it was written.
    fn say(&mut self, line: usize, message: String) {
        self.shape.problems.push(Problem { line: Some(line), ..Problem::new(&self.path, message) });
    }

    fn warn(&mut self, line: usize, message: String) {
        self.shape.warnings.push(Problem { line: Some(line), ..Problem::new(&self.path, message) });
    }
}

/// The schema's defaults, for members that are absent.
fn fill(members: &mut Map<String, Value>, schema: &JSONSchemaProps) {
    for (key, part) in schema.properties.iter().flatten() {
        if let Some(default) = part.default.as_ref().filter(|default| !default.0.is_null()) {
            members.entry(key).or_insert_with(|| default.0.clone());
        }
    }
}

/// A value that the types can hold.
fn neutral(schema: &JSONSchemaProps) -> Value {
    let choice = schema.enum_.iter().flatten().find(|choice| !choice.0.is_null());
    if let Some(value) = schema.default.as_ref().or(choice) {
        return value.0.clone();
    }
    match schema.type_.as_deref() {
        Some("object") => {
            let required = schema.required.iter().flatten();
            let parts =
                required.filter_map(|key| Some((key, schema.properties.as_ref()?.get(key)?)));
            Value::Object(parts.map(|(key, part)| (key.clone(), neutral(part))).collect())
        }
        Some("array") => Value::Array(Vec::new()),
        Some("string") => Value::String(String::new()),
        Some("boolean") => Value::Bool(false),
        Some("integer" | "number") => json!(1),
        Some(_) | None => Value::Null,
    }
}

/// Whether a text has the form that its schema wants, if it wants one.
fn has_form(text: &str, schema: &JSONSchemaProps) -> bool {
    schema.pattern.as_deref().is_none_or(|pattern| {
        let form = RegexBuilder::new(pattern).unicode(false).build();
        form.is_ok_and(|form| form.is_match(text.as_bytes()))
    })
}

/// A value where the schema says nothing about it.
fn loose(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, is_plain: true } => scalar::resolve(text),
        Content::Scalar { text, is_plain: false } => Value::String(text.clone()),
        Content::List(items) => Value::Array(items.iter().map(loose).collect()),
        Content::Map(entries) => Value::Object(
            entries.iter().map(|entry| (entry.key.clone(), loose(&entry.value))).collect(),
        ),
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar { text, is_plain: true } if scalar::resolve(text).is_null())
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => value.is_boolean(),
    }
}

fn a(kinds: &[&str]) -> String {
    let names = kinds.iter().map(|kind| match *kind {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    });
    names.collect::<Vec<_>>().join(" or ")
}

fn found(node: &Node) -> String {
    match &node.content {
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "an object".to_owned(),
        Content::Scalar { text, is_plain } => match scalar::resolve(text) {
            Value::Null if *is_plain => "nothing".to_owned(),
            Value::Bool(_) if *is_plain => format!("the boolean `{text}`"),
            Value::Number(_) if *is_plain => format!("the number `{text}`"),
            _ => format!("the text {:?}", excerpt(text)),
        },
    }
}

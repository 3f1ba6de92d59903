//! YAML text to nodes, each with its line.
//!
//! The parser's events are composed here rather than by a deserializer, because a manifest's reader
//! needs what those forget: lines, whether a scalar was quoted (YAML 1.1 reads `no` as a boolean, and
//! kubectl reads YAML 1.1), and keys that stand twice. Aliases are expanded within a budget, so that a
//! small text cannot become a large tree. Merge keys (`<<`) are no part of YAML 1.2 and become unknown
//! fields.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::validate::Problem;

/// One value, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Node {
    /// The value of a key, where this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        let Content::Scalar { text, .. } = &self.content else { return None };
        Some(text)
    }

    fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, is_plain: true } if matches!(&**text, "" | "~"))
    }
}

/// The documents of a text, empty ones left out, up to the first error of syntax.
pub(super) fn documents(text: &str) -> (Vec<Node>, Vec<Problem>) {
    let mut composer = Composer::default();
    if text.len() > MAX_TEXT {
        composer.report(1, format!("longer than {MAX_TEXT} octets"));
        return (Vec::new(), composer.problems);
    }
    for event in Parser::new_from_str(text) {
        let outcome = match event {
            Ok((event, span)) => composer.take(event, span),
            Err(error) => Err((error.marker().line(), error.info())),
        };
        if let Err((line, message)) = outcome {
            composer.report(line, message);
            break;
        }
    }
    let documents = composer.documents.into_iter().filter(|node| !node.is_empty());
    (documents.collect(), composer.problems)
}

/// Nodes under construction.
#[derive(Default)]
struct Composer {
    documents: Vec<Node>,
    problems: Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
}

/// A collection whose end has not come yet.
struct Open {
    node: Node,
    /// The key whose value comes next, in a map.
    key: Option<(String, usize)>,
    /// The lines of the keys so far.
    keys: HashMap<String, usize>,
    anchor: usize,
    size: usize,
    depth: usize,
}

struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

/// Why no more of the text is read: the line, and what is wrong there.
type Stop = (usize, String);

impl Composer {
    fn report(&mut self, line: usize, message: String) {
        self.problems.push(Problem { line: Some(line), ..Problem::new("", message) });
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && !self.is_string(tag.as_deref(), line);
                let content = Content::Scalar { text: text.into_owned(), is_plain };
                self.complete(Anchored { node: Node { line, content }, size: 1, depth: 0 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_string(tag.as_deref(), line);
                self.begin(Content::List(Vec::new()), line, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_string(tag.as_deref(), line);
                self.begin(Content::Map(Vec::new()), line, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, line),
            // Directives, comments and the borders of documents carry no value.
            _ => Ok(()),
        }
    }

    /// Whether a tag makes a plain scalar a string; other tags than those of the core schema are refused.
    fn is_string(&mut self, tag: Option<&Tag>, line: usize) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => true,
            Some("int" | "bool" | "null" | "float" | "seq" | "map") => false,
            _ => {
                self.report(line, format!("the tag {} has no meaning here", tag.original()));
                false
            }
        }
    }

    fn begin(&mut self, content: Content, line: usize, anchor: usize) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let node = Node { line, content };
        self.open.push(Open { node, key: None, keys: HashMap::new(), anchor, size: 1, depth: 0 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { node, key: _, keys: _, anchor, size, depth }) = self.open.pop() else {
            return Ok(());
        };
        self.complete(Anchored { node, size, depth }, anchor)
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<(), Stop> {
        let Some(Anchored { node, size, depth }) = self.anchors.get(&id) else {
            return Err((line, "an alias inside of what it stands for".to_owned()));
        };
        let (size, depth) = (*size, *depth);
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > MAX_NODES {
            return Err((line, format!("aliases make this larger than {MAX_NODES} values")));
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err((line, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let node = Node { line, ..node.clone() };
        self.complete(Anchored { node, size, depth }, 0)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, done: Anchored, anchor: usize) -> Result<(), Stop> {
        let Anchored { node, size, depth } = done;
        // What has an anchor is kept a second time.
        self.nodes += if anchor == 0 { 1 } else { 1 + size };
        if self.nodes > MAX_NODES {
            return Err((node.line, format!("more than {MAX_NODES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        parent.size = parent.size.saturating_add(size);
        parent.depth = parent.depth.max(depth + 1);
        if let Some((line, message)) = parent.add(node) {
            self.report(line, message);
        }
        Ok(())
    }
}

impl Open {
    /// Adds an item, a key, or the value of the last key; returns what is wrong with a key.
    fn add(&mut self, node: Node) -> Option<Stop> {
        let entries = match &mut self.node.content {
            Content::List(items) => {
                items.push(node);
                return None;
            }
            Content::Map(entries) => entries,
            Content::Scalar { .. } => return None,
        };
        let Some((key, line)) = self.key.take() else {
            let line = node.line;
            let text = node.text().map(ToOwned::to_owned);
            let problem = text.is_none().then(|| (line, "a key must be a plain text".to_owned()));
            self.key = Some((text.unwrap_or_default(), line));
            return problem;
        };
        if let Some(first) = self.keys.insert(key.clone(), line) {
            return Some((line, format!("`{key}` stands here twice, first in line {first}")));
        }
        entries.push(Entry { key, line, value: node });
        None
    }
}

/// Our guess at several of the largest manifests: etcd takes objects of 1.5 MiB.
const MAX_TEXT: usize = 4 << 20;
/// Our guess; the deepest path of the schema has half of that.
const MAX_DEPTH: usize = 32;
/// Our guess: all a text of that length may have without aliases, in ordinary lines.
const MAX_NODES: usize = 200_000;

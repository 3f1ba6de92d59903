//! Texts with places that are filled in for each query: `{name}` is the name that was asked for, `{1}` the first group
//! of the regular expression that matched. Anything else in braces stands for itself.

use std::{fmt, str::FromStr};

/// A text with places.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Part {
    Text(String),
    Name,
    Group(usize),
}

impl Template {
    /// Whether it is the same for every query.
    pub fn is_constant(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it has the name that was asked for.
    pub fn has_name(&self) -> bool {
        self.0.contains(&Part::Name)
    }

    /// The highest group that it has; zero without one, or with `{0}`, which is the whole match.
    pub fn last_group(&self) -> usize {
        let groups = self.0.iter().filter_map(|part| match part {
            Part::Group(group) => Some(*group),
            Part::Text(_) | Part::Name => None,
        });
        groups.max().unwrap_or_default()
    }

    /// Whether it has a group at all.
    pub fn has_group(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Group(_)))
    }

    /// The text for one query. A group that took no part in the match is empty.
    pub fn fill<'t>(&self, name: &str, group: impl Fn(usize) -> Option<&'t str>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Name => text.push_str(name),
                Part::Group(index) => text.push_str(group(*index).unwrap_or_default()),
            }
        }
        text
    }
}

impl FromStr for Template {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((part, behind)) = place(rest) {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(part);
                rest = behind;
            } else {
                plain.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }
}

/// The place that the text begins with, and what follows it.
fn place(text: &str) -> Option<(Part, &str)> {
    let (inner, behind) = text.strip_prefix('{')?.split_once('}')?;
    let part = match inner {
        "name" => Part::Name,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Part::Group(digits.parse().ok()?)
        }
        _ => return None,
    };
    Some((part, behind))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Name => f.write_str("{name}"),
            Part::Group(group) => write!(f, "{{{group}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_other_braces_stay() {
        let cases = [
            // (why, template, filled)
            ("no place", "new.example.", "new.example."),
            ("groups", "{2}.{1}.example.", "two.one.example."),
            ("the name", "alias.{name}", "alias.a.example."),
            ("a group that took no part", "x{3}y", "xy"),
            ("the whole match", "{0}", "onetwo"),
            ("JSON", "{\"a\": {1}}", "{\"a\": one}"),
            ("an open brace", "{1}{2", "one{2"),
            ("nothing in braces", "{}", "{}"),
        ];

        for (why, text, expected) in cases {
            let template: Template = text.parse().unwrap();
            let groups = ["onetwo", "one", "two"];
            let filled = template.fill("a.example.", |index| groups.get(index).copied());
            assert_eq!(filled, expected, "{why}");
            assert_eq!(template.to_string(), text, "{why}");
        }
    }
}

//! Reading no more of a report than a report can be.
//!
//! Whoever may run pods in a namespace may let them say anything: `[{},{},…]` of a few octets an item would be
//! fifty times as large once it is read, and is kept for as long as the pod lives. What is too much is read over
//! while it is parsed, so that it is never held.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

/// The first items of a list.
pub(super) fn items<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Items::<T, MOST>(PhantomData))
}

/// The first octets of a text, up to the end of a character.
pub(super) fn text<'de, D, const MOST: usize>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Text::<MOST>::deserialize(deserializer)?.0)
}

/// The same of a text that may be missing.
pub(super) fn optional_text<'de, D, const MOST: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<Text<MOST>>::deserialize(deserializer)?.map(|text| text.0))
}

struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            let Some(item) = list.next_element()? else { return Ok(items) };
            items.push(item);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

struct Text<const MOST: usize>(String);

impl<'de, const MOST: usize> Deserialize<'de> for Text<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Cut)
    }
}

struct Cut<const MOST: usize>;

impl<const MOST: usize> Visitor<'_> for Cut<MOST> {
    type Value = Text<MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<MOST>, E> {
        let end = text.floor_char_boundary(MOST);
        Ok(Text(text.get(..end).unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, Eq, PartialEq)]
    #[serde(default)]
    struct Few {
        #[serde(deserialize_with = "items::<_, _, 2>")]
        items: Vec<u8>,
        #[serde(deserialize_with = "text::<_, 3>")]
        text: String,
        #[serde(deserialize_with = "optional_text::<_, 3>")]
        optional: Option<String>,
    }

    #[test]
    fn keeps_the_first_ones_and_reads_over_the_rest() {
        let cases = [
            ("what is missing is empty", "{}", vec![], "", None),
            (
                "no more than there may be",
                r#"{"items": [1, 2], "text": "abc"}"#,
                vec![1, 2],
                "abc",
                None,
            ),
            (
                "more, of other types even",
                r#"{"items": [1, 2, "x", {}], "text": "abcd"}"#,
                vec![1, 2],
                "abc",
                None,
            ),
            ("no half characters", r#"{"text": "abä", "optional": "ää"}"#, vec![], "ab", Some("ä")),
            ("nothing", r#"{"optional": null}"#, vec![], "", None),
            ("what is escaped", r#"{"optional": "\n\n\n\n"}"#, vec![], "", Some("\n\n\n")),
        ];

        for (why, json, items, text, optional) in cases {
            let expected = Few { items, text: text.into(), optional: optional.map(Into::into) };
            assert_eq!(serde_json::from_str::<Few>(json).unwrap(), expected, "{why}");
        }
    }
}

//! `/cache`: how full the cache is, what it holds, and removing it.
//!
//! | request | who may | what |
//! |---|---|---|
//! | `GET /cache` | anybody | numbers |
//! | `GET /cache/entries?name=&zone=&type=&negative=&limit=` | this host | the entries that fit, without their records |
//! | `POST /cache/flush?name=&zone=&type=&negative=` | this host, with the header [`super::CHANGE`] | removes the entries that fit |
//!
//! All are answered by JSON. Who asks for what is not for the whole network to know, so entries are shown to
//! this host only. An unknown parameter is refused: left out by mistake, a filter would remove everything.

use std::{str::FromStr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::time::Instant;
use tracing::field::display;

use super::{
    Admin,
    local::{Peer, Refusal},
};
use crate::{
    cache::{Cache, Filter},
    message::{Name, NameError, Qtype},
};

/// Entries that are shown unless told otherwise: our guess at what a person reads.
pub const DEFAULT_LIMIT: usize = 100;

/// Entries that are shown at most: our guess, some megabytes of JSON that are made while DNS goes on.
pub const MAX_LIMIT: usize = 10_000;

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/cache", get(stats))
        .route("/cache/entries", get(entries))
        .route("/cache/flush", post(flush))
}

async fn stats(State(cache): State<Arc<Cache>>, RawQuery(query): RawQuery) -> Response {
    match query {
        None => Json(cache.stats()).into_response(),
        Some(_) => BadParameter::Any.into_response(),
    }
}

async fn entries(
    State(cache): State<Arc<Cache>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Denial> {
    peer.may_read(&headers)?;
    let Selection { filter, limit } = query.as_deref().unwrap_or_default().parse()?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    // One more tells that there are more.
    let mut entries = cache.entries(&filter, limit + 1, Instant::now());
    let is_complete = entries.len() <= limit;
    entries.truncate(limit);
    Ok(Json(json!({ "entries": entries, "complete": is_complete })).into_response())
}

async fn flush(
    State(cache): State<Arc<Cache>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Denial> {
    peer.may_change(&headers)?;
    let selection: Selection = query.as_deref().unwrap_or_default().parse()?;
    if selection.limit.is_some() {
        return Err(BadParameter::Unknown("limit".to_owned()).into());
    }
    let removed = cache.flush(&selection.filter);
    let Filter { name, zone, qtype, negative } = selection.filter;
    let (name, zone) = (name.as_ref().map(display), zone.as_ref().map(display));
    tracing::info!(
        removed,
        name,
        zone,
        qtype = qtype.map(display),
        negative,
        "the cache was flushed"
    );
    Ok(Json(json!({ "removed": removed })).into_response())
}

/// Which entries, and how many of them.
#[derive(Debug, Default, PartialEq)]
struct Selection {
    filter: Filter,
    limit: Option<usize>,
}

/// Why a query string is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum BadParameter {
    /// Where none is known.
    #[error("no parameter is known here")]
    Any,
    /// A parameter that does not exist.
    #[error("{0}: not known; known are name, zone, type and negative, and limit for entries")]
    Unknown(String),
    /// A parameter that stands there twice.
    #[error("{0}: given twice")]
    Twice(&'static str),
    /// No name.
    #[error("{0}: {1}")]
    Name(&'static str, NameError),
    /// No type.
    #[error("type: {0} is no type")]
    Type(String),
    /// Neither yes nor no.
    #[error("negative: neither true nor false")]
    Negative,
    /// No number, or too large.
    #[error("limit: not a number from 1 to {MAX_LIMIT}")]
    Limit,
}

impl FromStr for Selection {
    type Err = BadParameter;

    /// Reads a query string: `name=example&type=A`.
    fn from_str(query: &str) -> Result<Self, BadParameter> {
        let (mut name, mut zone, mut qtype, mut negative, mut limit) =
            (None, None, None, None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "name" => once("name", &mut name, parse_name("name", &value)?)?,
                "zone" => once("zone", &mut zone, parse_name("zone", &value)?)?,
                "type" => {
                    let parsed = Qtype::from_text(&value);
                    let parsed = parsed.ok_or_else(|| BadParameter::Type(value.into_owned()))?;
                    once("type", &mut qtype, parsed)?;
                }
                "negative" => {
                    let parsed = value.parse().map_err(|_| BadParameter::Negative)?;
                    once("negative", &mut negative, parsed)?;
                }
                "limit" => once("limit", &mut limit, parse_limit(&value)?)?,
                _ => return Err(BadParameter::Unknown(key.into_owned())),
            }
        }
        let filter = Filter { name, zone, qtype, negative: negative.unwrap_or_default() };
        Ok(Self { filter, limit })
    }
}

fn once<T>(key: &'static str, place: &mut Option<T>, value: T) -> Result<(), BadParameter> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadParameter::Twice(key)),
    }
}

fn parse_name(key: &'static str, text: &str) -> Result<Name<'static>, BadParameter> {
    text.parse().map_err(|error| BadParameter::Name(key, error))
}

fn parse_limit(text: &str) -> Result<usize, BadParameter> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or(BadParameter::Limit)
}

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Malformed(#[from] BadParameter),
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => {
                (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response()
            }
            Self::Malformed(parameter) => parameter.into_response(),
        }
    }
}

impl IntoResponse for BadParameter {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_selects_entries() {
        let name = |text: &str| Some(text.parse().unwrap());
        let cases = [
            // (why, query string, selection)
            ("everything", "", Selection::default()),
            (
                "a name and a type, in any case",
                "name=www.example&type=aaaa",
                Selection {
                    filter: Filter {
                        name: name("www.example."),
                        qtype: Some(Qtype::AAAA),
                        ..Filter::default()
                    },
                    limit: None,
                },
            ),
            (
                "an escaped label, and what is negative",
                "zone=a%5C032b.example.&negative=true&limit=7",
                Selection {
                    filter: Filter {
                        zone: name("a\\032b.example."),
                        negative: true,
                        ..Filter::default()
                    },
                    limit: Some(7),
                },
            ),
            (
                "a type without a mnemonic",
                "type=TYPE65400&negative=false",
                Selection {
                    filter: Filter { qtype: Some(Qtype(65400)), ..Filter::default() },
                    limit: None,
                },
            ),
        ];

        for (why, query, selection) in cases {
            assert_eq!(query.parse(), Ok(selection), "{why}");
        }
    }

    #[test]
    fn what_selects_nothing_is_refused_with_what_is_wrong() {
        let cases = [
            // (why, query string, message)
            ("a slip would remove everything", "nmae=a.example", "nmae: not known; known are"),
            ("parameters have lower case", "Name=a.example", "Name: not known"),
            ("no name", "name=a..example", "name: a label is empty"),
            ("an empty name is not the root", "zone=", "zone: a label is empty"),
            ("no type", "type=ADDRESS", "type: ADDRESS is no type"),
            ("an empty type", "type=", "type:  is no type"),
            ("neither yes nor no", "negative", "negative: neither true nor false"),
            ("twice", "type=A&type=AAAA", "type: given twice"),
            ("nothing to show", "limit=0", "limit: not a number from 1 to 10000"),
            ("too much", "limit=10001", "limit: not a number from 1 to 10000"),
            ("less than nothing", "limit=-1", "limit: not a number from 1 to 10000"),
        ];

        for (why, query, message) in cases {
            let error = query.parse::<Selection>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{why}: {error}");
        }
    }
}

//! `GET /explain?name=&type=&client=`: what would become of a query here and now, by JSON. For this host only, as what
//! the cache holds is.

use std::net::IpAddr;

use axum::{
    Extension, Json, Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::Instant;

use super::{Admin, local::Peer};
use crate::message::{Name, Qclass, Qtype, Question};

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/explain", get(explain))
}

async fn explain(
    State(admin): State<Admin>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = peer.may_read(&headers) {
        return (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response();
    }
    match read(query.as_deref().unwrap_or_default()) {
        Ok((question, client)) => {
            let pipeline = admin.pipeline.borrow().clone();
            Json(pipeline.explain(&question, client, Instant::now())).into_response()
        }
        Err(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
    }
}

type Query = (Question<'static>, Option<IpAddr>);

fn read(query: &str) -> Result<Query, String> {
    let (mut name, mut qtype, mut client) = (None, Qtype::A, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "name" => {
                name = Some(value.parse::<Name<'_>>().map_err(|error| format!("name: {error}"))?)
            }
            "type" => qtype = Qtype::from_text(&value).ok_or("type: no type")?,
            "client" => client = Some(value.parse().map_err(|_| "client: no address")?),
            other => return Err(format!("{other}: not known; name, type and client are")),
        }
    }
    let name = name.ok_or("name: missing")?;
    Ok((Question { name, qtype, qclass: Qclass::IN }, client))
}

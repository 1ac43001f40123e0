//! `GET /api/presence/{stream}/users`: who is present, for the application.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::Api;
use super::reply::{Refusal, answer, authorize, json};
use crate::protocol::action_cable::encode_presence_info;
use crate::types::StreamName;

pub(super) fn route(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path!("api" / "presence" / String / "users")
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(query)
        .then(move |stream: String, headers: HeaderMap, query: String| {
            let api = Arc::clone(&api);
            async move { answer("presence", users(&api, &stream, &headers, &query).await) }
        })
        .boxed()
}

async fn users(
    api: &Api,
    stream: &str,
    headers: &HeaderMap,
    query: &str,
) -> Result<Response, Refusal> {
    authorize(api.api_key.as_ref(), headers)?;
    let name = percent_decode_str(stream).decode_utf8();
    let name = name.map_err(|_| Refusal::Malformed("the stream's name is not UTF-8".to_owned()))?;
    let records = match query.split('&').find_map(|pair| pair.strip_prefix("return_records=")) {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) => {
            let reason = "return_records is true or false".to_owned();
            return Err(Refusal::Malformed(reason));
        }
    };
    let presence = api.hub.presence(StreamName::from(&*name), records).await;
    let presence = presence.map_err(|_| Refusal::Stopping)?;
    let members = presence.members.as_deref().filter(|members| !members.is_empty());
    let mut body = Vec::new();
    encode_presence_info(presence.total, members, &mut body);
    Ok(json(StatusCode::OK, body))
}

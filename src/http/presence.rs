//! `/api/presence/{stream}`: the application reads members and puts or removes its own.

use std::borrow::Cow;
use std::future::ready;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::api::Api;
use super::body::{self, Body};
use super::reply::{Refusal, answer, authorize, json};
use crate::filters;
use crate::protocol::action_cable::encode_presence_info;
use crate::protocol::meta::{write_list, write_member};
use crate::protocol::query::parameter;
use crate::types::{PresenceId, StreamName};

/// The path segment of the list of all members.
const ALL: &str = "users";

/// Completes the answer to another method than GET there.
const ALL_HINT: &str =
    ": `users` is the list of all members, and the presence id `users` is written `%75sers`";

/// The methods of a member's path.
const MEMBER_METHODS: &str = "GET, PUT, DELETE";

pub(super) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let users =
        lists(api, warp::path!("api" / "presence" / String / "users").boxed(), ALL_HINT, users);
    let records = lists(api, warp::path!("api" / "presence" / String).boxed(), "", records);
    let lists = users.or(records).unify();
    let member =
        member(api, "GET", get).or(member(api, "PUT", put)).unify().or(member(api, "DELETE", kick));
    lists.or(member.unify()).unify().boxed()
}

/// A list of a stream's members.
fn lists<F>(
    api: &Arc<Api>,
    path: BoxedFilter<(String,)>,
    hint: &'static str,
    list: fn(Arc<Api>, StreamName, bool) -> F,
) -> BoxedFilter<(Response,)>
where
    F: Future<Output = Result<Vec<u8>, Refusal>> + Send + 'static,
{
    let api = Arc::clone(api);
    path.and(filters::method_with_hint("GET", "GET", hint))
        .and(warp::header::headers_cloned())
        .and(filters::query())
        .then(move |stream: String, headers: HeaderMap, query: String| {
            let api = Arc::clone(&api);
            async move {
                let listed = async {
                    authorize(api.api_key.as_ref(), &headers)?;
                    let stream = StreamName::from(&*decoded(&stream, "the stream's name")?);
                    list(Arc::clone(&api), stream, wants_records(&query)?).await
                };
                answer("presence", listed.await.map(|body| json(StatusCode::OK, body)))
            }
        })
        .boxed()
}

/// A member, by presence id, and what one method does with it.
fn member<F>(
    api: &Arc<Api>,
    method: &'static str,
    act: fn(Arc<Api>, StreamName, PresenceId, Body) -> F,
) -> BoxedFilter<(Response,)>
where
    F: Future<Output = Result<Response, Refusal>> + Send + 'static,
{
    let api = Arc::clone(api);
    warp::path!("api" / "presence" / String / String)
        .and_then(|stream: String, id: String| {
            ready(if id == ALL { Err(warp::reject::not_found()) } else { Ok((stream, id)) })
        })
        .untuple_one()
        .and(filters::method(method, MEMBER_METHODS))
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |stream: String, id: String, headers: HeaderMap, body| {
            let api = Arc::clone(&api);
            async move {
                let done = async {
                    authorize(api.api_key.as_ref(), &headers)?;
                    let stream = StreamName::from(&*decoded(&stream, "the stream's name")?);
                    let id = PresenceId::from(&*decoded(&id, "the presence id")?);
                    act(Arc::clone(&api), stream, id, body::boxed(body)).await
                };
                answer("presence", done.await)
            }
        })
        .boxed()
}

async fn get(
    api: Arc<Api>,
    stream: StreamName,
    id: PresenceId,
    _: Body,
) -> Result<Response, Refusal> {
    let member = api.router.member(stream, id).await?.ok_or(Refusal::Absent)?;
    let mut body = Vec::new();
    write_member(&mut body, &member);
    Ok(json(StatusCode::OK, body))
}

async fn put(
    api: Arc<Api>,
    stream: StreamName,
    id: PresenceId,
    body: Body,
) -> Result<Response, Refusal> {
    let placed = super::put::put(&api, stream, id, body).await?;
    let mut body = Vec::new();
    write_member(&mut body, &placed.member);
    Ok(json(if placed.is_new { StatusCode::CREATED } else { StatusCode::OK }, body))
}

async fn kick(
    api: Arc<Api>,
    stream: StreamName,
    id: PresenceId,
    _: Body,
) -> Result<Response, Refusal> {
    match api.router.kick(stream, id).await? {
        0 => Err(Refusal::Absent),
        removed => Ok(json(StatusCode::OK, serde_json::json!({ "removed": removed }).to_string())),
    }
}

async fn users(api: Arc<Api>, stream: StreamName, with_records: bool) -> Result<Vec<u8>, Refusal> {
    let presence = api.router.presence(stream, with_records).await?;
    let members = presence.members.as_deref().filter(|members| !members.is_empty());
    let mut body = Vec::new();
    encode_presence_info(presence.total, members, &mut body);
    Ok(body)
}

async fn records(
    api: Arc<Api>,
    stream: StreamName,
    with_records: bool,
) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    if with_records {
        write_list(&mut body, &api.router.records(stream).await?);
    } else {
        let presence = api.router.presence(stream, false).await?;
        encode_presence_info(presence.total, None, &mut body);
    }
    Ok(body)
}

/// A path segment, percent-decoded.
fn decoded<'a>(segment: &'a str, what: &str) -> Result<Cow<'a, str>, Refusal> {
    let text = percent_decode_str(segment).decode_utf8();
    text.map_err(|_| Refusal::Malformed(format!("{what} is not UTF-8")))
}

/// Whether the answer lists the members, or only counts them.
fn wants_records(query: &str) -> Result<bool, Refusal> {
    match parameter(query, "return_records").as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(Refusal::Malformed("return_records takes true or false".to_owned())),
    }
}

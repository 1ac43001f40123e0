//! `/api/presence/{stream}`: who is present, for the application, and its own say in that.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use percent_encoding::percent_decode_str;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use super::reply::{Refusal, answer, authorize, json};
use super::{Api, put};
use crate::methods::{NotAllowed, only};
use crate::protocol::action_cable::encode_presence_info;
use crate::protocol::meta::{write_list, write_member};
use crate::protocol::query::parameter;
use crate::types::{PresenceId, StreamName};

/// What stands in the place of an id for the list of all; an id that is the same can be written
/// `%75sers`.
const ALL: &str = "users";

pub(super) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let users = lists(api, warp::path!("api" / "presence" / String / "users").boxed(), users);
    let records = lists(api, warp::path!("api" / "presence" / String).boxed(), records);
    users.or(records).unify().or(member(api)).unify().boxed()
}

/// Who is in a stream, told in one way or another.
fn lists<F>(
    api: &Arc<Api>,
    path: BoxedFilter<(String,)>,
    list: fn(Arc<Api>, StreamName, bool) -> F,
) -> BoxedFilter<(Response,)>
where
    F: Future<Output = Result<Vec<u8>, Refusal>> + Send + 'static,
{
    let api = Arc::clone(api);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    path.and(only("GET", "GET"))
        .and(warp::header::headers_cloned())
        .and(query)
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

/// One who may be present, by id.
fn member(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    warp::path!("api" / "presence" / String / String)
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |stream: String, id: String, method: Method, headers: HeaderMap, body| {
            let api = Arc::clone(&api);
            async move { answer("presence", about(&api, (&stream, &id), method, &headers, body).await) }
        })
        .boxed()
}

async fn about<B: Buf>(
    api: &Api,
    (stream, id): (&str, &str),
    method: Method,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Refusal> {
    authorize(api.api_key.as_ref(), headers)?;
    if id == ALL {
        return Err(Refusal::List);
    }
    let stream = StreamName::from(&*decoded(stream, "the stream's name")?);
    let id = PresenceId::from(&*decoded(id, "the presence id")?);
    let mut out = Vec::new();
    let status = match method {
        Method::GET => {
            let member = api.router.member(stream, id).await?.ok_or(Refusal::Absent)?;
            write_member(&mut out, &member);
            StatusCode::OK
        }
        Method::PUT => {
            let placed = put::put(api, stream, id, body).await?;
            write_member(&mut out, &placed.member);
            if placed.is_new { StatusCode::CREATED } else { StatusCode::OK }
        }
        Method::DELETE => match api.router.kick(stream, id).await? {
            0 => return Err(Refusal::Absent),
            removed => {
                out = serde_json::json!({ "removed": removed }).to_string().into_bytes();
                StatusCode::OK
            }
        },
        _ => return Err(NotAllowed { method, allowed: "GET, PUT, DELETE" }.into()),
    };
    Ok(json(status, out))
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

/// A part of the path as the text it stands for.
fn decoded<'a>(segment: &'a str, what: &str) -> Result<Cow<'a, str>, Refusal> {
    let text = percent_decode_str(segment).decode_utf8();
    text.map_err(|_| Refusal::Malformed(format!("{what} is not UTF-8")))
}

/// Whether those who are present are to be told, or only how many they are.
fn wants_records(query: &str) -> Result<bool, Refusal> {
    match parameter(query, "return_records").as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(Refusal::Malformed("return_records is true or false".to_owned())),
    }
}

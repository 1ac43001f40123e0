//! `POST /_broadcast` and `POST /api/publish`: the application speaks to its streams.
//!
//! A body is one element or an array of them; nothing of an array is published unless all of it
//! can be.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::reply::{Refusal, answer, authorize};
use super::{Api, body};
use crate::broker::Input;
use crate::config::Secret;
use crate::fanout::Stopped;
use crate::types::{RawJson, SessionId, StreamName};

pub(super) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let broadcast =
        warp::path!("_broadcast").and(endpoint(api, "broadcast", |api| api.broadcast_key.as_ref()));
    let publish =
        warp::path!("api" / "publish").and(endpoint(api, "publish", |api| api.api_key.as_ref()));
    broadcast.or(publish).unify().boxed()
}

/// The two endpoints differ in the key that opens them.
fn endpoint(
    api: &Arc<Api>,
    name: &'static str,
    key: fn(&Api) -> Option<&Secret>,
) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    warp::post()
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |headers: HeaderMap, body| {
            let api = Arc::clone(&api);
            async move {
                let result = match authorize(key(&api), &headers) {
                    Ok(()) => publish(&api, body).await,
                    Err(refusal) => Err(refusal),
                };
                answer(name, result)
            }
        })
        .boxed()
}

async fn publish<B: Buf>(
    api: &Arc<Api>,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Refusal> {
    let body = body::read(body, api.max_body).await?;
    let elements = decode(&body, api.limits.stream_name_size).map_err(Refusal::Malformed)?;
    let at = u64::try_from(api.clock.unix().as_millis()).unwrap_or(u64::MAX);
    // in a task of its own: a client that hangs up halfway must not leave half of it published
    let api = Arc::clone(api);
    let published = tokio::spawn(async move {
        let mut streams = Vec::new();
        for element in elements {
            match element {
                Element::Publish { stream, data, event, except } => {
                    let input = Input::Publish { data, event, at, except };
                    streams.push(stream.clone());
                    api.hub.publish(stream, input).await?;
                }
                Element::Disconnect(Disconnect { identifier, reconnect }) => {
                    // in this order: whoever has a session by now is among the connections
                    api.sessions.disconnect(&identifier);
                    let connections = api.identities.disconnect(&identifier, reconnect);
                    tracing::debug!(connections, reconnect, "a remote disconnect");
                }
            }
        }
        api.hub.settle(&streams).await
    });
    match published.await {
        Ok(Ok(())) => {}
        Ok(Err(Stopped)) | Err(_) => return Err(Refusal::Stopping),
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// What the application says in one element.
#[derive(Debug, PartialEq, Eq)]
pub enum Element {
    /// A message to a stream.
    Publish {
        /// The stream; never empty.
        stream: StreamName,
        /// What is told to its subscribers.
        data: RawJson,
        /// What kind of event it is, if the application says so.
        event: Option<Arc<str>>,
        /// The session that isn't told.
        except: Option<SessionId>,
    },
    /// A remote disconnect.
    Disconnect(Disconnect),
}

/// Whose connections are to end.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Disconnect {
    /// The identifiers that their tokens gave them.
    pub identifier: String,
    /// Whether the clients should come back.
    #[serde(default)]
    pub reconnect: bool,
}

/// Reads a body; of one with a fault nothing but the reason, for the publisher's developer.
pub fn decode(body: &[u8], max_stream_name: usize) -> Result<Vec<Element>, String> {
    let unreadable = |error: serde_json::Error| format!("the body is not readable JSON: {error}");
    if body.trim_ascii_start().first() != Some(&b'[') {
        let element: &RawValue = serde_json::from_slice(body).map_err(unreadable)?;
        return Ok(vec![parse_element(element, max_stream_name)?]);
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
    let elements = elements.into_iter().enumerate().map(|(number, element)| {
        parse_element(element, max_stream_name)
            .map_err(|error| format!("element {number}: {error}"))
    });
    elements.collect()
}

fn parse_element(element: &RawValue, max_stream_name: usize) -> Result<Element, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        command: Option<Cow<'a, str>>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        #[serde(borrow)]
        stream: Option<Cow<'a, str>>,
        #[serde(borrow)]
        data: Option<Cow<'a, str>>,
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    struct Meta {
        exclude_socket: Option<String>,
        event: Option<String>,
    }
    if !element.get().starts_with('{') {
        return Err("a publication is a JSON object: {\"stream\":…,\"data\":…}".to_owned());
    }
    let fields: Fields<'_> =
        serde_json::from_str(element.get()).map_err(|error| error.to_string())?;
    match fields.command.as_deref() {
        Some("disconnect") => {
            let payload = fields.payload.ok_or("`payload` is missing")?;
            if !payload.get().starts_with('{') {
                return Err("`payload` is not a JSON object".to_owned());
            }
            let disconnect = serde_json::from_str(payload.get())
                .map_err(|error| format!("`payload`: {error}"))?;
            return Ok(Element::Disconnect(disconnect));
        }
        Some(other) => return Err(format!("there is no command {other:?}: only disconnect")),
        None => {}
    }
    let stream = fields.stream.ok_or("`stream` is missing")?;
    if stream.is_empty() {
        return Err("`stream` is empty".to_owned());
    }
    if stream.len() > max_stream_name {
        return Err(format!(
            "`stream` has {} bytes, at most {max_stream_name} are allowed",
            stream.len()
        ));
    }
    let data = fields.data.ok_or("`data` is missing: a string, usually of JSON")?;
    let (except, event) = match fields.meta {
        Some(meta) => (meta.exclude_socket, meta.event),
        None => (None, None),
    };
    Ok(Element::Publish {
        stream: StreamName::from(&*stream),
        data: payload(&data),
        event: event.filter(|event| !event.is_empty()).map(Arc::from),
        // a socket that never was excludes nobody
        except: except.and_then(|sid| SessionId::parse(&sid)),
    })
}

/// JSON passes as it is; any other text is a JSON string.
fn payload(data: &str) -> RawJson {
    if serde_json::from_str::<&RawValue>(data).is_ok() {
        return RawJson::from(data);
    }
    RawJson::from(serde_json::Value::from(data).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(body: &str) -> Result<Vec<Element>, String> {
        decode(body.as_bytes(), 20)
    }

    #[test]
    fn one_or_many() {
        let element = |data: &str| {
            let (stream, data) = ("a".into(), data.into());
            Element::Publish { stream, data, event: None, except: None }
        };
        assert_eq!(
            published(r#"{"stream":"a","data":"{ \"n\":1.0 }"}"#),
            Ok(vec![element(r#"{ "n":1.0 }"#)])
        );
        assert_eq!(
            published(r#" [{"stream":"a","data":"1"},{"stream":"a","data":"hello"}] "#),
            Ok(vec![element("1"), element(r#""hello""#)])
        );
        assert_eq!(published("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, reason) in [
            ("", "not readable JSON"),
            ("5", "JSON object"),
            ("[[]]", "element 0"),
            (r#"{"data":"1"}"#, "`stream` is missing"),
            (r#"{"stream":"","data":"1"}"#, "`stream` is empty"),
            (r#"{"stream":"aaaaaaaaaaaaaaaaaaaaa","data":"1"}"#, "21 bytes"),
            ("\u{C}{\"stream\":\"a\",\"data\":\"1\"}", "not readable JSON"), // no space of JSON's
            (r#"{"stream":"a"}"#, "`data` is missing"),
            (r#"{"stream":"a","data":{}}"#, "invalid type"),
            (r#"[{"stream":"a","data":"1"},{"stream":5}]"#, "element 1"),
            (r#"{"command":"dance"}"#, "no command"),
            (r#"{"command":"disconnect"}"#, "`payload` is missing"),
            (r#"{"command":"disconnect","payload":{}}"#, "identifier"),
            (r#"{"command":"disconnect","payload":["a"]}"#, "not a JSON object"),
            (r#"{"command":"disconnect","payload":{"identifier":"a","reconnect":1}}"#, "payload"),
        ] {
            let error = published(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn a_remote_disconnect_names_whose() {
        let disconnect = |identifier: &str, reconnect| {
            let identifier = identifier.to_owned();
            Ok(vec![Element::Disconnect(Disconnect { identifier, reconnect })])
        };
        let parsed = |rest: &str| {
            let payload = format!(r#"{{"identifier":"{{\"user\":1}}"{rest}}}"#);
            published(&format!(r#"{{"command":"disconnect","payload":{payload}}}"#))
        };
        assert_eq!(parsed(""), disconnect(r#"{"user":1}"#, false));
        assert_eq!(parsed(r#","reconnect":true"#), disconnect(r#"{"user":1}"#, true));
    }

    #[test]
    fn the_excluded_socket() {
        let sid = SessionId::from_bits(7);
        let body = format!(r#"{{"stream":"a","data":"1","meta":{{"exclude_socket":"{sid}"}}}}"#);
        let [Element::Publish { except, .. }] = &published(&body).unwrap()[..] else { panic!() };
        assert_eq!(*except, Some(sid));
    }
}

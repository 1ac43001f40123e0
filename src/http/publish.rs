//! `POST /_broadcast` and `POST /api/publish`: the application speaks to its streams.
//!
//! A body is one element or an array of them; nothing of an array is published unless all of it
//! can be.

use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

pub use super::element::{Disconnect, Element, decode};
use super::reply::{Refusal, answer, authorize};
use super::{Api, body};
use crate::broker::Input;
use crate::config::Secret;
use crate::fanout::Stopped;

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
                Element::Publish { stream, data, labels, except, is_transient } => {
                    let input = Input::Publish { data, labels, at, except, is_transient };
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

//! `POST /_broadcast` and `POST /api/publish`: publications and remote disconnects of the
//! application.
//!
//! A body is one element or an array. All elements are checked before any is applied.

use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

use super::api::Api;
use super::body;
pub use super::element::{Disconnect, Element, decode};
use super::reply::{Refusal, answer, authorize, json};
use crate::auth;
use crate::config::Secret;
use crate::filters;
use crate::node::Unavailable;
use crate::shard::Publish;

pub(super) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let broadcast =
        warp::path!("_broadcast").and(endpoint(api, "broadcast", |api| api.broadcast_key.as_ref()));
    let publish =
        warp::path!("api" / "publish").and(endpoint(api, "publish", |api| api.api_key.as_ref()));
    broadcast.or(publish).unify().boxed()
}

/// One of the two endpoints; they differ in their key.
fn endpoint(
    api: &Arc<Api>,
    name: &'static str,
    key: fn(&Api) -> Option<&Secret>,
) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    filters::method("POST", "POST")
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
    // in a task of its own: a client that disconnects must not leave half of a batch published
    let api = Arc::clone(api);
    let published = tokio::spawn(async move {
        let (mut receipts, mut disconnected) = (Vec::new(), None);
        for element in elements {
            match element {
                Element::Publish { stream, data, labels, except, is_transient } => {
                    let publish = Publish { data, labels, at, except, is_transient };
                    receipts.push(api.router.publish(stream, publish).await?);
                }
                Element::Disconnect(of) => {
                    let Disconnect { identifier, presence_id, reconnect } = of;
                    let names = auth::names(identifier.as_deref(), presence_id.as_ref());
                    let sessions = api.peers.disconnect(names, reconnect).await?;
                    *disconnected.get_or_insert(0) += sessions;
                }
            }
        }
        api.router.kept(receipts).await?;
        if disconnected.is_some() {
            api.router.sync_all().await?;
        }
        Ok::<_, Unavailable>(disconnected)
    });
    let disconnected = match published.await {
        Ok(Ok(disconnected)) => disconnected,
        Ok(Err(unavailable)) => return Err(unavailable.into()),
        Err(_) => return Err(Unavailable::Stopping.into()),
    };
    Ok(match disconnected {
        Some(sessions) => {
            let body = serde_json::json!({ "disconnected": sessions });
            json(StatusCode::CREATED, body.to_string())
        }
        None => StatusCode::CREATED.into_response(),
    })
}

//! The dashboard's routes.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, header};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::context::Dashboard;
use super::event_stream::EventStream;
use crate::cors;
use crate::filters;
use crate::http::pages::{File, Kind, page};
use crate::http::reply::{Refusal, answer, authorize};
use crate::protocol::query::Query;
use crate::types::StreamName;

/// The page's path.
pub const PAGE: &str = "/dashboard/";

/// Maximum number of open dashboards: each queries all streams.
const MAX_DASHBOARDS: usize = 16;

const FILES: [File; 4] = [
    File { path: "", kind: Kind::Html, text: include_str!("page/index.html") },
    File { path: "dashboard.js", kind: Kind::Script, text: include_str!("page/dashboard.js") },
    File { path: "style.css", kind: Kind::Style, text: include_str!("page/style.css") },
    File { path: "icon.svg", kind: Kind::Picture, text: include_str!("page/icon.svg") },
];

/// Exempts a response's connection from idle timeouts until dropped.
pub type Lasting = Box<dyn Any + Send + Sync>;

/// The page and its events. `lasting` gives the guard that the events' response holds.
pub fn routes(dashboard: Dashboard, lasting: BoxedFilter<(Lasting,)>) -> BoxedFilter<(Response,)> {
    let (dashboard, places) = (Arc::new(dashboard), Arc::new(Semaphore::new(MAX_DASHBOARDS)));
    let events = warp::path!("events")
        .and(filters::method("GET", "GET"))
        .and(warp::header::headers_cloned())
        .and(filters::query())
        .and(lasting)
        .then(move |headers: HeaderMap, query: String, lasting: Lasting| {
            let (dashboard, places) = (Arc::clone(&dashboard), Arc::clone(&places));
            async move {
                let place = admit(&dashboard, &headers, places);
                let result = place.and_then(|place| events(&dashboard, &query, (place, lasting)));
                answer("dashboard", result)
            }
        });
    let page = page("dashboard", PAGE, &FILES);
    warp::path("dashboard").and(events.or(page).unify()).boxed()
}

fn admit(
    dashboard: &Dashboard,
    headers: &HeaderMap,
    places: Arc<Semaphore>,
) -> Result<OwnedSemaphorePermit, Refusal> {
    authorize(dashboard.key.as_ref(), headers)?;
    if dashboard.key.is_none() && !cors::is_this_machine(headers.get(header::HOST)) {
        return Err(Refusal::OtherHost);
    }
    places.try_acquire_owned().map_err(|_| Refusal::Dashboards(MAX_DASHBOARDS))
}

fn events(
    dashboard: &Arc<Dashboard>,
    query: &str,
    held: impl Send + Sync + 'static,
) -> Result<Response, Refusal> {
    let query = Query::parse(query);
    if !query.is_utf8() {
        return Err(Refusal::Malformed("the query is not UTF-8".to_owned()));
    }
    let stream = query.get("stream").map(StreamName::from);
    let (sender, mut events) = mpsc::channel(1);
    let stream = EventStream { dashboard: Arc::clone(dashboard), stream, events: sender };
    dashboard.tasks.spawn(stream.run_until_closed());
    let body = stream::poll_fn(move |task| {
        let _held = &held; // until the body is dropped
        events.poll_recv(task).map(|event: Option<Bytes>| event.map(Ok::<_, Infallible>))
    });
    let mut response = warp::reply::stream(body).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

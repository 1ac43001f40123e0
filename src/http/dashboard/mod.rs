//! `GET /dashboard`, a page for operators, and `GET /dashboard/events`, what it shows.
//!
//! The page itself tells nothing and needs no key; its events do. They come as server-sent events: a
//! snapshot each second, and what becomes of the members of the chosen stream as it happens. Nothing is
//! asked of the shards while no dashboard is open.

mod snapshot;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, header};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::pages::{File, Kind, page};
use super::reply::{Refusal, answer, authorize};
use crate::clock::Clock;
use crate::config::Secret;
use crate::cors;
use crate::methods::only;
use crate::node::{Observer, Router, Stopped, inspect};
use crate::protocol::query::Query;
use crate::types::{PresenceChange, StreamName};

/// Where the page is.
pub const PAGE: &str = "/dashboard/";

/// How often a dashboard is told how things are.
const INTERVAL: Duration = Duration::from_secs(1);

/// Most dashboards at a time: each has all streams looked at.
const MOST: usize = 16;

/// Most streams that are told.
const MAX_STREAMS: usize = 50;

/// Most members of the chosen stream that are told, and most bytes of their infos.
const MAX_MEMBERS: (usize, usize) = (200, 128 * 1024);

/// Most events of a stream that one dashboard is told between two snapshots: nobody reads more.
const MAX_EVENTS: u64 = 100;

/// A dashboard that takes in nothing for so long is gone or asleep, and comes again when it isn't.
const STALLED: Duration = Duration::from_secs(30);

const FILES: [File; 4] = [
    File { path: "", kind: Kind::Html, text: include_str!("page/index.html") },
    File { path: "dashboard.js", kind: Kind::Script, text: include_str!("page/dashboard.js") },
    File { path: "style.css", kind: Kind::Style, text: include_str!("page/style.css") },
    File { path: "icon.svg", kind: Kind::Picture, text: include_str!("page/icon.svg") },
];

/// What the dashboard needs.
pub struct Dashboard {
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Since when the broker runs.
    pub started: Instant,
    /// The way to the streams.
    pub router: Arc<Router>,
    /// Who waits for its tasks at the end.
    pub tasks: TaskTracker,
    /// How many connections are open.
    pub connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// What who looks must know; without it, the broker serves this machine alone.
    pub key: Option<Secret>,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Keeps the connection below a response from being cut for its silence, until it is dropped.
pub type Lasting = Box<dyn Any + Send + Sync>;

/// The page and its events. `lasting` gives what the response with the events holds.
pub fn routes(dashboard: Dashboard, lasting: BoxedFilter<(Lasting,)>) -> BoxedFilter<(Response,)> {
    let (dashboard, places) = (Arc::new(dashboard), Arc::new(Semaphore::new(MOST)));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let events = warp::path!("events")
        .and(only("GET", "GET"))
        .and(warp::header::headers_cloned())
        .and(query)
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
    places.try_acquire_owned().map_err(|_| Refusal::Dashboards(MOST))
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
        let _held = &held; // for as long as there is a body
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

/// The events of one dashboard.
struct EventStream {
    dashboard: Arc<Dashboard>,
    stream: Option<StreamName>,
    events: mpsc::Sender<Bytes>,
}

/// The end of the stream: the broker stops, or its client is gone or too slow.
struct Closed;

impl From<Stopped> for Closed {
    fn from(Stopped: Stopped) -> Self {
        Self
    }
}

impl EventStream {
    async fn run_until_closed(self) {
        let (router, events) = (Arc::clone(&self.dashboard.router), self.events.clone());
        tokio::select! {
            _ = self.run() => {}
            () = events.closed() => {}
            () = router.stopped() => {}
        }
    }

    async fn run(self) -> Result<(), Closed> {
        let Dashboard { router, clock, .. } = &*self.dashboard;
        let mut observer = match &self.stream {
            Some(stream) => Some(inspect::observe(router, stream.clone()).await?),
            None => None,
        };
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut happened = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let too_fast = observer.as_ref().map_or(0, Observer::take_missed);
                    let missed = too_fast + u64::saturating_sub(happened, MAX_EVENTS);
                    happened = 0;
                    if missed > 0 {
                        self.send(snapshot::missed(missed, clock.unix())).await?;
                    }
                    self.send(self.snapshot().await?).await?;
                }
                change = next(observer.as_mut()) => {
                    let change = change.ok_or(Closed)?;
                    happened += 1;
                    if happened <= MAX_EVENTS {
                        self.send(snapshot::event(&change, clock.unix())).await?;
                    }
                }
            }
        }
    }

    async fn snapshot(&self) -> Result<Bytes, Closed> {
        let Dashboard { router, clock, connections, started, .. } = &*self.dashboard;
        let survey = inspect::survey(router, MAX_STREAMS).await?;
        let chosen = match &self.stream {
            Some(stream) => {
                Some((stream, inspect::attendance(router, stream.clone(), MAX_MEMBERS).await?))
            }
            None => None,
        };
        let chosen = chosen.as_ref().map(|(stream, attendance)| (*stream, attendance));
        let uptime = clock.now().saturating_duration_since(*started);
        Ok(snapshot::snapshot(&survey, chosen, connections(), (clock.unix(), uptime)))
    }

    async fn send(&self, event: Bytes) -> Result<(), Closed> {
        let sent = tokio::time::timeout(STALLED, self.events.send(event)).await;
        sent.map_err(|_| Closed)?.map_err(|_| Closed)
    }
}

/// What happens next in a stream that is looked at; never anything in none.
async fn next(observer: Option<&mut Observer>) -> Option<Arc<PresenceChange>> {
    match observer {
        Some(observer) => observer.next().await,
        None => std::future::pending().await,
    }
}

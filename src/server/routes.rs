//! Which routes are served at which address: all at one, unless the API or the metrics have a port
//! of their own (which may be the same).

use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::listener::{BindError, Listener, Serving};
use super::pending::Pending;
use super::room::Room;
use crate::clock::Clock;
use crate::config::Config;
use crate::http;
use crate::http::dashboard::{Dashboard, Lasting};
use crate::net::{self, Context, HttpIo};
use crate::protocol::chat;
use crate::telemetry::{NodeState, logging, metrics as names};
use crate::types::Transport;

type Route = BoxedFilter<(Response,)>;

/// Where the broker listens, with port 0 resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) cable: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) metrics: SocketAddr,
}

/// The listeners and the routes of each.
pub(super) struct Routes {
    listeners: Vec<(Listener, Route)>,
    pub(super) addresses: Addresses,
}

impl Routes {
    /// Listens at the configured addresses.
    pub(super) fn open(
        config: &Config,
        context: &Arc<Context>,
        prometheus: PrometheusHandle,
    ) -> Result<Self, BindError> {
        let rooms = rooms(config, context);
        let mut cable = clients(config, context);
        cable.extend(config.examples.then(http::pages::examples));
        cable.extend(rooms.clone());
        let mut api = vec![http::api(http::Api {
            clock: Arc::clone(&context.clock),
            router: Arc::clone(&context.router),
            fetcher: context.fetcher.clone(),
            peers: Arc::clone(&context.peers),
            broadcast_key: config.access.publishing_key(),
            api_key: config.access.reading_key(),
            max_body: config.max_body_size,
            limits: config.limits,
        })];
        api.extend(config.dashboard.then(|| dashboard(config, context)));
        api.extend(rooms);
        let scraped = Arc::clone(context);
        let scrape = move || scrape(&prometheus, &scraped);
        let metrics = http::metrics(scrape, config.access.scraping_key());
        let mut listeners: Vec<(SocketAddr, Listener, Vec<Route>)> = Vec::new();
        let mut open = |own: Option<SocketAddr>, flag, routes: Vec<Route>| {
            let at = own.unwrap_or(config.address());
            let any_port = own.is_some_and(|own| own.port() == 0);
            let same = |one: &&mut (SocketAddr, Listener, Vec<Route>)| one.0 == at && !any_port;
            if let Some((_, listener, others)) = listeners.iter_mut().find(same) {
                others.extend(routes);
                return Ok::<_, BindError>(listener.address());
            }
            let listener = Listener::bind(at, flag)?;
            let address = listener.address();
            listeners.push((at, listener, routes));
            Ok(address)
        };
        let addresses = Addresses {
            cable: open(None, "--port", cable)?,
            api: open(config.api_address(), "--api-port", api)?,
            metrics: open(config.metrics_address(), "--metrics-port", vec![metrics])?,
        };
        let context = Arc::clone(context);
        let health = http::health(move || state(&context));
        let with_health = |(_, listener, routes): (SocketAddr, Listener, Vec<Route>)| {
            let health = health.clone();
            // nested, so that a matching route keeps the later ones from being polled or allocated
            let first =
                routes.into_iter().rev().fold(health, |rest, one| one.or(rest).unify().boxed());
            (listener, first.recover(http::recover).unify().boxed())
        };
        Ok(Self { listeners: listeners.into_iter().map(with_health).collect(), addresses })
    }

    /// Accepts connections until the stop. Each port has its own slots for connections that aren't
    /// WebSockets, so clients can't use up the application's.
    pub(super) fn serve(self, room: &Room, clock: &Arc<Clock>, serving: &Serving) {
        for ((listener, routes), places) in self.listeners.into_iter().zip(room.places()) {
            listener.serve(routes, Pending::new(places, Arc::clone(clock)), serving);
        }
    }

    /// Number of listeners: the clients' one, and those of the API and the metrics if they are
    /// separate.
    pub(super) fn count(config: &Config) -> usize {
        let (api, metrics) = (config.api_address(), config.metrics_address());
        let is_apart = |own: &SocketAddr| own.port() == 0 || *own != config.address();
        let api = api.filter(is_apart);
        let metrics = metrics.filter(is_apart).filter(|own| own.port() == 0 || api != Some(*own));
        1 + usize::from(api.is_some()) + usize::from(metrics.is_some())
    }
}

/// The operators' page; the response that carries its events is long-lived.
fn dashboard(config: &Config, context: &Arc<Context>) -> Route {
    let connections = Arc::clone(context);
    let dashboard = Dashboard {
        clock: Arc::clone(&context.clock),
        started: context.clock.now(),
        router: Arc::clone(&context.router),
        tasks: context.tasks.clone(),
        connections: Box::new(move || connections.connections()),
        key: config.access.reading_key(),
    };
    let lasting = warp::ext::get::<HttpIo>().map(|io: HttpIo| Box::new(io.watch()) as Lasting);
    http::dashboard::routes(dashboard, lasting.boxed())
}

/// What the broker does. Alone it is current from the start.
fn state(context: &Context) -> NodeState {
    if context.is_stopping() {
        return NodeState::Stopping;
    }
    let now = context.clock.now();
    context.cluster.as_ref().map_or(NodeState::Current, |cluster| cluster.state(now))
}

/// The metrics as Prometheus text, with those that are read at scrape time.
fn scrape(prometheus: &PrometheusHandle, context: &Context) -> String {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as f64;
    metrics::gauge!(names::TASKS).set(tasks);
    if let Some(cluster) = &context.cluster {
        cluster.export(state(context));
    }
    metrics::counter!(names::LOG_LINES_LOST).absolute(logging::lost_lines());
    prometheus.render()
}

/// The clients' routes: each enabled protocol over each of its transports, at its path.
fn clients(config: &Config, context: &Arc<Context>) -> Vec<Route> {
    // first, since a person may open a socket's path in a browser
    let mut routes = vec![http::about(&config.protocols)];
    for (protocol, path) in config.protocols.spoken() {
        for (transport, below) in protocol.transports {
            let context = Arc::clone(context);
            let route = match transport {
                Transport::WebSocket => net::websocket(context, protocol),
                Transport::EventStream => net::event_stream(context, protocol),
                Transport::LongPolling => net::long_polling(context, protocol),
            };
            routes.push(at(&format!("{path}{below}"), route));
        }
    }
    routes
}

/// The messages of chat rooms, if chat is enabled: served both on the clients' port and on the
/// API's.
fn rooms(config: &Config, context: &Arc<Context>) -> Option<Route> {
    config.protocols.path(&chat::PROTOCOL)?;
    Some(http::rooms(http::Rooms {
        clock: Arc::clone(&context.clock),
        router: Arc::clone(&context.router),
        access: config.access.rules(),
        token: config.access.jwt_param.clone(),
        api_key: config.access.reading_key(),
    }))
}

/// A route at exactly this path.
fn at(path: &str, route: Route) -> Route {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path = segments.fold(warp::any().boxed(), |path, segment| {
        path.and(warp::path(segment.to_owned())).boxed()
    });
    path.and(warp::path::end()).and(route).boxed()
}

//! Listening sockets and the HTTP connections accepted on them.
//!
//! The accept loop is our own, with hyper behind it, because warp's server neither limits the time
//! for half a request nor ends connections that were upgraded to WebSockets.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::pending::{Pending, Slot};
use super::tls::Certificate;
use crate::net::{HttpIo, Peer, Watched};
use crate::outbound;
use crate::telemetry::Instruments;
use crate::types::HandshakeFailure;

/// Length of the kernel's accept queue: after a restart all clients reconnect at once.
const BACKLOG: i32 = 4096;

/// Pause after a failed accept when the system is out of files or memory.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} can't be listened on: {}; {}", describe(source), advice(source, flag))]
pub struct BindError {
    address: SocketAddr,
    flag: &'static str,
    source: io::Error,
}

fn describe(error: &io::Error) -> String {
    let kind = error.kind();
    let known = [
        (io::ErrorKind::AddrInUse, "the port is in use"),
        (io::ErrorKind::PermissionDenied, "this user may not"),
        (io::ErrorKind::AddrNotAvailable, "this machine doesn't have that address"),
    ];
    let known = known.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| error.to_string(), |(_, text)| (*text).to_owned())
}

fn advice(error: &io::Error, flag: &str) -> String {
    let flag = if error.kind() == io::ErrorKind::AddrNotAvailable { "--host" } else { flag };
    format!("choose another one with {flag}")
}

/// Failed accepts per warning: one line every 10 s.
const RETRIES_PER_WARNING: u32 = 100;

/// Time after which a connection without a new request is closed. Only a client that doesn't read
/// its response takes longer; responses that are meant to last are exempt.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// Time left at the stop for a request under way, half a request included.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Settings and state shared by all connections of all listeners.
#[derive(Debug)]
pub(super) struct Serving {
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged. `None` keeps the system's
    /// default.
    pub(super) user_timeout: Option<Duration>,
    /// Time for a request's head to arrive, and for the TLS handshake before it.
    pub(super) handshake_timeout: Duration,
    /// Maximum size of a request's head, in bytes.
    pub(super) max_header: usize,
    /// Counters.
    pub(super) instruments: Arc<Instruments>,
    /// The TLS certificate; `None` serves plain TCP.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// Tasks of the connections that speak HTTP.
    pub(super) requests: TaskTracker,
    /// Cancelled at the stop: connections end after their current request.
    pub(super) stop: CancellationToken,
}

/// A listening socket and its address.
#[derive(Debug)]
pub(super) struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

type Route = BoxedFilter<(Response,)>;

impl Listener {
    /// Listens on an address, which is set by `flag`.
    pub(super) fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, BindError> {
        let bind = || -> io::Result<Self> {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.set_tcp_nodelay(true)?; // accepted sockets inherit it
            socket.listen(BACKLOG)?;
            let inner = TcpListener::from_std(socket.into())?;
            Ok(Self { address: inner.local_addr()?, inner })
        };
        bind().map_err(|source| BindError { address, flag, source })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the stop; `pending` bounds those that aren't WebSockets.
    pub(super) fn serve(self, routes: Route, pending: Arc<Pending>, serving: &Serving) {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(serving.handshake_timeout)
            .max_buf_size(serving.max_header)
            .half_close(true); // a client may close its sending side and still wait for the response
        let (requests, stop) = (serving.requests.clone(), serving.stop.clone());
        let instruments = Arc::clone(&serving.instruments);
        if serving.user_timeout.is_some() {
            // inherited, too
            let set = SockRef::from(&self.inner).set_tcp_user_timeout(serving.user_timeout);
            if let Err(error) = set {
                tracing::debug!(%error, "failed to set TCP_USER_TIMEOUT");
            }
        }
        let endpoint = Endpoint {
            http,
            routes,
            certificate: serving.certificate.clone(),
            timeout: serving.handshake_timeout,
            stop: stop.clone(),
        };
        serving.requests.spawn(async move {
            let mut in_vain = 0;
            while let Some(accepted) = stop.run_until_cancelled(self.inner.accept()).await {
                match accepted {
                    Ok((socket, peer)) => {
                        in_vain = 0;
                        let place = pending.enter(peer.ip());
                        let Some(slot) = stop.run_until_cancelled(place).await else { return };
                        let (endpoint, instruments) = (endpoint.clone(), Arc::clone(&instruments));
                        requests.spawn(async move {
                            let result = tokio::select! {
                                result = endpoint.open(socket, peer.ip(), &slot) => result,
                                () = slot.evicted() => Err(HandshakeFailure::Crowded),
                            };
                            if let Err(failure) = result {
                                tracing::debug!(%peer, reason = failure.as_ref(), "connection ended before its handshake");
                                instruments.handshake_failures.increment(failure);
                            }
                        });
                    }
                    Err(error) => {
                        instruments.handshake_failures.increment(HandshakeFailure::Accept);
                        self.wait_after(&error, in_vain).await;
                        in_vain += 1;
                    }
                }
            }
        });
    }

    /// Waits if the system is out of files or memory; other errors concern one connection only.
    async fn wait_after(&self, error: &io::Error, in_vain: u32) {
        let about_the_peer = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if !about_the_peer {
            if in_vain.is_multiple_of(RETRIES_PER_WARNING) {
                tracing::warn!(%error, address = %self.address, "failed to accept connections");
            }
            tokio::time::sleep(OUT_OF_FILES).await;
        }
    }
}

/// What serves one accepted connection.
#[derive(Clone)]
struct Endpoint {
    http: hyper::server::conn::http1::Builder,
    routes: Route,
    certificate: Option<Arc<Certificate>>,
    timeout: Duration,
    stop: CancellationToken,
}

impl Endpoint {
    /// Serves a connection's requests, until it ends or becomes a WebSocket.
    async fn open(
        self,
        socket: TcpStream,
        peer: IpAddr,
        slot: &Slot,
    ) -> Result<(), HandshakeFailure> {
        let Some(certificate) = self.certificate else {
            return serve_connection(self.http, socket, self.routes, self.stop, (peer, slot)).await;
        };
        // boxed, so that a connection without TLS doesn't reserve room for the handshake's state
        Box::pin(async move {
            let accepted = certificate.accept(socket, || slot.speaks_tls());
            let accepted = tokio::time::timeout(self.timeout, accepted);
            let socket = match self.stop.run_until_cancelled(accepted).await {
                None => return Err(HandshakeFailure::Stopping),
                Some(Err(_)) => return Err(HandshakeFailure::Timeout),
                Some(Ok(accepted)) => accepted?,
            };
            let Some(socket) = socket else { return Ok(()) };
            slot.speaks_tls();
            serve_connection(self.http, socket, self.routes, self.stop, (peer, slot)).await
        })
        .await
    }
}

async fn serve_connection(
    http: hyper::server::conn::http1::Builder,
    socket: impl AsyncRead + AsyncWrite + outbound::Socket + Unpin,
    routes: Route,
    stop: CancellationToken,
    (peer, slot): (IpAddr, &Slot),
) -> Result<(), HandshakeFailure> {
    let routes = TowerToHyperService::new(warp::service(routes));
    let (asked, io, lasts) = (AtomicUsize::new(0), HttpIo::new(), AtomicBool::new(false));
    let made_room = AtomicBool::new(false);
    let service = service_fn(|mut request: hyper::Request<_>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(io.clone());
        slot.asks();
        asked.fetch_add(1, Ordering::Relaxed);
        let (answer, io, lasts) = (routes.call(request), &io, &lasts);
        let made_room = &made_room;
        async move {
            let mut answer = pin!(answer);
            let answer = poll_fn(|task| {
                let answer = answer.as_mut().poll(task);
                let is_watched = io.is_watched();
                if lasts.swap(is_watched, Ordering::Relaxed) != is_watched {
                    slot.pause(is_watched);
                }
                answer
            });
            let mut answer = answer.await;
            if let Ok(response) = &mut answer
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
                && !io.is_wanted()
                && slot.is_last_answer()
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                made_room.store(true, Ordering::Relaxed);
            }
            answer
        }
    });
    let socket = TokioIo::new(Watched::new(socket, io.clone()));
    let connection = http.serve_connection(socket, service).with_upgrades();
    tokio::pin!(connection);
    let stalled = async {
        let mut before = None;
        while io.is_watched() || before != Some(asked.load(Ordering::Relaxed)) {
            before = Some(asked.load(Ordering::Relaxed));
            tokio::time::sleep(LONGEST_REQUEST).await;
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stalled => {
            tracing::debug!("connection closed: the client did not read its response");
            return Ok(());
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_REQUEST, connection).await {
                Ok(result) => result,
                Err(_) => return Err(HandshakeFailure::Stopping),
            }
        }
    };
    if made_room.load(Ordering::Relaxed) {
        return Err(HandshakeFailure::Crowded);
    }
    if asked.load(Ordering::Relaxed) > 0 {
        return Ok(()); // plain HTTP, and its client closed the connection
    }
    result.map_err(|error| {
        tracing::debug!(%error, "request failed");
        if error.is_timeout() {
            HandshakeFailure::Timeout
        } else if error.is_parse() || error.is_parse_too_large() {
            HandshakeFailure::Malformed
        } else {
            HandshakeFailure::Incomplete
        }
    })
}

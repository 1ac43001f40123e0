//! Listening sockets and the HTTP connections that come in on them.
//!
//! hyper serves warp's routes over our own accept loop: warp's server has no time limit for a
//! half-sent request and no end for connections that have become WebSockets.

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

/// How many connections the kernel holds that haven't been accepted: a restart brings everyone
/// back at once.
const BACKLOG: i32 = 4096;

/// How long to wait when the system has no files left, before trying again.
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

/// Failed accepts for each line in the log: one every 10 s.
const RETRIES_PER_WARNING: u32 = 100;

/// A connection on which no request begins for so long is cut: nothing takes longer, but for a
/// client that doesn't read its answer, and an answer that is meant to last.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// How long a request that is under way at the stop has to end: half of one may never be more.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What holds for all connections of all listeners.
#[derive(Debug)]
pub(super) struct Serving {
    /// How long a peer may leave sent bytes unacknowledged before its kernel is given up; none for
    /// the system's own idea.
    pub(super) user_timeout: Option<Duration>,
    /// In which a request's head has to arrive, and before it TLS to be agreed on.
    pub(super) handshake_timeout: Duration,
    /// Largest head of a request, in bytes.
    pub(super) max_header: usize,
    /// What is counted.
    pub(super) instruments: Arc<Instruments>,
    /// What is shown to clients, if TLS is spoken.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// The connections that speak HTTP.
    pub(super) requests: TaskTracker,
    /// Ends them after the request they are at.
    pub(super) stop: CancellationToken,
}

/// A socket that listens, and where.
#[derive(Debug)]
pub(super) struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

type Route = BoxedFilter<(Response,)>;

impl Listener {
    /// Listens on an address, which `flag` sets.
    pub(super) fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, BindError> {
        let bind = || -> io::Result<Self> {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.set_tcp_nodelay(true)?; // as each connection has it then
            socket.listen(BACKLOG)?;
            let inner = TcpListener::from_std(socket.into())?;
            Ok(Self { address: inner.local_addr()?, inner })
        };
        bind().map_err(|source| BindError { address, flag, source })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the stop, as many that speak HTTP as there are places.
    pub(super) fn serve(self, routes: Route, pending: Arc<Pending>, serving: &Serving) {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(serving.handshake_timeout)
            .max_buf_size(serving.max_header)
            .half_close(true); // who has asked and closes its side still waits for the answer
        let (requests, stop) = (serving.requests.clone(), serving.stop.clone());
        let instruments = Arc::clone(&serving.instruments);
        if serving.user_timeout.is_some() {
            // likewise
            let set = SockRef::from(&self.inner).set_tcp_user_timeout(serving.user_timeout);
            if let Err(error) = set {
                tracing::debug!(%error, "TCP_USER_TIMEOUT is not to be had");
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
                                tracing::debug!(%peer, reason = failure.as_ref(), "a connection ends");
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

    /// Out of files or memory it helps to wait; anything else was about that one connection.
    async fn wait_after(&self, error: &io::Error, in_vain: u32) {
        let about_the_peer = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if !about_the_peer {
            if in_vain.is_multiple_of(RETRIES_PER_WARNING) {
                tracing::warn!(%error, address = %self.address, "no connection can be accepted");
            }
            tokio::time::sleep(OUT_OF_FILES).await;
        }
    }
}

/// What a connection needs to become more than a socket.
#[derive(Clone)]
struct Endpoint {
    http: hyper::server::conn::http1::Builder,
    routes: Route,
    certificate: Option<Arc<Certificate>>,
    timeout: Duration,
    stop: CancellationToken,
}

impl Endpoint {
    /// Serves one connection's requests, until it ends or becomes a WebSocket.
    async fn open(
        self,
        socket: TcpStream,
        peer: IpAddr,
        slot: &Slot,
    ) -> Result<(), HandshakeFailure> {
        let Some(certificate) = self.certificate else {
            return serve_connection(self.http, socket, self.routes, self.stop, (peer, slot)).await;
        };
        // in a box, so that a connection without TLS doesn't have room for it
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
            tracing::debug!("a connection took too long to take in its answer");
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
        return Ok(()); // it was plain HTTP, and its client has nothing more to ask
    }
    result.map_err(|error| {
        tracing::debug!(%error, "a connection failed before it was a WebSocket");
        if error.is_timeout() {
            HandshakeFailure::Timeout
        } else if error.is_parse() || error.is_parse_too_large() {
            HandshakeFailure::Malformed
        } else {
            HandshakeFailure::Incomplete
        }
    })
}

//! One HTTP/2 connection.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, Reason};
use tokio_util::sync::CancellationToken;

use super::super::connect::Stream;

/// Window of an answer, and of all answers of a connection: a call isn't to wait for another's reader.
const WINDOW: u32 = 1024 * 1024;

/// Maximum size of an answer's headers and trailers.
const MAX_HEADERS: u32 = 64 * 1024;

/// Time between two pings. The Ruby server takes less than 10 s for an attack.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Maximum time for the answer to a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection is while calls can be sent over it.
pub(super) struct Open {
    /// Its sending end.
    pub(super) sender: SendRequest<Bytes>,
    connection: Connection<Stream, Bytes>,
}

impl Open {
    /// Speaks HTTP/2.
    pub(super) async fn over(stream: Stream) -> io::Result<Self> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .max_header_list_size(MAX_HEADERS);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        Ok(Self { sender, connection })
    }

    /// Runs the connection until its last call has ended. `gone` is cancelled once no more can be sent over it, and, if
    /// it is cancelled before, none is sent any more. Returns whether the server finds pings too frequent.
    pub(super) async fn run(self, gone: CancellationToken, ping_interval: Duration) -> bool {
        let Self { sender, mut connection } = self;
        let pings = connection.ping_pong();
        let mut connection = pin!(connection);
        let mut probe = Some(sender);
        let mut retired = pin!(gone.cancelled());
        let ended = poll_fn(|task| {
            if probe.is_some() && retired.as_mut().poll(task).is_ready() {
                probe = None; // with the last of these, the connection ends when its calls have
            }
            let ended = connection.as_mut().poll(task);
            // a GOAWAY: what is under way goes on, and nothing more is taken
            let is_gone =
                probe.as_mut().is_some_and(|it| matches!(it.poll_ready(task), Poll::Ready(Err(_))));
            if is_gone || ended.is_ready() {
                probe = None;
                gone.cancel();
            }
            ended
        });
        let ended = tokio::select! {
            ended = ended => ended.err().and_then(|error| error.reason()),
            () = keep_alive(pings, ping_interval) => {
                tracing::debug!("the application's server answers no ping: its connection is cut");
                None
            }
        };
        gone.cancel();
        ended == Some(Reason::ENHANCE_YOUR_CALM)
    }
}

/// Sends pings until one isn't answered.
async fn keep_alive(pings: Option<PingPong>, interval: Duration) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(interval).await;
        let answered = tokio::time::timeout(PONG_TIMEOUT, pings.ping(Ping::opaque())).await;
        match answered {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return std::future::pending().await, // the connection says why it has ended
            Err(_) => return,
        }
    }
}

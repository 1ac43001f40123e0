//! The connection below an HTTP request, for responses that need more than hyper offers.
//!
//! hyper owns an HTTP connection. A response that takes long has to know when its client
//! disconnects: hyper reads nothing while it waits for a response and notices the end only when it
//! writes, so the connection reads ahead itself while it is [watched](HttpIo::watch). A response
//! without an end [takes the socket](HttpIo::take_socket): once the head is written, the rest is
//! its body, and hyper and its buffers are dropped. The response to a WebSocket handshake is
//! [deferred](HttpIo::defer_writes), to be written with the first frames.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::outbound::Socket;

/// Maximum bytes read ahead from a client that waits for a response. A disconnect after more bytes
/// goes unnoticed.
const MAX_READ_AHEAD: usize = 1024;

/// Handle to an HTTP connection, in the request's extensions.
#[derive(Clone, Default)]
pub struct HttpIo(Arc<State>);

#[derive(Default)]
struct State {
    watches: AtomicUsize,
    is_wanted: AtomicBool,
    defers_writes: AtomicBool,
    taker: Mutex<Option<oneshot::Sender<Box<dyn Socket>>>>,
}

/// Watches for the client's disconnect until dropped.
#[derive(Debug)]
pub struct Watch(HttpIo);

impl HttpIo {
    /// A handle that isn't watched.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the connection as soon as its client disconnects. Only while a response is under way:
    /// hyper polls the connection when it wants to write.
    pub fn watch(&self) -> Watch {
        self.0.watches.fetch_add(1, Ordering::AcqRel);
        Watch(self.clone())
    }

    /// Whether the connection is watched.
    pub fn is_watched(&self) -> bool {
        self.0.watches.load(Ordering::Acquire) > 0
    }

    /// The socket, as soon as hyper has written everything, for a response whose head is its last
    /// part. Call it with that response, not earlier.
    pub fn take_socket(&self) -> oneshot::Receiver<Box<dyn Socket>> {
        let (sender, receiver) = oneshot::channel();
        *self.0.taker.lock() = Some(sender);
        self.0.is_wanted.store(true, Ordering::Release);
        receiver
    }

    /// Holds back hyper's writes from now on, for the task that gets the connection: a `send` is
    /// the most expensive part of a handshake, and the welcome follows at once.
    pub fn defer_writes(&self) {
        self.0.defers_writes.store(true, Ordering::Release);
    }

    fn defers_writes(&self) -> bool {
        self.0.defers_writes.load(Ordering::Acquire)
    }

    /// Whether a task waits for the socket.
    pub fn is_wanted(&self) -> bool {
        self.0.is_wanted.load(Ordering::Acquire)
    }

    /// Gives the socket to the task that waits for it.
    pub fn give_socket(&self, socket: Box<dyn Socket>) {
        if let Some(taker) = self.0.taker.lock().take() {
            drop(taker.send(socket)); // the task may be gone
        }
    }
}

impl fmt::Debug for HttpIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIo").field("watches", &self.0.watches).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.watches.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that can be watched, and whose socket can be taken.
#[derive(Debug)]
pub struct Watched<S> {
    /// `None` once the socket has been taken.
    io: Option<S>,
    http: HttpIo,
    /// Bytes read ahead.
    ahead: Vec<u8>,
    /// Writes held back.
    unsent: Vec<u8>,
}

/// A connection taken out of hyper.
#[derive(Debug)]
pub struct Parts<S> {
    /// The socket.
    pub io: S,
    /// Bytes read ahead.
    pub ahead: Vec<u8>,
    /// Bytes to be written first.
    pub unsent: Vec<u8>,
}

impl<S> Watched<S> {
    /// Wraps a connection; `io` is the routes' handle to it.
    pub fn new(io: S, http: HttpIo) -> Self {
        Self { io: Some(io), http, ahead: Vec::new(), unsent: Vec::new() }
    }

    /// The parts, unless the socket has been taken.
    pub fn into_parts(self) -> Option<Parts<S>> {
        let Self { io, ahead, unsent, .. } = self;
        io.map(|io| Parts { io, ahead, unsent })
    }
}

impl<S: Unpin> Watched<S> {
    fn io(&mut self) -> io::Result<Pin<&mut S>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads ahead to notice a disconnect.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut buffer = [0; 256];
        while self.ahead.len() < MAX_READ_AHEAD {
            let mut buffer = ReadBuf::new(&mut buffer);
            match self.io()?.poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        if watched.ahead.is_empty() {
            return watched.io()?.poll_read(context, buffer);
        }
        let rest = watched.ahead.split_off(buffer.remaining().min(watched.ahead.len()));
        buffer.put_slice(&watched.ahead);
        watched.ahead = rest;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.http.defers_writes() {
            self.unsent.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.io()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.http.defers_writes() {
            let before = self.unsent.len();
            for slice in slices {
                self.unsent.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(self.unsent.len() - before));
        }
        self.io()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    /// hyper flushes whenever it is polled, with or without bytes to write, and only after it has
    /// written all.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.io()?.poll_flush(context))?;
        if self.http.is_watched() {
            self.look(context)?;
        }
        if self.http.is_wanted()
            && let Some(socket) = self.io.take()
        {
            self.http.give_socket(Box::new(socket));
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into())); // hyper's part is over
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Watched<TcpStream>, HttpIo, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let http = HttpIo::new();
        (Watched::new(server, http.clone()), http, client)
    }

    /// Flushes until that fails, as hyper does each time it is woken.
    async fn flush_until_it_fails(io: &mut Watched<TcpStream>) -> io::ErrorKind {
        let failed = poll_fn(|task| match Pin::new(&mut *io).poll_flush(task) {
            Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        });
        tokio::time::timeout(Duration::from_secs(10), failed).await.expect("no failure")
    }

    async fn read(io: &mut Watched<TcpStream>, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|task| Pin::new(&mut *io).poll_read(task, &mut buffer)).await.unwrap();
        buffer.filled().to_vec()
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_only_while_it_is_watched() {
        let (mut io, http, client) = pair().await;
        drop(client);
        tokio::time::sleep(Duration::from_millis(20)).await;
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        let watch = http.watch();
        assert_eq!(flush_until_it_fails(&mut io).await, io::ErrorKind::UnexpectedEof);
        drop(watch);
        assert!(!http.is_watched());
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
    }

    #[tokio::test]
    async fn what_comes_before_its_time_is_read_later() {
        let (mut io, http, client) = pair().await;
        client.try_write(b"the next request").unwrap();
        let watch = http.watch();
        while io.ahead.is_empty() {
            io.io.as_ref().unwrap().readable().await.unwrap();
            poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        }
        drop(watch);
        client.try_write(b"!").unwrap();
        assert_eq!(read(&mut io, 9).await, b"the next ");
        assert_eq!(read(&mut io, 90).await, b"request");
        assert_eq!(read(&mut io, 90).await, b"!");
    }

    #[tokio::test]
    async fn no_more_is_read_ahead_than_there_is_room_for() {
        let (mut io, http, client) = pair().await;
        client.try_write(&[7; 8 * MAX_READ_AHEAD]).unwrap();
        let _watch = http.watch();
        while io.ahead.len() < MAX_READ_AHEAD {
            io.io.as_ref().unwrap().readable().await.unwrap();
            poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        }
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        assert!(io.ahead.len() < 2 * MAX_READ_AHEAD);
    }

    #[tokio::test]
    async fn a_connection_is_taken_over_once_everything_is_sent() {
        let (mut io, http, client) = pair().await;
        let mut taken = http.take_socket();
        poll_fn(|task| Pin::new(&mut io).poll_write(task, b"head ")).await.unwrap();
        assert!(taken.try_recv().is_err());
        assert_eq!(flush_until_it_fails(&mut io).await, io::ErrorKind::NotConnected);
        let socket = taken.await.unwrap();
        drop(io);
        assert_eq!(socket.try_write(b"body").unwrap(), 4);
        client.readable().await.unwrap();
        let mut buffer = [0; 20];
        let read = client.try_read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"head body");
    }

    #[tokio::test]
    async fn what_is_kept_back_is_left_to_who_gets_the_connection() {
        let (mut io, http, client) = pair().await;
        poll_fn(|task| Pin::new(&mut io).poll_write(task, b"before ")).await.unwrap();
        http.defer_writes();
        let slices = [io::IoSlice::new(b"101 "), io::IoSlice::new(b"Switching")];
        let written = poll_fn(|task| Pin::new(&mut io).poll_write_vectored(task, &slices)).await;
        assert_eq!(written.unwrap(), 13);
        poll_fn(|task| Pin::new(&mut io).poll_write(task, b" Protocols")).await.unwrap();
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        client.readable().await.unwrap();
        let mut buffer = [0; 40];
        let read = client.try_read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"before ");
        assert_eq!(io.into_parts().unwrap().unsent, b"101 Switching Protocols");
    }

    #[tokio::test]
    async fn a_connection_that_nobody_takes_is_closed() {
        let (mut io, http, client) = pair().await;
        drop(http.take_socket());
        assert_eq!(flush_until_it_fails(&mut io).await, io::ErrorKind::NotConnected);
        client.readable().await.unwrap();
        assert_eq!(client.try_read(&mut [0; 9]).unwrap(), 0);
        let error = poll_fn(|task| Pin::new(&mut io).poll_write(task, b"x")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(io.into_parts().is_none());
    }
}

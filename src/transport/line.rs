//! What lies below a response that lasts: the connection it goes out on.
//!
//! hyper asks nothing of a client while it answers one. That the client has gone is noticed when
//! something is written, which may be hours later for a stream of events. So the connection itself
//! looks, as long as someone [watches](Line::watch) it; and whoever does can cut it, where hyper would
//! wait for as long as the client reads nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read of what a client sends before it has its answer. Behind more than that its end
/// isn't seen.
const MOST_AHEAD: usize = 1024;

/// An HTTP connection, as the listener tells the routes of it.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<State>);

#[derive(Debug, Default)]
struct State {
    watches: AtomicUsize,
    is_cut: AtomicBool,
    is_closed: AtomicBool,
    /// The task that serves the connection.
    server: AtomicWaker,
    /// The one that waits for its end.
    owner: AtomicWaker,
}

/// The wish to know at once when the client goes; over when dropped.
#[derive(Debug)]
pub struct Watch(Line);

impl Line {
    /// A line nobody watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on the connection ends when its client does. Only a connection whose answer is under
    /// way may be watched: it looks when hyper comes to send.
    pub fn watch(&self) -> Watch {
        self.0.watches.fetch_add(1, Ordering::AcqRel);
        Watch(self.clone())
    }

    /// Whether anybody watches it.
    pub fn is_watched(&self) -> bool {
        self.0.watches.load(Ordering::Acquire) > 0
    }

    /// Ends it, whatever has not been sent. Only if it is watched.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Release);
        self.0.server.wake();
    }

    /// Whether it is to end.
    pub fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::Acquire)
    }

    /// Whether the socket is closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Waits until the socket is closed. One task may.
    pub fn poll_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.owner.register(context.waker());
        if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.owner.wake();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.watches.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that looks out for its client's end while it is watched.
#[derive(Debug)]
pub struct Watched<S> {
    io: S,
    end: End,
    /// What the client has sent before it has its answer.
    ahead: Vec<u8>,
}

/// Closes the line when dropped.
#[derive(Debug)]
struct End(Line);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<S> Watched<S> {
    /// A connection and its line.
    pub fn new(io: S, line: Line) -> Self {
        Self { io, end: End(line), ahead: Vec::new() }
    }

    /// The connection below, and what was read of it and not asked for.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.io, self.ahead)
    }

    /// Whether it is watched; an error if it has been cut.
    fn check(&self, context: &Context<'_>) -> io::Result<bool> {
        let Line(state) = &self.end.0;
        if !self.end.0.is_watched() {
            return Ok(false);
        }
        state.server.register(context.waker());
        if self.end.0.is_cut() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(true) }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads ahead to see whether the client is still there.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut buffer = [0; 256];
        while self.ahead.len() < MOST_AHEAD {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.io).poll_read(context, &mut buffer) {
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
        let Self { io, ahead, .. } = self.get_mut();
        if ahead.is_empty() {
            return Pin::new(io).poll_read(context, buffer);
        }
        let rest = ahead.split_off(buffer.remaining().min(ahead.len()));
        buffer.put_slice(ahead);
        *ahead = rest;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes whenever it is polled, whether there is something to send or not.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.check(context)? {
            self.look(context)?;
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Watched<TcpStream>, Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let line = Line::new();
        (Watched::new(server, line.clone()), line, client)
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
        let (mut io, line, client) = pair().await;
        drop(client);
        tokio::time::sleep(Duration::from_millis(20)).await;
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        let watch = line.watch();
        assert_eq!(flush_until_it_fails(&mut io).await, io::ErrorKind::UnexpectedEof);
        drop(watch);
        assert!(!line.is_watched());
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
    }

    #[tokio::test]
    async fn what_comes_before_its_time_is_read_later() {
        let (mut io, line, client) = pair().await;
        client.try_write(b"the next request").unwrap();
        let watch = line.watch();
        while io.ahead.is_empty() {
            io.io.readable().await.unwrap();
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
        let (mut io, line, client) = pair().await;
        client.try_write(&[7; 8 * MOST_AHEAD]).unwrap();
        let _watch = line.watch();
        while io.ahead.len() < MOST_AHEAD {
            io.io.readable().await.unwrap();
            poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        }
        poll_fn(|task| Pin::new(&mut io).poll_flush(task)).await.unwrap();
        assert!(io.ahead.len() < 2 * MOST_AHEAD);
    }

    #[tokio::test]
    async fn a_line_is_cut_from_afar_though_the_client_reads_nothing() {
        let (mut io, line, _client) = pair().await;
        let _watch = line.watch();
        let blocked = poll_fn(|task| {
            while let Poll::Ready(written) = Pin::new(&mut io).poll_write(task, &[0; 1 << 16]) {
                if let Err(error) = written {
                    return Poll::Ready(error.kind());
                }
            }
            Poll::Pending
        });
        let cut = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            line.cut();
            std::future::pending::<()>().await;
        };
        let failed = tokio::select! { failed = blocked => failed, () = cut => unreachable!() };
        assert_eq!(failed, io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_line_closes_with_its_connection() {
        let (io, line, _client) = pair().await;
        assert!(!line.is_closed());
        let closed = tokio::spawn({
            let line = line.clone();
            async move { poll_fn(|task| line.poll_closed(task)).await }
        });
        tokio::task::yield_now().await;
        drop(io);
        closed.await.unwrap();
        assert!(line.is_closed());
    }
}

//! A response's body as a [`Socket`]: what an outbox writes becomes the body, and the socket is at its
//! end when the connection below is.
//!
//! ```text
//! Outbox ─▶ BodySocket ─▶ buffer ─▶ SocketBody ─▶ hyper ─▶ the client
//! ```
//!
//! The buffer is small, so that what a slow client doesn't take waits in its outbox, where it is
//! bounded; while nothing is on the way there is none.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use memchr::memmem;
use parking_lot::Mutex;

use crate::fanout::Socket;
use crate::transport::line::{Line, Watch};

/// How much may be on the way from the outbox to hyper: what hyper itself takes in one go.
const BUFFER: usize = 16 * 1024;

/// Ends each event.
const BLANK_LINE: &[u8] = b"\n\n";

/// The outbox's end.
#[derive(Debug)]
pub(super) struct BodySocket {
    way: Arc<Way>,
    line: Line,
    _watch: Watch,
}

/// hyper's end.
#[derive(Debug)]
pub(super) struct SocketBody(Arc<Way>);

/// From one to the other.
#[derive(Debug, Default)]
struct Way {
    state: Mutex<State>,
    /// Who reads the body.
    reader: AtomicWaker,
    /// Who writes it.
    writer: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// The writer waits for the buffer to be empty.
    is_full: bool,
    /// Nothing more is written.
    is_ended: bool,
}

/// Both ends of a response that goes out on a line, which is watched from here on.
pub(super) fn body(line: &Line) -> (BodySocket, SocketBody) {
    let way = Arc::<Way>::default();
    let body = SocketBody(Arc::clone(&way));
    (BodySocket { way, line: line.clone(), _watch: line.watch() }, body)
}

impl State {
    /// How much of some events may be taken in. An event is divided only if it is larger than the
    /// buffer.
    fn room_for(&self, bytes: &[u8]) -> usize {
        let room = BUFFER.saturating_sub(self.buffer.len());
        if bytes.len() <= room {
            return bytes.len();
        }
        let fits = bytes.get(..room).unwrap_or_default();
        match memmem::rfind(fits, BLANK_LINE) {
            Some(end) => end + BLANK_LINE.len(),
            None if self.buffer.is_empty() => room,
            None => 0,
        }
    }
}

impl Socket for BodySocket {
    fn try_read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.is_closed() { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.way.state.lock();
        if state.is_ended || self.line.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = state.room_for(bytes);
        state.is_full = room < bytes.len();
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.buffer.extend_from_slice(bytes.get(..room).unwrap_or_default());
        drop(state);
        self.way.reader.wake();
        Ok(room)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.poll_closed(context).map(Ok)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.way.writer.register(context.waker());
        let state = self.way.state.lock();
        let is_full = state.is_full && !state.is_ended && !self.line.is_closed();
        if is_full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn has_input(&self) -> bool {
        self.line.is_closed()
    }

    fn shutdown(&self, how: Shutdown) {
        match how {
            Shutdown::Read => {}
            Shutdown::Write => self.way.end(),
            Shutdown::Both => {
                self.way.end();
                self.line.cut();
            }
        }
    }
}

impl Way {
    fn end(&self) {
        self.state.lock().is_ended = true;
        self.reader.wake();
        self.writer.wake();
    }
}

impl Drop for BodySocket {
    fn drop(&mut self) {
        self.way.end();
    }
}

impl Stream for SocketBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.reader.register(context.waker());
        let mut state = self.0.state.lock();
        if state.buffer.is_empty() {
            return if state.is_ended { Poll::Ready(None) } else { Poll::Pending };
        }
        let bytes = std::mem::take(&mut state.buffer);
        let was_full = std::mem::take(&mut state.is_full);
        drop(state);
        if was_full {
            self.0.writer.wake();
        }
        Poll::Ready(Some(Ok(bytes.into())))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::future::{FutureExt as _, poll_fn};

    use super::*;
    use crate::transport::line::Watched;

    fn next(body: &mut SocketBody) -> Option<Bytes> {
        body.next().now_or_never().flatten().map(Result::unwrap)
    }

    fn is_writable(socket: &BodySocket) -> bool {
        poll_fn(|task| socket.poll_write_ready(task)).now_or_never().is_some()
    }

    #[test]
    fn what_is_written_is_the_body() {
        let line = Line::new();
        let (socket, mut body) = body(&line);
        assert!(line.is_watched());
        assert_eq!(next(&mut body), None);
        assert_eq!(socket.try_write(b"a\n\n").unwrap(), 3);
        assert_eq!(socket.try_write(b"b\n\n").unwrap(), 3);
        assert_eq!(next(&mut body).unwrap(), "a\n\nb\n\n");
        socket.try_write(b"c\n\n").unwrap();
        socket.shutdown(Shutdown::Write);
        assert!(socket.try_write(b"d\n\n").is_err());
        assert_eq!(next(&mut body).unwrap(), "c\n\n");
        assert!(matches!(body.next().now_or_never(), Some(None)), "the end");
    }

    #[test]
    fn no_more_waits_than_a_buffer_and_no_event_is_divided() {
        let (socket, mut body) = body(&Line::new());
        let event = [&[b'x'; 998][..], BLANK_LINE].concat();
        let events = event.repeat(20);
        assert_eq!(socket.try_write(&events).unwrap(), 16_000);
        assert!(!is_writable(&socket));
        assert_eq!(socket.try_write(&event).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(next(&mut body).unwrap().len(), 16_000);
        assert!(is_writable(&socket));
        let large = [&[b'x'; 3 * BUFFER][..], BLANK_LINE].concat();
        assert_eq!(socket.try_write(&large).unwrap(), BUFFER);
        assert_eq!(next(&mut body).unwrap().len(), BUFFER);
    }

    #[test]
    fn an_idle_one_holds_no_buffer() {
        let (socket, mut body) = body(&Line::new());
        socket.try_write(&[b'x'; 5000]).unwrap();
        next(&mut body).unwrap();
        assert_eq!(socket.way.state.lock().buffer.capacity(), 0);
    }

    #[test]
    fn it_ends_with_the_connection_below() {
        let line = Line::new();
        let connection = Watched::new((), line.clone());
        let (socket, _body) = body(&line);
        let is_readable =
            |socket: &BodySocket| poll_fn(|task| socket.poll_read_ready(task)).now_or_never();
        assert!(is_readable(&socket).is_none() && !socket.has_input());
        assert_eq!(socket.try_read(&mut []).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(connection);
        assert!(is_readable(&socket).is_some() && socket.has_input());
        assert_eq!(socket.try_read(&mut []).unwrap(), 0);
        assert!(socket.try_write(b"x").is_err());
    }

    #[test]
    fn who_waits_for_room_is_woken_by_the_end() {
        let (socket, _body) = body(&Line::new());
        socket.try_write(&[b'x'; 2 * BUFFER]).unwrap();
        assert!(!is_writable(&socket));
        socket.shutdown(Shutdown::Both);
        assert!(is_writable(&socket));
    }
}

//! The socket that an outbox writes to and a connection reads from.

use std::io::{self, Read as _};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A whole message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, of which nobody has checked yet that it is UTF-8.
    Text(Bytes),
    /// Anything else.
    Binary(Bytes),
}

impl Message {
    /// Its bytes.
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Text(payload) | Self::Binary(payload) => payload,
        }
    }
}

/// A non-blocking byte stream, shared by the tasks that write and the task that reads.
///
/// At most one task may wait for readability and one for writability, and both are the same task.
pub trait Socket: Send + Sync + 'static {
    /// Reads available bytes; `WouldBlock` if there are none, `Ok(0)` at the end.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes the next message, on transports whose clients send whole messages rather than bytes:
    /// there, reading only tells the end.
    fn try_receive(&self) -> Option<Message> {
        None
    }

    /// Writes what fits; `WouldBlock` if nothing does.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Flushes bytes that writing buffered; `WouldBlock` if some remain. Sockets without a buffer
    /// do nothing.
    fn try_flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Ready when a read may succeed.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when a write may succeed.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether bytes or the end have arrived, asked of the system: after a pause, the runtime
    /// doesn't know yet.
    fn has_input(&self) -> bool;

    /// Shuts one direction down (the peer sees the end of the stream), or both.
    fn shutdown(&self, how: std::net::Shutdown);
}

impl Socket for TcpStream {
    /// A read that doesn't fill the buffer has emptied the socket, so the next one waits for
    /// readiness without asking the system. Bytes that arrive meanwhile set readiness again: tokio
    /// clears only the earlier one.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut all = None;
        let result = self.try_io(Interest::READABLE, || {
            let read = (&*socket2::SockRef::from(self)).read(buffer)?;
            if (1..buffer.len()).contains(&read) && cfg!(unix) {
                all = Some(read);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        all.map_or(result, Ok)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, context)
    }

    fn has_input(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match socket2::SockRef::from(self).peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn shutdown(&self, how: std::net::Shutdown) {
        // fails if the peer closed first, which is fine
        drop(socket2::SockRef::from(self).shutdown(how));
    }
}

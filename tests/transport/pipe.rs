//! A socket in memory: two buffers, and its failures.
//!
//! Bytes from the client arrive at once, but while the process *sleeps* no readiness is signalled: only
//! [`Socket::has_input`] knows. Bytes of the broker go into a buffer of limited size, which the client's reads
//! empty.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use broker::outbound::Socket;
use parking_lot::Mutex;

/// The broker's end.
pub(crate) struct Pipe {
    shared: Arc<Mutex<Shared>>,
    before_write: Option<Box<dyn Fn() + Send + Sync>>,
}

/// The client's end.
pub(crate) struct Far(Arc<Mutex<Shared>>);

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each happens to a socket by itself")]
struct Shared {
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Most bytes on the way to the client.
    room: usize,
    /// The process doesn't know yet of what has arrived.
    asleep: bool,
    /// The client sends no more.
    client_ended: bool,
    /// The broker sends no more.
    broker_ended: bool,
    /// The broker takes no more either.
    broker_closed: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A pipe with room for so many bytes on the way to the client.
pub(crate) fn pipe(room: usize) -> (Pipe, Far) {
    let shared = Arc::new(Mutex::new(Shared { room, ..Shared::default() }));
    (Pipe { shared: Arc::clone(&shared), before_write: None }, Far(shared))
}

impl Pipe {
    /// Does something whenever the broker writes, as part of writing.
    pub(crate) fn before_write(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.before_write = Some(Box::new(hook));
        self
    }
}

impl Far {
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut shared = self.0.lock();
        if !shared.broker_closed {
            shared.to_broker.extend(bytes);
        }
        shared.wake_reader();
    }

    /// Takes up to so many bytes, which makes room for more.
    pub(crate) fn receive(&self, max: usize) -> Vec<u8> {
        let mut shared = self.0.lock();
        let max = max.min(shared.to_client.len());
        let bytes = shared.to_client.drain(..max).collect();
        if max > 0 {
            shared.wake_writer();
        }
        bytes
    }

    /// How much the broker hasn't read.
    pub(crate) fn unread(&self) -> usize {
        self.0.lock().to_broker.len()
    }

    /// Whether the broker has ended the stream, and all of it has been received.
    pub(crate) fn is_at_end(&self) -> bool {
        let shared = self.0.lock();
        shared.reset || (shared.broker_ended && shared.to_client.is_empty())
    }

    /// Whether the broker has let go of the socket.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().broker_closed
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.0.lock().reset
    }

    /// Sends no more.
    pub(crate) fn end(&self) {
        let mut shared = self.0.lock();
        shared.client_ended = true;
        shared.wake_reader();
    }

    /// Is gone, and what was on the way with it.
    pub(crate) fn reset(&self) {
        let mut shared = self.0.lock();
        shared.reset();
        shared.wake_reader();
        shared.wake_writer();
    }

    /// From here on the process learns nothing of what arrives.
    pub(crate) fn fall_asleep(&self) {
        self.0.lock().asleep = true;
    }

    pub(crate) fn wake_up(&self) {
        let mut shared = self.0.lock();
        shared.asleep = false;
        shared.wake_reader();
    }
}

impl Shared {
    fn is_readable(&self) -> bool {
        self.reset || self.broker_closed || self.client_ended || !self.to_broker.is_empty()
    }

    fn reset(&mut self) {
        self.reset = true;
        self.to_broker.clear();
        self.to_client.clear();
    }

    fn wake_reader(&mut self) {
        if !self.asleep
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl Socket for Pipe {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut shared = self.shared.lock();
        if shared.asleep {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if shared.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let max = buffer.len().min(shared.to_broker.len());
        if max == 0 && !shared.is_readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (slot, byte) in buffer.iter_mut().zip(shared.to_broker.drain(..max)) {
            *slot = byte;
        }
        Ok(max)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(hook) = &self.before_write {
            hook();
        }
        let mut shared = self.shared.lock();
        if shared.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if shared.broker_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = shared.room.saturating_sub(shared.to_client.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = room.min(bytes.len());
        shared.to_client.extend(&bytes[..written]);
        Ok(written)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        if !shared.asleep && shared.is_readable() {
            return Poll::Ready(Ok(()));
        }
        shared.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        if shared.reset || shared.broker_ended || shared.to_client.len() < shared.room {
            return Poll::Ready(Ok(()));
        }
        shared.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn has_input(&self) -> bool {
        self.shared.lock().is_readable()
    }

    fn shutdown(&self, how: Shutdown) {
        let mut shared = self.shared.lock();
        shared.broker_ended |= matches!(how, Shutdown::Write | Shutdown::Both);
        shared.broker_closed |= matches!(how, Shutdown::Read | Shutdown::Both);
        shared.wake_reader();
        shared.wake_writer();
    }
}

/// As the system does it: closing over unread input takes back what the client hasn't received.
impl Drop for Pipe {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        (shared.broker_ended, shared.broker_closed) = (true, true);
        if !shared.to_broker.is_empty() {
            shared.reset();
        }
    }
}

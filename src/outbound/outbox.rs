//! A connection's outgoing side: the socket, and a bounded queue for when the socket is full.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use super::delivery_tracker::{DeliveryTracker, Ping, Unasked};
use super::socket::Socket;
use crate::protocol;
use crate::shard::Limited;
use crate::types::{CloseReason, Codec};

/// Maximum number of queries with large replies that one connection may have at its shards. Beyond
/// it, the connection isn't read until one is answered, so its queries can't delay everyone else's.
const MAX_QUESTIONS: u8 = 4;

/// Where a subscriber's messages are sent.
pub type Recipient = Arc<Outbox>;

impl Limited for Outbox {
    fn add_record(&self, max: usize) -> Result<(), usize> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        // read-modify-write, so that shards counting at the same time see each other's changes
        let more = |records: u32| (records < max).then(|| records.saturating_add(1));
        let counted = self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map(drop).map_err(|records| records as usize)
    }

    fn remove_record(&self) {
        self.records.fetch_sub(1, Ordering::Relaxed);
    }

    /// Reserves room for a reply that is held back with others, as the client can't have read any
    /// yet. Returns whether it fits: all of them together may have as much as the limit.
    fn reserve(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let Some(queue) = &mut state.queue else { return bytes <= self.limit as usize };
        let reserved = queue.whole.saturating_add(bytes);
        let fits = reserved <= self.limit as usize;
        if fits {
            queue.whole = reserved;
        }
        fits
    }

    fn answered(&self) {
        if self.questions.fetch_sub(1, Ordering::Release) == MAX_QUESTIONS {
            self.owner.wake();
        }
    }
}

/// The sending half of a connection; any task may use it.
///
/// Writers hold the lock for whole frames, so frames don't interleave, and an idle connection has
/// no buffer. Bytes that the socket doesn't accept are queued; the connection's task is woken to
/// drain them.
pub struct Outbox {
    socket: Box<dyn Socket>,
    state: Mutex<State>,
    owner: AtomicWaker,
    heard: AtomicU32,
    /// Counts how often the queue has shrunk.
    progress: AtomicU32,
    limit: u32,
    /// Number of the client's records, in all streams.
    records: AtomicU32,
    questions: AtomicU8,
    codec: Codec,
}

// One per connection; with its reference counts it exactly fills an allocator's size class.
const _: () = assert!(size_of::<Outbox>() <= 112);

#[derive(Default)]
struct State {
    /// `Some` while the socket is full. Empty if it waits for bytes that the socket has buffered.
    queue: Option<Box<Queue>>,
    closing: Closing,
    deliveries: DeliveryTracker,
}

/// Why the connection is to end, if it is.
#[derive(Clone, Copy, Default)]
enum Closing {
    #[default]
    No,
    /// Close once its streams have delivered what came before.
    Behind(CloseReason),
    /// Nothing more is sent.
    Now(CloseReason),
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame already written.
    written: usize,
    /// Bytes not yet written.
    waiting: usize,
    /// Size of an oversized reply in the queue. One is allowed, and a client still reading it is
    /// not too slow: the limit applies to what is queued before and after it.
    whole: usize,
    /// Whether nothing is written until [`Outbox::uncork`].
    is_corked: bool,
}

impl Outbox {
    /// An outbox for a connection with this codec, with `limit` bytes of queue.
    pub fn new(socket: Box<dyn Socket>, codec: Codec, limit: u32) -> Arc<Self> {
        Arc::new(Self {
            socket,
            state: Mutex::default(),
            owner: AtomicWaker::new(),
            heard: AtomicU32::new(0),
            progress: AtomicU32::new(0),
            limit,
            records: AtomicU32::new(0),
            questions: AtomicU8::new(0),
            codec,
        })
    }

    /// The socket, for the connection's task to read.
    pub fn socket(&self) -> &dyn Socket {
        &*self.socket
    }

    /// The connection's codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Sends whole frames; returns the number of bytes written at once. `share` makes a shareable
    /// copy, and is called only if some have to be queued. Nothing is sent once the connection is
    /// closing.
    #[inline] // called once per delivery
    pub fn send(&self, frames: &[u8], share: impl FnOnce() -> Bytes) -> usize {
        self.put(self.state.lock(), frames, share)
    }

    /// Sends frames with presence events, followed by a ping's frame, which is left out if pings
    /// were sent often enough.
    #[inline]
    pub fn send_events(
        &self,
        frames: &[u8],
        (ping, beat): (Ping, u32),
        share: impl FnOnce() -> Bytes,
    ) -> usize {
        let mut state = self.state.lock();
        // events sent while closing never arrive, so they stay unconfirmed
        let asks = state.deliveries.sent(beat, ping);
        let length = if asks { frames.len() } else { frames.len().saturating_sub(Ping::SIZE) };
        self.put(state, frames.get(..length).unwrap_or_default(), || share().slice(..length))
    }

    /// Sends a ping's frame as a liveness check.
    pub fn ping(&self, ping: Ping, frame: &Bytes) -> usize {
        let mut state = self.state.lock();
        state.deliveries.ask(ping);
        self.put(state, frame, || frame.clone())
    }

    /// Notes a pong. Returns a ping to send next if events are still unconfirmed.
    pub fn ponged(&self, payload: &[u8], beat: u32) -> Result<Option<Ping>, Unasked> {
        let ping = Ping::new();
        let again = self.state.lock().deliveries.answered(payload, beat, ping)?;
        Ok(again.then_some(ping))
    }

    /// Beat since which presence events are unconfirmed, if any are.
    pub fn unacked_since(&self) -> Option<u32> {
        self.state.lock().deliveries.unacked_since()
    }

    /// Whether events are unconfirmed and no ping is out for them.
    pub fn is_unasked(&self) -> bool {
        self.state.lock().deliveries.is_unasked()
    }

    /// Queues everything until [`Self::begin`].
    pub fn hold(&self) {
        self.state.lock().queue = Some(Box::default());
    }

    /// Sends a connection's first frames, ahead of everything held back; returns the number of
    /// bytes written at once.
    pub fn begin(&self, frames: &[u8]) -> usize {
        let mut state = self.state.lock();
        let Some(queue) = &mut state.queue else {
            return self.put(state, frames, || Bytes::copy_from_slice(frames));
        };
        queue.waiting += frames.len();
        queue.whole += frames.len();
        queue.frames.push_front(Bytes::copy_from_slice(frames));
        0
    }

    /// Queues everything until [`Self::uncork`], so that what is sent meanwhile arrives in one piece.
    pub fn cork(&self) {
        self.state.lock().queue.get_or_insert_default().is_corked = true;
    }

    /// Sends what was queued since [`Self::cork`].
    pub fn uncork(&self) {
        let mut state = self.state.lock();
        let Some(queue) = &mut state.queue else { return };
        queue.is_corked = false;
        drop(state);
        self.owner.wake();
    }

    #[inline]
    fn put(
        &self,
        mut state: MutexGuard<'_, State>,
        frames: &[u8],
        share: impl FnOnce() -> Bytes,
    ) -> usize {
        if matches!(state.closing, Closing::Now(_)) || frames.is_empty() {
            return 0;
        }
        if let Some(queue) = &mut state.queue {
            if queue.takes(frames.len(), self.limit as usize) {
                queue.push(share());
            } else {
                drop(state);
                self.close(CloseReason::TooSlow);
            }
            return 0;
        }
        let written = match self.socket.try_write(frames) {
            Ok(written) if written == frames.len() && self.socket.try_flush().is_ok() => {
                return written;
            }
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                // the reading task finds out why
                let reason = state.closing.reason().unwrap_or(CloseReason::ClientGone);
                state.closing = Closing::Now(reason);
                self.owner.wake();
                return 0;
            }
        };
        let mut queue = Box::<Queue>::default();
        if written < frames.len() {
            queue.push(share());
            queue.advance(written);
        }
        queue.whole = queue.waiting;
        state.queue = Some(queue);
        drop(state);
        self.owner.wake();
        written
    }

    /// Closes the connection: sends the reason after everything queued, and nothing after it. The
    /// first reason counts.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        let first = match state.closing {
            Closing::No => reason,
            Closing::Behind(first) => first,
            Closing::Now(_) => return,
        };
        state.closing = Closing::Now(first);
        let mut queue = state.queue.take().unwrap_or_default();
        if reason == CloseReason::TooSlow {
            queue.cut(self.codec);
        }
        let mut last = Vec::new();
        protocol::encode_close(self.codec, first, &mut last);
        if !last.is_empty() {
            queue.push(Bytes::from(last));
        }
        state.queue = Some(queue);
        drop(state);
        self.owner.wake();
    }

    /// Closes the connection after the messages its streams have for it by now: its task reports
    /// the end to them, and calls [`Self::finish_close`] when they have delivered.
    pub fn close_behind(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        if let Closing::No = state.closing {
            state.closing = Closing::Behind(reason);
            drop(state);
            self.owner.wake();
        }
    }

    /// Closes the connection if [`Self::close_behind`] was called; returns whether it was.
    pub fn finish_close(&self) -> bool {
        let Closing::Behind(reason) = self.state.lock().closing else { return false };
        self.close(reason);
        true
    }

    /// Why the connection is closing, if it is.
    pub fn closing(&self) -> Option<CloseReason> {
        self.state.lock().closing.reason()
    }

    /// Whether nothing more is sent.
    pub fn is_closed(&self) -> bool {
        matches!(self.state.lock().closing, Closing::Now(_))
    }

    /// Number of times the queue has shrunk: it changes as long as the client reads. `None` if the
    /// queue is empty.
    pub fn progress(&self) -> Option<u32> {
        let waits = self.state.lock().queue.is_some();
        waits.then(|| self.progress.load(Ordering::Relaxed))
    }

    /// Whether everything sent has been written.
    pub fn is_drained(&self) -> bool {
        self.state.lock().queue.is_none()
    }

    /// Sets the task that drains the queue and is woken on close.
    pub fn register(&self, context: &Context<'_>) {
        self.owner.register(context.waker());
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.owner.wake();
    }

    /// Writes queued frames, for the connection's task; adds the bytes written to a counter. Ready
    /// when the queue is empty and the connection isn't waiting for its streams to end.
    pub fn poll_drain(&self, context: &mut Context<'_>, sent: &mut usize) -> Poll<io::Result<()>> {
        loop {
            let state = self.state.lock();
            let is_corked = state.queue.as_ref().is_some_and(|queue| queue.is_corked);
            if is_corked && !matches!(state.closing, Closing::Now(_)) {
                return Poll::Pending;
            }
            if state.queue.is_none() {
                let is_done = !matches!(state.closing, Closing::Behind(_));
                return if is_done { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            drop(state);
            ready!(self.socket.poll_write_ready(context))?;
            let mut state = self.state.lock();
            self.progress.fetch_add(1, Ordering::Relaxed);
            let Some(queue) = &mut state.queue else { continue };
            let result = match queue.frames.front() {
                Some(frame) => {
                    self.socket.try_write(frame.get(queue.written..).unwrap_or_default())
                }
                None => self.socket.try_flush().map(|()| 0),
            };
            match result {
                Ok(_) if queue.frames.is_empty() => state.queue = None,
                Ok(written) => {
                    queue.advance(written);
                    *sent += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Notes that bytes were received, at a beat of the heartbeat.
    pub fn hear(&self, beat: u32) {
        self.heard.store(beat, Ordering::Relaxed);
    }

    /// Beat at which bytes were last received.
    pub fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Counts a query with a large reply on its way to a shard.
    pub fn ask(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so many queries are under way that reading should stop.
    pub fn has_too_many_queries(&self) -> bool {
        self.questions.load(Ordering::Acquire) >= MAX_QUESTIONS
    }

    /// Shuts the socket down, whoever still holds it.
    pub fn shutdown(&self, how: Shutdown) {
        self.socket.shutdown(how);
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl Closing {
    const fn reason(self) -> Option<CloseReason> {
        match self {
            Self::No => None,
            Self::Behind(reason) | Self::Now(reason) => Some(reason),
        }
    }
}

impl Queue {
    /// Whether so many more bytes fit.
    fn takes(&mut self, more: usize, limit: usize) -> bool {
        if more > limit && self.whole <= limit && self.waiting <= limit {
            self.whole = more;
        }
        self.waiting + more <= limit + self.whole
    }

    fn push(&mut self, frames: Bytes) {
        self.waiting += frames.len();
        self.frames.push_back(frames);
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        self.waiting -= written;
        while let Some(front) = self.frames.front()
            && self.written >= front.len()
        {
            self.written -= front.len();
            self.frames.pop_front();
        }
    }

    /// Drops all but the rest of a partly written frame.
    fn cut(&mut self, codec: Codec) {
        let rest = self.frames.pop_front().map(|front| {
            let end = codec.transport().boundary(&front, self.written);
            front.slice(self.written.min(end)..end)
        });
        *self = Self::default();
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            self.push(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::outbound::wire::Wire;
    use crate::protocol::action_cable;

    #[test]
    fn what_is_corked_is_written_in_one_piece() {
        let wire = Wire::default();
        let outbox = Outbox::new(Box::new(wire.clone()), action_cable::CODEC, 100);
        let mut task = Context::from_waker(Waker::noop());
        let mut drain = || outbox.poll_drain(&mut task, &mut 0).is_ready();
        let send = |frame: &'static [u8]| outbox.send(frame, || Bytes::from_static(frame));
        assert_eq!(send(b"a"), 1);
        outbox.cork();
        assert_eq!((send(b"b"), drain(), wire.0.lock().clone()), (0, false, b"a".to_vec()));
        send(b"c");
        outbox.uncork();
        assert!(drain());
        assert_eq!((send(b"d"), wire.0.lock().clone()), (1, b"abcd".to_vec()));
        outbox.cork();
        send(b"e");
        outbox.close(CloseReason::ClientClosed);
        assert!(drain(), "the end isn't held back");
    }
}

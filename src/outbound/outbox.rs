//! A connection's way out: straight into the socket, and a bounded queue for when that is full.

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
use crate::shard::CountRecords;
use crate::types::{CloseReason, Codec};

/// How many questions with large answers one connection may have at its shards. With more it isn't
/// read until one has been dealt with, so that nobody's questions stand before everyone else's.
const MAX_QUESTIONS: u8 = 4;

/// Where a subscriber's messages go.
pub type Recipient = Arc<Outbox>;

impl CountRecords for Outbox {
    fn add_record(&self, max: usize) -> Result<(), usize> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        // a read-modify-write: shards that count at the same time see each other's
        let more = |records: u32| (records < max).then(|| records.saturating_add(1));
        let counted = self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map(drop).map_err(|records| records as usize)
    }

    fn remove_record(&self) {
        self.records.fetch_sub(1, Ordering::Relaxed);
    }

    fn departed(&self) {
        if self.departing.fetch_sub(1, Ordering::Release) == 1 {
            self.owner.wake();
        }
    }
}

/// The sending half of a connection, for anyone to write to.
///
/// Whoever has something to say writes it into the socket under the lock, so frames never mix and
/// an idle connection needs no buffer. Only what the socket doesn't take is queued; the
/// connection's task is then woken to drain it.
pub struct Outbox {
    socket: Box<dyn Socket>,
    state: Mutex<State>,
    owner: AtomicWaker,
    heard: AtomicU32,
    /// How often the queue has got shorter.
    progress: AtomicU32,
    limit: u32,
    /// How many records the client has, in streams of any shard.
    records: AtomicU32,
    /// How many of its commands that may take one away are on their way to a shard.
    departing: AtomicU32,
    questions: AtomicU8,
    codec: Codec,
}

// There is one for each connection, and with its counts it fills a size class of allocators.
const _: () = assert!(size_of::<Outbox>() <= 112);

#[derive(Default)]
struct State {
    /// Only while the socket is full. Without frames it waits for what the socket has taken and
    /// not sent.
    queue: Option<Box<Queue>>,
    closing: Closing,
    deliveries: DeliveryTracker,
}

/// Whether the connection is to end, and why.
#[derive(Clone, Copy, Default)]
enum Closing {
    #[default]
    No,
    /// Once its streams have told it what was said before.
    Behind(CloseReason),
    /// Nothing is sent any more.
    Now(CloseReason),
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// How much of the first one is written.
    written: usize,
    /// How much isn't.
    waiting: usize,
    /// The size of something larger than the limit that is among it. One answer may be, and a client
    /// that is still taking it in is not too slow: the limit is for what comes before it and on top.
    whole: usize,
}

impl Outbox {
    /// The outbox of a connection that speaks `codec`, with room for `limit` bytes that the
    /// socket doesn't take.
    pub fn new(socket: Box<dyn Socket>, codec: Codec, limit: u32) -> Arc<Self> {
        Arc::new(Self {
            socket,
            state: Mutex::default(),
            owner: AtomicWaker::new(),
            heard: AtomicU32::new(0),
            progress: AtomicU32::new(0),
            limit,
            records: AtomicU32::new(0),
            departing: AtomicU32::new(0),
            questions: AtomicU8::new(0),
            codec,
        })
    }

    /// The socket, for the connection's task to read.
    pub fn socket(&self) -> &dyn Socket {
        &*self.socket
    }

    /// What the connection speaks.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Sends whole frames; returns how many bytes went out at once. `share` makes a copy that can
    /// wait; it is asked for only if one has to. Nothing is sent once the connection is closing.
    #[inline] // once for each delivery
    pub fn send(&self, frames: &[u8], share: impl FnOnce() -> Bytes) -> usize {
        self.put(self.state.lock(), frames, share)
    }

    /// Sends frames with events of presence, and behind them the frame of a ping, which is left
    /// out if the client is asked often enough.
    #[inline]
    pub fn send_events(
        &self,
        frames: &[u8],
        (ping, beat): (Ping, u32),
        share: impl FnOnce() -> Bytes,
    ) -> usize {
        let mut state = self.state.lock();
        // what comes when the connection is closing doesn't arrive, and is in doubt for good
        let asks = state.deliveries.sent(beat, ping);
        let length = if asks { frames.len() } else { frames.len().saturating_sub(Ping::SIZE) };
        self.put(state, frames.get(..length).unwrap_or_default(), || share().slice(..length))
    }

    /// Asks the client for a sign of life, by the frame of a ping.
    pub fn ping(&self, ping: Ping, frame: &Bytes) -> usize {
        let mut state = self.state.lock();
        state.deliveries.ask(ping);
        self.put(state, frame, || frame.clone())
    }

    /// The client has answered a ping. If something is in doubt still, gives a ping to send next.
    pub fn ponged(&self, payload: &[u8], beat: u32) -> Result<Option<Ping>, Unasked> {
        let ping = Ping::new();
        let again = self.state.lock().deliveries.answered(payload, beat, ping)?;
        Ok(again.then_some(ping))
    }

    /// Since which beat it is in doubt whether events of presence have arrived, if it is.
    pub fn doubt(&self) -> Option<u32> {
        self.state.lock().deliveries.doubt()
    }

    /// Whether events are in doubt that no ping asks about.
    pub fn is_unasked(&self) -> bool {
        self.state.lock().deliveries.is_unasked()
    }

    /// Keeps back whatever is sent until the connection begins.
    pub fn hold(&self) {
        self.state.lock().queue = Some(Box::default());
    }

    /// Makes room for an answer of some size that is kept back with others, as the client had no
    /// chance to take any of it in; whether there was. All of them may have as much as the limit is.
    pub fn reserve(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let Some(queue) = &mut state.queue else { return bytes <= self.limit as usize };
        let reserved = queue.whole.saturating_add(bytes);
        let fits = reserved <= self.limit as usize;
        if fits {
            queue.whole = reserved;
        }
        fits
    }

    /// Sends the first frames of a connection, before all that was kept back; returns how many
    /// bytes went out at once.
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
                // the task that reads finds out why
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

    /// Ends the connection: tells the client why, behind what it is yet to be sent, and nothing
    /// after it. The first reason counts.
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

    /// Ends the connection likewise, but behind what its streams have to tell it by now: its task
    /// tells them of the end, and [`Self::finish_close`] follows when they have.
    pub fn close_behind(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        if let Closing::No = state.closing {
            state.closing = Closing::Behind(reason);
            drop(state);
            self.owner.wake();
        }
    }

    /// Ends the connection now if it was to end behind what its streams tell; whether it was.
    pub fn finish_close(&self) -> bool {
        let Closing::Behind(reason) = self.state.lock().closing else { return false };
        self.close(reason);
        true
    }

    /// Why the connection is closing, if it is.
    pub fn closing(&self) -> Option<CloseReason> {
        self.state.lock().closing.reason()
    }

    /// Whether nothing is sent any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.state.lock().closing, Closing::Now(_))
    }

    /// How often what waits has got less: a number that changes as long as the client reads.
    /// `None` if nothing waits.
    pub fn progress(&self) -> Option<u32> {
        let waits = self.state.lock().queue.is_some();
        waits.then(|| self.progress.load(Ordering::Relaxed))
    }

    /// Whether everything sent has left.
    pub fn is_drained(&self) -> bool {
        self.state.lock().queue.is_none()
    }

    /// Says which task drains the queue and wants to know of a close.
    pub fn register(&self, context: &Context<'_>) {
        self.owner.register(context.waker());
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.owner.wake();
    }

    /// Writes what waits, for the connection's task; counts what it writes. Ready when nothing
    /// waits any more, and nothing comes that the connection's end is behind.
    pub fn poll_drain(&self, context: &mut Context<'_>, sent: &mut usize) -> Poll<io::Result<()>> {
        loop {
            let state = self.state.lock();
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

    /// Notes that bytes came in at a time, in the beats of the heartbeat.
    pub fn hear(&self, beat: u32) {
        self.heard.store(beat, Ordering::Relaxed);
    }

    /// When bytes last came in.
    pub fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Notes that a question with a large answer is on its way to a shard.
    pub fn ask(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a command that may take a record away is on its way to a shard.
    pub fn depart(&self) {
        self.departing.fetch_add(1, Ordering::Relaxed);
    }

    /// How many such commands are on their way.
    pub fn departing(&self) -> usize {
        self.departing.load(Ordering::Acquire) as usize
    }

    /// Whether there are so many of them that no more should be read.
    pub fn has_too_many_queries(&self) -> bool {
        self.questions.load(Ordering::Acquire) >= MAX_QUESTIONS
    }

    /// Notes that a shard has dealt with one.
    pub fn answered(&self) {
        if self.questions.fetch_sub(1, Ordering::Release) == MAX_QUESTIONS {
            self.owner.wake();
        }
    }

    /// Ends the stream, whatever holds on to it.
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
    /// Whether there is room for so many bytes more.
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

    /// Drops all but the rest of a frame of which the client has a part.
    fn cut(&mut self, codec: Codec) {
        let rest = self.frames.pop_front().map(|front| {
            let end = protocol::boundary(codec, &front, self.written);
            front.slice(self.written.min(end)..end)
        });
        *self = Self::default();
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            self.push(rest);
        }
    }
}

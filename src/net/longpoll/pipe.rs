//! An in-memory socket between a connection and its client's requests: messages from the broker wait
//! for the client's next poll, and posted messages wait for the broker.
//!
//! ```text
//!                      Outbox::send ─▶ to_client ─▶ PollClient::poll   ─▶ GET
//! Connection ◀── Socket::try_receive ◀─ to_broker ◀─ PollClient::post  ◀─ POST
//! ```
//!
//! A client that stops polling is gone: the connection then reads the end of its input, as with a
//! closed socket. The timeout uses the broker's clock, so clients survive a pause of the process.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Sleep;

use super::tokens::Entry;
use crate::clock::Clock;
use crate::net::admission::absent::{Absent, Key, MakesRoom};
use crate::outbound::{Message, Socket};
use crate::protocol::polled;

/// Maximum bytes held for the client here. The rest waits in the connection's outbox, which has its
/// own limit.
const TO_CLIENT: usize = 64 * 1024;

/// Maximum bytes held for the broker. Beyond it, posts wait.
const TO_BROKER: usize = 64 * 1024;

/// Bytes of a held message beside its payload.
const MESSAGE: usize = 64;

/// The broker's end.
#[derive(Debug)]
pub(super) struct PollSocket {
    client: PollClient,
    /// The token by which requests find the client's end.
    entry: Option<Entry<PollClient>>,
    timeout: Mutex<Option<Timeout>>,
}

/// Timer for the client's absence.
#[derive(Debug)]
struct Timeout {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

/// The client's end, used by its requests.
#[derive(Clone, Debug)]
pub(super) struct PollClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<Clock>,
    absent: Arc<Absent>,
    patience: Duration,
    state: Mutex<State>,
    /// Waker of the connection's task.
    owner: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    to_broker: VecDeque<Message>,
    /// Size of those, in bytes.
    to_broker_size: usize,
    to_client: BytesMut,
    /// Bytes of an incomplete message.
    partial: BytesMut,
    /// Number of the latest poll.
    poll: u64,
    /// Its waker, while it waits.
    poller: Option<Waker>,
    /// Wakers of waiting posts.
    posters: Vec<Waker>,
    /// When the client counts as gone; `None` while it polls.
    gone_at: Option<Instant>,
    /// Entry among the absent clients, while it doesn't poll.
    absence: Option<Key>,
    /// The broker has shut its sending side down.
    is_ended: bool,
    /// The broker's end has been dropped.
    is_closed: bool,
}

/// Result of a poll.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// At least one message.
    Messages(Vec<String>),
    /// Another poll has replaced this one.
    Replaced,
    /// The connection has ended and all its messages have been delivered.
    Ended,
}

/// A poll under way: the client counts as present until it is dropped.
#[derive(Debug)]
pub(super) struct Polling {
    client: PollClient,
    number: u64,
}

/// The connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// Creates both ends. The client is gone after `patience` without a poll, or as soon as its permit
/// is needed.
pub(super) fn pipe(
    clock: &Arc<Clock>,
    absent: &Arc<Absent>,
    patience: Duration,
) -> (PollSocket, PollClient) {
    let now = clock.now();
    let state = State { gone_at: Some(now + patience), ..State::default() };
    let client = PollClient(Arc::new(Shared {
        clock: Arc::clone(clock),
        absent: Arc::clone(absent),
        patience,
        state: Mutex::new(state),
        owner: AtomicWaker::new(),
    }));
    let mut state = client.0.state.lock();
    state.absence = Some(absent.enter(false, now, client.shared()));
    drop(state);
    (PollSocket { client: client.clone(), entry: None, timeout: Mutex::default() }, client)
}

impl PollClient {
    fn shared(&self) -> Arc<dyn MakesRoom> {
        Arc::<Shared>::clone(&self.0)
    }

    /// Begins a poll, which replaces any other. A client that is gone stays gone: its permit may be
    /// in use already.
    pub(super) fn poll(&self) -> Polling {
        let now = self.0.clock.now();
        let mut state = self.0.state.lock();
        state.poll += 1;
        state.gone_at = state.gone_at.filter(|at| *at <= now);
        let absence = state.absence.take();
        let (number, replaced) = (state.poll, state.poller.take());
        drop(state);
        self.0.is_back(absence);
        wake(replaced);
        self.0.owner.wake();
        Polling { client: self.clone(), number }
    }

    /// Sends a message to the broker, once it has read enough of the earlier ones.
    pub(super) async fn post(&self, message: Message) -> Result<(), Ended> {
        let mut message = Some(message);
        poll_fn(|task| {
            let mut state = self.0.state.lock();
            if state.is_closed || state.is_ended && state.is_told() {
                return Poll::Ready(Err(Ended));
            }
            if state.is_ended {
                return Poll::Ready(Ok(())); // nobody reads it, but the client is to poll for the rest
            }
            if state.to_broker_size >= TO_BROKER {
                state.posters.push(task.waker().clone());
                return Poll::Pending;
            }
            if let Some(message) = message.take() {
                state.to_broker_size += message.payload().len() + MESSAGE;
                state.to_broker.push_back(message);
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.0.owner.wake();
        Ok(())
    }
}

impl Shared {
    /// Removes the client from the absent ones.
    fn is_back(&self, absence: Option<Key>) {
        if let Some(absence) = absence {
            self.absent.remove(absence);
        }
    }
}

impl MakesRoom for Shared {
    /// Declares the client gone, unless this absence is over.
    fn give_up(&self, absence: Key, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_absent = state.absence == Some(absence);
        if is_absent {
            state.absence = None;
            state.gone_at = Some(now);
        }
        drop(state);
        self.owner.wake();
        is_absent
    }
}

impl Polling {
    /// Waits for messages.
    pub(super) async fn messages(&mut self) -> Polled {
        let shared = &self.client.0;
        poll_fn(|task| {
            let mut state = shared.state.lock();
            if state.poll != self.number {
                return Poll::Ready(Polled::Replaced); // the other one's waker is to be used
            }
            let messages = state.take_messages();
            let is_ended = state.is_ended;
            state.poller = Some(task.waker().clone());
            drop(state);
            shared.owner.wake(); // there is room
            match messages.is_empty() {
                false => Poll::Ready(Polled::Messages(messages)),
                true if is_ended => Poll::Ready(Polled::Ended),
                true => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let shared = &self.client.0;
        let mut state = shared.state.lock();
        if state.poll == self.number {
            let now = shared.clock.now();
            state.poller = None;
            if state.gone_at.is_none() {
                state.gone_at = Some(now + shared.patience);
                if !state.is_closed {
                    state.absence = Some(shared.absent.enter(true, now, self.client.shared()));
                }
            }
            drop(state);
            shared.owner.wake();
        }
    }
}

impl State {
    /// Takes the complete messages.
    fn take_messages(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        self.partial.unsplit(std::mem::take(&mut self.to_client));
        while let Some((text, behind)) = polled::split(&self.partial) {
            messages.push(String::from_utf8_lossy(text).into_owned());
            let length = self.partial.len() - behind.len();
            self.partial.advance(length);
        }
        if self.partial.is_empty() {
            self.partial = BytesMut::new(); // no buffer while it is empty
        }
        messages
    }

    /// Whether the client has everything that was said so far.
    fn is_told(&self) -> bool {
        self.to_client.is_empty() && self.partial.is_empty()
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl PollSocket {
    /// Keeps the token's entry until the connection ends.
    pub(super) fn enter(&mut self, entry: Entry<PollClient>) {
        self.entry = Some(entry);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.client.0.state.lock()
    }

    fn is_gone(&self, state: &State) -> bool {
        state.gone_at.is_some_and(|at| at <= self.client.0.clock.now())
    }
}

impl Socket for PollSocket {
    fn try_read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        let is_over = state.is_closed || self.is_gone(&state);
        if is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn try_receive(&self) -> Option<Message> {
        let mut state = self.state();
        let message = state.to_broker.pop_front()?;
        state.to_broker_size -= message.payload().len() + MESSAGE;
        if state.to_broker.is_empty() {
            state.to_broker = VecDeque::new();
        }
        let posters = std::mem::take(&mut state.posters);
        drop(state);
        wake(posters);
        Some(message)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.is_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = TO_CLIENT.saturating_sub(state.to_client.len()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.to_client.extend_from_slice(bytes.get(..room).unwrap_or_default());
        let poller = state.poller.take();
        drop(state);
        wake(poller);
        Ok(room)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.0.owner.register(context.waker());
        let mut timeout = self.timeout.lock();
        loop {
            let (is_readable, gone_at) = {
                let state = self.state();
                (!state.to_broker.is_empty() || state.is_closed, state.gone_at)
            };
            let now = self.client.0.clock.now();
            if is_readable || gone_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Ok(()));
            }
            let Some(at) = gone_at else {
                *timeout = None;
                return Poll::Pending;
            };
            let Timeout { sleep, .. } = match &mut *timeout {
                Some(timeout) if timeout.at == at => timeout,
                _ => {
                    let sleep = Box::pin(tokio::time::sleep(at.saturating_duration_since(now)));
                    timeout.insert(Timeout { at, sleep })
                }
            };
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            *timeout = None; // after a pause of the process, there may be time left
        }
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.0.owner.register(context.waker());
        let state = self.state();
        let is_full = !state.is_ended && state.to_client.len() >= TO_CLIENT;
        if is_full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn has_input(&self) -> bool {
        let state = self.state();
        !state.to_broker.is_empty() || state.is_closed
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.state();
        state.is_ended |= how != Shutdown::Read;
        state.is_closed |= how == Shutdown::Both;
        let absence = if state.is_closed { state.absence.take() } else { None };
        let (poller, posters) = (state.poller.take(), std::mem::take(&mut state.posters));
        drop(state);
        self.client.0.is_back(absence);
        wake(poller);
        wake(posters);
        self.client.0.owner.wake();
    }
}

impl Drop for PollSocket {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::future::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::types::Transport;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn ends() -> (PollSocket, PollClient) {
        pipe(&Clock::new(), &Arc::default(), PATIENCE)
    }

    fn text(payload: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let body = |out: &mut Vec<u8>| out.extend_from_slice(payload.as_bytes());
        Transport::LongPolling.frame(&mut out, body);
        out
    }

    fn message(payload: &'static [u8]) -> Message {
        Message::Text(Bytes::from_static(payload))
    }

    fn now(polling: &mut Polling) -> Option<Polled> {
        polling.messages().now_or_never()
    }

    fn messages(messages: &[&str]) -> Polled {
        Polled::Messages(messages.iter().map(|&text| text.to_owned()).collect())
    }

    async fn until_readable(pipe: &PollSocket) {
        poll_fn(|task| pipe.poll_read_ready(task)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_between_polls_comes_with_the_next() {
        let (pipe, client) = ends();
        let mut poll = client.poll();
        assert_eq!(now(&mut poll), None);
        pipe.try_write(&text("a")).unwrap();
        assert_eq!(now(&mut poll), Some(messages(&["a"])));
        drop(poll);
        let c = text("c");
        pipe.try_write(&[&text("b")[..], &c[..2]].concat()).unwrap();
        let mut poll = client.poll();
        assert_eq!(now(&mut poll), Some(messages(&["b"])));
        assert_eq!(now(&mut poll), None);
        pipe.try_write(&c[2..]).unwrap();
        assert_eq!(now(&mut poll), Some(messages(&["c"])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_waits_is_woken() {
        let (pipe, client) = ends();
        let poll = tokio::spawn(async move { client.poll().messages().await });
        tokio::task::yield_now().await;
        pipe.try_write(&text("a")).unwrap();
        assert_eq!(poll.await.unwrap(), messages(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_poll_sends_the_first_away_and_loses_nothing() {
        let (pipe, client) = ends();
        let mut first = client.poll();
        let waits = tokio::spawn(async move { (first.messages().await, first) });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move {
            let mut second = client.poll();
            (second.messages().await, second)
        });
        let (polled, first) = waits.await.unwrap();
        assert_eq!(polled, Polled::Replaced);
        drop(first); // which is not the end of polling
        tokio::time::sleep(2 * PATIENCE).await;
        assert!(until_readable(&pipe).now_or_never().is_none());
        pipe.try_write(&text("a")).unwrap();
        assert_eq!(second.await.unwrap().0, messages(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_polls_no_more_is_gone() {
        let clock = Clock::new();
        let _watch = tokio::spawn(Arc::clone(&clock).watch(CancellationToken::new()));
        let (pipe, client) = pipe(&clock, &Arc::default(), PATIENCE);
        let (start, second) = (clock.now(), Duration::from_secs(1));
        let polls = async {
            for _ in 0..3 {
                tokio::time::sleep(PATIENCE.saturating_sub(second)).await;
                let _poll = client.poll();
                tokio::time::sleep(PATIENCE + second).await;
            }
        };
        tokio::join!(until_readable(&pipe), polls);
        let lived = clock.now() - start;
        assert!((7 * PATIENCE..7 * PATIENCE + second).contains(&lived), "{lived:?}");
        assert_eq!(pipe.try_read(&mut [0; 10]).unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_process_stood_still_nobody_has_gone() {
        let clock = Clock::new();
        let (pipe, _far) = pipe(&clock, &Arc::default(), PATIENCE);
        assert!(until_readable(&pipe).now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(until_readable(&pipe).now_or_never().is_none());
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            clock.now();
        }
        assert!(until_readable(&pipe).now_or_never().is_some());
    }

    /// As large a payload as the broker takes before it has to read.
    const LARGE: &[u8] = &[b'x'; TO_BROKER];

    #[tokio::test(start_paused = true)]
    async fn all_that_wait_to_post_do() {
        let (pipe, client) = ends();
        client.post(message(LARGE)).await.unwrap();
        let posts = [0; 3].map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.post(message(b"x")).await })
        });
        tokio::task::yield_now().await;
        assert_eq!(pipe.try_receive(), Some(message(LARGE)));
        assert_eq!(pipe.try_receive(), None);
        for post in posts {
            post.await.unwrap().unwrap();
        }
        assert_eq!([(); 4].map(|()| pipe.try_receive().is_some()), [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_posted_waits_for_room() {
        let (pipe, client) = ends();
        client.post(message(LARGE)).await.unwrap();
        let second = client.post(message(LARGE));
        tokio::pin!(second);
        assert_eq!(second.as_mut().now_or_never(), None);
        assert!(until_readable(&pipe).now_or_never().is_some());
        assert!(pipe.try_receive().is_some());
        second.await.unwrap();
        pipe.shutdown(Shutdown::Both);
        assert_eq!(client.post(message(b"x")).await, Err(Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn small_messages_count_for_more_than_their_bytes() {
        let (_pipe, client) = ends();
        let mut posted = 0;
        while let Some(Ok(())) = client.post(message(b"x")).now_or_never() {
            posted += 1;
        }
        assert_eq!(posted, TO_BROKER.div_ceil(MESSAGE + 1));
        assert!(size_of::<Message>() <= MESSAGE);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_waits_for_the_client_than_there_is_room_for() {
        let (pipe, client) = ends();
        let large = text(&"x".repeat(3 * TO_CLIENT));
        let mut rest = &*large;
        let mut poll = client.poll();
        while !rest.is_empty() {
            let written = pipe.try_write(rest).unwrap();
            assert!(written <= TO_CLIENT);
            rest = &rest[written..];
            let is_writable = poll_fn(|task| pipe.poll_write_ready(task)).now_or_never();
            assert_eq!(is_writable.is_some(), written < TO_CLIENT);
            if rest.is_empty() {
                assert_eq!(now(&mut poll), Some(messages(&[&"x".repeat(3 * TO_CLIENT)])));
            } else {
                assert!(pipe.try_write(rest).is_err());
                assert_eq!(now(&mut poll), None);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_behind_what_was_said() {
        let (pipe, client) = ends();
        pipe.try_write(&text("a")).unwrap();
        pipe.shutdown(Shutdown::Write);
        assert_eq!(client.post(message(b"x")).await, Ok(()), "the client isn't sent away yet");
        assert_eq!(pipe.try_receive(), None);
        let mut poll = client.poll();
        assert_eq!(now(&mut poll), Some(messages(&["a"])));
        assert_eq!(now(&mut poll), Some(Polled::Ended));
        assert_eq!(client.post(message(b"x")).await, Err(Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_the_end() {
        let (pipe, client) = ends();
        let poll = tokio::spawn(async move { client.poll().messages().await });
        tokio::task::yield_now().await;
        drop(pipe);
        assert_eq!(poll.await.unwrap(), Polled::Ended);
    }
}

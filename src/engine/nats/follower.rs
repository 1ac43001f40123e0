//! The task of one partition: delivers its log, and appends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::api::StreamInfo;
use super::entry::{Body, Entry, OVERHEAD};
use super::fault::Fault;
use super::link::{Link, Links};
use super::names::{PartitionNames, described_log};
use super::parts;
use super::tail::{Pulled, Received, Start, Tail};
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::{Closed, Feed, Progress};
use crate::engine::requests::Requests;
use crate::log::LogId;

/// For how long a pull waits for messages. Then the follower asks how long the log is.
const WAIT: Duration = Duration::from_secs(2);

/// Time after which following begins anew with the same connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum time for an append, with all of its parts. Snapshots count on it: parts that are much older than what a
/// snapshot ends with aren't needed behind it.
pub(super) const MAX_APPEND: Duration = Duration::from_secs(30);

/// What a follower works with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) names: PartitionNames,
    pub(super) log: LogId,
    pub(super) requests: Arc<Requests>,
    pub(super) progress: Arc<Progress>,
    pub(super) links: Links,
    /// Maximum time for an answer.
    pub(super) timeout: Duration,
    /// Random, for nonces.
    pub(super) seed: u64,
}

/// Delivers a partition's log to its worker, and appends what that proposes.
#[derive(Debug)]
pub(super) struct Follower {
    setup: Setup,
    /// Where to deliver, once there is a request to follow.
    feed: Option<Feed>,
    /// The last message that was delivered or skipped.
    delivered: Place,
    /// The end of the log when it was proved.
    end: u64,
    /// The end of the log when a pull was over: the next one brings it.
    seen: u64,
    /// The batch that is being appended.
    append: Option<Append>,
    /// The last link that failed.
    failed_link: u64,
    /// Number of appends.
    appends: u64,
}

/// Where a message is in the log.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    cursor: u64,
    /// The entry's nonce, unless it isn't known.
    nonce: Option<u64>,
}

/// A batch that is being appended, until it comes back in the log.
struct Append {
    nonce: u64,
    /// JetStream's answer, until it is there.
    answer: Option<BoxFuture<'static, Result<(), Fault>>>,
    /// Unless it is found in the log, it has to be appended again.
    is_doubtful: bool,
}

/// Why following ends, for a time.
#[derive(Debug)]
enum Interrupt {
    /// The worker asks to follow anew, or has ended.
    Asked,
    /// The link has failed.
    Disconnected(u64),
    /// The consumer or the stream is gone: the link may be well.
    Again,
    /// The log doesn't go on.
    Lost(LostReason),
}

impl From<Closed> for Interrupt {
    fn from(_: Closed) -> Self {
        Self::Asked
    }
}

impl Follower {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            feed: None,
            delivered: Place::default(),
            end: 0,
            seen: 0,
            append: None,
            failed_link: 0,
            appends: 0,
        }
    }

    /// Works until the stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) -> Infallible {
        let mut lost = None;
        loop {
            let mut feed = match self.feed.take() {
                Some(feed) => feed,
                None => self.next_feed().await,
            };
            drop(lost.take());
            let Err(interrupt) = self.follow(&mut feed).await;
            match interrupt {
                Interrupt::Asked => self.doubt(),
                Interrupt::Disconnected(link) => {
                    self.doubt();
                    self.failed_link = link;
                    self.feed = Some(feed);
                }
                Interrupt::Again => {
                    tracing::debug!(stream = self.setup.names.log, "following begins anew");
                    self.feed = Some(feed);
                    tokio::time::sleep(PAUSE).await;
                }
                Interrupt::Lost(reason) => {
                    if self.append.take().is_some() {
                        feed.append_failed().await.ok(); // if it is closed, the worker asks anew
                    }
                    feed.lost(reason).await.ok();
                    lost = Some(feed); // stays open
                }
            }
        }
    }

    async fn next_feed(&mut self) -> Feed {
        let follow = self.setup.requests.next_follow().await;
        self.delivered = Place { cursor: follow.after.0, nonce: None };
        Feed::new(follow, Arc::clone(&self.setup.progress))
    }

    /// The batch may be in the log, or get there, or not.
    fn doubt(&mut self) {
        if let Some(append) = &mut self.append {
            append.answer = None;
            append.is_doubtful = true;
        }
    }

    /// Follows the log with one link.
    async fn follow(&mut self, feed: &mut Feed) -> Result<Infallible, Interrupt> {
        let link = self.next_link().await?;
        self.prove(&link, feed).await?;
        let start = Start::At(self.delivered.cursor + 1);
        let tail = Tail::open(&link, &self.setup.names.log, start, (WAIT, self.setup.timeout));
        let mut tail = check(&link, tail.await)?;
        loop {
            if self.delivered.cursor >= self.end {
                self.give_up_doubtful(feed).await?;
                if self.append.is_none()
                    && let Some(batch) = self.setup.requests.take_append()
                {
                    self.append = Some(self.begin_append(link.clone(), batch));
                }
            }
            tokio::select! {
                () = self.setup.requests.changed() => {
                    if self.setup.requests.asks_to_follow() {
                        return Err(Interrupt::Asked);
                    }
                }
                pulled = tail.next() => match check(&link, pulled)? {
                    Pulled::Message(message) => self.handle(message, &link, feed).await?,
                    Pulled::Idle => self.look(&link).await?,
                },
                answer = next_answer(&mut self.append) => self.handle_answer(answer, &link)?,
                _ = link.fault() => return Err(Interrupt::Disconnected(link.number())),
            }
        }
    }

    /// Waits for a link that hasn't failed.
    async fn next_link(&mut self) -> Result<Link, Interrupt> {
        let failed = self.failed_link;
        loop {
            if self.setup.requests.asks_to_follow() {
                return Err(Interrupt::Asked);
            }
            tokio::select! {
                () = self.setup.requests.changed() => {}
                link = begun(&mut self.setup.links, failed) => return Ok(link),
            }
        }
    }

    /// Makes sure that the log is the one that was delivered so far.
    async fn prove(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        let info = self.ask(link).await?;
        let Place { cursor, nonce } = self.delivered;
        if cursor > 0 {
            let stored = check(link, link.get(&self.setup.names.log, cursor).await)?;
            let entry = stored.and_then(|stored| Entry::read(stored.payload));
            match (entry, nonce) {
                (Some(entry), Some(nonce)) if entry.nonce != nonce => {
                    return Err(Interrupt::Lost(LostReason::Forked));
                }
                (None, Some(_)) => return Err(Interrupt::Lost(LostReason::Trimmed)),
                (Some(entry), _) => self.delivered.nonce = Some(entry.nonce),
                (None, None) => {} // nothing is missing behind it
            }
        }
        self.end = info.state.last_seq;
        self.seen = 0;
        feed.note_end(Cursor(self.end), Cursor(cursor)).await?;
        Ok(())
    }

    /// Asks what the log is, and whether it fits to what was delivered.
    async fn ask(&mut self, link: &Link) -> Result<StreamInfo, Interrupt> {
        let info = match link.info(&self.setup.names.log).await {
            Err(Fault::NoStream) => return Err(Interrupt::Lost(LostReason::Missing)),
            info => check(link, info)?,
        };
        let Place { cursor, nonce } = self.delivered;
        let (first, last) = (info.state.first_seq, info.state.last_seq);
        let is_gone = first > cursor + 1 || first > cursor && cursor > 0 && nonce.is_some();
        let reason = if described_log(&info.config.description) != Some(self.setup.log) {
            LostReason::Replaced
        } else if last < cursor {
            LostReason::Shorter
        } else if is_gone {
            LostReason::Trimmed
        } else {
            return Ok(info);
        };
        Err(Interrupt::Lost(reason))
    }

    /// Looks at the log when a pull is over: what it had when the one before was over must have come since.
    async fn look(&mut self, link: &Link) -> Result<(), Interrupt> {
        if self.delivered.cursor < self.seen {
            return Err(Interrupt::Again);
        }
        self.seen = self.ask(link).await?.state.last_seq;
        Ok(())
    }

    async fn handle(
        &mut self,
        message: Received,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<(), Interrupt> {
        let next = self.delivered.cursor + 1;
        if message.sequence < next {
            return Ok(()); // it was delivered
        }
        if message.sequence > next {
            let is_there = check(link, link.get(&self.setup.names.log, next).await)?.is_some();
            return Err(if is_there {
                Interrupt::Again
            } else {
                Interrupt::Lost(LostReason::Trimmed)
            });
        }
        let (cursor, end) = (Cursor(next), Cursor(self.end));
        match Entry::read(message.payload) {
            Some(entry) if entry.log == self.setup.log => {
                let batch = self.batch(entry.body, link).await?;
                feed.deliver(cursor, message.at, batch).await?;
                self.delivered = Place { cursor: next, nonce: Some(entry.nonce) };
                self.append.take_if(|append| append.nonce == entry.nonce);
            }
            // of a log that was here before, or of nobody who knows
            Some(_) | None => {
                feed.note_end(end, cursor).await?;
                self.delivered = Place { cursor: next, nonce: None };
            }
        }
        Ok(())
    }

    /// The batch of an entry.
    async fn batch(&mut self, body: Body, link: &Link) -> Result<Bytes, Interrupt> {
        match body {
            Body::Batch(batch) => Ok(batch),
            Body::Parts(parts) => {
                let batch = parts::read(link, &self.setup.names.store, &parts).await;
                check(link, batch)?.ok_or(Interrupt::Lost(LostReason::Trimmed))
            }
        }
    }

    fn begin_append(&mut self, link: Link, batch: Bytes) -> Append {
        self.appends += 1;
        // odd, so all are different
        let nonce = self.setup.seed.wrapping_add(self.appends.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (names, log) = (self.setup.names.clone(), self.setup.log);
        let answer = async move {
            tokio::select! {
                biased; // what stood still until the time is over doesn't go on
                () = tokio::time::sleep(MAX_APPEND) => Err(Fault::Silent),
                answer = append(&link, &names, (log, nonce), batch) => answer,
            }
        };
        Append { nonce, answer: Some(Box::pin(answer)), is_doubtful: false }
    }

    fn handle_answer(&mut self, answer: Result<(), Fault>, link: &Link) -> Result<(), Interrupt> {
        if answer.is_err() {
            self.doubt();
        }
        check(link, answer)
    }

    /// After the log was read to its end: an append that isn't in it won't be, or it will come as another's.
    async fn give_up_doubtful(&mut self, feed: &Feed) -> Result<(), Interrupt> {
        if self.append.take_if(|append| append.is_doubtful).is_some() {
            feed.append_failed().await?;
        }
        Ok(())
    }
}

/// Reports a fault to who can mend it. Without the consumer, or the stream, following begins anew.
fn check<T>(link: &Link, answer: Result<T, Fault>) -> Result<T, Interrupt> {
    answer.map_err(|fault| {
        if matches!(fault, Fault::NoConsumer | Fault::NoStream | Fault::Silent) {
            return Interrupt::Again;
        }
        link.report(fault);
        Interrupt::Disconnected(link.number())
    })
}

/// Appends a batch.
async fn append(
    link: &Link,
    names: &PartitionNames,
    (log, nonce): (LogId, u64),
    batch: Bytes,
) -> Result<(), Fault> {
    let body = if batch.len() + OVERHEAD <= link.max_part() {
        Body::Batch(batch)
    } else {
        Body::Parts(parts::write(link, &names.parts_of_batches(), &batch).await?)
    };
    let entry = Entry { log, nonce, body }.write();
    link.store(&names.subject, entry, None).await?;
    Ok(())
}

/// Waits for the answer to an append.
async fn next_answer(append: &mut Option<Append>) -> Result<(), Fault> {
    match append.as_mut().and_then(|append| append.answer.as_mut()) {
        Some(answer) => {
            let answer = answer.await;
            if let Some(append) = append {
                append.answer = None;
            }
            answer
        }
        None => std::future::pending().await,
    }
}

/// Waits for a link behind a failed one.
async fn begun(links: &mut Links, failed: u64) -> Link {
    let is_new = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.number() > failed);
    match links.wait_for(is_new).await.ok().and_then(|link| link.clone()) {
        Some(link) => link,
        None => std::future::pending().await, // the broker stops
    }
}

impl std::fmt::Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Append").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

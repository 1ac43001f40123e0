//! The task of one partition: delivers its log, and appends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::entry::{Body, Envelope, OVERHEAD};
use super::fault::Fault;
use super::link::{Link, Links};
use super::names::PartitionNames;
use super::notices::Notices;
use super::parts;
use super::places::Places;
use super::run;
use super::settlement::{Branch, Kind, Round, Settlement};
use super::streams::Streams;
use super::tail::{Pulled, Received, Start, Tail};
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::{Closed, Feed, Progress};
use crate::engine::nodes::Nodes;
use crate::engine::recent::{Entry, Recent};
use crate::engine::requests::Requests;
use crate::engine::settings::Forks;
use crate::log::LogId;

/// For how long a pull waits for messages. Then the follower asks how long the log is.
const WAIT: Duration = Duration::from_secs(2);

/// How often a follower looks, also while messages come, whether the log has lost something.
const LOOK: Duration = Duration::from_secs(5);

/// Maximum time for which nothing comes though the log has more: then following begins anew.
const OVERDUE: Duration = Duration::from_secs(1);

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
    pub(super) streams: Arc<Streams>,
    pub(super) places: Arc<Places>,
    pub(super) notices: Arc<Notices>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) partition: u16,
    /// Makes what is delivered where the log goes on without what other nodes may have had.
    pub(super) forks: Forks,
    /// Maximum time for an answer.
    pub(super) timeout: Duration,
    /// Random, for nonces.
    pub(super) seed: u64,
}

/// Delivers a partition's log to its worker, and appends what that proposes.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) setup: Setup,
    /// Where to deliver, once there is a request to follow.
    feed: Option<Feed>,
    /// The last batch that was delivered.
    pub(super) delivered: Place,
    /// It, and those before it.
    pub(super) recent: Recent,
    /// The branch that is read, once it is known.
    pub(super) branch: Option<Branch>,
    /// Sequence number of the last message that was read in it.
    pub(super) read: u64,
    /// How much cursors are ahead of sequence numbers there.
    pub(super) ahead: u64,
    /// The run of the last settlement that was read.
    pub(super) run: u64,
    /// The last settlement that is known, which is perhaps still to be read.
    pub(super) settled: Round,
    /// The end of the log when it was proved, as a sequence number.
    pub(super) end: u64,
    /// How far the log goes at least, as a sequence number: it was looked at, or this node has appended.
    pub(super) seen: u64,
    /// What the log looked like when it was last looked at whether its beginning is there.
    pub(super) outline: Outline,
    /// The batch that is being appended.
    append: Option<Append>,
    /// The last link that failed.
    failed_link: u64,
    /// Number of random numbers so far.
    randoms: u64,
}

/// Where a batch is in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) cursor: u64,
    /// Its sequence number in the branch that is read; 0: it isn't there.
    pub(super) sequence: u64,
    /// The entry's nonce, unless it isn't known.
    pub(super) nonce: Option<u64>,
}

/// What shows whether anything was removed from a log, or from the snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Sequence number of the log's first message.
    pub(super) first: u64,
    /// How many are missing behind it.
    pub(super) missing: u64,
    /// How often snapshots may have been lost.
    pub(super) losses: u64,
}

/// A batch that is being appended, until it comes back in the log.
struct Append {
    nonce: u64,
    /// JetStream's answer, the batch's sequence number, until it is there. Never locked: a future alone couldn't be referred to from another thread.
    answer: Option<Mutex<BoxFuture<'static, Result<u64, Fault>>>>,
    /// Unless it is found in the log, it has to be appended again.
    is_doubtful: bool,
}

/// Why following ends, for a time.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// The worker asks to follow anew, or has ended.
    Asked,
    /// The link has failed.
    Disconnected(u64),
    /// The log has to be looked at anew: the link may be well.
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
            recent: Recent::default(),
            branch: None,
            read: 0,
            ahead: 0,
            run: 0,
            settled: Round::default(),
            end: 0,
            seen: 0,
            outline: Outline::default(),
            append: None,
            failed_link: 0,
            randoms: 0,
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
        self.delivered = Place { cursor: follow.after.0, ..Place::default() };
        (self.recent, self.branch) = (Recent::after(follow.after.0), None);
        (self.read, self.run, self.settled) = (0, 0, Round::default());
        Feed::new(follow, Arc::clone(&self.setup.progress))
    }

    /// The batch may be in the log, or get there, or not.
    pub(super) fn doubt(&mut self) {
        if let Some(append) = &mut self.append {
            append.answer = None;
            append.is_doubtful = true;
        }
    }

    /// Follows the log with one link.
    async fn follow(&mut self, feed: &mut Feed) -> Result<Infallible, Interrupt> {
        let link = self.next_link().await?;
        self.prove(&link, feed).await?;
        let (stream, timeout) = (self.setup.names.log.clone(), self.setup.timeout);
        let tail = Tail::open(&link, &stream, Start::At(self.read + 1), (WAIT, timeout));
        let mut tail = check(&link, tail.await)?;
        // what it brings, it brings in one run, which is still the one in which the log is settled
        if !check(&link, run::lasts(&link, &stream, self.settled.run).await)? {
            return Err(Interrupt::Again);
        }
        let mut looks = tokio::time::interval(LOOK);
        looks.reset();
        loop {
            if self.read >= self.end {
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
                () = tokio::time::sleep(OVERDUE), if self.read < self.seen => {
                    return Err(Interrupt::Again);
                }
                _ = looks.tick() => self.look(&link).await?,
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

    async fn handle(
        &mut self,
        message: Received,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<(), Interrupt> {
        let next = self.read + 1;
        if message.sequence < next {
            return Ok(()); // it was read
        }
        if message.sequence > next {
            return Err(Interrupt::Again); // whether the one in between is there is found out
        }
        if message.subject == self.setup.names.settlements {
            return self.handle_settlement(&message, feed).await;
        }
        match Envelope::read(message.payload) {
            Some(entry) if entry.log == self.setup.log => {
                let Some(batch) = self.batch(entry.body, link).await? else {
                    self.doubt_round(link).await?;
                    return Err(Interrupt::Again);
                };
                self.deliver((next, entry.nonce), message.at, batch, feed).await
            }
            // of a log that was here before, or of nobody who knows
            Some(_) | None => self.skip(next, feed).await,
        }
    }

    async fn handle_settlement(
        &mut self,
        message: &Received,
        feed: &mut Feed,
    ) -> Result<(), Interrupt> {
        let next = message.sequence;
        let settlement = Settlement::read(self.setup.log, next, &message.payload);
        let (Some(settlement), Some(branch)) = (settlement, self.branch) else {
            return self.skip(next, feed).await;
        };
        let Settlement { round, run, .. } = settlement;
        let is_again = run == self.run;
        let fork = match settlement.kind {
            Kind::GoesOn { .. } if is_again => Vec::new(),
            Kind::Begins { fork, .. } if settlement.branch.name == branch.name => fork,
            Kind::GoesOn { ahead, fork } if settlement.branch.name == branch.name => {
                self.ahead = ahead;
                self.setup.places.go_on(self.cursor(next), ahead);
                fork
            }
            Kind::Begins { .. } | Kind::GoesOn { .. } | Kind::Doubted => {
                return Err(Interrupt::Again); // the log doesn't go on here
            }
        };
        self.run = run;
        if fork.is_empty() {
            self.skip(next, feed).await?;
        } else {
            self.deliver((next, run), message.at, fork.into(), feed).await?;
        }
        // whether its run has begun isn't known yet
        if round > self.settled.round { Err(Interrupt::Again) } else { Ok(()) }
    }

    async fn deliver(
        &mut self,
        (sequence, nonce): (u64, u64),
        at: u64,
        batch: Bytes,
        feed: &mut Feed,
    ) -> Result<(), Interrupt> {
        let cursor = self.cursor(sequence);
        feed.deliver(Cursor(cursor), at, batch.clone()).await?;
        self.read = sequence;
        self.delivered = Place { cursor, sequence, nonce: Some(nonce) };
        self.note_delivered(Entry { cursor, nonce, at, batch });
        Ok(())
    }

    /// Notes a batch that was delivered.
    pub(super) fn note_delivered(&mut self, entry: Entry) {
        self.append.take_if(|append| append.nonce == entry.nonce);
        self.recent.push(entry);
    }

    /// Skips a message that is no batch.
    async fn skip(&mut self, sequence: u64, feed: &mut Feed) -> Result<(), Interrupt> {
        feed.note_end(Cursor(self.cursor(self.end)), Cursor(self.cursor(sequence))).await?;
        self.read = sequence;
        Ok(())
    }

    /// The cursor of a message.
    pub(super) fn cursor(&self, sequence: u64) -> u64 {
        sequence.wrapping_add(self.ahead)
    }

    /// The batch of an entry; `None`: parts of it are lost.
    pub(super) async fn batch(&self, body: Body, link: &Link) -> Result<Option<Bytes>, Interrupt> {
        match body {
            Body::Batch(batch) => Ok(Some(batch)),
            Body::Parts(parts) => {
                check(link, parts::read(link, &self.setup.names.store, &parts).await)
            }
        }
    }

    fn begin_append(&mut self, link: Link, batch: Bytes) -> Append {
        let nonce = self.next_random();
        let (names, log) = (self.setup.names.clone(), self.setup.log);
        let answer = async move {
            tokio::select! {
                biased; // what stood still until the time is over doesn't go on
                () = tokio::time::sleep(MAX_APPEND) => Err(Fault::Silent),
                answer = append(&link, &names, (log, nonce), batch) => answer,
            }
        };
        Append { nonce, answer: Some(Mutex::new(Box::pin(answer))), is_doubtful: false }
    }

    pub(super) fn next_random(&mut self) -> u64 {
        self.randoms += 1;
        // odd, so all are different
        self.setup.seed.wrapping_add(self.randoms.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn handle_answer(&mut self, answer: Result<u64, Fault>, link: &Link) -> Result<(), Interrupt> {
        if answer.is_err() {
            self.doubt();
        }
        self.seen = self.seen.max(check(link, answer)?);
        Ok(())
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
pub(super) fn check<T>(link: &Link, answer: Result<T, Fault>) -> Result<T, Interrupt> {
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
) -> Result<u64, Fault> {
    let body = if batch.len() + OVERHEAD <= link.max_part() {
        Body::Batch(batch)
    } else {
        Body::Parts(parts::write(link, &names.parts_of_batches(), &batch).await?)
    };
    let entry = Envelope { log, nonce, body }.write();
    link.store(&names.subject, entry, None).await
}

/// Waits for the answer to an append.
async fn next_answer(append: &mut Option<Append>) -> Result<u64, Fault> {
    match append.as_mut().and_then(|append| append.answer.as_mut()) {
        Some(answer) => {
            let answer = answer.get_mut().await;
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

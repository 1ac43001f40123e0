//! The task of one partition: delivers its log, and appends.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value, cmd, pipe};
use tokio_util::sync::CancellationToken;

use super::decisions::{self, Next, Proof, nonce};
use super::fault::Fault;
use super::inbox::{Inbox, Input, News};
use super::keys::PartitionKeys;
use super::link::{Link, Links};
use super::meta::Meta;
use super::scripts::{self, By, OTHER, Settled};
use super::snapshots::Proved;
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::{Closed, Feed, Progress};
use crate::engine::nodes::Nodes;
use crate::engine::recent::{Entry, Recent};
use crate::engine::requests::Requests;
use crate::engine::settings::Forks;
use crate::log::LogId;

/// Entries read at a time, at most. Fewer after a read that failed, since it may have been too much for the
/// connection.
const MAX_READ: usize = 100;

/// How long it waits for a log that is at another server.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a follower is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) keys: PartitionKeys,
    pub(super) log: LogId,
    pub(super) requests: Arc<Requests>,
    pub(super) progress: Arc<Progress>,
    pub(super) inbox: Inbox,
    pub(super) links: Links,
    /// When the log was last found to have all that was delivered.
    pub(super) proved: Arc<Mutex<Option<Proved>>>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) partition: u16,
    /// Makes what is appended where the log goes on without what other nodes may have had.
    pub(super) forks: Forks,
    /// Number of logs that this node has put back, to be logged.
    pub(super) put_back: Arc<AtomicU64>,
    /// Random, for nonces.
    pub(super) seed: u64,
}

/// Delivers a partition's log to its worker, and appends what that proposes.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) parts: Parts,
    /// Where to deliver, once there is a request to follow.
    feed: Option<Feed>,
    /// The last delivered batch.
    pub(super) delivered: Place,
    /// It, and those before it.
    pub(super) recent: Recent,
    /// The round in which the log was last found to have all that was delivered, since this request to follow it.
    pub(super) round: Option<u64>,
    /// The latest round of those batches.
    pub(super) latest: u64,
    /// The batch that is being appended.
    append: Option<Append>,
    /// Number of the link that is used, or was last.
    link: u64,
    /// The last link that failed.
    failed_link: u64,
    /// Entries to read at a time.
    read_count: usize,
    /// How many numbers were made.
    numbers: u64,
}

/// Where a batch is in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) cursor: u64,
    /// The entry's nonce, unless it isn't known.
    pub(super) nonce: Option<u64>,
}

/// A batch that is being appended, until it comes back in the log.
struct Append {
    nonce: u64,
    /// Redis' answer.
    answer: BoxFuture<'static, Result<Value, Fault>>,
    is_answered: bool,
    /// The connection has failed since: unless it is found in the log, it has to be appended again.
    is_doubtful: bool,
}

/// Why following ends, for a time.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// The worker asks to follow anew, or has ended.
    Asked,
    /// The log has to be looked at anew.
    Doubtful,
    /// The server doesn't have the log, or not yet: it comes from another one, or goes there.
    Elsewhere,
    /// The link has failed.
    Disconnected,
    /// The log doesn't go on.
    Lost(LostReason),
}

impl From<Closed> for Interrupt {
    fn from(_: Closed) -> Self {
        Self::Asked
    }
}

impl Follower {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            feed: None,
            delivered: Place::default(),
            recent: Recent::default(),
            round: None,
            latest: 0,
            append: None,
            link: 0,
            failed_link: 0,
            read_count: MAX_READ,
            numbers: 0,
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
            if let Some(append) = &mut self.append {
                append.is_doubtful = true;
            }
            match interrupt {
                Interrupt::Asked => {}
                Interrupt::Doubtful => self.feed = Some(feed),
                Interrupt::Elsewhere => {
                    self.feed = Some(feed);
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Interrupt::Disconnected => {
                    self.failed_link = self.link;
                    self.feed = Some(feed);
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
        let follow = self.parts.requests.next_follow().await;
        self.delivered = Place { cursor: follow.after.0, nonce: None };
        (self.recent, self.round, self.latest) = (Recent::after(follow.after.0), None, 0);
        Feed::new(follow, Arc::clone(&self.parts.progress))
    }

    /// Follows the log with one link.
    async fn follow(&mut self, feed: &mut Feed) -> Result<Infallible, Interrupt> {
        let link = self.next_link().await?;
        self.prove(&link, feed).await?;
        self.read(&link, feed).await?;
        self.give_up_doubtful(feed).await?;
        loop {
            if self.append.is_none()
                && let Some(batch) = self.parts.requests.take_append()
            {
                self.append = Some(self.begin_append(link.clone(), batch));
            }
            if self.parts.inbox.has_gap() {
                self.read(&link, feed).await?;
                continue;
            }
            tokio::select! {
                () = self.parts.requests.changed() => {
                    if self.parts.requests.asks_to_follow() {
                        return Err(Interrupt::Asked);
                    }
                }
                Input { link: number, news } = self.parts.inbox.next() => {
                    if number == link.number {
                        self.handle(news, &link, feed).await?;
                    }
                }
                answer = next_answer(&mut self.append) => {
                    if check(&link, answer)? == Value::BulkString(OTHER.into()) {
                        return Err(Interrupt::Doubtful);
                    }
                }
                () = ended(&mut self.parts.links, link.number) => return Err(Interrupt::Disconnected),
            }
        }
    }

    /// Waits for a link that hasn't failed.
    async fn next_link(&mut self) -> Result<Link, Interrupt> {
        let failed = self.failed_link;
        loop {
            if self.parts.requests.asks_to_follow() {
                return Err(Interrupt::Asked);
            }
            tokio::select! {
                () = self.parts.requests.changed() => {}
                link = begun(&mut self.parts.links, failed) => {
                    self.link = link.number;
                    return Ok(link);
                }
            }
        }
    }

    /// Makes sure that the log is the one that was delivered so far, and that it has all of that.
    async fn prove(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        loop {
            let Place { cursor, nonce } = self.delivered;
            let mut ask = pipe();
            ask.add_command(Meta::ask(&self.parts.keys));
            ask.add_command(self.range(cursor, &cursor.to_string(), 1));
            let answers = check(link, link.ask_all(&ask).await)?;
            let read = <[Value; 2]>::try_from(answers).ok();
            let read = read.and_then(|[meta, entries]| {
                Some((Meta::read(meta)?, Entry::all_from_stream(entries)?))
            });
            let (meta, entries) = check(link, read.ok_or(Fault::Unexpected))?;
            if !self.is_settled(&meta, link)? {
                self.recover(meta.round, link, feed).await?;
                continue;
            }
            let found = entries.into_iter().next();
            let at = found.as_ref().map(|entry| entry.nonce);
            match decisions::prove(&meta, at, (cursor, nonce), self.round) {
                Proof::Whole => {
                    if let Some(entry) = found.filter(|_| nonce.is_none()) {
                        self.note(entry);
                    }
                    let round = meta.round;
                    self.round = Some(round);
                    *self.parts.proved.lock() = Some(Proved { run: Arc::clone(&link.run), round });
                    feed.note_end(Cursor(meta.head), Cursor(cursor)).await?;
                    return Ok(());
                }
                Proof::Lost(reason) => return Err(Interrupt::Lost(reason)),
                Proof::Doubtful => self.doubt(link, meta.round).await?,
            }
        }
    }

    /// Whether the log is settled in this run of the server.
    fn is_settled(&self, meta: &Meta, link: &Link) -> Result<bool, Interrupt> {
        match meta.id {
            Some(id) if id != self.parts.log => Err(Interrupt::Lost(LostReason::Replaced)),
            Some(_) => Ok(meta.run == *link.run),
            None => Ok(false),
        }
    }

    /// Delivers all that the log has behind what was delivered, as long as it is still settled as it was.
    async fn read(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        loop {
            let count = self.read_count;
            self.read_count = (count / 2).max(1);
            let mut ask = pipe();
            ask.add_command(self.range(self.delivered.cursor + 1, "+", count));
            ask.add_command(Meta::ask(&self.parts.keys)); // behind it: what was read is of no later round
            let answers = check(link, link.ask_all(&ask).await)?;
            self.read_count = (count * 2).min(MAX_READ);
            let read = <[Value; 2]>::try_from(answers).ok();
            let read = read.and_then(|[entries, meta]| {
                Some((Entry::all_from_stream(entries)?, Meta::read(meta)?))
            });
            let (entries, meta) = check(link, read.ok_or(Fault::Unexpected))?;
            if !decisions::goes_on(self.is_settled(&meta, link)?, &meta, self.round) {
                return Err(Interrupt::Doubtful);
            }
            let is_end = entries.len() < count;
            for entry in entries {
                if entry.cursor != self.delivered.cursor + 1 {
                    return Err(Interrupt::Lost(LostReason::Trimmed));
                }
                self.deliver(entry, feed).await?;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    fn range(&self, from: u64, to: &str, count: usize) -> Cmd {
        let mut range = cmd("XRANGE");
        range.arg(&self.parts.keys.log).arg(from).arg(to).arg("COUNT").arg(count);
        range
    }

    async fn deliver(&mut self, entry: Entry, feed: &mut Feed) -> Result<(), Interrupt> {
        let Entry { cursor, nonce, at, ref batch } = entry;
        feed.deliver(Cursor(cursor), at, batch.clone()).await?;
        self.note(entry);
        self.append.take_if(|append| append.nonce == nonce);
        Ok(())
    }

    /// Notes that an entry was delivered.
    fn note(&mut self, entry: Entry) {
        let Entry { cursor, nonce, .. } = entry;
        self.delivered = Place { cursor, nonce: Some(nonce) };
        self.latest = self.latest.max(decisions::begin(nonce));
        self.recent.push(entry);
    }

    async fn handle(&mut self, news: News, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        let cursor = self.delivered.cursor;
        match news {
            News::Published(round, entry) => {
                match decisions::take(round, entry.cursor, (cursor, self.round)) {
                    Next::Deliver => self.deliver(entry, feed).await?,
                    Next::Read => self.read(link, feed).await?,
                    Next::Nothing => {}
                }
            }
            News::Checked { meta, delivered: before } => {
                let is_same = before.follow == self.parts.progress.follow();
                let before = if is_same { before.cursor.0 } else { 0 };
                let is_settled = self.is_settled(&meta, link)?;
                if meta.head < before || !decisions::goes_on(is_settled, &meta, self.round) {
                    return Err(Interrupt::Doubtful);
                }
                if let Some(snapshot) = &meta.snapshot {
                    self.parts.progress.note_snapshot(Cursor(snapshot.at));
                }
                if meta.head > cursor {
                    let was_dropped = self.parts.inbox.take_dropped();
                    self.read(link, feed).await?;
                    if !was_dropped {
                        link.report(Fault::Silent);
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_append(&mut self, link: Link, batch: Bytes) -> Append {
        let nonce = nonce(self.round.unwrap_or(0), self.random());
        let (keys, log) = (self.parts.keys.clone(), self.parts.log);
        let answer = Box::pin(async move { append(&link, &keys, log, nonce, &batch).await });
        Append { nonce, answer, is_answered: false, is_doubtful: false }
    }

    /// A number that comes once.
    pub(super) fn random(&mut self) -> u64 {
        self.numbers += 1;
        // odd, so all are different
        self.parts.seed.wrapping_add(self.numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The log of this partition, settled in the run that a link leads to.
    pub(super) fn of<'a>(&self, link: &'a Link) -> Settled<'a> {
        Settled { log: self.parts.log, run: &link.run }
    }

    /// After the log was read to its end: an append that isn't in it won't be, or it will come as another's.
    async fn give_up_doubtful(&mut self, feed: &Feed) -> Result<(), Interrupt> {
        if self.append.take_if(|append| append.is_doubtful).is_some() {
            feed.append_failed().await?;
        }
        Ok(())
    }
}

/// Reports a fault to who can mend it.
pub(super) fn check<T>(link: &Link, answer: Result<T, Fault>) -> Result<T, Interrupt> {
    answer.map_err(|fault| {
        if fault.is_elsewhere() {
            if fault.has_moved() {
                link.look();
            }
            return Interrupt::Elsewhere;
        }
        link.report(fault);
        Interrupt::Disconnected
    })
}

/// Appends a batch. Redis may have forgotten the script.
async fn append(
    link: &Link,
    keys: &PartitionKeys,
    log: LogId,
    nonce: u64,
    batch: &[u8],
) -> Result<Value, Fault> {
    const FORGOTTEN: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
    let settled = Settled { log, run: &link.run };
    let publish = link.channels.publish;
    match link.ask(&scripts::append(By::Sha, keys, settled, nonce, batch, publish)).await {
        Err(Fault::Redis(error)) if error.kind() == FORGOTTEN => {
            link.ask(&scripts::append(By::Text, keys, settled, nonce, batch, publish)).await
        }
        answer => answer,
    }
}

/// Waits for the answer to an append.
async fn next_answer(append: &mut Option<Append>) -> Result<Value, Fault> {
    match append {
        Some(append) if !append.is_answered => {
            let answer = append.answer.as_mut().await;
            append.is_answered = true;
            answer
        }
        _ => std::future::pending().await,
    }
}

/// Waits for a link other than the one that has failed.
async fn begun(links: &mut Links, failed: u64) -> Link {
    let is_new = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.number != failed);
    match links.wait_for(is_new).await.ok().and_then(|link| link.clone()) {
        Some(link) => link,
        None => std::future::pending().await, // the broker stops
    }
}

/// Waits for the end of a link.
pub(super) async fn ended(links: &mut Links, number: u64) {
    let is_over = |link: &Option<Link>| link.as_ref().is_none_or(|link| link.number != number);
    if links.wait_for(is_over).await.is_err() {
        std::future::pending::<()>().await; // the broker stops
    }
}

impl std::fmt::Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Append").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

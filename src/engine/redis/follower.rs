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

use super::fault::Fault;
use super::inbox::{Inbox, Input, News};
use super::keys::PartitionKeys;
use super::link::{Link, Links};
use super::meta::Meta;
use super::scripts::{self, By, OTHER, Settled};
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
    /// The run in which the log was last found to have all that was delivered.
    pub(super) proved: Arc<Mutex<Option<Arc<str>>>>,
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
    /// How often the log had been settled when this request to follow it last did.
    pub(super) round: Option<u64>,
    /// Whether all that is published is in the log: what was published before a loss, and arrives afterwards, isn't.
    is_live: bool,
    /// The batch that is being appended.
    append: Option<Append>,
    /// Number of the link that is used, or was last.
    link: u64,
    /// The last link that failed.
    failed_link: u64,
    /// Entries to read at a time.
    read_count: usize,
    /// Number of appends.
    appends: u64,
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
            is_live: false,
            append: None,
            link: 0,
            failed_link: 0,
            read_count: MAX_READ,
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
        (self.recent, self.round) = (Recent::after(follow.after.0), None);
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
                self.recover(link, feed).await?;
                continue;
            }
            let lost = match (entries.into_iter().next(), nonce) {
                _ if meta.head < cursor => Some(LostReason::Shorter),
                (Some(entry), Some(nonce)) if entry.nonce != nonce => Some(LostReason::Forked),
                (None, Some(_)) => Some(LostReason::Trimmed),
                (Some(entry), None) => {
                    self.delivered.nonce = Some(entry.nonce);
                    self.recent.push(entry);
                    None
                }
                // without a nonce: whether the next one is there is seen when it is read
                (Some(_), Some(_)) | (None, None) => None,
            };
            let Some(reason) = lost else {
                (self.round, self.is_live) = (Some(meta.round), false);
                *self.parts.proved.lock() = Some(Arc::clone(&link.run));
                return feed.note_end(Cursor(meta.head), Cursor(cursor)).await.map_err(Into::into);
            };
            if reason == LostReason::Trimmed || self.round != Some(meta.round) {
                return Err(Interrupt::Lost(reason)); // the others have gone on without this node
            }
            self.doubt(link, meta.round).await?;
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

    /// Delivers all that the log has behind what was delivered.
    async fn read(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        loop {
            let count = self.read_count;
            self.read_count = (count / 2).max(1);
            let range = self.range(self.delivered.cursor + 1, "+", count);
            let answer = check(link, link.ask(&range).await)?;
            self.read_count = (count * 2).min(MAX_READ);
            let entries = Entry::all_from_stream(answer).ok_or(Fault::Unexpected);
            let entries = check(link, entries)?;
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
        self.delivered = Place { cursor, nonce: Some(nonce) };
        self.recent.push(entry);
        self.append.take_if(|append| append.nonce == nonce);
        Ok(())
    }

    async fn handle(&mut self, news: News, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        let delivered = self.delivered;
        match news {
            News::Published(log, _) if log != self.parts.log => {} // of another database
            News::Published(_, entry) if self.is_live && entry.cursor == delivered.cursor + 1 => {
                self.deliver(entry, feed).await?;
            }
            News::Published(_, entry) if entry.cursor > delivered.cursor => {
                self.read(link, feed).await?;
            }
            News::Published(..) => {} // it was read
            News::Checked { meta, delivered: before } => {
                let is_shorter =
                    before.follow == self.parts.progress.follow() && meta.head < before.cursor.0;
                if is_shorter || !self.is_settled(&meta, link)? {
                    return Err(Interrupt::Doubtful);
                }
                match self.round {
                    // the others have waited for this node, and gone on without what it may have had
                    Some(round) if meta.round > round => {
                        return Err(Interrupt::Lost(LostReason::Forked));
                    }
                    round => self.is_live |= round == Some(meta.round),
                }
                if let Some(snapshot) = &meta.snapshot {
                    self.parts.progress.note_snapshot(Cursor(snapshot.at));
                }
                if meta.head > delivered.cursor {
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
        let nonce = self.next_nonce();
        let (keys, log) = (self.parts.keys.clone(), self.parts.log);
        let answer = Box::pin(async move { append(&link, &keys, log, nonce, &batch).await });
        Append { nonce, answer, is_answered: false, is_doubtful: false }
    }

    pub(super) fn next_nonce(&mut self) -> u64 {
        self.appends += 1;
        // odd, so all are different
        self.parts.seed.wrapping_add(self.appends.wrapping_mul(0x9e37_79b9_7f4a_7c15))
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

//! Routes commands to the shard of their stream, for connections and for the application.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, oneshot};

use super::job::{Ended, Job, Presence, Resume};
use crate::outbound::Recipient;
use crate::session::Session;
use crate::shard::{Full, Input, Placed, Put, SubscriberKey};
use crate::types::{Codec, MemberRecords, PresenceId, Publication, RecordList, StreamName};

/// The shards' queues. A stream belongs to one shard, so what one sender says to it arrives in
/// the order it was said.
#[derive(Debug)]
pub struct Router {
    shards: Vec<mpsc::Sender<Job>>,
    /// Whether what is published is to survive this process.
    keeps: bool,
}

/// The broker is stopping and takes no more inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopped;

/// Something for which a shard has no room yet.
#[derive(Debug)]
pub struct NoRoom(mpsc::Sender<Job>, Box<Job>);

impl NoRoom {
    /// Waits for room, then passes it on.
    pub async fn wait(self) {
        let Self(shard, job) = self;
        drop(shard.send(*job).await); // fails after the stop only
    }
}

impl Router {
    /// The queues of shards, in order; whether what is published to them is kept on disk.
    pub(super) fn new(shards: Vec<mpsc::Sender<Job>>, keeps: bool) -> Self {
        Self { shards, keeps }
    }

    /// Passes an input on if there is room for it. One that comes after the stop is dropped: the
    /// streams are gone then.
    pub fn try_send(&self, stream: StreamName, input: Input<Recipient>) -> Result<(), NoRoom> {
        let shard = self.shard(&stream);
        Self::try_job(shard, Job::Input(stream, input))
    }

    /// Tells of the end of a subscription's connection, if there is room for it.
    pub fn try_end(&self, ended: Ended) -> Result<(), NoRoom> {
        let shard = self.shard(&ended.stream);
        Self::try_job(shard, Job::Ended(ended))
    }

    fn try_job(shard: Option<&mpsc::Sender<Job>>, job: Job) -> Result<(), NoRoom> {
        let Some(shard) = shard else { return Ok(()) };
        match shard.try_send(job) {
            Err(mpsc::error::TrySendError::Full(job)) => Err(NoRoom(shard.clone(), Box::new(job))),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Tells of the end of a parked session; what waits for room in a shard.
    pub fn forget(&self, session: &Session) -> Vec<NoRoom> {
        let forgotten = session.subscriptions().iter().filter_map(|subscription| {
            let stream = subscription.stream.clone();
            let group = subscription.group(Codec::ActionCable); // no other's sessions are parked
            let key = SubscriberKey { session: session.id(), group };
            let shard = self.shard(&stream);
            Self::try_job(shard, Job::Forget { stream, key }).err()
        });
        forgotten.collect()
    }

    /// Waits until a stream has followed what it was sent before, or the broker stops.
    pub async fn follow(&self, stream: StreamName) {
        self.presence(stream, false).await.ok(); // nothing is followed any more
    }

    /// Waits until what was published to streams is kept, where anything is.
    pub async fn settle(&self, streams: &[StreamName]) -> Result<(), Stopped> {
        let count = self.shards.len();
        let places: BTreeSet<usize> =
            streams.iter().map(|stream| shard_of(stream, count)).collect();
        self.settle_shards(places.into_iter().filter_map(|place| self.shards.get(place))).await
    }

    /// Waits until all that was said is kept, where anything is.
    pub async fn settle_all(&self) -> Result<(), Stopped> {
        self.settle_shards(self.shards.iter()).await
    }

    async fn settle_shards(
        &self,
        shards: impl Iterator<Item = &mpsc::Sender<Job>>,
    ) -> Result<(), Stopped> {
        if !self.keeps {
            return Ok(());
        }
        let mut answers = Vec::new();
        for shard in shards {
            let (answer, answered) = oneshot::channel();
            shard.send(Job::Settle { answer }).await.map_err(|_| Stopped)?;
            answers.push(answered);
        }
        for answer in answers {
            answer.await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Publishes, in its turn.
    pub async fn publish(
        &self,
        stream: StreamName,
        input: Input<Recipient>,
    ) -> Result<(), Stopped> {
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::Input(stream, input)).await.map_err(|_| Stopped)
    }

    /// Asks who is present, in its turn: it sees every input sent before.
    pub async fn presence(&self, stream: StreamName, records: bool) -> Result<Presence, Stopped> {
        self.ask(stream, |stream, answer| Job::Presence { stream, records, answer }).await
    }

    /// Asks who is present with which records, likewise.
    pub async fn records(&self, stream: StreamName) -> Result<Arc<RecordList>, Stopped> {
        self.ask(stream, |stream, answer| Job::Records { stream, answer }).await
    }

    /// Asks with which records somebody is present, if at all; likewise.
    pub async fn member(
        &self,
        stream: StreamName,
        id: PresenceId,
    ) -> Result<Option<MemberRecords>, Stopped> {
        self.ask(stream, |stream, answer| Job::Member { stream, id, answer }).await
    }

    /// Puts a record of the application's, in its turn.
    pub async fn put(&self, stream: StreamName, put: Put) -> Result<Result<Placed, Full>, Stopped> {
        self.ask(stream, |stream, answer| Job::Put { stream, put, answer }).await
    }

    /// Takes a member out, in its turn; says how many records went.
    pub async fn kick(&self, stream: StreamName, id: PresenceId) -> Result<usize, Stopped> {
        self.ask(stream, |stream, answer| Job::Kick { stream, id, answer }).await
    }

    /// Waits for what a shard answers.
    async fn ask<T>(
        &self,
        stream: StreamName,
        job: impl FnOnce(StreamName, oneshot::Sender<T>) -> Job,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(job(stream, answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Asks for a stream's newest publications, oldest first, in its turn.
    pub async fn history(&self, stream: StreamName) -> Result<Vec<Arc<Publication>>, Stopped> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::History { stream, answer }).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Has a subscription taken over, in its turn; the answer says whether it was.
    pub async fn resume(
        &self,
        stream: StreamName,
        resume: Resume,
    ) -> Result<oneshot::Receiver<bool>, Stopped> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::Resume { stream, resume, answer }).await.map_err(|_| Stopped)?;
        Ok(answered)
    }

    /// Waits for the stop.
    pub async fn stopped(&self) {
        if let Some(shard) = self.shards.first() {
            shard.closed().await;
        }
    }

    /// The queues of all shards.
    pub(super) fn shards(&self) -> &[mpsc::Sender<Job>] {
        &self.shards
    }

    /// The queue of the shard that looks after a stream.
    pub(super) fn shard(&self, stream: &StreamName) -> Option<&mpsc::Sender<Job>> {
        self.shards.get(shard_of(stream, self.shards.len()))
    }
}

/// The number of the shard that looks after a stream.
pub(super) fn shard_of(stream: &StreamName, shards: usize) -> usize {
    let hash = usize::try_from(FixedState::default().hash_one(stream) >> 32).unwrap_or_default();
    hash % shards.max(1)
}

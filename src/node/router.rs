//! Routes inputs to the shard of their stream, for connections and for the application.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, oneshot};

use super::job::{Ended, Job, Presence, Resume};
use crate::log::Void;
use crate::outbound::Recipient;
use crate::protocol;
use crate::session::Session;
use crate::shard::{Input, Placed, Publish, Put, SubscriberKey};
use crate::types::{MemberRecords, PresenceId, Publication, RecordList, StreamName};

/// The shards' queues. A stream belongs to one shard, so the inputs of one sender to a stream are
/// applied in the order in which they were sent.
#[derive(Debug)]
pub struct Router {
    shards: Vec<mpsc::Sender<Job>>,
    /// Whether publications are kept on disk.
    is_durable: bool,
}

/// The broker is stopping and accepts no inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopped;

/// An input whose shard's queue is full.
#[derive(Debug)]
pub struct NoRoom(mpsc::Sender<Job>, Box<Job>);

impl NoRoom {
    /// Waits for room, then sends the input.
    pub async fn wait(self) {
        let Self(shard, job) = self;
        drop(shard.send(*job).await); // fails only after the stop
    }
}

impl Router {
    /// The queues of the shards, in order. `is_durable` says whether publications are kept on disk.
    pub(super) fn new(shards: Vec<mpsc::Sender<Job>>, is_durable: bool) -> Self {
        Self { shards, is_durable }
    }

    /// Sends an input if the queue has room. After the stop, it is dropped: the streams are gone.
    pub fn try_send(&self, stream: StreamName, input: Input<Recipient>) -> Result<(), NoRoom> {
        let shard = self.shard(&stream);
        Self::try_job(shard, Job::Input(stream, input))
    }

    /// Reports the end of a subscription's connection, if the queue has room.
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

    /// Ends the subscriptions of a parked session. Returns the inputs whose shard has no room.
    pub fn forget(&self, session: &Session) -> Vec<NoRoom> {
        // only sessions of resumable codecs are parked
        let keys =
            session.streams().flat_map(|it| protocol::resumable().map(move |codec| (it, codec)));
        let forgotten = keys.filter_map(|((subscription, stream), codec)| {
            let stream = stream.clone();
            let key = SubscriberKey { session: session.id(), group: subscription.group(codec) };
            let shard = self.shard(&stream);
            Self::try_job(shard, Job::Forget { stream, key }).err()
        });
        forgotten.collect()
    }

    /// Waits until all shards have applied all earlier inputs, or the broker stops.
    pub async fn wait_applied(&self) {
        self.sync_shards(self.shards.iter()).await.ok(); // an error means the stop
    }

    /// Waits until the publications to these streams are on disk, if a state directory is in use.
    pub async fn sync(&self, streams: &[StreamName]) -> Result<(), Stopped> {
        let count = self.shards.len();
        if !self.is_durable {
            return Ok(());
        }
        let places: BTreeSet<usize> =
            streams.iter().map(|stream| shard_of(stream, count)).collect();
        self.sync_shards(places.into_iter().filter_map(|place| self.shards.get(place))).await
    }

    /// Waits until all earlier inputs are on disk, if a state directory is in use.
    pub async fn sync_all(&self) -> Result<(), Stopped> {
        if self.is_durable { self.sync_shards(self.shards.iter()).await } else { Ok(()) }
    }

    async fn sync_shards(
        &self,
        shards: impl Iterator<Item = &mpsc::Sender<Job>>,
    ) -> Result<(), Stopped> {
        let mut answers = Vec::new();
        for shard in shards {
            let (answer, answered) = oneshot::channel();
            shard.send(Job::Sync { answer }).await.map_err(|_| Stopped)?;
            answers.push(answered);
        }
        for answer in answers {
            answer.await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Queues a publication of the application, and waits for room if its shard's queue is full. Once it is
    /// applied and on disk, [`Router::sync`] returns.
    pub async fn publish(&self, stream: StreamName, publish: Publish) -> Result<(), Stopped> {
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::Input(stream, Input::Publish(publish))).await.map_err(|_| Stopped)
    }

    /// Reads a stream's members. All earlier inputs have been applied by then, as with every query
    /// here.
    pub async fn presence(&self, stream: StreamName, records: bool) -> Result<Presence, Stopped> {
        self.ask(stream, |stream, answer| Job::Presence { stream, records, answer }).await
    }

    /// Reads a stream's members with their records.
    pub async fn records(&self, stream: StreamName) -> Result<Arc<RecordList>, Stopped> {
        self.ask(stream, |stream, answer| Job::Records { stream, answer }).await
    }

    /// Reads the records of one member; `None` if it isn't present.
    pub async fn member(
        &self,
        stream: StreamName,
        id: PresenceId,
    ) -> Result<Option<MemberRecords>, Stopped> {
        self.ask(stream, |stream, answer| Job::Member { stream, id, answer }).await
    }

    /// Puts a record of the application.
    pub async fn put(&self, stream: StreamName, put: Put) -> Result<Result<Placed, Void>, Stopped> {
        self.ask(stream, |stream, answer| Job::Put { stream, put, answer }).await
    }

    /// Removes a member and returns how many records it had.
    pub async fn kick(&self, stream: StreamName, id: PresenceId) -> Result<usize, Stopped> {
        self.ask(stream, |stream, answer| Job::Kick { stream, id, answer }).await
    }

    /// Sends a query to a stream's shard and waits for the answer.
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

    /// Asks under which presence id a subscription is present, after all inputs sent before, if the queue has
    /// room.
    pub fn try_identify(
        &self,
        stream: StreamName,
        key: SubscriberKey,
        answer: oneshot::Sender<Option<PresenceId>>,
    ) -> Result<(), NoRoom> {
        let shard = self.shard(&stream);
        Self::try_job(shard, Job::Identify { stream, key, answer })
    }

    /// Reads a stream's kept publications, oldest first.
    pub async fn history(&self, stream: StreamName) -> Result<Vec<Arc<Publication>>, Stopped> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::History { stream, answer }).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Moves a parked subscription to a new connection; returns whether it could be.
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

    /// Resolves at the stop.
    pub async fn stopped(&self) {
        if let Some(shard) = self.shards.first() {
            shard.closed().await;
        }
    }

    /// The queues of all shards.
    pub(super) fn shards(&self) -> &[mpsc::Sender<Job>] {
        &self.shards
    }

    /// The queue of a stream's shard.
    pub(super) fn shard(&self, stream: &StreamName) -> Option<&mpsc::Sender<Job>> {
        self.shards.get(shard_of(stream, self.shards.len()))
    }
}

/// The number of a stream's shard.
pub(super) fn shard_of(stream: &StreamName, shards: usize) -> usize {
    let hash = usize::try_from(FixedState::default().hash_one(stream) >> 32).unwrap_or_default();
    hash % shards.max(1)
}

//! Routes inputs to the shard of their stream, for connections and for the application.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, oneshot};

use super::job::{Ended, Job, Presence, Resume};
use super::room::Room;
use crate::cluster::{Answer, Ask, AskId, Reading};
use crate::log::{NodeId, SessionChange, SessionState, Void};
use crate::outbound::Recipient;
use crate::protocol;
use crate::session::Session;
use crate::shard::{Input, Placed, Publish, Put, SubscriberKey};
use crate::types::{MemberRecords, PresenceId, Publication, RecordList, SessionId, StreamName};

/// The shards' queues. A stream belongs to one shard, so the inputs of one sender to a stream are
/// applied in the order in which they were sent.
#[derive(Debug)]
pub struct Router {
    shards: Vec<mpsc::Sender<Job>>,
    /// The place of a stream's shard among so many.
    place: fn(&StreamName, usize) -> usize,
    /// Whether an answer has to wait until publications are kept: on disk, or by the engine.
    is_durable: bool,
    /// Maximum time to wait for an answer, if it can be long.
    patience: Option<Duration>,
    /// Memory for what waits, if that can be long.
    room: Option<Room>,
}

/// Why a shard doesn't answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The broker is stopping and accepts no inputs.
    #[error("the broker is stopping")]
    Stopping,
    /// The engine hasn't ordered it in time. It may still happen.
    #[error("the engine doesn't answer: try again in a second; this may happen all the same")]
    Late,
}

/// What [`Router::kept`] waits for.
#[derive(Debug)]
pub enum Receipt {
    /// What this shard has taken so far.
    Shard(usize),
    /// This shard's answer.
    Answer(usize, oneshot::Receiver<()>),
}

/// A change of a session that is under way.
#[derive(Debug)]
pub struct SessionChanging {
    /// What to wait for before it is in the queue.
    pub room: Option<NoRoom>,
    answered: oneshot::Receiver<Result<(), Void>>,
}

/// An input whose shard's queue is full, or for whose payload there is no memory.
#[derive(Debug)]
pub struct NoRoom {
    shard: mpsc::Sender<Job>,
    job: Box<Job>,
    room: Option<Room>,
}

impl NoRoom {
    /// Waits for room, then sends the input.
    pub async fn wait(self) {
        let Self { shard, mut job, room } = self;
        if let (Some(room), Job::Input { input, place, .. }) = (room, &mut *job) {
            *place = room.take(input.payload()).await;
        }
        drop(shard.send(*job).await); // fails only after the stop
    }
}

impl Router {
    /// The queues of the shards, in order. `is_durable` says whether publications are kept on disk.
    pub(super) fn new(shards: Vec<mpsc::Sender<Job>>, is_durable: bool) -> Self {
        Self { shards, place: shard_of, is_durable, patience: None, room: None }
    }

    /// The queues of the partitions, in order, whose inputs an engine orders within a time.
    pub(super) fn of_partitions(shards: Vec<mpsc::Sender<Job>>, patience: Duration) -> Self {
        let (patience, room) = (Some(patience), Some(Room::new()));
        Self { shards, place: partition_of, is_durable: true, patience, room }
    }

    /// Waits for an answer, for as long as an application waits.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let Some(patience) = self.patience else { return answer.await };
        tokio::time::timeout(patience, answer).await.unwrap_or(Err(Unavailable::Late))
    }

    /// Sends an input if the queue has room. After the stop, it is dropped: the streams are gone.
    pub fn try_send(&self, stream: StreamName, input: Input<Recipient>) -> Result<(), NoRoom> {
        let Some(shard) = self.shard(&stream) else { return Ok(()) };
        let place = self.room.as_ref().map(|room| room.try_take(input.payload())).transpose();
        let Ok(place) = place else {
            let job = Box::new(Job::Input { stream, input, place: None });
            return Err(NoRoom { shard: shard.clone(), job, room: self.room.clone() });
        };
        Self::try_job(Some(shard), Job::Input { stream, input, place: place.flatten() })
    }

    /// Reports the end of a subscription's connection, if the queue has room.
    pub fn try_end(&self, ended: Ended) -> Result<(), NoRoom> {
        let shard = self.shard(&ended.stream);
        Self::try_job(shard, Job::Ended(ended))
    }

    fn try_job(shard: Option<&mpsc::Sender<Job>>, job: Job) -> Result<(), NoRoom> {
        let Some(shard) = shard else { return Ok(()) };
        match shard.try_send(job) {
            Err(mpsc::error::TrySendError::Full(job)) => {
                Err(NoRoom { shard: shard.clone(), job: Box::new(job), room: None })
            }
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

    /// The numbers of the shards that these streams have.
    pub(super) fn places<'a>(
        &self,
        streams: impl Iterator<Item = &'a StreamName>,
    ) -> BTreeSet<usize> {
        streams.map(|stream| (self.place)(stream, self.shards.len())).collect()
    }

    /// The numbers of all shards.
    pub(super) fn all_places(&self) -> BTreeSet<usize> {
        (0..self.shards.len()).collect()
    }

    /// Waits until all that earlier ends of connections lead to in these shards is applied, or the broker stops: each
    /// proposes it in its turn only.
    pub(super) async fn wait_ended(&self, places: &BTreeSet<usize>) {
        let mut times = 0;
        while times < 2 {
            let shards = places.iter().filter_map(|place| self.shards.get(*place));
            match self.sync_shards(shards).await {
                Ok(()) => times += 1,
                Err(Unavailable::Late) => {} // the other nodes believed this one dead
                Err(Unavailable::Stopping) => return,
            }
        }
    }

    /// Waits until logs are read so far.
    pub(super) async fn reach(&self, reading: &Reading) -> Result<(), Unavailable> {
        self.within(async {
            let mut answers = Vec::new();
            for (partition, position) in reading {
                let Some(shard) = self.shards.get(usize::from(*partition)) else { continue };
                let (answer, answered) = oneshot::channel();
                let job = Job::Reach { position: *position, answer };
                shard.send(job).await.map_err(|_| Unavailable::Stopping)?;
                answers.push(answered);
            }
            for answer in answers {
                answer.await.map_err(|_| Unavailable::Stopping)?;
            }
            Ok(())
        })
        .await
    }

    /// Asks all nodes to do something, or one, in the partition that has the beats. Returns all their answers together.
    pub(super) async fn ask_nodes(
        &self,
        of: Option<NodeId>,
        ask: Ask,
    ) -> Result<Answer, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shards.first().ok_or(Unavailable::Stopping)?;
        self.within(async {
            let job = Job::Ask { of, ask, answer };
            shard.send(job).await.map_err(|_| Unavailable::Stopping)?;
            answered.await.map_err(|_| unanswered(shard))
        })
        .await
    }

    /// Answers a node that has asked this one.
    pub(super) async fn answer(&self, to: AskId, answer: Answer) {
        if let Some(shard) = self.shards.first() {
            shard.send(Job::Answer { to, answer }).await.ok(); // an error means the stop
        }
    }

    /// Waits until publications are kept, if that can be: on disk, or by the engine.
    pub async fn kept(&self, receipts: Vec<Receipt>) -> Result<(), Unavailable> {
        let mut places = BTreeSet::new();
        let mut answers = Vec::new();
        for receipt in receipts {
            match receipt {
                Receipt::Shard(place) => drop(places.insert(place)),
                Receipt::Answer(place, answer) => answers.push((place, answer)),
            }
        }
        let shards = places.into_iter().filter(|_| self.is_durable);
        let shards = shards.filter_map(|place| self.shards.get(place));
        self.within(async {
            self.sync_shards(shards).await?;
            for (place, answer) in answers {
                let shard = self.shards.get(place).ok_or(Unavailable::Stopping)?;
                answer.await.map_err(|_| unanswered(shard))?;
            }
            Ok(())
        })
        .await
    }

    /// Whether what the application knows of sessions is kept: on disk, or by the engine.
    pub fn keeps_sessions(&self) -> bool {
        self.is_durable
    }

    /// Whether the broker has stopped, and accepts no inputs.
    pub fn is_stopped(&self) -> bool {
        self.shards.first().is_none_or(mpsc::Sender::is_closed)
    }

    /// Changes what the application knows of a session: in the order of the calls, if there is room.
    pub fn change_session(&self, change: SessionChange) -> SessionChanging {
        let shard = self.shard_of_session(change.sid());
        let (answer, answered) = oneshot::channel();
        let sent = Self::try_job(shard, Job::Session { change, answer: Some(answer) });
        SessionChanging { room: sent.err(), answered }
    }

    /// Waits until a change of a session is kept. The inner error is why it is void.
    pub async fn session_changed(
        &self,
        SessionChanging { room, answered }: SessionChanging,
    ) -> Result<Result<(), Void>, Unavailable> {
        self.within(async {
            if let Some(room) = room {
                room.wait().await;
            }
            let lost = || if self.is_stopped() { Unavailable::Stopping } else { Unavailable::Late };
            answered.await.map_err(|_| lost())
        })
        .await
    }

    /// What the application knows of a session, if it is kept.
    pub async fn known_session(
        &self,
        sid: SessionId,
    ) -> Result<Option<Arc<SessionState>>, Unavailable> {
        let shard = self.shard_of_session(sid).ok_or(Unavailable::Stopping)?;
        let (answer, answered) = oneshot::channel();
        self.within(async {
            shard.send(Job::Known { sid, answer }).await.map_err(|_| Unavailable::Stopping)?;
            answered.await.map_err(|_| unanswered(shard))
        })
        .await
    }

    /// The number of a session's shard.
    pub(super) fn place_of_session(&self, sid: SessionId) -> usize {
        session_place(sid, self.shards.len())
    }

    fn shard_of_session(&self, sid: SessionId) -> Option<&mpsc::Sender<Job>> {
        self.shards.get(self.place_of_session(sid))
    }

    /// Waits until all earlier inputs are on disk, if a state directory is in use.
    pub async fn sync_all(&self) -> Result<(), Unavailable> {
        if !self.is_durable {
            return Ok(());
        }
        self.within(self.sync_shards(self.shards.iter())).await
    }

    async fn sync_shards(
        &self,
        shards: impl Iterator<Item = &mpsc::Sender<Job>>,
    ) -> Result<(), Unavailable> {
        let mut answers = Vec::new();
        for shard in shards {
            let (answer, answered) = oneshot::channel();
            shard.send(Job::Sync { answer }).await.map_err(|_| Unavailable::Stopping)?;
            answers.push((shard, answered));
        }
        for (shard, answer) in answers {
            answer.await.map_err(|_| unanswered(shard))?;
        }
        Ok(())
    }

    /// Queues a publication of the application, and waits for room if its shard's queue is full.
    /// [`Router::kept`] says when it is applied and kept.
    pub async fn publish(
        &self,
        stream: StreamName,
        publish: Publish,
    ) -> Result<Receipt, Unavailable> {
        let place = (self.place)(&stream, self.shards.len());
        let shard = self.shards.get(place).ok_or(Unavailable::Stopping)?;
        let Some(room) = &self.room else {
            let job = Job::Input { stream, input: Input::Publish(publish), place: None };
            shard.send(job).await.map_err(|_| Unavailable::Stopping)?;
            return Ok(Receipt::Shard(place));
        };
        let (answer, answered) = oneshot::channel();
        let sent = async {
            let place = room.take(publish.data.as_str().len()).await;
            let job = Job::Publish { stream, publish, answer, place };
            shard.send(job).await.map_err(|_| Unavailable::Stopping)
        };
        self.within(sent).await?;
        Ok(Receipt::Answer(place, answered))
    }

    /// Reads a stream's members. All earlier inputs have been applied by then, as with every query
    /// here.
    pub async fn presence(
        &self,
        stream: StreamName,
        records: bool,
    ) -> Result<Presence, Unavailable> {
        self.ask(stream, |stream, answer| Job::Presence { stream, records, answer }).await
    }

    /// Reads a stream's members with their records.
    pub async fn records(&self, stream: StreamName) -> Result<Arc<RecordList>, Unavailable> {
        self.ask(stream, |stream, answer| Job::Records { stream, answer }).await
    }

    /// Reads the records of one member; `None` if it isn't present.
    pub async fn member(
        &self,
        stream: StreamName,
        id: PresenceId,
    ) -> Result<Option<MemberRecords>, Unavailable> {
        self.ask(stream, |stream, answer| Job::Member { stream, id, answer }).await
    }

    /// Puts a record of the application.
    pub async fn put(
        &self,
        stream: StreamName,
        put: Put,
    ) -> Result<Result<Placed, Void>, Unavailable> {
        self.ask(stream, |stream, answer| Job::Put { stream, put, answer }).await
    }

    /// Removes a member and returns how many records it had.
    pub async fn kick(&self, stream: StreamName, id: PresenceId) -> Result<usize, Unavailable> {
        self.ask(stream, |stream, answer| Job::Kick { stream, id, answer }).await
    }

    /// Sends a query to a stream's shard and waits for the answer.
    async fn ask<T>(
        &self,
        stream: StreamName,
        job: impl FnOnce(StreamName, oneshot::Sender<T>) -> Job,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Unavailable::Stopping)?;
        self.within(async {
            shard.send(job(stream, answer)).await.map_err(|_| Unavailable::Stopping)?;
            answered.await.map_err(|_| unanswered(shard))
        })
        .await
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
    pub async fn history(&self, stream: StreamName) -> Result<Vec<Arc<Publication>>, Unavailable> {
        self.ask(stream, |stream, answer| Job::History { stream, answer }).await
    }

    /// Moves a parked subscription to a new connection; returns whether it could be.
    pub async fn resume(
        &self,
        stream: StreamName,
        resume: Resume,
    ) -> Result<oneshot::Receiver<bool>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Unavailable::Stopping)?;
        shard
            .send(Job::Resume { stream, resume, answer })
            .await
            .map_err(|_| Unavailable::Stopping)?;
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
        self.shards.get((self.place)(stream, self.shards.len()))
    }
}

/// Why a shard drops a request: it stops, or other nodes believed this one dead meanwhile.
fn unanswered(shard: &mpsc::Sender<Job>) -> Unavailable {
    if shard.is_closed() { Unavailable::Stopping } else { Unavailable::Late }
}

/// The number of a stream's shard.
pub(super) fn shard_of(stream: &StreamName, shards: usize) -> usize {
    let hash = usize::try_from(FixedState::default().hash_one(stream) >> 32).unwrap_or_default();
    hash % shards.max(1)
}

/// The number of the shard or partition that a session is in.
pub(super) fn session_place(sid: SessionId, shards: usize) -> usize {
    usize::from(sid.lineage()) % shards.max(1)
}

/// The number of a stream's partition. All nodes must find the same, so the hash is for good.
fn partition_of(stream: &StreamName, partitions: usize) -> usize {
    crc32fast::hash(stream.as_str().as_bytes()) as usize % partitions.max(1)
}

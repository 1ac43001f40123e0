//! The way to the shards, for connections and for the application.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Recipient;
use super::job::{Job, Presence};
use super::worker::Worker;
use crate::broker::{Input, Settings, Shard};
use crate::clock::Clock;
use crate::telemetry::Instruments;
use crate::types::StreamName;

/// How many inputs wait for a shard before those who bring them have to wait too.
const QUEUE: usize = 4096;

/// The shards' queues. A stream belongs to one shard, so what one sender says to it arrives in
/// the order it was said.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<mpsc::Sender<Job>>,
    hasher: FixedState,
    tasks: TaskTracker,
}

/// The broker is stopping and takes no more inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopped;

/// An input for which there is no room yet.
#[derive(Debug)]
pub struct NoRoom(Box<(StreamName, Input<Recipient>)>);

impl Hub {
    /// Starts a task for each shard, with seeds of their own and a share of the memory each.
    ///
    /// They end with `stop`; if one ends by a fault, `failed` is
    /// cancelled: its streams are lost, and a broker without them had better start again.
    pub fn start(
        shards: usize,
        settings: Settings,
        clock: &Arc<Clock>,
        instruments: &Arc<Instruments>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        failed: &CancellationToken,
    ) -> Arc<Self> {
        let count = shards.max(1);
        let shards = (0..count).map(|number| {
            let mut settings = settings;
            settings.history.max_bytes /= count;
            settings.seed = settings.seed.wrapping_add(number as u64);
            let (sender, receiver) = mpsc::channel(QUEUE);
            let worker = Worker::new(
                number,
                Shard::new(settings),
                receiver,
                Arc::clone(clock),
                Arc::clone(instruments),
            );
            let (stop, fault) = (stop.clone(), failed.clone().drop_guard());
            tasks.spawn(async move {
                worker.run(stop).await;
                fault.disarm();
            });
            sender
        });
        let shards = shards.collect();
        Arc::new(Self { shards, hasher: FixedState::default(), tasks: tasks.clone() })
    }

    /// Passes an input on if there is room for it. One that comes after the stop is dropped: the
    /// streams are gone then.
    pub fn try_send(&self, stream: StreamName, input: Input<Recipient>) -> Result<(), NoRoom> {
        let Some(shard) = self.shard(&stream) else { return Ok(()) };
        match shard.try_send(Job::Input(stream, input)) {
            Err(mpsc::error::TrySendError::Full(Job::Input(stream, input))) => {
                Err(NoRoom(Box::new((stream, input))))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits for room, then passes an input on.
    pub async fn send(&self, NoRoom(waiting): NoRoom) {
        let (stream, input) = *waiting;
        if let Some(shard) = self.shard(&stream) {
            drop(shard.send(Job::Input(stream, input)).await); // fails after the stop only
        }
    }

    /// Passes an input on whatever it takes, for those who can't wait.
    pub fn deliver(self: &Arc<Self>, stream: StreamName, input: Input<Recipient>) {
        if let Err(waiting) = self.try_send(stream, input) {
            let hub = Arc::clone(self);
            self.tasks.spawn(async move { hub.send(waiting).await });
        }
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
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        shard.send(Job::Presence { stream, records, answer }).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    fn shard(&self, stream: &StreamName) -> Option<&mpsc::Sender<Job>> {
        let hash = usize::try_from(self.hasher.hash_one(stream) >> 32).unwrap_or_default();
        self.shards.get(hash % self.shards.len())
    }
}

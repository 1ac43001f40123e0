//! Snapshots in Redis: a list of chunks each, under a random name. The log's hash names the newest one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::{Cmd, Value, cmd};

use super::entry::bytes;
use super::fault::{Fault, Speaker};
use super::keys::PartitionKeys;
use super::link::{Link, Links};
use super::meta::Meta;
use super::scripts::{self, INCOMPLETE, OTHER, SPARE_SECONDS, Settled};
use crate::engine::error::EngineError;
use crate::engine::event::Cursor;
use crate::engine::random::random;
use crate::engine::snapshots::{Snapshot, Store};
use crate::log::LogId;

/// Chunks read at a time.
const READ: usize = 8;

/// How often a snapshot is read that is replaced meanwhile.
const ATTEMPTS: usize = 3;

/// The snapshots of a partition.
#[derive(Debug)]
pub(super) struct RedisSnapshots {
    pub(super) keys: PartitionKeys,
    pub(super) log: LogId,
    pub(super) links: Links,
    /// When the log was last found to have all that was delivered, and so all that is in a snapshot.
    pub(super) proved: Arc<Mutex<Option<Proved>>>,
    pub(super) speaker: Speaker,
}

/// The run of the server and the round in which a log was found to have all that was delivered.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    pub(super) run: Arc<str>,
    pub(super) round: u64,
}

impl Store for RedisSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Snapshot>, EngineError>> {
        Box::pin(self.read_newest())
    }

    fn write(&self, at: Cursor, chunks: Vec<Bytes>) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(self.write_whole(at, chunks))
    }
}

impl RedisSnapshots {
    async fn read_newest(&self) -> Result<Option<Snapshot>, EngineError> {
        let link = self.link().await?;
        for _ in 0..ATTEMPTS {
            let meta = Meta::read(self.ask(&link, &Meta::ask(&self.keys)).await?);
            let meta = meta.ok_or_else(|| self.failed(&Fault::Unexpected))?;
            if meta.id != Some(self.log) {
                return Err(EngineError::Lost);
            }
            let Some(snapshot) = meta.snapshot else { return Ok(None) };
            let chunks = self.read_chunks(&link, &snapshot.name).await?;
            if chunks.len() == snapshot.chunks {
                return Ok(Some((Cursor(snapshot.at), chunks)));
            }
        }
        Err(EngineError::Replaced)
    }

    async fn read_chunks(&self, link: &Link, name: &str) -> Result<Vec<Bytes>, EngineError> {
        let mut chunks = Vec::new();
        loop {
            let mut range = cmd("LRANGE");
            range.arg(self.key(name)).arg(chunks.len()).arg(chunks.len() + READ - 1);
            let Value::Array(read) = self.ask(link, &range).await? else {
                return Err(self.failed(&Fault::Unexpected));
            };
            let is_end = read.len() < READ;
            chunks.extend(read.into_iter().filter_map(bytes).map(Bytes::from));
            if is_end {
                return Ok(chunks);
            }
        }
    }

    async fn write_whole(&self, at: Cursor, chunks: Vec<Bytes>) -> Result<(), EngineError> {
        let link = self.link().await?;
        let (name, count) = (format!("{:016x}", random()?), chunks.len());
        upload(&link, &self.keys, &name, chunks).await.map_err(|fault| self.failed(&fault))?;
        let Some(Proved { run, round }) = self.proved.lock().clone() else {
            return Err(EngineError::Lost);
        };
        let log = Settled { log: self.log, run: &run };
        let switch = scripts::switch(&self.keys, log, round, (&name, count), at.0);
        let answer = bytes(self.ask(&link, &switch).await?).unwrap_or_default();
        if answer == OTHER.as_bytes() {
            Err(EngineError::Lost)
        } else if answer == INCOMPLETE.as_bytes() {
            Err(self.failed(&Fault::Unexpected))
        } else {
            Ok(())
        }
    }

    fn key(&self, name: &str) -> String {
        key(&self.keys, name)
    }

    /// The link that works at the moment; waits for one as long as for an answer.
    async fn link(&self) -> Result<Link, EngineError> {
        let mut links = self.links.clone();
        let link = links.wait_for(Option::is_some);
        let link = tokio::time::timeout(self.speaker.timeout, link).await;
        let link = link.map_err(|_| EngineError::Disconnected)?;
        let link = link.map_err(|_| EngineError::Stopped)?;
        link.clone().ok_or(EngineError::Disconnected)
    }

    async fn ask(&self, link: &Link, command: &Cmd) -> Result<Value, EngineError> {
        link.ask(command).await.map_err(|fault| self.failed(&fault))
    }

    fn failed(&self, fault: &Fault) -> EngineError {
        EngineError::Failed(self.speaker.sentence(fault))
    }
}

/// Writes the chunks of a snapshot. They go after a while, unless a log names them.
pub(super) async fn upload(
    link: &Link,
    keys: &PartitionKeys,
    name: &str,
    chunks: Vec<Bytes>,
) -> Result<(), Fault> {
    let key = key(keys, name);
    for chunk in chunks {
        let mut push = cmd("RPUSH");
        push.arg(&key).arg(&chunk[..]);
        link.ask(&push).await?;
        let mut expire = cmd("EXPIRE"); // should this node end before it is complete
        expire.arg(&key).arg(SPARE_SECONDS);
        link.ask(&expire).await?;
    }
    Ok(())
}

fn key(keys: &PartitionKeys, name: &str) -> String {
    format!("{}{name}", keys.snapshots)
}

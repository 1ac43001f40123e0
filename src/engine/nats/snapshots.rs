//! Snapshots in NATS: parts of chunks, and a manifest that names them. The newest manifest counts.
//!
//! A manifest is only stored if the one before is still the one that its writer has read before it wrote any part. So
//! parts are never removed that a manifest names: a writer removes only what was there before its own.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::api::{OTHER_LAST, Stored};
use super::fault::{Fault, Refusal, Speaker};
use super::follower::MAX_APPEND;
use super::link::{Link, Links};
use super::manifest::Manifest;
use super::names::{PartitionNames, described_log};
use super::parts;
use crate::engine::error::EngineError;
use crate::engine::event::Cursor;
use crate::engine::random::random;
use crate::engine::snapshots::{Snapshot, Store};
use crate::log::LogId;

/// How often a snapshot is read or written, if it is replaced meanwhile.
const ATTEMPTS: usize = 3;

/// The snapshots of a partition.
#[derive(Debug)]
pub(super) struct NatsSnapshots {
    pub(super) names: PartitionNames,
    pub(super) log: LogId,
    pub(super) links: Links,
    pub(super) speaker: Speaker,
    /// How long a snapshot has been the newest before the log is trimmed up to it.
    pub(super) margin: Duration,
}

/// The last manifest.
#[derive(Clone, Debug, Default)]
struct Newest {
    /// Its sequence number; 0: there is none.
    sequence: u64,
    /// When it was stored, in milliseconds of the Unix epoch.
    at: u64,
    /// What it says, if it is of this log.
    manifest: Option<Manifest>,
}

impl Store for NatsSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Snapshot>, EngineError>> {
        Box::pin(async move {
            let link = self.link().await?;
            self.read_newest(&link).await.map_err(|refusal| self.explain(refusal))
        })
    }

    fn write(&self, at: Cursor, chunks: Vec<Bytes>) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            let link = self.link().await?;
            self.write_whole(&link, at, &chunks).await.map_err(|refusal| self.explain(refusal))
        })
    }
}

/// Why a snapshot can't be read or written.
enum Refused {
    Fault(Fault),
    Engine(EngineError),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl NatsSnapshots {
    async fn read_newest(&self, link: &Link) -> Result<Option<Snapshot>, Refused> {
        self.check_log(link).await?;
        for _ in 0..ATTEMPTS {
            let Some(manifest) = self.newest(link).await?.manifest else { return Ok(None) };
            if let Some(chunks) = self.read_chunks(link, &manifest).await? {
                return Ok(Some((Cursor(manifest.at), chunks)));
            }
        }
        Err(EngineError::Replaced.into())
    }

    async fn read_chunks(
        &self,
        link: &Link,
        manifest: &Manifest,
    ) -> Result<Option<Vec<Bytes>>, Fault> {
        let mut chunks = Vec::with_capacity(manifest.chunks.len());
        for parts in &manifest.chunks {
            let Some(chunk) = parts::read(link, &self.names.store, parts).await? else {
                return Ok(None);
            };
            chunks.push(chunk);
        }
        Ok(Some(chunks))
    }

    async fn write_whole(&self, link: &Link, at: Cursor, chunks: &[Bytes]) -> Result<(), Refused> {
        self.check_log(link).await?;
        for _ in 0..ATTEMPTS {
            let before = self.newest(link).await?;
            if before.manifest.as_ref().is_some_and(|manifest| manifest.at > at.0) {
                return Ok(());
            }
            let name = format!("{:016x}", random()?);
            let subject = self.names.parts_of(&name);
            let floor = self.floor(link, at, &before).await?;
            let (log, at) = (self.log.0, at.0);
            let mut manifest = Manifest { log, at, name, chunks: Vec::new(), floor };
            for chunk in chunks {
                manifest.chunks.push(parts::write(link, &subject, chunk).await?);
            }
            let stored = link.store(&self.names.manifests, manifest.write(), Some(before.sequence));
            match stored.await {
                Ok(sequence) => {
                    self.tidy(link, (sequence, &manifest.name), &before).await?;
                    return Ok(());
                }
                Err(Fault::JetStream(Refusal { code: OTHER_LAST, .. })) => {
                    let last = manifest.chunks.iter().flatten().max().copied().unwrap_or(0);
                    link.purge(&self.names.store, &subject, last + 1).await?;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(EngineError::Replaced.into())
    }

    /// Sequence number before which no batch behind this snapshot has a part: that of the manifest before, if it is
    /// older than any append that may still come behind the snapshot's last batch; else what that one says.
    async fn floor(&self, link: &Link, at: Cursor, before: &Newest) -> Result<u64, Fault> {
        let Some(manifest) = &before.manifest else { return Ok(0) };
        if at.0 == 0 {
            return Ok(0);
        }
        let last = link.get(&self.names.log, at.0).await?.map_or(0, |stored| stored.at);
        let is_old = before.at.saturating_add(2 * milliseconds(MAX_APPEND)) < last;
        Ok(if is_old { before.sequence } else { manifest.floor })
    }

    /// Removes what isn't needed any more. This snapshot and the one before stay, for who is reading them; and so does
    /// the log behind the one before, or more if that hasn't been the newest for long.
    async fn tidy(
        &self,
        link: &Link,
        (sequence, name): (u64, &str),
        before: &Newest,
    ) -> Result<(), Fault> {
        let names = &self.names;
        let mut needed = vec![names.parts_of(name), names.parts_of_batches()];
        needed.extend(before.manifest.iter().map(|manifest| names.parts_of(&manifest.name)));
        for subject in link.subjects(&names.store, &names.parts_of("*")).await? {
            if !needed.contains(&subject) {
                link.purge(&names.store, &subject, sequence).await?;
            }
        }
        link.purge(&names.store, &names.manifests, before.sequence).await?;
        let Some(manifest) = &before.manifest else { return Ok(()) };
        let now = link.get(&names.store, sequence).await?.map_or(0, |stored| stored.at);
        if now.saturating_sub(before.at) >= milliseconds(self.margin) {
            link.purge(&names.log, &names.subject, manifest.at).await?;
            link.purge(&names.store, &names.parts_of_batches(), manifest.floor).await?;
        }
        Ok(())
    }

    async fn newest(&self, link: &Link) -> Result<Newest, Fault> {
        let last = link.last(&self.names.store, &self.names.manifests).await?;
        Ok(last.map_or_else(Newest::default, |Stored { sequence, at, payload }| {
            let manifest = Manifest::read(&payload).filter(|it| it.log == self.log.0);
            Newest { sequence, at, manifest }
        }))
    }

    /// Whether the log is still there.
    async fn check_log(&self, link: &Link) -> Result<(), Refused> {
        let info = link.info(&self.names.log).await?;
        if described_log(&info.config.description) == Some(self.log) {
            Ok(())
        } else {
            Err(EngineError::Lost.into())
        }
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

    fn explain(&self, refused: Refused) -> EngineError {
        match refused {
            Refused::Engine(error) => error,
            Refused::Fault(Fault::NoStream) => EngineError::Lost,
            Refused::Fault(fault) => EngineError::Failed(self.speaker.sentence(&fault)),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! Snapshots in NATS: parts of chunks, and a manifest that names them. The newest manifest counts.
//!
//! A manifest is only stored if the one before is still the one that its writer has read before it wrote any part. So
//! parts are never removed that a manifest names: a writer removes only what was there before its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::api::{OTHER_LAST, Stored};
use super::fault::{Fault, Refusal, Speaker};
use super::follower::MAX_APPEND;
use super::link::{Link, Links};
use super::manifest::Manifest;
use super::names::PartitionNames;
use super::parts;
use super::places::{Places, Start};
use super::run;
use super::settlement::{Branch, Kind, PutBack, Settlement};
use crate::engine::error::EngineError;
use crate::engine::event::Cursor;
use crate::engine::random::random;
use crate::engine::snapshots::{Snapshot, Store};
use crate::log::LogId;

/// How often a snapshot is read or written, if it is replaced meanwhile.
const ATTEMPTS: usize = 3;

/// How often it is asked whether a log is settled.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The snapshots of a partition.
#[derive(Debug)]
pub(super) struct NatsSnapshots {
    pub(super) names: PartitionNames,
    pub(super) log: LogId,
    pub(super) places: Arc<Places>,
    pub(super) links: Links,
    pub(super) speaker: Speaker,
    /// Maximum time for which nodes wait for each other when NATS has lost something.
    pub(super) lease: Duration,
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
    /// What it says, if it is of the log's branch.
    manifest: Option<Manifest>,
}

/// The last settlement of a log, with its sequence number.
#[derive(Clone, Debug)]
struct Standing {
    sequence: u64,
    settlement: Settlement,
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
        for _ in 0..ATTEMPTS {
            let Some(Standing { settlement, .. }) = self.settled(link).await? else {
                return Ok(None);
            };
            let branch = settlement.branch;
            let newest = self.newest(link, &branch).await?.manifest;
            let (start, parts) = if let Some(Manifest { at, sequence, chunks, .. }) = newest {
                let ahead = at.wrapping_sub(sequence);
                (Start { branch: branch.name, cursor: at, read: sequence, ahead }, chunks)
            } else {
                let Some(put_back) = self.beginning(&branch, link).await? else {
                    return Ok(None);
                };
                let PutBack { at, chunks, .. } = put_back;
                let (read, ahead) = (branch.sequence - 1, branch.ahead());
                (Start { branch: branch.name, cursor: at, read, ahead }, chunks)
            };
            if let Some(chunks) = self.read_chunks(link, &parts).await? {
                self.places.set_start(start);
                return Ok(Some((Cursor(start.cursor), chunks)));
            }
        }
        Err(EngineError::Replaced.into())
    }

    async fn read_chunks(
        &self,
        link: &Link,
        chunks: &[Vec<u64>],
    ) -> Result<Option<Vec<Bytes>>, Fault> {
        let mut read = Vec::with_capacity(chunks.len());
        for parts in chunks {
            let Some(chunk) = parts::read(link, &self.names.store, parts).await? else {
                return Ok(None);
            };
            read.push(chunk);
        }
        Ok(Some(read))
    }

    /// What a branch begins with.
    async fn beginning(&self, branch: &Branch, link: &Link) -> Result<Option<PutBack>, Fault> {
        let first = link.get(&self.names.log, branch.sequence).await?;
        let first = first.and_then(|it| Settlement::read(self.log, it.sequence, &it.payload));
        match first.map(|first| first.kind) {
            Some(Kind::Begins { put_back, .. }) => Ok(put_back),
            Some(Kind::GoesOn { .. } | Kind::Doubted) | None => Ok(None),
        }
    }

    /// The last settlement. While there is none, or the log is doubted, nodes may be putting it back, so they are waited
    /// for; `None`: they don't.
    async fn settled(&self, link: &Link) -> Result<Option<Standing>, Refused> {
        let mut waited = Duration::ZERO;
        loop {
            let standing = self.standing(link).await?;
            let standing = standing.filter(|standing| !standing.settlement.is_by_newcomer());
            if standing.as_ref().is_some_and(|standing| !standing.settlement.is_doubted())
                || waited >= 2 * self.lease
            {
                return Ok(standing);
            }
            tokio::time::sleep(ASK_AGAIN).await;
            waited += ASK_AGAIN;
        }
    }

    async fn standing(&self, link: &Link) -> Result<Option<Standing>, Fault> {
        let last = link.last(&self.names.log, &self.names.settlements).await?;
        Ok(last.and_then(|Stored { sequence, payload, .. }| {
            let settlement = Settlement::read(self.log, sequence, &payload)?;
            Some(Standing { sequence, settlement })
        }))
    }

    async fn write_whole(&self, link: &Link, at: Cursor, chunks: &[Bytes]) -> Result<(), Refused> {
        for _ in 0..ATTEMPTS {
            let standing = self.standing(link).await?.ok_or(EngineError::Lost)?;
            let Settlement { branch, run, .. } = standing.settlement;
            let lasts = run::lasts(link, &self.names.log, run).await?;
            if standing.settlement.is_doubted() || !lasts {
                return Err(EngineError::Lost.into());
            }
            let Some(end) = self.places.sequence(&branch, at.0) else { return Ok(()) }; // it is over
            let before = self.newest(link, &branch).await?;
            if before.manifest.as_ref().is_some_and(|manifest| manifest.at > at.0) {
                return Ok(());
            }
            let name = format!("{:016x}", random()?);
            let subject = self.names.parts_of(&name);
            let floor = self.floor(link, end, &before).await?;
            let (log, at, branch) = (self.log.0, at.0, branch.name);
            let trimmed = before.manifest.as_ref().map_or(0, |manifest| manifest.sequence);
            let mut manifest = Manifest {
                log,
                at,
                branch,
                sequence: end,
                name,
                chunks: Vec::new(),
                floor,
                trimmed,
            };
            for chunk in chunks {
                manifest.chunks.push(parts::write(link, &subject, chunk).await?);
            }
            let stored = link.store(&self.names.manifests, manifest.write(), Some(before.sequence));
            match stored.await {
                Ok(sequence) => {
                    self.tidy(link, (sequence, &manifest.name), &before, &standing).await?;
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
    async fn floor(&self, link: &Link, end: u64, before: &Newest) -> Result<u64, Fault> {
        let Some(manifest) = &before.manifest else { return Ok(0) };
        let last = link.get(&self.names.log, end).await?.map_or(0, |stored| stored.at);
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
        standing: &Standing,
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
            self.trim(link, (manifest.sequence, sequence), standing).await?;
            link.purge(&names.store, &names.parts_of_batches(), manifest.floor).await?;
        }
        Ok(())
    }

    /// Trims the log, up to a message, when a snapshot was stored. The last settlement is said again if it is in what goes.
    async fn trim(
        &self,
        link: &Link,
        (before, stored): (u64, u64),
        standing: &Standing,
    ) -> Result<(), Fault> {
        let names = &self.names;
        if standing.sequence < before {
            let again = standing.settlement.again().write();
            match link.store(&names.settlements, again, Some(standing.sequence)).await {
                Ok(sequence) => link.purge(&names.log, &names.settlements, sequence).await?,
                Err(Fault::JetStream(Refusal { code: OTHER_LAST, .. })) => return Ok(()), // trimmed later
                Err(fault) => return Err(fault),
            }
        }
        for subject in link.subjects(&names.store, &names.all_put_back()).await? {
            link.purge(&names.store, &subject, stored).await?;
        }
        link.purge(&names.log, &names.subject, before).await
    }

    async fn newest(&self, link: &Link, branch: &Branch) -> Result<Newest, Fault> {
        let last = link.last(&self.names.store, &self.names.manifests).await?;
        Ok(last.map_or_else(Newest::default, |Stored { sequence, at, payload, .. }| {
            let manifest = Manifest::read(&payload).filter(|it| it.is_of(self.log, branch));
            Newest { sequence, at, manifest }
        }))
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

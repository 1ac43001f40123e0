//! Keeps the connection, and learns of snapshots.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::fault::Fault;
use super::link::Link;
use super::manifest::Manifest;
use super::names::partition_of;
use super::notices::Notices;
use super::streams::Streams;
use super::tail::{Pulled, Start, Tail};
use crate::engine::backoff::Backoff;
use crate::engine::event::Cursor;
use crate::engine::fault_log::FaultLog;
use crate::engine::feed::Progress;
use crate::log::LogId;

/// How often NATS is asked for something, at least.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps a connection, and has another one made when it fails.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) connector: Connector,
    pub(super) streams: Arc<Streams>,
    pub(super) notices: Arc<Notices>,
    /// All partitions; their numbers are the indexes.
    pub(super) partitions: Vec<(LogId, Arc<Progress>)>,
    pub(super) links: watch::Sender<Option<Link>>,
    pub(super) backoff: Backoff,
    pub(super) log: FaultLog,
}

impl Supervisor {
    /// Works until the stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) -> Infallible {
        for number in 1.. {
            let fault = match self.connector.connect(number).await {
                Ok(link) => {
                    self.links.send_replace(Some(link.clone()));
                    let fault = tokio::select! {
                        fault = link.fault() => fault,
                        fault = self.watch(&link) => fault,
                    };
                    link.report(fault.clone());
                    self.links.send_replace(None);
                    fault
                }
                Err(fault) => fault,
            };
            self.log.fault(fault.kind(), self.connector.speaker().sentence(&fault));
            self.backoff.wait().await;
        }
        std::future::pending().await
    }

    /// Learns of snapshots again and again, until that fails.
    async fn watch(&mut self, link: &Link) -> Fault {
        loop {
            match self.follow_snapshots(link).await {
                // the followers find out what has become of the logs
                Err(fault @ (Fault::NoStream | Fault::NoConsumer)) => {
                    if let Fault::NoStream = fault {
                        self.log.fault(fault.kind(), self.connector.speaker().sentence(&fault));
                        self.streams.open_store(link).await.ok(); // or the next time
                    }
                    self.notices.note_loss();
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
                Err(fault) => return fault,
            }
        }
    }

    async fn follow_snapshots(&mut self, link: &Link) -> Result<Infallible, Fault> {
        let names = &self.streams.names;
        let manifests = names.manifests();
        let times = (CHECK_INTERVAL, self.connector.speaker().timeout);
        let start = Start::LastOf(&manifests);
        let mut tail = Tail::open(link, &names.store(), start, times).await?;
        let mut end = 0;
        loop {
            match tail.next().await? {
                Pulled::Message(message) => self.note(&message.subject, &message.payload),
                Pulled::Idle => {
                    let logs = self.notices.take_put_back();
                    if logs > 0 {
                        self.log.restored(logs);
                    }
                    self.backoff.reset();
                    self.log.connected(&self.connector.speaker().address);
                    let state = link.info(&names.store()).await?.state;
                    if end > 0 && state.first_seq > end {
                        self.notices.note_loss(); // it was purged
                    }
                    end = state.last_seq;
                }
            }
        }
    }

    fn note(&self, subject: &str, message: &[u8]) {
        if let Some(partition) = partition_of(subject)
            && let Some((log, progress)) = self.partitions.get(partition)
            && let Some(manifest) = Manifest::read(message)
            && manifest.log == log.0
        {
            progress.note_snapshot(Cursor(manifest.at));
        }
    }
}

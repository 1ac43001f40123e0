//! Keeps the connections to a server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd, pipe};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::entry::bytes;
use super::fault::Fault;
use super::inbox::{Input, News, Outlet};
use super::keys::{ClusterKeys, PartitionKeys};
use super::link::{self, Faults, Link};
use super::meta::Meta;
use crate::engine::backoff::Backoff;
use crate::engine::fault_log::FaultLog;
use crate::engine::feed::Progress;
use crate::engine::recent::Entry;

/// How often the heads of all logs are asked for.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the Sentinels are asked where the primary is, in checks: a server that they have replaced may go on.
const CHECKS_A_LOOK: u32 = 5;

/// A partition, as the supervisor knows it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) keys: PartitionKeys,
    pub(super) progress: Arc<Progress>,
    pub(super) outlet: Outlet,
}

/// Keeps two connections to a server, and has them made anew when one fails.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) connector: Connector,
    pub(super) keys: ClusterKeys,
    /// All partitions; their numbers are the indexes.
    pub(super) partitions: Arc<[Followed]>,
    /// Number of logs that this node has put back, to be logged.
    pub(super) put_back: Arc<AtomicU64>,
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
        let (faults, mut reported) = Faults::new();
        for number in 1.. {
            let fault = match self.connect(number, &faults).await {
                Ok((link, subscribed)) => {
                    self.links.send_replace(Some(link.clone()));
                    let fault = tokio::select! {
                        fault = next_fault(&mut reported, number) => fault,
                        fault = self.check(&link, &subscribed) => fault,
                    };
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

    /// Makes both connections, and subscribes to all channels.
    async fn connect(
        &self,
        number: u64,
        faults: &Faults,
    ) -> Result<(Link, MultiplexedConnection), Fault> {
        let ((subscribed, one), (commands, run)) = tokio::try_join!(
            self.connector.connect(self.receiver(number, faults)),
            self.connector.connect(self.receiver(number, faults)),
        )?;
        if one.id != run.id {
            return Err(Fault::Closed); // it has restarted in between
        }
        let mut subscribe = pipe();
        for partition in &*self.partitions {
            // one each: each acknowledgement is an answer
            subscribe.cmd("SUBSCRIBE").arg(&partition.keys.channel);
        }
        link::ask_all(&subscribed, &subscribe).await?;
        Ok((Link::new(number, run, commands, faults.clone()), subscribed))
    }

    /// What a connection calls with what it gets. It never waits.
    fn receiver(&self, link: u64, faults: &Faults) -> impl Fn(PushInfo) + Send + Sync + 'static {
        let (keys, partitions) = (self.keys.clone(), Arc::clone(&self.partitions));
        let faults = faults.clone();
        move |PushInfo { kind, data }| {
            if kind == PushKind::Disconnection {
                faults.report(link, Fault::Closed);
            } else if kind == PushKind::Message
                && let Some((partition, news)) = published(&keys, data)
                && let Some(partition) = partitions.get(partition)
            {
                partition.outlet.send(Input { link, news });
            }
        }
    }

    /// Asks for the heads of all logs again and again, until that fails.
    async fn check(&mut self, link: &Link, subscribed: &MultiplexedConnection) -> Fault {
        let mut checks = 0_u32;
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            checks = checks.wrapping_add(1);
            if checks.is_multiple_of(CHECKS_A_LOOK)
                && let Some(primary) = self.connector.primary().await
                && primary != *link.place
            {
                return Fault::Moved;
            }
            if let Err(fault) = self.check_once(link, subscribed).await {
                return fault;
            }
            let logs = self.put_back.swap(0, Ordering::Relaxed);
            if logs > 0 {
                self.log.restored(logs);
            }
            self.backoff.reset();
            self.log.connected(&self.connector.speaker().address);
        }
    }

    async fn check_once(
        &self,
        link: &Link,
        subscribed: &MultiplexedConnection,
    ) -> Result<(), Fault> {
        let delivered: Vec<_> =
            self.partitions.iter().map(|partition| partition.progress.delivered()).collect();
        let mut ask = pipe();
        for partition in &*self.partitions {
            ask.add_command(Meta::ask(&partition.keys));
        }
        let metas = link.ask_all(&ask).await?;
        // what was published before is delivered before this is answered
        link::ask(subscribed, &cmd("PING")).await?;
        for ((partition, meta), delivered) in self.partitions.iter().zip(metas).zip(delivered) {
            let meta = Meta::read(meta).ok_or(Fault::Unexpected)?;
            let news = News::Checked { meta, delivered };
            partition.outlet.send(Input { link: link.number, news });
        }
        Ok(())
    }
}

/// The first fault of a link; those of earlier ones are past.
async fn next_fault(faults: &mut mpsc::Receiver<(u64, Fault)>, link: u64) -> Fault {
    loop {
        match faults.recv().await {
            Some((number, fault)) if number == link => return fault,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// A message: its partition, and the entry.
fn published(keys: &ClusterKeys, data: Vec<Value>) -> Option<(usize, News)> {
    let [channel, message] = <[Value; 2]>::try_from(data).ok()?;
    let Value::BulkString(channel) = channel else { return None };
    let (log, entry) = Entry::from_message(bytes(message)?)?;
    Some((keys.partition_of(&channel)?, News::Published(log, entry)))
}

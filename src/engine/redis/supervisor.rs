//! Keeps the connections to a server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{ConnectionInfo, PushInfo, PushKind, Value};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::entry::bytes;
use super::fault::Fault;
use super::inbox::{Input, News};
use super::keys::ClusterKeys;
use super::link::{Faults, Link};
use super::pair::Pair;
use super::shared::Shared;
use crate::engine::backoff::Backoff;
use crate::engine::fault_log::FaultLog;
use crate::engine::recent::Entry;

/// How often the heads of all logs are asked for.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps two connections to a server, and has them made anew when one fails.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) connector: Connector,
    pub(super) server: ConnectionInfo,
    pub(super) shared: Shared,
    /// The partitions that the server has.
    pub(super) assigned: watch::Receiver<Vec<u16>>,
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
        loop {
            let number = self.shared.links.fetch_add(1, Ordering::Relaxed) + 1;
            let fault = match self.connect(number, &faults).await {
                Ok(mut pair) => tokio::select! {
                    fault = next_fault(&mut reported, number) => fault,
                    fault = self.keep(&mut pair) => fault,
                },
                Err(fault) => fault,
            };
            self.log.fault(fault.kind(), self.connector.speaker().sentence(&fault));
            self.shared.look.notify_one();
            self.backoff.wait().await;
        }
    }

    /// Makes both connections, and gives the partitions their link.
    async fn connect(&mut self, number: u64, faults: &Faults) -> Result<Pair, Fault> {
        let receive = || receiver(&self.shared, number, faults);
        let ((subscribed, one), (commands, run)) = tokio::try_join!(
            self.connector.connect(&self.server, receive()),
            self.connector.connect(&self.server, receive()),
        )?;
        if one.id != run.id {
            return Err(Fault::Closed); // it has restarted in between
        }
        let look = Arc::clone(&self.shared.look);
        let link = Link::new(number, run, commands, faults.clone(), look);
        let mut pair = Pair::new(link, subscribed, Arc::clone(&self.shared.partitions));
        let assigned = self.assigned.borrow_and_update().clone();
        pair.serve(&assigned).await?;
        Ok(pair)
    }

    /// Asks for the heads of all logs again and again, until that fails.
    async fn keep(&mut self, pair: &mut Pair) -> Fault {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
                Ok(()) = self.assigned.changed() => {}
            }
            let assigned = self.assigned.borrow_and_update().clone();
            let checked = async {
                pair.serve(&assigned).await?;
                pair.check().await
            };
            if let Err(fault) = checked.await {
                return fault;
            }
            let logs = self.shared.put_back.swap(0, Ordering::Relaxed);
            if logs > 0 {
                self.log.restored(logs);
            }
            self.backoff.reset();
            self.log.connected(&self.connector.speaker().address);
        }
    }
}

/// What a connection calls with what it gets. It never waits.
fn receiver(
    shared: &Shared,
    link: u64,
    faults: &Faults,
) -> impl Fn(PushInfo) + Send + Sync + 'static {
    let (keys, partitions) = (shared.keys.clone(), Arc::clone(&shared.partitions));
    let faults = faults.clone();
    move |PushInfo { kind, data }| {
        if kind == PushKind::Disconnection {
            faults.report(link, Fault::Closed);
        } else if kind == PushKind::SUnsubscribe {
            // unasked, as a slot has moved; the client has taken it for the answer to something
            faults.report(link, Fault::Moved);
        } else if matches!(kind, PushKind::Message | PushKind::SMessage)
            && let Some((partition, news)) = published(&keys, data)
            && let Some(partition) = partitions.get(partition)
        {
            partition.outlet.send(Input { link, news });
        }
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
    let (round, entry) = Entry::from_message(bytes(message)?)?;
    Some((keys.partition_of(&channel)?, News::Published(round, entry)))
}

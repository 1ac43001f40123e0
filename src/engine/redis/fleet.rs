//! The servers that are used: a supervisor each, for as long as they have partitions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::fault::Fault;
use super::locator::Locator;
use super::shared::Shared;
use super::supervisor::Supervisor;
use super::topology::{Server, Topology};
use crate::engine::backoff::Backoff;
use crate::engine::fault_log::{EngineFaults, FaultLog};

/// How often it is looked which server has which partitions, at least: a server that was replaced may go on.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two looks, at least.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Keeps a supervisor for each server that has partitions.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) locator: Locator,
    pub(super) shared: Shared,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) faults: EngineFaults,
    /// The log of the opening, for the first supervisor.
    pub(super) log: Option<FaultLog>,
    /// Random, for pauses.
    pub(super) seed: u64,
    pub(super) running: BTreeMap<String, Running>,
}

/// A server with a supervisor. That ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    assigned: watch::Sender<Vec<u16>>,
    _stop: DropGuard,
}

impl Fleet {
    /// Works until the stop.
    pub(super) async fn run(mut self, topology: Topology) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.work(topology)).await;
    }

    async fn work(&mut self, topology: Topology) -> Infallible {
        self.assign(topology);
        // why it isn't known where all partitions are
        let mut log: Option<FaultLog> = None;
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            tokio::time::timeout(LOOK_INTERVAL, self.shared.look.notified()).await.ok();
            let fault = match self.locator.locate().await {
                Ok(topology) => {
                    let missing = topology.missing;
                    self.assign(topology);
                    (missing > 0).then_some(Fault::Uncovered)
                }
                // what is in use goes on
                Err(fault) => Some(fault).filter(|_| !self.is_any_linked()),
            };
            match fault {
                Some(fault) => {
                    let sentence =
                        self.locator.connector(self.locator.address()).speaker().sentence(&fault);
                    log.get_or_insert_with(|| self.faults.log()).fault(fault.kind(), sentence);
                }
                None => log = None,
            }
        }
    }

    /// Whether any partition has a link.
    fn is_any_linked(&self) -> bool {
        self.shared.partitions.iter().any(|partition| partition.link.borrow().is_some())
    }

    /// Gives each server its partitions.
    fn assign(&mut self, topology: Topology) {
        self.running.retain(|place, _| topology.servers.contains_key(place));
        for (place, Server { info, partitions }) in topology.servers {
            if let Some(running) = self.running.get(&place) {
                running.assigned.send_if_modified(|assigned| {
                    let is_new = *assigned != partitions;
                    *assigned = partitions;
                    is_new
                });
                continue;
            }
            let (assigned, of_server) = watch::channel(partitions);
            self.seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let supervisor = Supervisor {
                connector: self.locator.connector(&place),
                server: info,
                shared: self.shared.clone(),
                assigned: of_server,
                backoff: Backoff::new(self.seed),
                log: self.log.take().unwrap_or_else(|| self.faults.log()),
            };
            let stop = self.stop.child_token();
            self.tasks.spawn(supervisor.run(stop.clone()));
            self.running.insert(place, Running { assigned, _stop: stop.drop_guard() });
        }
    }
}

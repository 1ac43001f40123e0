//! All addresses of the application, and which is next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::connect::Connector;
use super::peer::{Line, Peer, State};
use crate::config::RpcServer;

/// Time after which names are resolved anew, since an application may have got more addresses.
const RESOLVE: Duration = Duration::from_secs(30);

/// Minimum time between two resolutions, of which each lost connection asks for one.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);

/// The addresses.
#[derive(Debug)]
pub(super) struct Channel {
    servers: Vec<RpcServer>,
    connector: Connector,
    peers: Mutex<Peers>,
    turn: AtomicUsize,
    /// A peer is connected, or failed.
    changed: Arc<Notify>,
    /// A peer is lost.
    lost: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Peers {
    all: Vec<Arc<Peer>>,
    /// Why names have no addresses.
    unresolved: Option<String>,
    /// Whether names were resolved once.
    is_known: bool,
}

/// What the next call can have.
enum Pick {
    Line(Line, Arc<Peer>),
    Wait,
    None(String),
}

impl Channel {
    pub(super) fn start(
        servers: Vec<RpcServer>,
        connector: Connector,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Arc<Self> {
        let channel = Arc::new(Self {
            servers,
            connector,
            peers: Mutex::default(),
            turn: AtomicUsize::new(0),
            changed: Arc::new(Notify::new()),
            lost: Arc::new(Notify::new()),
            tasks: tasks.clone(),
            stop,
        });
        tasks.spawn(Arc::clone(&channel).run());
        channel
    }

    /// The connection that is next, or why there is none. Waits for one that is being opened.
    pub(super) async fn take(&self) -> Result<(Line, Arc<Peer>), String> {
        loop {
            let changed = self.changed.notified();
            match self.pick() {
                Pick::Line(line, peer) => return Ok((line, peer)),
                Pick::Wait => changed.await,
                Pick::None(why) => return Err(why),
            }
        }
    }

    fn pick(&self) -> Pick {
        let peers = self.peers.lock();
        let count = peers.all.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (mut waits, mut why) = (!peers.is_known, peers.unresolved.clone());
        for at in 0..count {
            let Some(peer) = peers.all.get(turn.wrapping_add(at) % count) else { continue };
            match peer.state() {
                State::Connected(line) => return Pick::Line(line, Arc::clone(peer)),
                State::Connecting => waits = true,
                State::Failed(error) => {
                    peer.is_needed();
                    why = Some(error);
                }
            }
        }
        if waits {
            return Pick::Wait;
        }
        self.lost.notify_one();
        Pick::None(why.unwrap_or_else(|| "its name has no address".to_owned()))
    }

    /// Resolves names, and keeps their addresses connected.
    async fn run(self: Arc<Self>) {
        let turns = async {
            loop {
                self.resolve().await;
                tokio::time::sleep(RESOLVE_AGAIN).await;
                drop(tokio::time::timeout(RESOLVE, self.lost.notified()).await);
            }
        };
        self.stop.run_until_cancelled(turns).await;
        self.peers.lock().all.iter().for_each(|peer| peer.retired.cancel());
    }

    async fn resolve(&self) {
        let (mut found, mut failed) = (Vec::new(), None);
        for server in &self.servers {
            match tokio::net::lookup_host((server.host.as_str(), server.port)).await {
                Ok(addresses) => {
                    found.extend(addresses.map(|address| (address, server.host.clone())));
                }
                Err(error) => failed = Some(format!("{server}: {error}")),
            }
        }
        let mut peers = self.peers.lock();
        peers.is_known = true;
        peers.unresolved = failed;
        // a name that can't be resolved now keeps its addresses
        if peers.unresolved.is_none() {
            let is_there = |peer: &Arc<Peer>| {
                found.iter().any(|(address, host)| *address == peer.address && *host == peer.host)
            };
            peers.all.retain(|peer| {
                let stays = is_there(peer);
                if !stays {
                    peer.retired.cancel();
                }
                stays
            });
        }
        for (address, host) in found {
            self.add(&mut peers.all, address, host);
        }
        drop(peers);
        self.changed.notify_waiters();
    }

    fn add(&self, peers: &mut Vec<Arc<Peer>>, address: SocketAddr, host: String) {
        if peers.iter().any(|peer| peer.address == address && peer.host == host) {
            return;
        }
        let peer = Peer::new(address, host);
        let notify = (Arc::clone(&self.changed), Arc::clone(&self.lost));
        let run = Arc::clone(&peer).run(self.connector.clone(), notify, self.tasks.clone());
        self.tasks.spawn(run);
        peers.push(peer);
    }
}

//! What all nodes do when one of them is asked to.
//!
//! ```text
//! disconnect() ─▶ Job::Ask ─▶ the log ─▶ Heard, on every node ─▶ it ends its own sessions
//!      ▲                                                              │
//!      └─ the sum ◀─ the log ◀─ Job::Answer ◀─────────────────────────┘
//! ```
//!
//! Without other nodes, it is done at once.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::router::{Router, Unavailable};
use super::sessions::Sessions;
use crate::cluster::{Ask, Heard};
use crate::outbound::Identities;
use crate::types::Names;

/// Maximum of what is done at a time for the other nodes.
const AT_ONCE: usize = 256;

/// What all nodes do when one of them is asked to.
#[derive(Debug)]
pub struct Peers {
    router: Arc<Router>,
    /// The nodes, if there are several.
    cluster: Option<Arc<Cluster>>,
    /// Connections of this node by the identity of their clients.
    identities: Arc<Identities>,
    /// Sessions of this node that can be resumed.
    sessions: Arc<Sessions>,
}

impl Peers {
    /// A node with its connections and sessions.
    pub fn new(
        router: Arc<Router>,
        cluster: Option<Arc<Cluster>>,
        identities: Arc<Identities>,
        sessions: Arc<Sessions>,
    ) -> Arc<Self> {
        Arc::new(Self { router, cluster, identities, sessions })
    }

    /// Ends a user's sessions on all nodes, and returns their number. They get what was published before through this
    /// node, and nothing that is published later.
    pub async fn disconnect(&self, names: Names, reconnect: bool) -> Result<u64, Unavailable> {
        let Some(cluster) = &self.cluster else {
            return Ok(self.disconnect_own(names, reconnect).await);
        };
        let asked = async {
            self.router.sync_all().await?; // what was published before is in the logs
            let after = cluster.reading();
            self.router.ask_nodes(Ask::Disconnect { names, reconnect, after }).await
        };
        self.router.within(asked).await
    }

    /// Does what this node is asked, for ever.
    pub async fn serve(self: Arc<Self>, mut asked: mpsc::Receiver<Heard>) {
        let asked = stream::poll_fn(|task| asked.poll_recv(task));
        asked.for_each_concurrent(AT_ONCE, |heard| self.follow(heard)).await;
    }

    async fn follow(&self, Heard { by, ask }: Heard) {
        let sessions = match ask {
            Ask::Disconnect { names, reconnect, after } => {
                // a log that is that late is a reason to wait no longer
                self.router.reach(&after).await.ok();
                let sessions = self.disconnect_own(names, reconnect).await;
                self.router.wait_ended().await;
                sessions
            }
        };
        self.router.answer(by, sessions).await;
    }

    /// Ends a user's sessions on this node.
    async fn disconnect_own(&self, names: Names, reconnect: bool) -> u64 {
        // in this order: a session resumed in between is found among the connections
        let parked = self.sessions.disconnect(names);
        let connected = self.identities.disconnect(names, reconnect);
        let sessions = parked.len() + connected.count;
        for waiting in parked.iter().flat_map(|session| self.router.forget(session)) {
            waiting.wait().await;
        }
        connected.ended().await;
        tracing::debug!(sessions, reconnect, "sessions ended by the application");
        sessions as u64
    }
}

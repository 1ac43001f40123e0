//! What the nodes do for each other: they end a user's sessions, and part with sessions that are resumed elsewhere.
//!
//! ```text
//! disconnect(), claim() ─▶ Job::Ask ─▶ the log ─▶ Heard, on each node that is asked ─▶ it does so
//!          ▲                                                                              │
//!          └─ all answers together ◀─ the log ◀─ Job::Answer ◀────────────────────────────┘
//! ```
//!
//! Without other nodes, it is done at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::router::{Router, Unavailable};
use super::sessions::{Claim, Sessions};
use crate::cluster::{Answer, Ask, Heard};
use crate::log::{NodeId, SessionChange};
use crate::outbound::Identities;
use crate::session::Session;
use crate::types::{Identity, Names, SessionId};

/// Maximum of what is done at a time for the other nodes.
const AT_ONCE: usize = 256;

/// Maximum time for which to wait until another node has parted with a session. Then what is parked of it by now is
/// resumed.
const PARTING: Duration = Duration::from_secs(2);

/// What the nodes do for each other.
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
            let ask = Ask::Disconnect { names, reconnect, after };
            let Answer { sessions, .. } = self.router.ask_nodes(None, ask).await?;
            Ok(sessions.saturating_add(self.forget_left(cluster, names).await))
        };
        self.router.within(asked).await
    }

    /// Resumes a session of this node, or says that another one had it; the identity must match.
    pub fn claim(&self, sid: SessionId, identity: Identity) -> Claim {
        let node = NodeId::of(sid);
        match &self.cluster {
            Some(cluster) if cluster.node != node => {
                let may_be = cluster.is_member(node) || cluster.parked.has(sid);
                if may_be { Claim::Elsewhere(sid) } else { Claim::Unknown }
            }
            Some(_) | None => self.sessions.claim(sid, identity),
        }
    }

    /// Claims a session that another node had. If that one is there, it parts with the session once. Else whoever comes
    /// may resume what is parked of it: a subscription is resumed once, too.
    pub async fn claim_elsewhere(&self, sid: SessionId, identity: Identity) -> Claim {
        let Some(cluster) = &self.cluster else { return Claim::Unknown };
        let node = NodeId::of(sid);
        if cluster.is_member(node) {
            let ask = self.router.ask_nodes(Some(node), Ask::Release { session: sid, identity });
            let answer = tokio::time::timeout(PARTING, ask).await;
            if let Ok(Ok(Answer { sessions, after })) = answer {
                if sessions == 0 && cluster.is_member(node) {
                    return Claim::Unknown;
                }
                // if this takes too long, less is found
                self.router.reach(&after).await.ok();
                self.router.sync_all().await.ok(); // of a node that is gone, too
            }
        }
        match cluster.parked.session(sid) {
            None => Claim::Unknown,
            Some(session) if !session.identity().may_be_resumed_by(identity) => Claim::Denied,
            Some(session) => Claim::Ready(Box::new(session)),
        }
    }

    /// Does what this node is asked, for ever.
    pub async fn serve(self: Arc<Self>, mut asked: mpsc::Receiver<Heard>) {
        let asked = stream::poll_fn(|task| asked.poll_recv(task));
        asked.for_each_concurrent(AT_ONCE, |heard| self.follow(heard)).await;
    }

    async fn follow(&self, Heard { by, ask }: Heard) {
        let answer = match ask {
            Ask::Disconnect { names, reconnect, after } => {
                // a log that is that late is a reason to wait no longer
                self.router.reach(&after).await.ok();
                let sessions = self.disconnect_own(names, reconnect).await;
                self.router.wait_ended(&self.router.all_places()).await;
                Answer { sessions, ..Answer::default() }
            }
            Ask::Release { session, identity } => {
                self.release(session, identity).await.unwrap_or_default()
            }
        };
        self.router.answer(by, answer).await;
    }

    /// Parts with a session of this node, which is parked then in the logs that the answer names.
    async fn release(&self, sid: SessionId, identity: Identity) -> Option<Answer> {
        let session = self.sessions.claim(sid, identity).wait().await?;
        let mut places = self.router.places(session.streams().map(|(_, stream)| stream));
        self.router.wait_ended(&places).await;
        if session.has_channels() {
            // behind all earlier changes
            let stays = SessionChange::Moved { from: sid, to: sid, left: None };
            self.router.session_changed(self.router.change_session(stays)).await.ok();
            places.insert(self.router.place_of_session(sid));
        }
        let mut after = self.cluster.as_ref()?.reading();
        after.retain(|(partition, _)| places.contains(&usize::from(*partition)));
        self.sessions.part_with(session);
        tracing::debug!(%sid, "session released to another node");
        Some(Answer { sessions: 1, after })
    }

    /// Ends a user's sessions on this node.
    async fn disconnect_own(&self, names: Names, reconnect: bool) -> u64 {
        // in this order: a session resumed in between is found among the connections
        let parked = self.sessions.disconnect(names);
        let connected = self.identities.disconnect(names, reconnect);
        let sessions = parked.len() + connected.count;
        self.forget(&parked).await;
        self.sessions.note_over(parked);
        connected.ended().await;
        tracing::debug!(sessions, reconnect, "sessions ended by the application");
        sessions as u64
    }

    /// Ends a user's parked sessions of nodes that are gone.
    async fn forget_left(&self, cluster: &Cluster, names: Names) -> u64 {
        let left = cluster.parked.left_by(names, |node| cluster.is_member(node));
        if !left.is_empty() {
            self.forget(&left).await;
            self.router.wait_applied().await;
        }
        left.len() as u64
    }

    /// Ends the subscriptions of parked sessions.
    async fn forget(&self, parked: &[Session]) {
        for waiting in parked.iter().flat_map(|session| self.router.forget(session)) {
            waiting.wait().await;
        }
    }
}

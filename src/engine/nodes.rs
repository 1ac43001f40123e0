//! The nodes that an engine waits for before a log goes on that may have lost something.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::log::NodeId;

/// This node, and those it knows of.
#[derive(Debug)]
pub struct Nodes {
    /// This node.
    pub own: NodeId,
    /// Maximum time to wait for the others.
    pub lease: Duration,
    members: Mutex<Arc<BTreeSet<NodeId>>>,
}

impl Nodes {
    /// A node that knows of none yet.
    pub fn new(own: NodeId, lease: Duration) -> Arc<Self> {
        Arc::new(Self { own, lease, members: Mutex::default() })
    }

    /// Sets the nodes there are.
    pub fn set_members(&self, members: &Arc<BTreeSet<NodeId>>) {
        *self.members.lock() = Arc::clone(members);
    }

    /// The nodes there are; none as long as this node doesn't know.
    pub(in crate::engine) fn members(&self) -> Arc<BTreeSet<NodeId>> {
        Arc::clone(&self.members.lock())
    }
}

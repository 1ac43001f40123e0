//! What supervisors of all servers share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{Notify, watch};

use super::inbox::Outlet;
use super::keys::{ClusterKeys, PartitionKeys};
use super::link::Link;
use crate::engine::feed::Progress;

/// What supervisors of all servers share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) keys: ClusterKeys,
    /// All partitions; their numbers are the indexes.
    pub(super) partitions: Arc<[Followed]>,
    /// Number of logs that this node has put back, to be logged.
    pub(super) put_back: Arc<AtomicU64>,
    /// Number of the last link.
    pub(super) links: Arc<AtomicU64>,
    /// Has it looked which server has which partitions.
    pub(super) look: Arc<Notify>,
}

/// A partition, as supervisors know it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) keys: PartitionKeys,
    pub(super) progress: Arc<Progress>,
    pub(super) outlet: Outlet,
    /// The link to the server that has it.
    pub(super) link: watch::Sender<Option<Link>>,
}

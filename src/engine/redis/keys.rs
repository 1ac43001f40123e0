//! Names of keys and channels.
//!
//! What is in braces decides where Redis Cluster has a key, so all of a partition's keys are on one server.

use std::ops::Range;

use crate::engine::settings::ClusterName;

/// Names of what belongs to the whole cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterKeys(ClusterName);

/// Names of a partition's keys and of its channel.
#[derive(Clone, Debug)]
pub(super) struct PartitionKeys {
    /// Hash: what the log is and how long ([`Meta`](super::meta::Meta)).
    pub(super) meta: String,
    /// Stream: the batches.
    pub(super) log: String,
    /// What the names of snapshots begin with.
    pub(super) snapshots: String,
    /// Hash: what each node has of the log, while that isn't settled ([`Bids`](super::bids::Bids)).
    pub(super) bids: String,
    /// Where new batches are published.
    pub(super) channel: String,
}

impl ClusterKeys {
    pub(super) fn new(cluster: &ClusterName) -> Self {
        Self(cluster.clone())
    }

    /// Hash: format and number of partitions.
    pub(super) fn cluster(&self) -> String {
        format!("{}:cluster", self.0)
    }

    pub(super) fn partition(&self, partition: u16) -> PartitionKeys {
        let prefix = format!("{}:{{{partition}}}", self.0);
        PartitionKeys {
            meta: format!("{prefix}:meta"),
            log: format!("{prefix}:log"),
            snapshots: format!("{prefix}:snap:"),
            bids: format!("{prefix}:bids"),
            channel: prefix,
        }
    }

    /// The partition of a channel.
    pub(super) fn partition_of(&self, channel: &[u8]) -> Option<usize> {
        let name = self.0.as_str().as_bytes();
        let number = channel.strip_prefix(name)?.strip_prefix(b":{")?.strip_suffix(b"}")?;
        std::str::from_utf8(number).ok()?.parse().ok()
    }
}

/// The partitions that a server has. There is one server, and it has all.
pub(super) fn partitions_of_server(partitions: u16) -> Range<u16> {
    0..partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_its_partition() {
        let keys = ClusterKeys::new(&ClusterName::new("a:b").unwrap());
        assert_eq!(keys.partition(7).channel, "a:b:{7}");
        assert_eq!(keys.partition_of(b"a:b:{7}"), Some(7));
        for other in ["a:{7}", "a:b:{}", "a:b:{7}:log", "a:b:{x}"] {
            assert_eq!(keys.partition_of(other.as_bytes()), None, "{other}");
        }
    }
}

//! Names of keys and channels.
//!
//! What is in braces decides where Redis Cluster has a key, so all of a partition's keys are on one server.

use super::slots::slot;
use crate::engine::settings::ClusterName;

/// What makes the braces of each of 64 partitions fall into the middle of one 64th of all slots, in the order of both.
/// So servers with as many consecutive slots have as many partitions, give or take one.
const SALTS: [u16; 64] = [
    1967, 489, 746, 603, 134, 2085, 293, 416, 1610, 8, 416, 293, 161, 109, 2021, 2399, 922, 391,
    344, 201, 767, 622, 300, 22, 2666, 1972, 1060, 986, 298, 906, 384, 937, 813, 956, 88, 202, 630,
    198, 1200, 125, 185, 1386, 2638, 891, 390, 438, 1794, 76, 117, 35, 126, 1576, 391, 439, 1038,
    980, 852, 917, 1894, 887, 617, 752, 270, 218,
];

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
        let salt = SALTS.get(usize::from(partition)).copied().unwrap_or_default();
        let prefix = format!("{}:{{{partition}.{salt}}}", self.0);
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
        let tag = channel.strip_prefix(name)?.strip_prefix(b":{")?.strip_suffix(b"}")?;
        std::str::from_utf8(tag).ok()?.split_once('.')?.0.parse().ok()
    }

    /// The slot of what belongs to the whole cluster.
    pub(super) fn cluster_slot(&self) -> u16 {
        slot(&self.cluster())
    }
}

impl PartitionKeys {
    /// The slot of all of them.
    pub(super) fn slot(&self) -> u16 {
        slot(&self.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::SLOTS;
    use super::*;

    #[test]
    fn a_channel_names_its_partition() {
        let keys = ClusterKeys::new(&ClusterName::new("a:b").unwrap());
        assert_eq!(keys.partition(7).channel, "a:b:{7.416}");
        assert_eq!(keys.partition_of(b"a:b:{7.416}"), Some(7));
        for other in ["a:{7.1}", "a:b:{}", "a:b:{7}", "a:b:{7.1}:log", "a:b:{x.1}"] {
            assert_eq!(keys.partition_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn keys_of_a_partition_are_in_one_slot_and_partitions_are_spread_evenly() {
        let keys = ClusterKeys::new(&ClusterName::new("a").unwrap());
        for partition in 0..64 {
            let PartitionKeys { meta, log, snapshots, bids, channel } = keys.partition(partition);
            let of_one = slot(&channel);
            for key in [meta, log, format!("{snapshots}0123"), bids] {
                assert_eq!(slot(&key), of_one, "{key}");
            }
            let middle = partition * (SLOTS / 64) + SLOTS / 128;
            assert!(of_one.abs_diff(middle) <= 8, "{channel}: {of_one}");
        }
        for servers in [2, 3, 4, 5, 6, 8, 12, 16] {
            let mut counts = vec![0_usize; servers];
            for partition in 0..64 {
                counts[usize::from(keys.partition(partition).slot()) * servers / 16_384] += 1;
            }
            let even = 64 / servers;
            assert!(counts.iter().all(|count| [even, even + 1].contains(count)), "{counts:?}");
        }
    }
}

//! Names of streams and subjects, and what the streams' descriptions say.
//!
//! A cluster's name may have dots, and a stream's or a part of a subject can't: they become `=`, which no cluster's name
//! has.

use crate::engine::facts::Facts;
use crate::engine::settings::ClusterName;
use crate::log::LogId;

/// Names of what belongs to the whole cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterNames {
    prefix: String,
}

/// Names of what belongs to a partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionNames {
    /// Stream: the log.
    pub(super) log: String,
    /// Subject in it: batches.
    pub(super) subject: String,
    /// Subject in it: settlements.
    pub(super) settlements: String,
    /// Subject of no stream: bids.
    pub(super) bids: String,
    /// Stream: the snapshots and parts of all partitions.
    pub(super) store: String,
    /// Subject in it: manifests of snapshots.
    pub(super) manifests: String,
    /// What its subjects of parts begin with.
    parts: String,
    /// What its subjects of what was put back begin with.
    put_back: String,
}

impl ClusterNames {
    pub(super) fn new(cluster: &ClusterName) -> Self {
        Self { prefix: cluster.as_str().replace('.', "=") }
    }

    /// What all subjects begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Stream: the snapshots and parts of all partitions. Its description has the cluster's facts.
    pub(super) fn store(&self) -> String {
        format!("{}-snapshots", self.prefix)
    }

    /// Its subjects.
    pub(super) fn subjects_of_store(&self) -> [String; 3] {
        let Self { prefix } = self;
        [self.manifests(), format!("{prefix}.parts.>"), format!("{prefix}.back.>")]
    }

    /// Those of all bids.
    pub(super) fn bids(&self) -> String {
        format!("{}.bids.*", self.prefix)
    }

    /// Those of all manifests.
    pub(super) fn manifests(&self) -> String {
        format!("{}.snapshots.*", self.prefix)
    }

    pub(super) fn partition(&self, partition: u16) -> PartitionNames {
        let prefix = &self.prefix;
        PartitionNames {
            log: format!("{prefix}-{partition}"),
            subject: format!("{prefix}.log.{partition}"),
            settlements: format!("{prefix}.settled.{partition}"),
            bids: format!("{prefix}.bids.{partition}"),
            store: self.store(),
            manifests: format!("{prefix}.snapshots.{partition}"),
            parts: format!("{prefix}.parts.{partition}"),
            put_back: format!("{prefix}.back.{partition}"),
        }
    }
}

impl PartitionNames {
    /// Subjects of a log's stream.
    pub(super) fn subjects_of_log(&self) -> [String; 2] {
        [self.subject.clone(), self.settlements.clone()]
    }

    /// Both subjects of a log's stream.
    pub(super) fn all_of_log(&self) -> String {
        self.subject.replace(".log.", ".*.")
    }

    /// Subject: parts of what was put back when a run began.
    pub(super) fn parts_put_back(&self, run: u64) -> String {
        format!("{}.{run:016x}", self.put_back)
    }

    /// Those of all that was put back.
    pub(super) fn all_put_back(&self) -> String {
        format!("{}.*", self.put_back)
    }

    /// Subject: parts of large batches.
    pub(super) fn parts_of_batches(&self) -> String {
        self.parts_of("batches")
    }

    /// Subject: parts of a snapshot.
    pub(super) fn parts_of(&self, snapshot: &str) -> String {
        format!("{}.{snapshot}", self.parts)
    }
}

/// The partition of a manifest's subject.
pub(super) fn partition_of(subject: &str) -> Option<usize> {
    subject.rsplit_once('.')?.1.parse().ok()
}

/// Description of a log's stream.
pub(super) fn describe_log(log: LogId) -> String {
    format!("broker: log {}", log.0)
}

/// The log's identity, from its stream's description.
pub(super) fn described_log(description: &str) -> Option<LogId> {
    description.strip_prefix("broker: log ")?.parse().ok().map(LogId)
}

/// Description of the store's stream: facts of the cluster.
pub(super) fn describe_cluster(Facts { format, partitions, secret }: &Facts) -> String {
    let secret = secret.as_ref().map(|secret| format!(", secret {secret}")).unwrap_or_default();
    format!("broker: format {format}, {partitions} partitions{secret}")
}

/// The cluster's facts, from the description.
pub(super) fn described_cluster(description: &str) -> Option<Facts> {
    let (format, rest) = description.strip_prefix("broker: format ")?.split_once(", ")?;
    let (partitions, rest) = rest.split_once(" partitions")?;
    let secret = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(", secret ")?.to_owned()),
    };
    Some(Facts { format: format.parse().ok()?, partitions: partitions.parse().ok()?, secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_of_one_cluster() {
        let names = |name| ClusterNames::new(&ClusterName::new(name).unwrap());
        assert_eq!(names("a.b:c").store(), "a=b:c-snapshots");
        assert_ne!(names("a.b").store(), names("a:b").store());
        assert_ne!(names("a").partition(0).log, names("a-0").partition(0).log);
        let partition = names("a.b").partition(7);
        assert_eq!((partition.log.as_str(), partition.subject.as_str()), ("a=b-7", "a=b.log.7"));
        assert_eq!(partition.all_of_log(), "a=b.*.7");
        assert_eq!(partition_of(&partition.manifests), Some(7));
        assert_eq!(partition_of(&partition.parts_of_batches()), None);
    }

    #[test]
    fn descriptions_are_read() {
        assert_eq!(described_log(&describe_log(LogId(u64::MAX))), Some(LogId(u64::MAX)));
        for secret in [None, Some("0f".to_owned())] {
            let facts = Facts { format: 1, partitions: 64, secret };
            assert_eq!(described_cluster(&describe_cluster(&facts)), Some(facts));
        }
        for other in ["", "broker: log x", "broker: format 1, x partitions", "orders"] {
            assert_eq!((described_log(other), described_cluster(other)), (None, None), "{other}");
        }
    }
}

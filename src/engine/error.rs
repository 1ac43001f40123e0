//! What can't be done with an engine.

/// Why an engine can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The cluster's name can't be part of keys.
    #[error(
        "the cluster's name must be 1 to 64 letters, digits, `-`, `_`, `.` or `:`: choose another"
    )]
    ClusterName,
    /// The URL of Redis isn't valid.
    #[error(
        "the URL of Redis isn't valid: {0}; write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]"
    )]
    Url(String),
    /// The URLs of a Redis Cluster's servers differ in more than host and port.
    #[error(
        "the URLs of Redis differ in more than host and port: write the same scheme, user, password and database for \
         all servers of a Redis Cluster"
    )]
    Seeds,
    /// A Redis Cluster has no databases.
    #[error(
        "the URLs of Redis name a database, and a Redis Cluster has none: leave its number out"
    )]
    Database,
    /// Several URLs and Sentinels.
    #[error(
        "several URLs of Redis are those of a Redis Cluster, which has no Sentinels: leave either out"
    )]
    SeedsAndSentinels,
    /// The list of Sentinels isn't valid.
    #[error("the Sentinels of Redis aren't valid: {0:?}; write HOST:PORT, separated by commas")]
    Sentinels(String),
    /// The addresses of NATS aren't valid.
    #[error(
        "the addresses of NATS aren't valid: {0}; write nats://[USER:PASSWORD@]HOST[:PORT], or tls:// for TLS, and \
         several with commas"
    )]
    Servers(String),
    /// The cluster has another number of partitions, which can't be changed.
    #[error(
        "the cluster {cluster} has {theirs} partitions, and this node is to have {ours}: give it the same \
         number, or another cluster's name"
    )]
    Partitions {
        /// Name of the cluster.
        cluster: String,
        /// The cluster's number.
        theirs: u16,
        /// The number in this node's settings.
        ours: u16,
    },
    /// The cluster's data are in a format that this version doesn't know.
    #[error(
        "the cluster {cluster} has the format {theirs}, and this version knows only {ours}: use the \
         version of the other nodes, or another cluster's name"
    )]
    Format {
        /// Name of the cluster.
        cluster: String,
        /// The cluster's format.
        theirs: u16,
        /// The format of this version.
        ours: u16,
    },
    /// The cluster has a secret, and this node has none.
    #[error(
        "the cluster {cluster} has a secret, and this node has none: give it the --cluster-secret of the other nodes, \
         or another cluster's name"
    )]
    NoSecret {
        /// Name of the cluster.
        cluster: String,
    },
    /// The cluster has no secret, and this node has one.
    #[error(
        "the cluster {cluster} has no secret, and this node has one: start it without --cluster-secret, or with another \
         cluster's name"
    )]
    NeedlessSecret {
        /// Name of the cluster.
        cluster: String,
    },
    /// The cluster has another secret than this node.
    #[error(
        "the cluster {cluster} has another secret than this node: give it the --cluster-secret of the other nodes, or \
         another cluster's name"
    )]
    OtherSecret {
        /// Name of the cluster.
        cluster: String,
    },
    /// There is no connection to the engine.
    #[error("there is no connection to the engine")]
    Disconnected,
    /// The engine failed or refused.
    #[error("{0}")]
    Failed(String),
    /// The engine doesn't have the log any more.
    #[error("the engine has another log in its place, or none")]
    Lost,
    /// Each time the snapshot was read, it was replaced meanwhile.
    #[error("the snapshot was replaced while it was read")]
    Replaced,
    /// The broker stops.
    #[error("the broker stops")]
    Stopped,
}

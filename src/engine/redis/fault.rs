//! Why Redis can't be used, in sentences that say what to do.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::telemetry::EngineFault;

/// Why Redis can't be used at the moment.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// A command failed.
    Redis(RedisError),
    /// Redis ended a connection.
    Closed,
    /// The subscribed connection brings nothing, although batches were published.
    Silent,
    /// Redis, or what listens there, ended a connection before it was made.
    Rejected,
    /// A TLS handshake isn't answered.
    NoHandshake,
    /// Redis is too old.
    Version(String),
    /// Redis runs in another mode: as one of a Redis Cluster, alone, or as a Sentinel.
    Mode(String),
    /// A Redis Cluster has slots without a master.
    Uncovered,
    /// Redis is a replica.
    Replica,
    /// No Sentinel knows a primary of this name.
    UnknownPrimary(String),
    /// Another server has the slots of partitions now.
    Moved,
    /// An answer isn't what the command's manual says.
    Unexpected,
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl Fault {
    /// What it counts as.
    pub(super) fn kind(&self) -> EngineFault {
        match self {
            Self::Redis(error) => kind(error),
            Self::Closed | Self::Rejected | Self::Moved => EngineFault::Closed,
            Self::Silent => EngineFault::Silent,
            Self::NoHandshake => EngineFault::Timeout,
            Self::Replica | Self::Uncovered => EngineFault::Refused,
            Self::Version(_) | Self::Mode(_) | Self::UnknownPrimary(_) | Self::Unexpected => {
                EngineFault::Unusable
            }
        }
    }
}

impl Fault {
    /// Whether another server of a Redis Cluster has what was asked for, or will have it, or none.
    pub(super) fn is_elsewhere(&self) -> bool {
        use ServerErrorKind::{Ask, ClusterDown, Moved, TryAgain};
        let Self::Redis(error) = self else { return false };
        matches!(error.kind(), ErrorKind::Server(Ask | ClusterDown | Moved | TryAgain))
    }

    /// Whether another server has it for good.
    pub(super) fn has_moved(&self) -> bool {
        const MOVED: ErrorKind = ErrorKind::Server(ServerErrorKind::Moved);
        matches!(self, Self::Redis(error) if error.kind() == MOVED)
    }
}

fn kind(error: &RedisError) -> EngineFault {
    if error.is_timeout() {
        EngineFault::Timeout
    } else if error.is_connection_dropped() && !error.is_connection_refusal() {
        EngineFault::Closed
    } else if matches!(error.kind(), ErrorKind::Io | ErrorKind::Client) {
        EngineFault::Unreachable
    } else if matches!(error.kind(), ErrorKind::Parse | ErrorKind::RESP3NotSupported) {
        EngineFault::Unusable
    } else {
        EngineFault::Refused
    }
}

/// What sentences need to know.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    /// Host and port.
    pub(super) address: String,
    /// Whether connections use TLS.
    pub(super) is_encrypted: bool,
    /// Whether it is one of a Redis Cluster.
    pub(super) is_cluster: bool,
    /// Maximum time for an answer.
    pub(super) timeout: Duration,
    /// What names of keys and channels begin with.
    pub(super) prefix: String,
}

/// What the broker's user must be allowed.
const COMMANDS: &str = "+evalsha +eval +hset +hsetnx +hget +hmget +hgetall +hincrby +xadd +xrange +xtrim +time \
                        +publish +subscribe +ping +info +unlink +rpush +lrange +llen +expire +persist +select";

/// What it must be allowed in a Redis Cluster, too.
const OF_CLUSTER: &str = "+cluster|slots +cluster|info +spublish +ssubscribe";

/// What texts about missing permissions have.
const FORBIDDEN: [&str; 3] = ["NOPERM", "no permissions", "user executing the script"];

/// Texts of other refusals, and what they mean.
const REFUSALS: [(&str, &str); 12] = [
    (
        "MOVED",
        "doesn't have the slots of some partitions any more; asking the Redis Cluster who does",
    ),
    (
        "CLUSTERDOWN",
        "says that the Redis Cluster is down: see `redis-cli cluster info`, and set \
         `cluster-require-full-coverage no`, so that slots with a master go on",
    ),
    (
        "SELECT is not allowed",
        "is one of a Redis Cluster, which has no databases: take it out of the URL",
    ),
    ("WRONGPASS", "refuses the user or the password: correct them in its URL"),
    ("NOAUTH", "wants a password: write it into its URL, `redis://USER:PASSWORD@HOST`"),
    ("without any password configured", "has no password, but its URL does: take it out"),
    (
        "max number of clients",
        "has no connection left: raise its `maxclients`, or end other clients",
    ),
    ("OOM", "is out of memory: raise its `maxmemory`, and keep `maxmemory-policy` at `noeviction`"),
    ("LOADING", "loads its data; waiting until it has"),
    (
        "MISCONF",
        "takes no writes, since it can't save them: see its log, or turn off \
         `stop-writes-on-bgsave-error`",
    ),
    (
        "NOREPLICAS",
        "takes no writes, since too few replicas follow (`min-replicas-to-write`): start them",
    ),
    (
        "DENIED",
        "runs in protected mode: give it a password, or `protected-mode no` in a closed network",
    ),
];

impl Speaker {
    /// A sentence for a log or an error.
    pub(super) fn sentence(&self, fault: &Fault) -> String {
        let Self { address, .. } = self;
        let what = match fault {
            Fault::Redis(error) => return self.refusal(error),
            Fault::Closed => "ended the connection; connecting again".to_owned(),
            Fault::Silent => {
                "has published batches and the connection that is subscribed to them didn't \
                              bring them; connecting again"
                    .to_owned()
            }
            Fault::Rejected => {
                let hint = self.tls_hint();
                format!(
                    "ended the connection before it was made: name its host and port{hint}; trying again"
                )
            }
            Fault::NoHandshake => {
                return format!(
                    "{address} doesn't answer a TLS handshake within {}: write `redis://` if Redis \
                     doesn't use TLS there; trying again",
                    written(self.timeout)
                );
            }
            Fault::Version(version) => {
                format!("has version {version}: the broker needs 6.2 or newer")
            }
            Fault::Mode(mode) if mode == "sentinel" => {
                "is a Sentinel: name it with --redis-sentinels, and the primary in the URL".to_owned()
            }
            Fault::Mode(mode) if mode == "cluster" => {
                "is one of a Redis Cluster now: restart this node".to_owned()
            }
            Fault::Mode(_) => {
                "is no part of a Redis Cluster: name servers that are, or only this one".to_owned()
            }
            Fault::Uncovered => "has slots without a master: see `redis-cli --cluster check`; their partitions stand still".to_owned(),
            Fault::UnknownPrimary(name) => {
                return format!(
                    "the Sentinels of Redis know no primary {name:?}: write its name as the host of the URL"
                );
            }
            Fault::Moved => "has other slots now; connecting again".to_owned(),
            Fault::Replica if self.is_cluster => {
                "is a replica now; asking the Redis Cluster for its master".to_owned()
            }
            Fault::Replica => "is a replica and takes no writes: name the primary".to_owned(),
            Fault::Unexpected => {
                "gave an answer that Redis doesn't give: is it Redis, 6.2 or newer?".to_owned()
            }
        };
        format!("Redis at {address} {what}")
    }

    fn refusal(&self, error: &RedisError) -> String {
        let Self { address, prefix, .. } = self;
        let text = text(error);
        let has = |part: &&str| text.contains(part);
        if matches!(error.kind(), ErrorKind::Io | ErrorKind::Client) {
            return self.failure(error, &text);
        } else if error.kind() == ErrorKind::Parse {
            let hint = self.tls_hint();
            return format!(
                "{address} doesn't answer as Redis does: name Redis' host and port{hint}"
            );
        } else if error.kind() == ErrorKind::RESP3NotSupported {
            return self.sentence(&Fault::Version("below 6".to_owned()));
        } else if has(&"READONLY") {
            return self.sentence(&Fault::Replica);
        }
        let what = if FORBIDDEN.iter().any(has) {
            let rule = if has(&"channel") {
                format!("&{prefix}:*")
            } else if has(&"keys") {
                format!("~{prefix}:*")
            } else if self.is_cluster {
                format!("{COMMANDS} {OF_CLUSTER}")
            } else {
                COMMANDS.to_owned()
            };
            format!(
                "doesn't permit its user what the broker needs ({text}): add `{rule}` to its ACL rules"
            )
        } else if let Some((_, known)) = REFUSALS.iter().find(|(code, _)| has(code)) {
            (*known).to_owned()
        } else {
            format!("refuses a command: {text}")
        };
        format!("Redis at {address} {what}")
    }

    fn tls_hint(&self) -> &'static str {
        if self.is_encrypted { "" } else { ", and with `rediss://` if it uses TLS" }
    }

    /// A connection that can't be made, or has failed.
    fn failure(&self, error: &RedisError, text: &str) -> String {
        let Self { address, timeout, .. } = self;
        let is_certificate = text.contains("certificate");
        if error.is_connection_refusal() && self.is_cluster {
            format!(
                "Redis at {address} can't be reached; asking the Redis Cluster who has its slots"
            )
        } else if error.is_connection_refusal() {
            format!(
                "Redis at {address} can't be reached: start it, or correct host and port in its URL"
            )
        } else if error.is_timeout() {
            format!("Redis at {address} doesn't answer within {}; trying again", written(*timeout))
        } else if error.is_connection_dropped() {
            self.sentence(&Fault::Closed)
        } else if text.contains("CertificateRequired") {
            format!(
                "Redis at {address} wants a certificate: name one with --redis-tls-client-cert-path"
            )
        } else if self.is_encrypted && is_certificate {
            format!(
                "the TLS certificate of Redis at {address} isn't accepted: {text}; name its authority with \
                 --redis-tls-ca-cert-path"
            )
        } else if self.is_encrypted && text.contains("InvalidContentType")
            || text.contains("corrupt message")
        {
            format!(
                "{address} doesn't answer with TLS: write `redis://` if Redis doesn't use TLS there"
            )
        } else {
            format!("the connection to Redis at {address} failed: {text}; trying again")
        }
    }
}

fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

fn written(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

//! The part of [`Settings`](super::Settings) that makes several nodes one broker: the engine between
//! them, and the cluster.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::value::{HumanDuration, NatsStorage, switch};

const CLUSTER: &str = "Several nodes";

/// Settings of the engine and of the cluster, each as given, or `None`.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(rename_all = "kebab-case", default)]
pub struct ClusterSettings {
    /// URL of the Redis that several nodes share
    ///
    /// Such as `redis://127.0.0.1:6379` or `redis://USER:PASSWORD@HOST:PORT/DATABASE`. All nodes with the same Redis and
    /// --cluster-name are one broker: clients of any of them are in one room. `rediss://` is TLS. Of a Redis Cluster,
    /// one or several servers, comma-separated. Unset, this node is alone, or has --nats-servers.
    #[arg(long, env = "BROKER_REDIS_URL", value_name = "URL", help_heading = CLUSTER)]
    #[serde(skip_serializing)]
    pub redis_url: Option<Secret>,

    /// File with the --redis-url; several are one per line
    #[arg(long, env = "BROKER_REDIS_URL_FILE", value_name = "FILE", help_heading = CLUSTER)]
    pub redis_url_file: Option<PathBuf>,

    /// Sentinels that say where the primary of Redis is
    ///
    /// `HOST:PORT`, separated by commas, each with `:PASSWORD@` before it if it has one. The host of the --redis-url is
    /// the primary's name then, such as in `redis://:PASSWORD@mymaster`.
    #[arg(long, env = "BROKER_REDIS_SENTINELS", value_name = "LIST", help_heading = CLUSTER)]
    #[serde(skip_serializing)]
    pub redis_sentinels: Option<Secret>,

    /// File with the --redis-sentinels
    #[arg(long, env = "BROKER_REDIS_SENTINELS_FILE", value_name = "FILE", help_heading = CLUSTER)]
    pub redis_sentinels_file: Option<PathBuf>,

    /// Certificate authorities of Redis, trusted instead of the system's: a PEM file
    ///
    /// For `rediss://`, and for the Sentinels, too.
    #[arg(long, env = "BROKER_REDIS_TLS_CA_CERT_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub redis_tls_ca_cert_path: Option<PathBuf>,

    /// Certificate that Redis is shown, if it asks for one: a PEM file with the full chain
    ///
    /// For `rediss://`, and for the Sentinels, too. It is read at the start.
    #[arg(long, env = "BROKER_REDIS_TLS_CLIENT_CERT_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub redis_tls_client_cert_path: Option<PathBuf>,

    /// Private key of the --redis-tls-client-cert-path: a PEM file without a passphrase
    #[arg(long, env = "BROKER_REDIS_TLS_CLIENT_KEY_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub redis_tls_client_key_path: Option<PathBuf>,

    /// Whether the certificate of Redis is verified [default: true]
    ///
    /// If it isn't, whoever is between this node and Redis can pose as it. AnyCable's default is false.
    #[arg(long, env = "BROKER_REDIS_TLS_VERIFY", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = CLUSTER)]
    pub redis_tls_verify: Option<bool>,

    /// Addresses of the NATS that several nodes share, comma-separated
    ///
    /// Such as `nats://127.0.0.1:4222` or `nats://USER:PASSWORD@HOST:PORT`, of one server with JetStream or several of
    /// one NATS cluster. Instead of --redis-url, for the same. `tls://` is TLS.
    #[arg(long, env = "BROKER_NATS_SERVERS", value_name = "ADDRESSES", help_heading = CLUSTER)]
    #[serde(skip_serializing)]
    pub nats_servers: Option<Secret>,

    /// File with the --nats-servers, one per line
    #[arg(long, env = "BROKER_NATS_SERVERS_FILE", value_name = "FILE", help_heading = CLUSTER)]
    pub nats_servers_file: Option<PathBuf>,

    /// File with the credentials of NATS' user: a JWT and its seed, as `nsc generate creds` writes it
    ///
    /// Instead of a user in the --nats-servers. The file is read for each connection.
    #[arg(long, env = "BROKER_NATS_CREDS", value_name = "FILE", help_heading = CLUSTER)]
    pub nats_creds: Option<PathBuf>,

    /// Whether the --nats-servers are tried in the order in which they are written [default: false]
    ///
    /// Otherwise nodes spread over them.
    #[arg(long, env = "BROKER_NATS_DONT_RANDOMIZE_SERVERS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = CLUSTER)]
    pub nats_dont_randomize_servers: Option<bool>,

    /// Certificate authorities of NATS, trusted instead of the system's: a PEM file
    #[arg(long, env = "BROKER_NATS_TLS_CA_CERT_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub nats_tls_ca_cert_path: Option<PathBuf>,

    /// Certificate that NATS is shown, if it asks for one: a PEM file with the full chain
    #[arg(long, env = "BROKER_NATS_TLS_CLIENT_CERT_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub nats_tls_client_cert_path: Option<PathBuf>,

    /// Private key of the --nats-tls-client-cert-path: a PEM file without a passphrase
    #[arg(long, env = "BROKER_NATS_TLS_CLIENT_KEY_PATH", value_name = "FILE", help_heading = CLUSTER)]
    pub nats_tls_client_key_path: Option<PathBuf>,

    /// Where NATS keeps what the nodes share [default: memory]
    ///
    /// What is in memory is lost when NATS restarts: the nodes put it back, unless all restart, too. Decided when the
    /// cluster's first node starts.
    #[arg(long, env = "BROKER_NATS_STORAGE", value_name = "STORAGE", help_heading = CLUSTER)]
    pub nats_storage: Option<NatsStorage>,

    /// Servers of a NATS cluster that have each stream: 1, 3 or 5 [default: 1]
    ///
    /// With more than one, the cluster goes on when a server ends. Decided when the cluster's first node starts.
    #[arg(long, env = "BROKER_NATS_REPLICAS", value_name = "N", help_heading = CLUSTER)]
    pub nats_replicas: Option<u8>,

    /// Name of the cluster, with which all its keys in Redis or streams in NATS begin [default: broker]
    #[arg(long, env = "BROKER_CLUSTER_NAME", value_name = "NAME", help_heading = CLUSTER)]
    pub cluster_name: Option<String>,

    /// Secret that the nodes of a cluster share
    ///
    /// With it, nodes believe nothing in Redis or NATS that none of them wrote. All have the same, or none. Best 32 random
    /// bytes, such as of `openssl rand -hex 32`.
    #[arg(long, env = "BROKER_CLUSTER_SECRET", value_name = "SECRET", help_heading = CLUSTER)]
    #[serde(skip_serializing)]
    pub cluster_secret: Option<Secret>,

    /// File with the --cluster-secret
    #[arg(long, env = "BROKER_CLUSTER_SECRET_FILE", value_name = "FILE", help_heading = CLUSTER)]
    pub cluster_secret_file: Option<PathBuf>,

    /// How long a node of which nothing is heard counts as there [default: 10s]
    ///
    /// Then the --presence-ttl of its members begins.
    #[arg(long, env = "BROKER_NODE_LEASE", value_name = "DURATION", help_heading = CLUSTER)]
    pub node_lease: Option<HumanDuration>,

    /// Maximum time for a connection to Redis or NATS, and for an answer [default: 5s]
    #[arg(long, env = "BROKER_ENGINE_TIMEOUT", value_name = "DURATION", help_heading = CLUSTER)]
    pub engine_timeout: Option<HumanDuration>,
}

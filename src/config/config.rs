//! The validated configuration, and its defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::access::Access;
use super::app_url::AppUrl;
use super::application::ApplicationConfig;
use super::cluster::ClusterConfig;
use super::defaults;
use super::protocols::Protocols;
use super::proxies::Proxies;
use super::secret::Secret;
use super::settings::Settings;
use super::tls::TlsFiles;
use super::value::{ByteSize, Host, HumanDuration, LogFormat, TimestampPrecision};
use crate::types::{Limits, Pace};

/// All settings, validated and in their final types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address of all listeners.
    pub host: IpAddr,
    /// Port for clients; 0 picks a free one.
    pub port: u16,
    /// Separate port for publishing and the API.
    pub api_port: Option<u16>,
    /// Separate port for `/metrics`.
    pub metrics_port: Option<u16>,
    /// Protocols and their paths.
    pub protocols: Protocols,
    /// TLS certificate of all listeners; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Proxies,
    /// Access control.
    pub access: Access,
    /// The application that is asked about connections and channels; `None` asks none.
    pub application: Option<ApplicationConfig>,
    /// The cluster; `None` is one node alone.
    pub cluster: Option<ClusterConfig>,
    /// How long a member stays after its connection ended; zero removes it at once.
    pub presence_ttl: Duration,
    /// Minimum interval between counts for clients that only count members. Never zero.
    pub occupancy_interval: Duration,
    /// URL for presence lookups; `None` disables them.
    pub presence_fetch_url: Option<AppUrl>,
    /// Maximum time a join waits for its lookup. Never zero.
    pub presence_fetch_timeout: Duration,
    /// Maximum number of members of a stream; `None` is unlimited.
    pub max_members: Option<usize>,
    /// Number of publications kept per stream; 0 keeps none.
    pub history_limit: usize,
    /// How long a publication is kept. Never zero.
    pub history_ttl: Duration,
    /// Maximum memory of all kept publications, in bytes.
    pub history_max_bytes: usize,
    /// How long a session outlives its connection; zero disables resuming.
    pub sessions_ttl: Duration,
    /// State directory; `None` keeps no state on disk.
    pub state_dir: Option<PathBuf>,
    /// Interval between syncs of state. Never zero.
    pub state_interval: Duration,
    /// Limits on clients' commands.
    pub limits: Limits,
    /// Interval of Action Cable's ping messages; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// Unit of their timestamp.
    pub ping_timestamp_precision: TimestampPrecision,
    /// Silence before a liveness ping; `None` disables the check.
    pub liveness_interval: Option<Duration>,
    /// Silence after it before the connection is closed. Never zero.
    pub liveness_timeout: Duration,
    /// Maximum time for a request's head to arrive. Never zero.
    pub handshake_timeout: Duration,
    /// Time over which connections are closed at the stop, before the timeout begins.
    pub shutdown_drain: Duration,
    /// Maximum time for the stop; zero ends the process at once.
    pub shutdown_timeout: Duration,
    /// Maximum number of connections; `None` is what the open-file limit allows.
    pub max_connections: Option<usize>,
    /// Maximum number of connections of one address; `None` is unlimited.
    pub max_connections_per_address: Option<usize>,
    /// Maximum number of handshakes per second; `None` is unlimited.
    pub max_handshakes_per_second: Option<usize>,
    /// Maximum size of a message from a client, in bytes.
    pub max_message_size: usize,
    /// Maximum size of an outbox, in bytes. At least [`Self::max_message_size`].
    pub max_outbox_size: usize,
    /// Maximum size of a list or history for one client, in bytes.
    pub max_answer_size: usize,
    /// Maximum size of a request's body, in bytes.
    pub max_body_size: usize,
    /// Maximum size of a request's head, in bytes.
    pub max_header_size: usize,
    /// Whether the examples are served.
    pub examples: bool,
    /// Whether the dashboard is served.
    pub dashboard: bool,
    /// A valid `tracing` filter.
    pub log_level: String,
    /// Format of log lines.
    pub log_format: LogFormat,
}

impl Config {
    /// The settings that result in this configuration, all set.
    pub fn to_settings(&self) -> Settings {
        let key_file = |key: &Option<Secret>| key.as_ref()?.file().map(Path::to_path_buf);
        let key_text = |key: &Option<Secret>| key.clone().filter(|key| key.file().is_none());
        let access = &self.access;
        let or_zero = |d: Option<Duration>| Some(HumanDuration(d.unwrap_or(Duration::ZERO)));
        let limits = self.limits;
        let pace = |part: fn(Pace) -> u32| limits.pace.map_or(0, |pace| part(pace) as usize);
        let trusted = !self.trusted_proxies.is_empty();
        let mut settings = Settings {
            host: Some(Host(self.host)),
            port: Some(self.port),
            api_port: self.api_port,
            metrics_port: self.metrics_port,
            tls_cert: self.tls.as_ref().map(|files| files.cert.clone()),
            tls_key: self.tls.as_ref().map(|files| files.key.clone()),
            trusted_proxies: trusted.then(|| self.trusted_proxies.to_string()),
            public: Some(access.public),
            secret: key_text(&access.secret),
            secret_file: key_file(&access.secret),
            jwt_secret: key_text(&access.jwt_secret),
            jwt_secret_file: key_file(&access.jwt_secret),
            jwt_param: Some(access.jwt_param.clone()),
            jwt_audience: access.jwt_audience.clone(),
            jwt_issuer: access.jwt_issuer.clone(),
            enforce_jwt: access.enforce_jwt,
            presence_id_claim: access.presence_id_claim.clone(),
            streams_secret: key_text(&access.streams_secret),
            streams_secret_file: key_file(&access.streams_secret),
            public_streams: Some(access.public_streams),
            streams_whisper: Some(access.streams_whisper),
            turbo_streams: Some(access.turbo_streams),
            turbo_streams_secret: key_text(&access.turbo_streams_secret),
            turbo_streams_secret_file: key_file(&access.turbo_streams_secret),
            cable_ready: Some(access.cable_ready),
            cable_ready_secret: key_text(&access.cable_ready_secret),
            cable_ready_secret_file: key_file(&access.cable_ready_secret),
            allowed_origins: access.allowed_origins.as_ref().map(ToString::to_string),
            broadcast_key: key_text(&access.broadcast_key),
            broadcast_key_file: key_file(&access.broadcast_key),
            api_key: key_text(&access.api_key),
            api_key_file: key_file(&access.api_key),
            metrics_key: key_text(&access.metrics_key),
            metrics_key_file: key_file(&access.metrics_key),
            presence_ttl: Some(HumanDuration(self.presence_ttl)),
            occupancy_interval: Some(HumanDuration(self.occupancy_interval)),
            presence_fetch_url: self.presence_fetch_url.as_ref().map(ToString::to_string),
            presence_fetch_timeout: Some(HumanDuration(self.presence_fetch_timeout)),
            max_presence_id_length: Some(limits.presence_id_length),
            max_presence_info_size: Some(ByteSize(limits.info_size)),
            max_members: Some(self.max_members.unwrap_or(0)),
            max_records: Some(limits.records),
            history_limit: Some(self.history_limit),
            history_ttl: Some(HumanDuration(self.history_ttl)),
            history_max_bytes: Some(ByteSize(self.history_max_bytes)),
            sessions_ttl: Some(HumanDuration(self.sessions_ttl)),
            state_dir: self.state_dir.clone(),
            state_interval: Some(HumanDuration(self.state_interval)),
            ping_interval: or_zero(self.ping_interval),
            ping_timestamp_precision: Some(self.ping_timestamp_precision),
            liveness_interval: or_zero(self.liveness_interval),
            liveness_timeout: Some(HumanDuration(self.liveness_timeout)),
            handshake_timeout: Some(HumanDuration(self.handshake_timeout)),
            shutdown_drain: Some(HumanDuration(self.shutdown_drain)),
            shutdown_timeout: Some(HumanDuration(self.shutdown_timeout)),
            max_connections: Some(self.max_connections.unwrap_or(0)),
            max_connections_per_address: Some(self.max_connections_per_address.unwrap_or(0)),
            max_handshakes_per_second: Some(self.max_handshakes_per_second.unwrap_or(0)),
            max_subscriptions: Some(limits.subscriptions),
            max_commands_per_second: Some(pace(|pace| pace.per_second)),
            max_commands_burst: Some(pace(|pace| pace.burst)),
            max_message_size: Some(ByteSize(self.max_message_size)),
            max_outbox_size: Some(ByteSize(self.max_outbox_size)),
            max_answer_size: Some(ByteSize(self.max_answer_size)),
            max_body_size: Some(ByteSize(self.max_body_size)),
            max_header_size: Some(ByteSize(self.max_header_size)),
            max_stream_name_size: Some(ByteSize(limits.stream_name_size)),
            max_identifier_size: Some(ByteSize(limits.identifier_size)),
            examples: Some(self.examples),
            dashboard: Some(self.dashboard),
            log_level: Some(self.log_level.clone()),
            log_format: Some(self.log_format),
            config: None,
            print_config: None,
            ..Settings::default()
        };
        self.protocols.to_settings(&mut settings);
        ApplicationConfig::to_settings(self.application.as_ref(), &mut settings.application);
        ClusterConfig::to_settings(self.cluster.as_ref(), &mut settings.cluster);
        settings
    }

    /// Address for clients.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Address for publishing and the API, if not [`Self::address`].
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api_port.map(|port| SocketAddr::new(self.host, port))
    }

    /// Address for the metrics, if not [`Self::address`].
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_port.map(|port| SocketAddr::new(self.host, port))
    }

    /// Warnings for the log about valid but risky settings, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let reachable = !self.host.to_canonical().is_loopback();
        let open = |key: Option<Secret>| reachable && key.is_none();
        let access = &self.access;
        let mut warnings = Vec::new();
        let of_cluster = self.cluster.as_ref().and_then(|cluster| cluster.secret.as_ref());
        let of_cluster =
            of_cluster.filter(|secret| secret.is_guessable()).map(|_| "cluster-secret");
        let of_application = self.application.as_ref().and_then(|it| it.secret.as_ref());
        let of_application =
            of_application.filter(|secret| secret.is_guessable()).map(|_| "http-rpc-secret");
        for setting in access.guessable().chain(of_application).chain(of_cluster) {
            warnings.push(format!(
                "--{setting} has fewer than 16 bytes, or one of several has, and may be guessed: take a \
                 random one, as `openssl rand -hex 32` makes it"
            ));
        }
        if !access.are_streams_public() && access.stream_secret().is_none() {
            warnings.push(
                "no stream can be followed: names have to be signed and there is no secret to \
                 check them with, so set --streams-secret, or --public-streams to open all"
                    .to_owned(),
            );
        }
        if open(access.publishing_key()) {
            warnings.push(format!(
                "publishing is open to everyone who can reach {}: set a --broadcast-key unless that is intended",
                self.host
            ));
        }
        if open(access.reading_key()) {
            warnings.push(format!(
                "the presence API is open to everyone who can reach {}: set an --api-key unless that is intended",
                self.host
            ));
        }
        warnings
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: defaults::HOST,
            port: defaults::PORT,
            api_port: None,
            metrics_port: None,
            protocols: Protocols::default(),
            tls: None,
            trusted_proxies: Proxies::default(),
            access: Access::default(),
            application: None,
            cluster: None,
            presence_ttl: defaults::PRESENCE_TTL,
            occupancy_interval: defaults::OCCUPANCY_INTERVAL,
            presence_fetch_url: None,
            presence_fetch_timeout: defaults::PRESENCE_FETCH_TIMEOUT,
            max_members: defaults::MAX_MEMBERS,
            history_limit: defaults::HISTORY_LIMIT,
            history_ttl: defaults::HISTORY_TTL,
            history_max_bytes: defaults::HISTORY_MAX_BYTES,
            sessions_ttl: defaults::SESSIONS_TTL,
            state_dir: None,
            state_interval: defaults::STATE_INTERVAL,
            limits: Limits {
                reserved_presence_ids: Protocols::default().reserved_presence_ids(),
                ..Limits::default()
            },
            ping_interval: defaults::PING_INTERVAL,
            ping_timestamp_precision: defaults::PING_TIMESTAMP_PRECISION,
            liveness_interval: defaults::LIVENESS_INTERVAL,
            liveness_timeout: defaults::LIVENESS_TIMEOUT,
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            shutdown_drain: defaults::SHUTDOWN_DRAIN,
            shutdown_timeout: defaults::SHUTDOWN_TIMEOUT,
            max_connections: defaults::MAX_CONNECTIONS,
            max_connections_per_address: defaults::MAX_CONNECTIONS_PER_ADDRESS,
            max_handshakes_per_second: defaults::MAX_HANDSHAKES_PER_SECOND,
            max_message_size: defaults::MAX_MESSAGE_SIZE,
            max_outbox_size: defaults::MAX_OUTBOX_SIZE,
            max_answer_size: defaults::MAX_ANSWER_SIZE,
            max_body_size: defaults::MAX_BODY_SIZE,
            max_header_size: defaults::MAX_HEADER_SIZE,
            examples: defaults::EXAMPLES,
            dashboard: defaults::DASHBOARD,
            log_level: defaults::LOG_LEVEL.to_owned(),
            log_format: defaults::LOG_FORMAT,
        }
    }
}

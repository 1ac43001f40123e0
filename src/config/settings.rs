//! The settings as people write them, all optional, from flags, environment or file.
//!
//! One struct serves all three: its fields are the flags, their `env` is the variable, and the
//! file's keys are the flags' names. The comments are the text of `--help` and name the defaults,
//! which are defined in [`defaults`](super::defaults); a test compares the two. A test writes
//! `docs/CONFIGURATION.md` and `config/broker.toml` from the same comments.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::application_settings::ApplicationSettings;
use super::cluster_settings::ClusterSettings;
use super::secret::Secret;
use super::value::{
    ByteSize, Host, HumanDuration, LogFormat, TimestampPrecision, count, port, switch,
};

const LISTENING: &str = "Listening";
const ACCESS: &str = "Access";
const PRESENCE: &str = "Presence";
const HISTORY: &str = "History";
const SESSIONS: &str = "Sessions and restarts";
const TIMEOUTS: &str = "Pings and timeouts";
const LIMITS: &str = "Limits";
const PAGES: &str = "Pages";
const LOG: &str = "Logs";
const CONFIGURATION: &str = "Configuration";

/// All settings, each as given, or `None`, which TOML leaves out. A file's keys are checked
/// [when it is read](Settings::read_file).
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// IP address to listen on, or `localhost` [default: 127.0.0.1]
    ///
    /// Addresses other than loopback are refused unless a --secret protects the broker, or --public
    /// opens it to everyone. 0.0.0.0 is every IPv4 address of the machine, :: every address.
    #[arg(long, env = "BROKER_HOST", value_name = "ADDRESS", help_heading = LISTENING)]
    pub host: Option<Host>,

    /// Port for clients, and for everything without a port of its own [default: 8080]
    ///
    /// 0 picks a free port; the log says which.
    #[arg(long, env = "BROKER_PORT", value_name = "PORT", value_parser = port, help_heading = LISTENING)]
    pub port: Option<u16>,

    /// Separate port for publishing and the presence API
    ///
    /// Unset, they are served on --port. 0 picks a free port.
    #[arg(long, env = "BROKER_API_PORT", value_name = "PORT", value_parser = port, help_heading = LISTENING)]
    pub api_port: Option<u16>,

    /// Separate port for /metrics
    ///
    /// Unset, it is served on --port. 0 picks a free port.
    #[arg(long, env = "BROKER_METRICS_PORT", value_name = "PORT", value_parser = port, help_heading = LISTENING)]
    pub metrics_port: Option<u16>,

    /// Protocols for clients, comma-separated [default: action-cable,phoenix,typed,chat,sse]
    ///
    /// All are served on --port, each at its path. A protocol that isn't listed costs nothing.
    #[arg(long, env = "BROKER_PROTOCOLS", value_name = "NAMES", help_heading = LISTENING)]
    pub protocols: Option<String>,

    /// Path of the Action Cable WebSocket [default: /cable]
    #[arg(long, env = "BROKER_CABLE_PATH", value_name = "PATH", help_heading = LISTENING)]
    pub cable_path: Option<String>,

    /// Path of Phoenix Channels, as given to Phoenix's `Socket` [default: /socket]
    ///
    /// Clients add /websocket or /longpoll to it.
    #[arg(long, env = "BROKER_PHOENIX_PATH", value_name = "PATH", help_heading = LISTENING)]
    pub phoenix_path: Option<String>,

    /// Path of the typed JSON WebSocket [default: /]
    #[arg(long, env = "BROKER_TYPED_PATH", value_name = "PATH", help_heading = LISTENING)]
    pub typed_path: Option<String>,

    /// Path of the chat room WebSocket [default: /chat]
    #[arg(long, env = "BROKER_CHAT_PATH", value_name = "PATH", help_heading = LISTENING)]
    pub chat_path: Option<String>,

    /// Path of server-sent events [default: /events]
    #[arg(long, env = "BROKER_SSE_PATH", value_name = "PATH", help_heading = LISTENING)]
    pub sse_path: Option<String>,

    /// TLS certificate: a PEM file with the full chain
    ///
    /// The server's certificate comes first, then the intermediates. All ports then speak TLS (1.2
    /// and 1.3) only. The file is reloaded on SIGHUP, and within seconds when it changes;
    /// connections stay open. Needs --tls-key.
    #[arg(long, env = "BROKER_TLS_CERT", value_name = "FILE", help_heading = LISTENING)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the --tls-cert: a PEM file without a passphrase
    #[arg(long, env = "BROKER_TLS_KEY", value_name = "FILE", help_heading = LISTENING)]
    pub tls_key: Option<PathBuf>,

    /// Proxies whose X-Forwarded-For is trusted, such as 10.0.0.0/8,192.0.2.7
    ///
    /// The client's address is the last one in that header that isn't a trusted proxy's. The header
    /// is ignored in requests from other addresses.
    #[arg(long, env = "BROKER_TRUSTED_PROXIES", value_name = "NETWORKS", help_heading = LISTENING)]
    pub trusted_proxies: Option<String>,

    /// Serve everyone who can reach the port [default: false]
    ///
    /// No token is needed, and all streams are public. With a --secret, tokens that are sent are
    /// checked, and the API and the metrics need their keys; publishing needs one only if there is
    /// a --broadcast-key.
    #[arg(long, env = "BROKER_PUBLIC", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub public: Option<bool>,

    /// Secret shared with the application, for tokens, signed stream names and keys
    ///
    /// Clients then need a token and signed stream names; publishing, the API and the metrics need
    /// keys derived from the secret. Several secrets, comma-separated or one per line in the file,
    /// are all accepted, so that one can be replaced; the first is the current one. Prefer the
    /// environment or the file: flags show in the process list. The same holds for every secret and
    /// key below.
    #[arg(long, env = "BROKER_SECRET", value_name = "SECRET", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,

    /// File with the --secret
    #[arg(long, env = "BROKER_SECRET_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub secret_file: Option<PathBuf>,

    /// Secret that tokens are signed with; unset, the --secret
    #[arg(long, env = "BROKER_JWT_SECRET", value_name = "SECRET", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub jwt_secret: Option<Secret>,

    /// File with the --jwt-secret
    #[arg(long, env = "BROKER_JWT_SECRET_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub jwt_secret_file: Option<PathBuf>,

    /// Name of the token's parameter: ?jid=TOKEN, or header X-JID [default: jid]
    ///
    /// A token can also be sent as the subprotocol anycable-token.TOKEN, whatever the name.
    #[arg(long, env = "BROKER_JWT_PARAM", value_name = "NAME", help_heading = ACCESS)]
    pub jwt_param: Option<String>,

    /// Required audience of tokens, the claim `aud`
    #[arg(long, env = "BROKER_JWT_AUDIENCE", value_name = "NAME", help_heading = ACCESS)]
    pub jwt_audience: Option<String>,

    /// Required issuer of tokens, the claim `iss`
    #[arg(long, env = "BROKER_JWT_ISSUER", value_name = "NAME", help_heading = ACCESS)]
    pub jwt_issuer: Option<String>,

    /// Whether clients need a token
    ///
    /// Unset, they do if there is a secret and no --public. An invalid token is refused in any
    /// case.
    #[arg(long, env = "BROKER_ENFORCE_JWT", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub enforce_jwt: Option<bool>,

    /// Claim of the token with the client's presence id, such as `sub`
    ///
    /// `ext.user` is the identifier `user` in the claim `ext`. Joins under another id are refused,
    /// and so are joins of clients without that claim. Unset, clients may join under any id.
    #[arg(long, env = "BROKER_PRESENCE_ID_CLAIM", value_name = "CLAIM", help_heading = ACCESS)]
    pub presence_id_claim: Option<String>,

    /// Secret that stream names are signed with; unset, the --secret
    #[arg(long, env = "BROKER_STREAMS_SECRET", value_name = "SECRET", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub streams_secret: Option<Secret>,

    /// File with the --streams-secret
    #[arg(long, env = "BROKER_STREAMS_SECRET_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub streams_secret_file: Option<PathBuf>,

    /// Allow subscriptions by unsigned names, besides signed ones [default: false]
    ///
    /// Without a secret they are always allowed.
    #[arg(long, env = "BROKER_PUBLIC_STREAMS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub public_streams: Option<bool>,

    /// Allow whispers on signed streams [default: false]
    ///
    /// They are always allowed on public streams.
    #[arg(long, env = "BROKER_STREAMS_WHISPER", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub streams_whisper: Option<bool>,

    /// Accept Turbo's signed stream names [default: false]
    #[arg(long, env = "BROKER_TURBO_STREAMS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub turbo_streams: Option<bool>,

    /// Secret that Turbo signs with; unset, the --streams-secret
    #[arg(long, env = "BROKER_TURBO_STREAMS_SECRET", value_name = "SECRET", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub turbo_streams_secret: Option<Secret>,

    /// File with the --turbo-streams-secret
    #[arg(long, env = "BROKER_TURBO_STREAMS_SECRET_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub turbo_streams_secret_file: Option<PathBuf>,

    /// Accept CableReady's signed stream names [default: false]
    #[arg(long, env = "BROKER_CABLE_READY", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub cable_ready: Option<bool>,

    /// Secret that CableReady signs with; unset, the --streams-secret
    #[arg(long, env = "BROKER_CABLE_READY_SECRET", value_name = "SECRET", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub cable_ready_secret: Option<Secret>,

    /// File with the --cable-ready-secret
    #[arg(long, env = "BROKER_CABLE_READY_SECRET_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub cable_ready_secret_file: Option<PathBuf>,

    /// Hosts whose pages may connect, such as app.example.io,*.example.io
    ///
    /// Add a port if it isn't the scheme's default (localhost:3000), and a scheme to allow no other
    /// (`https://app.example.io`). WebSockets without an Origin are then refused, too. Unset, all
    /// pages may connect.
    #[arg(long, env = "BROKER_ALLOWED_ORIGINS", value_name = "HOSTS", help_heading = ACCESS)]
    pub allowed_origins: Option<String>,

    /// Key for publishing: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without a secret, publishing is open.
    #[arg(long, env = "BROKER_BROADCAST_KEY", value_name = "KEY", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub broadcast_key: Option<Secret>,

    /// File with the --broadcast-key
    #[arg(long, env = "BROKER_BROADCAST_KEY_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub broadcast_key_file: Option<PathBuf>,

    /// Key for /api: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without a secret, the API is open.
    #[arg(long, env = "BROKER_API_KEY", value_name = "KEY", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub api_key: Option<Secret>,

    /// File with the --api-key
    #[arg(long, env = "BROKER_API_KEY_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub api_key_file: Option<PathBuf>,

    /// Key for /metrics: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without a secret, the metrics are open.
    #[arg(long, env = "BROKER_METRICS_KEY", value_name = "KEY", help_heading = ACCESS)]
    #[serde(skip_serializing)]
    pub metrics_key: Option<Secret>,

    /// File with the --metrics-key
    #[arg(long, env = "BROKER_METRICS_KEY_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub metrics_key_file: Option<PathBuf>,

    /// The application that is asked about connections and channels.
    #[command(flatten)]
    #[serde(flatten)]
    pub application: ApplicationSettings,

    /// What several nodes share, and how they reach it.
    #[command(flatten)]
    #[serde(flatten)]
    pub cluster: ClusterSettings,

    /// How long a member stays after its connection ended [default: 15s]
    ///
    /// A client that reconnects within this time produces no leave and no join. Members with a
    /// connection don't expire. 0s removes them at once; at most 1day.
    #[arg(long, env = "BROKER_PRESENCE_TTL", value_name = "DURATION", help_heading = PRESENCE)]
    pub presence_ttl: Option<HumanDuration>,

    /// Minimum interval between counts for clients that only count members [default: 1s]
    ///
    /// For rooms of tens of thousands: a number now and then instead of every join and leave.
    /// Clients ask for it when they subscribe.
    #[arg(long, env = "BROKER_OCCUPANCY_INTERVAL", value_name = "DURATION", help_heading = PRESENCE)]
    pub occupancy_interval: Option<HumanDuration>,

    /// URL for presence lookups: the application's data about joining members
    ///
    /// Such as `http://127.0.0.1:3000/presence`. The data, such as names, is shown beside the info
    /// that clients send themselves. With a --secret, requests carry a key derived from it. `https`
    /// trusts the system's certificate authorities, or those in `SSL_CERT_FILE`. Unset, there are
    /// no lookups.
    #[arg(long, env = "BROKER_PRESENCE_FETCH_URL", value_name = "URL", help_heading = PRESENCE)]
    pub presence_fetch_url: Option<String>,

    /// Maximum time a join waits for its presence lookup [default: 1s]
    ///
    /// After that, it succeeds without the application's data.
    #[arg(long, env = "BROKER_PRESENCE_FETCH_TIMEOUT", value_name = "DURATION", help_heading = PRESENCE)]
    pub presence_fetch_timeout: Option<HumanDuration>,

    /// Maximum length of a presence id, in characters [default: 128]
    #[arg(long, env = "BROKER_MAX_PRESENCE_ID_LENGTH", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    pub max_presence_id_length: Option<usize>,

    /// Maximum size of a presence info, in bytes of JSON [default: 4KiB]
    ///
    /// Every join and every list of members repeats it.
    #[arg(long, env = "BROKER_MAX_PRESENCE_INFO_SIZE", value_name = "SIZE", help_heading = PRESENCE)]
    pub max_presence_info_size: Option<ByteSize>,

    /// Maximum number of members of a stream [default: 100000]
    ///
    /// Further joins are refused, but not further sessions of a member. 0 is unlimited.
    #[arg(long, env = "BROKER_MAX_MEMBERS", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    pub max_members: Option<usize>,

    /// Maximum number of presence records of one client [default: 1000]
    ///
    /// A client has one record for each subscription through which it has joined.
    #[arg(long, env = "BROKER_MAX_RECORDS", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    pub max_records: Option<usize>,

    /// Number of publications kept per stream [default: 100]
    ///
    /// A reconnecting client asks for the publications it missed, and gets either all of them or a
    /// refusal. 0 keeps none.
    #[arg(long, env = "BROKER_HISTORY_LIMIT", value_name = "COUNT", value_parser = count, help_heading = HISTORY)]
    pub history_limit: Option<usize>,

    /// How long a publication is kept [default: 5m]
    #[arg(long, env = "BROKER_HISTORY_TTL", value_name = "DURATION", help_heading = HISTORY)]
    pub history_ttl: Option<HumanDuration>,

    /// Maximum memory of all kept publications [default: 256MiB]
    ///
    /// Beyond it, the oldest publications of all streams are dropped first.
    #[arg(long, env = "BROKER_HISTORY_MAX_BYTES", value_name = "SIZE", help_heading = HISTORY)]
    pub history_max_bytes: Option<ByteSize>,

    /// How long a session outlives its connection [default: 5m]
    ///
    /// A client that reconnects within this time can resume its session, with all subscriptions. 0s
    /// disables resuming; at most 1day.
    #[arg(long, env = "BROKER_SESSIONS_TTL", value_name = "DURATION", help_heading = SESSIONS)]
    pub sessions_ttl: Option<HumanDuration>,

    /// Directory for state that survives restarts: sessions, members and histories
    ///
    /// It is created if needed, and must not be shared with another broker. Unset, nothing is on
    /// disk, and a restart empties all streams.
    #[arg(long, env = "BROKER_STATE_DIR", value_name = "DIR", help_heading = SESSIONS)]
    pub state_dir: Option<PathBuf>,

    /// How often state is synced to disk [default: 1s]
    ///
    /// A power loss can lose the changes since the last sync. A crash of the process loses nothing.
    #[arg(long, env = "BROKER_STATE_INTERVAL", value_name = "DURATION", help_heading = SESSIONS)]
    pub state_interval: Option<HumanDuration>,

    /// Interval of Action Cable's ping messages [default: 3s]
    ///
    /// Rails' client reconnects after 6s without one. 0 sends none.
    #[arg(long, env = "BROKER_PING_INTERVAL", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub ping_interval: Option<HumanDuration>,

    /// Unit of the timestamp in ping messages [default: s]
    #[arg(long, env = "BROKER_PING_TIMESTAMP_PRECISION", value_name = "UNIT", help_heading = TIMEOUTS)]
    pub ping_timestamp_precision: Option<TimestampPrecision>,

    /// Silence of a client before a liveness ping [default: 20s]
    ///
    /// It is a native WebSocket ping, which all clients answer by themselves. 0 disables the check;
    /// a vanished client then stays connected for hours.
    #[arg(long, env = "BROKER_LIVENESS_INTERVAL", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub liveness_interval: Option<HumanDuration>,

    /// Silence after a liveness ping before the connection is closed [default: 10s]
    ///
    /// A member whose machine vanished leaves after --liveness-interval, --liveness-timeout and
    /// --presence-ttl together.
    #[arg(long, env = "BROKER_LIVENESS_TIMEOUT", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub liveness_timeout: Option<HumanDuration>,

    /// Maximum time for a request's head to arrive [default: 10s]
    #[arg(long, env = "BROKER_HANDSHAKE_TIMEOUT", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub handshake_timeout: Option<HumanDuration>,

    /// Time over which connections are closed at the stop [default: 0s]
    ///
    /// They are closed one after the other, so that not all clients come to the other nodes at once. Those that
    /// are still open work on. The --shutdown-timeout begins when it is over. 0s closes all at once.
    #[arg(long, env = "BROKER_SHUTDOWN_DRAIN", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub shutdown_drain: Option<HumanDuration>,

    /// Maximum time for closing all connections at the stop [default: 5s]
    ///
    /// 0s ends the process at once.
    #[arg(long, env = "BROKER_SHUTDOWN_TIMEOUT", value_name = "DURATION", help_heading = TIMEOUTS)]
    pub shutdown_timeout: Option<HumanDuration>,

    /// Maximum number of connections [default: 0]
    ///
    /// 0 is what the open-file limit allows, less some for requests. Further connections are
    /// answered with HTTP 503.
    #[arg(long, env = "BROKER_MAX_CONNECTIONS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_connections: Option<usize>,

    /// Maximum number of connections of one address [default: 0]
    ///
    /// 0 is unlimited. Further connections are answered with HTTP 429. An IPv6 address counts as
    /// its /64. List proxies in --trusted-proxies: otherwise all their clients share an address.
    #[arg(long, env = "BROKER_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_connections_per_address: Option<usize>,

    /// Maximum number of handshakes per second, over all clients [default: 0]
    ///
    /// 0 is unlimited. A burst of as many is allowed after a quiet second; further ones are
    /// answered with HTTP 503. Leave room for a restart, after which all clients reconnect.
    #[arg(long, env = "BROKER_MAX_HANDSHAKES_PER_SECOND", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_handshakes_per_second: Option<usize>,

    /// Maximum number of subscriptions of one client [default: 1000]
    #[arg(long, env = "BROKER_MAX_SUBSCRIPTIONS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_subscriptions: Option<usize>,

    /// Maximum number of commands of one client per second, on average [default: 0]
    ///
    /// Every message and control frame counts. Further commands are refused, and a client that
    /// sends more than twice as many is closed with code 1008. 0 is unlimited; on the internet, 50
    /// is enough.
    #[arg(long, env = "BROKER_MAX_COMMANDS_PER_SECOND", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_commands_per_second: Option<usize>,

    /// Maximum burst of commands of one client [default: 0]
    ///
    /// 0 is the commands of four seconds; the minimum is those of one.
    #[arg(long, env = "BROKER_MAX_COMMANDS_BURST", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    pub max_commands_burst: Option<usize>,

    /// Maximum size of a message from a client [default: 64KiB]
    ///
    /// A larger one closes the connection with code 1009.
    #[arg(long, env = "BROKER_MAX_MESSAGE_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_message_size: Option<ByteSize>,

    /// Maximum size of a slow client's outbox [default: 1MiB]
    ///
    /// A connection whose outbox overflows is closed as too slow. An outbox must hold a message of
    /// --max-message-size.
    #[arg(long, env = "BROKER_MAX_OUTBOX_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_outbox_size: Option<ByteSize>,

    /// Maximum size of a list of members, or a history, for one client [default: 8MiB]
    ///
    /// In bytes of ids, infos or messages. It may be queued besides the outbox. Larger ones are
    /// refused.
    #[arg(long, env = "BROKER_MAX_ANSWER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_answer_size: Option<ByteSize>,

    /// Maximum size of a publish request's body [default: 1MiB]
    #[arg(long, env = "BROKER_MAX_BODY_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_body_size: Option<ByteSize>,

    /// Maximum size of a request's head, cookies included [default: 16KiB]
    ///
    /// At least 8KiB.
    #[arg(long, env = "BROKER_MAX_HEADER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_header_size: Option<ByteSize>,

    /// Maximum size of a stream name, in bytes [default: 1KiB]
    #[arg(long, env = "BROKER_MAX_STREAM_NAME_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_stream_name_size: Option<ByteSize>,

    /// Maximum size of a subscription identifier, in bytes of JSON [default: 4KiB]
    ///
    /// Every frame of the subscription repeats it.
    #[arg(long, env = "BROKER_MAX_IDENTIFIER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    pub max_identifier_size: Option<ByteSize>,

    /// Serve an example: a chat room at /examples/chat/ [default: false]
    ///
    /// It is a client without special rights.
    #[arg(long, env = "BROKER_EXAMPLES", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = PAGES)]
    pub examples: Option<bool>,

    /// Serve a page at /dashboard with live streams and members [default: false]
    ///
    /// It needs the --api-key, or the key derived from the --secret, and none if there is neither
    /// and the broker listens on loopback. It is served with the API.
    #[arg(long, env = "BROKER_DASHBOARD", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = PAGES)]
    pub dashboard: Option<bool>,

    /// error, warn, info, debug, trace or off; or by module [default: info]
    ///
    /// `info,broker::http=debug` sets one module apart from the rest.
    #[arg(long, env = "BROKER_LOG_LEVEL", value_name = "LEVEL", help_heading = LOG)]
    pub log_level: Option<String>,

    /// Text for people or JSON for collectors [default: text]
    ///
    /// Logs go to standard error.
    #[arg(long, env = "BROKER_LOG_FORMAT", value_name = "FORMAT", help_heading = LOG)]
    pub log_format: Option<LogFormat>,

    /// TOML file with settings; its keys are the names of these flags
    ///
    /// Flags and environment variables win over the file.
    #[arg(long, env = "BROKER_CONFIG", value_name = "FILE", help_heading = CONFIGURATION)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the resulting configuration, as a file for --config, and exit
    #[arg(long, env = "BROKER_PRINT_CONFIG", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = CONFIGURATION)]
    #[serde(skip)]
    pub print_config: Option<bool>,
}

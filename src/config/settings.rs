//! The settings as people write them: every one optional, from flags, environment or file.
//!
//! One struct is all three: its fields are the flags, their `env` names the environment, and the
//! file's keys are the flags' names. What a setting means, its unit and its default are told
//! once, here, and shown by `--help`; the defaults themselves are in [`defaults`](super::defaults)
//! and a test holds the two together.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::value::{ByteSize, Host, HumanDuration, count, port, switch};

const WHERE: &str = "Where it listens";
const WHO: &str = "Who may do what";
const PRESENCE: &str = "Presence";
const HISTORY: &str = "History";
const RESTARTS: &str = "Sessions and restarts";
const PINGS: &str = "Pings and timeouts";
const LIMITS: &str = "Limits";
const PAGES: &str = "Pages";
const LOG: &str = "Logs";
const FILE: &str = "Configuration";

/// How fine the timestamp in an Action Cable ping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TimestampPrecision {
    /// Whole seconds, as Rails sends them.
    #[value(name = "s")]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[value(name = "ms")]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Nanoseconds.
    #[value(name = "ns")]
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line, for collectors.
    Json,
}

/// All settings, each one as it was given or not at all.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// IP address to listen on, or `localhost` [default: 127.0.0.1]
    ///
    /// Any but a loopback address is refused unless a --secret protects what is served, or
    /// --public says that everyone who can reach it is meant. 0.0.0.0 is every IPv4 address of the machine, :: every address.
    #[arg(long, env = "BROKER_HOST", value_name = "ADDRESS", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,

    /// Port for clients, and for everything that has no port of its own [default: 8080]
    ///
    /// 0 takes any free port; the log says which.
    #[arg(long, env = "BROKER_PORT", value_name = "PORT", value_parser = port, help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,

    /// Port for publishing and the presence API, when clients must not reach them
    ///
    /// Unset, they are served on --port. 0 takes any free port.
    #[arg(long, env = "BROKER_API_PORT", value_name = "PORT", value_parser = port, help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,

    /// Port for /metrics, when clients must not reach it
    ///
    /// Unset, it is served on --port. 0 takes any free port.
    #[arg(long, env = "BROKER_METRICS_PORT", value_name = "PORT", value_parser = port, help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,

    /// What clients may speak, with commas between [default: action-cable,phoenix,typed,chat,sse]
    ///
    /// All on --port, each at its path. What is left out isn't served and costs nothing.
    #[arg(long, env = "BROKER_PROTOCOLS", value_name = "NAMES", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<String>,

    /// Path of the Action Cable WebSocket [default: /cable]
    #[arg(long, env = "BROKER_CABLE_PATH", value_name = "PATH", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cable_path: Option<String>,

    /// Path of Phoenix Channels, as given to Phoenix's `Socket` [default: /socket]
    ///
    /// Below it are /websocket and, for clients that can't have one, /longpoll.
    #[arg(long, env = "BROKER_PHOENIX_PATH", value_name = "PATH", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phoenix_path: Option<String>,

    /// Path of the WebSocket for typed JSON [default: /]
    #[arg(long, env = "BROKER_TYPED_PATH", value_name = "PATH", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typed_path: Option<String>,

    /// Path of the chat room's WebSocket [default: /chat]
    #[arg(long, env = "BROKER_CHAT_PATH", value_name = "PATH", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_path: Option<String>,

    /// Path of the streams of server-sent events [default: /events]
    #[arg(long, env = "BROKER_SSE_PATH", value_name = "PATH", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse_path: Option<String>,

    /// Certificate to speak TLS with: a PEM file with the full chain
    ///
    /// The server's certificate comes first, then the intermediates. Every port then speaks TLS (1.2
    /// and 1.3), and nothing else. It is read again on SIGHUP and within seconds when it changes;
    /// connections stay. Needs --tls-key.
    #[arg(long, env = "BROKER_TLS_CERT", value_name = "FILE", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the --tls-cert: a PEM file without a passphrase
    #[arg(long, env = "BROKER_TLS_KEY", value_name = "FILE", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// Proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8,192.0.2.7
    ///
    /// A client's address is then the last in that header that isn't one of theirs. From anyone else
    /// the header is ignored.
    #[arg(long, env = "BROKER_TRUSTED_PROXIES", value_name = "NETWORKS", help_heading = WHERE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<String>,

    /// Serve everyone who can reach it [default: false]
    ///
    /// No token is needed, and every stream is open to whoever knows its name. With a --secret, tokens
    /// that are given are checked and the API and metrics need their keys; publishing needs one only if
    /// it has a --broadcast-key.
    #[arg(long, env = "BROKER_PUBLIC", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,

    /// Secret shared with the application: tokens, signed streams and keys rest on it
    ///
    /// With it a client needs a token, a stream name its signature, and publishing, the API and
    /// metrics the keys derived from it. Several, with commas between them or a line each in the file,
    /// are all accepted, so that one can be replaced; the first is the one in use. A flag shows in the
    /// process list: prefer the environment or the file. The same holds for every secret and key below.
    #[arg(long, env = "BROKER_SECRET", value_name = "SECRET", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,

    /// File that holds the --secret
    #[arg(long, env = "BROKER_SECRET_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,

    /// Secret that tokens are signed with, if not the --secret
    #[arg(long, env = "BROKER_JWT_SECRET", value_name = "SECRET", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub jwt_secret: Option<Secret>,

    /// File that holds the --jwt-secret
    #[arg(long, env = "BROKER_JWT_SECRET_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_secret_file: Option<PathBuf>,

    /// Name under which a token comes: ?jid=TOKEN, or header X-JID [default: jid]
    ///
    /// Or as a subprotocol, anycable-token.TOKEN, whatever the name.
    #[arg(long, env = "BROKER_JWT_PARAM", value_name = "NAME", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_param: Option<String>,

    /// Audience a token must have been made for: its claim `aud`
    #[arg(long, env = "BROKER_JWT_AUDIENCE", value_name = "NAME", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_audience: Option<String>,

    /// Issuer a token must come from: its claim `iss`
    #[arg(long, env = "BROKER_JWT_ISSUER", value_name = "NAME", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_issuer: Option<String>,

    /// Whether a client needs a token
    ///
    /// Unset, it does with a secret and without --public. A token that is given must be good in any
    /// case.
    #[arg(long, env = "BROKER_ENFORCE_JWT", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_jwt: Option<bool>,

    /// Claim of the token that is the client's presence id, such as `sub`
    ///
    /// `ext.user` is the identifier `user` in the claim `ext`. A client that joins under another id
    /// is refused, and one whose token has no such claim can't join. Unset, a client may join under
    /// any id.
    #[arg(long, env = "BROKER_PRESENCE_ID_CLAIM", value_name = "CLAIM", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_id_claim: Option<String>,

    /// Secret that stream names are signed with, if not the --secret
    #[arg(long, env = "BROKER_STREAMS_SECRET", value_name = "SECRET", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub streams_secret: Option<Secret>,

    /// File that holds the --streams-secret
    #[arg(long, env = "BROKER_STREAMS_SECRET_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams_secret_file: Option<PathBuf>,

    /// Open every stream to whoever knows its name, beside signed ones [default: false]
    ///
    /// Without any secret that is so anyway.
    #[arg(long, env = "BROKER_PUBLIC_STREAMS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_streams: Option<bool>,

    /// Allow whispers on signed streams [default: false]
    ///
    /// Public streams always have them.
    #[arg(long, env = "BROKER_STREAMS_WHISPER", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams_whisper: Option<bool>,

    /// Take the signed stream names of Turbo [default: false]
    #[arg(long, env = "BROKER_TURBO_STREAMS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turbo_streams: Option<bool>,

    /// Secret that Turbo signs with, if not the --streams-secret
    #[arg(long, env = "BROKER_TURBO_STREAMS_SECRET", value_name = "SECRET", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub turbo_streams_secret: Option<Secret>,

    /// File that holds the --turbo-streams-secret
    #[arg(long, env = "BROKER_TURBO_STREAMS_SECRET_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turbo_streams_secret_file: Option<PathBuf>,

    /// Take the signed stream names of CableReady [default: false]
    #[arg(long, env = "BROKER_CABLE_READY", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cable_ready: Option<bool>,

    /// Secret that CableReady signs with, if not the --streams-secret
    #[arg(long, env = "BROKER_CABLE_READY_SECRET", value_name = "SECRET", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub cable_ready_secret: Option<Secret>,

    /// File that holds the --cable-ready-secret
    #[arg(long, env = "BROKER_CABLE_READY_SECRET_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cable_ready_secret_file: Option<PathBuf>,

    /// Hosts whose pages may connect, such as app.example.io,*.example.io
    ///
    /// A port counts if it is not the scheme's own (localhost:3000), a scheme if it is written
    /// (`https://app.example.io`). A WebSocket without an Origin is refused, too. Unset, every page may.
    #[arg(long, env = "BROKER_ALLOWED_ORIGINS", value_name = "HOSTS", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_origins: Option<String>,

    /// Key a publisher must send: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without one, whoever reaches the port may publish.
    #[arg(long, env = "BROKER_BROADCAST_KEY", value_name = "KEY", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub broadcast_key: Option<Secret>,

    /// File that holds the --broadcast-key
    #[arg(long, env = "BROKER_BROADCAST_KEY_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast_key_file: Option<PathBuf>,

    /// Key a caller of /api must send: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without one, whoever reaches the port may ask.
    #[arg(long, env = "BROKER_API_KEY", value_name = "KEY", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub api_key: Option<Secret>,

    /// File that holds the --api-key
    #[arg(long, env = "BROKER_API_KEY_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,

    /// Key a reader of /metrics must send: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without one, whoever reaches the port may read.
    #[arg(long, env = "BROKER_METRICS_KEY", value_name = "KEY", help_heading = WHO)]
    #[serde(skip_serializing)]
    pub metrics_key: Option<Secret>,

    /// File that holds the --metrics-key
    #[arg(long, env = "BROKER_METRICS_KEY_FILE", value_name = "FILE", help_heading = WHO)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_key_file: Option<PathBuf>,

    /// How long a member stays after its connection ended, however it ended [default: 15s]
    ///
    /// A client that comes back within it stays present, and nobody sees that it was away. Connected
    /// clients don't expire. 0s removes at once; at most 1day.
    #[arg(long, env = "BROKER_PRESENCE_TTL", value_name = "DURATION", help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_ttl: Option<HumanDuration>,

    /// How often clients that only count the members are told, at most [default: 1s]
    ///
    /// For rooms of tens of thousands: a number now and then instead of every join and leave. A client
    /// asks for it with the subscription.
    #[arg(long, env = "BROKER_OCCUPANCY_INTERVAL", value_name = "DURATION", help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupancy_interval: Option<HumanDuration>,

    /// Where the application is asked what it knows of those who join
    ///
    /// Such as `http://127.0.0.1:3000/presence`: their names, to be shown beside the info they give
    /// themselves. With a --secret, it is sent a key derived from it. `https` trusts the system's
    /// certificate authorities, or those in `SSL_CERT_FILE`.
    #[arg(long, env = "BROKER_PRESENCE_FETCH_URL", value_name = "URL", help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_fetch_url: Option<String>,

    /// How long a join waits for what the application knows, at most [default: 1s]
    ///
    /// Without an answer by then it goes on without one.
    #[arg(long, env = "BROKER_PRESENCE_FETCH_TIMEOUT", value_name = "DURATION", help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_fetch_timeout: Option<HumanDuration>,

    /// Longest presence id, in characters [default: 128]
    #[arg(long, env = "BROKER_MAX_PRESENCE_ID_LENGTH", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_presence_id_length: Option<usize>,

    /// Largest presence info, in bytes of its JSON [default: 4KiB]
    ///
    /// It is repeated in every join and in every list of members.
    #[arg(long, env = "BROKER_MAX_PRESENCE_INFO_SIZE", value_name = "SIZE", help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_presence_info_size: Option<ByteSize>,

    /// Most members of a stream [default: 100000]
    ///
    /// One more is refused; further sessions of a member are not. 0 is any number.
    #[arg(long, env = "BROKER_MAX_MEMBERS", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_members: Option<usize>,

    /// Most subscriptions through which one client is present [default: 1000]
    #[arg(long, env = "BROKER_MAX_RECORDS", value_name = "COUNT", value_parser = count, help_heading = PRESENCE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_records: Option<usize>,

    /// Publications a stream keeps for clients that were away [default: 100]
    ///
    /// A client that comes back asks for what it missed and gets all of it, or is told that it
    /// can't be had. 0 keeps none.
    #[arg(long, env = "BROKER_HISTORY_LIMIT", value_name = "COUNT", value_parser = count, help_heading = HISTORY)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<usize>,

    /// How long a publication is kept [default: 5m]
    #[arg(long, env = "BROKER_HISTORY_TTL", value_name = "DURATION", help_heading = HISTORY)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_ttl: Option<HumanDuration>,

    /// Most memory that all kept publications take [default: 256MiB]
    ///
    /// Beyond it the oldest go first, of whichever stream.
    #[arg(long, env = "BROKER_HISTORY_MAX_BYTES", value_name = "SIZE", help_heading = HISTORY)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_max_bytes: Option<ByteSize>,

    /// How long a session outlives its connection [default: 5m]
    ///
    /// A client that comes back within it and names its session goes on where it was, with all its
    /// subscriptions. 0s ends every session with its connection; at most 1day.
    #[arg(long, env = "BROKER_SESSIONS_TTL", value_name = "DURATION", help_heading = RESTARTS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_ttl: Option<HumanDuration>,

    /// Directory for what should survive a restart: sessions, members and histories
    ///
    /// It is made if it isn't there, and is for one broker alone. Unset, nothing is kept on disk,
    /// and a restart empties every stream.
    #[arg(long, env = "BROKER_STATE_DIR", value_name = "DIR", help_heading = RESTARTS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,

    /// How often state on disk is made to survive a power loss [default: 1s]
    ///
    /// A power loss takes at most what was said since. The end of the process alone takes nothing.
    #[arg(long, env = "BROKER_STATE_INTERVAL", value_name = "DURATION", help_heading = RESTARTS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_interval: Option<HumanDuration>,

    /// How often an Action Cable client is sent a ping message [default: 3s]
    ///
    /// Rails' own client reconnects when it hears nothing for 6s. 0 sends none.
    #[arg(long, env = "BROKER_PING_INTERVAL", value_name = "DURATION", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_interval: Option<HumanDuration>,

    /// Unit of the timestamp in a ping message [default: s]
    #[arg(long, env = "BROKER_PING_TIMESTAMP_PRECISION", value_name = "UNIT", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_timestamp_precision: Option<TimestampPrecision>,

    /// Silence after which a client is asked for a sign of life [default: 20s]
    ///
    /// It is a native WebSocket ping, which every client answers by itself. 0 never asks, and a
    /// vanished client then stays for hours.
    #[arg(long, env = "BROKER_LIVENESS_INTERVAL", value_name = "DURATION", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_interval: Option<HumanDuration>,

    /// Silence after that ping until the connection is given up [default: 10s]
    ///
    /// A member whose machine vanished is gone after --liveness-interval, --liveness-timeout and
    /// --presence-ttl together.
    #[arg(long, env = "BROKER_LIVENESS_TIMEOUT", value_name = "DURATION", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_timeout: Option<HumanDuration>,

    /// Time in which a request's whole head must arrive [default: 10s]
    #[arg(long, env = "BROKER_HANDSHAKE_TIMEOUT", value_name = "DURATION", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_timeout: Option<HumanDuration>,

    /// Time to tell the clients and end when asked to stop [default: 5s]
    ///
    /// 0s ends at once.
    #[arg(long, env = "BROKER_SHUTDOWN_TIMEOUT", value_name = "DURATION", help_heading = PINGS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown_timeout: Option<HumanDuration>,

    /// Most connections at a time [default: 0]
    ///
    /// 0 is as many as the process may open files, less some for requests. One more is answered
    /// with HTTP 503.
    #[arg(long, env = "BROKER_MAX_CONNECTIONS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,

    /// Most connections of one address at a time [default: 0]
    ///
    /// 0 is any number. One more is answered with HTTP 429. An IPv6 address counts as its /64. Behind
    /// a proxy, name it in --trusted-proxies: otherwise all clients have its address.
    #[arg(long, env = "BROKER_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<usize>,

    /// Most handshakes accepted in a second, over all clients [default: 0]
    ///
    /// 0 is any number. As many may come at once after a quiet second; one more is answered with HTTP
    /// 503. A restart brings everyone back at once, so leave room for that.
    #[arg(long, env = "BROKER_MAX_HANDSHAKES_PER_SECOND", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_handshakes_per_second: Option<usize>,

    /// Most subscriptions of one client [default: 1000]
    #[arg(long, env = "BROKER_MAX_SUBSCRIPTIONS", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<usize>,

    /// Most commands of one client in a second, on average [default: 0]
    ///
    /// Every message and control frame counts. What is more is refused, and a client that sends more
    /// than twice as much is ended with close code 1008. 0 is any number; for the internet, 50 does.
    #[arg(long, env = "BROKER_MAX_COMMANDS_PER_SECOND", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_commands_per_second: Option<usize>,

    /// Most commands of one client at once [default: 0]
    ///
    /// 0 is those of four seconds. At least those of one.
    #[arg(long, env = "BROKER_MAX_COMMANDS_BURST", value_name = "COUNT", value_parser = count, help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_commands_burst: Option<usize>,

    /// Largest message of a client [default: 64KiB]
    ///
    /// A larger one ends the connection with close code 1009.
    #[arg(long, env = "BROKER_MAX_MESSAGE_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<ByteSize>,

    /// Most bytes that may wait for one slow client [default: 1MiB]
    ///
    /// With more waiting, the connection is ended as too slow. It must hold a message of
    /// --max-message-size.
    #[arg(long, env = "BROKER_MAX_OUTBOX_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_outbox_size: Option<ByteSize>,

    /// Largest list of members, or history, told to one client [default: 8MiB]
    ///
    /// In bytes of its ids, infos or messages. It may wait whole for a client that reads slowly. A
    /// larger one is refused.
    #[arg(long, env = "BROKER_MAX_ANSWER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_answer_size: Option<ByteSize>,

    /// Largest body of a publish request [default: 1MiB]
    #[arg(long, env = "BROKER_MAX_BODY_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,

    /// Largest head of a request, cookies included [default: 16KiB]
    ///
    /// At least 8KiB.
    #[arg(long, env = "BROKER_MAX_HEADER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_header_size: Option<ByteSize>,

    /// Longest stream name, in bytes [default: 1KiB]
    #[arg(long, env = "BROKER_MAX_STREAM_NAME_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stream_name_size: Option<ByteSize>,

    /// Longest subscription identifier, in bytes [default: 4KiB]
    ///
    /// Counted in its JSON form. It is repeated in every frame of the subscription.
    #[arg(long, env = "BROKER_MAX_IDENTIFIER_SIZE", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_identifier_size: Option<ByteSize>,

    /// Serve an example to try in a browser: a chat room at /examples/chat/ [default: false]
    ///
    /// It is a client like any other and may do no more than those.
    #[arg(long, env = "BROKER_EXAMPLES", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = PAGES)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<bool>,

    /// Serve a page at /dashboard that shows streams and members live [default: false]
    ///
    /// It asks for the --api-key, or the one derived from the --secret, and needs none where the
    /// broker has neither and listens on loopback. It is served where the API is.
    #[arg(long, env = "BROKER_DASHBOARD", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = PAGES)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<bool>,

    /// error, warn, info, debug, trace or off; or by module [default: info]
    ///
    /// `info,broker::http=debug` sets one module apart from the rest.
    #[arg(long, env = "BROKER_LOG_LEVEL", value_name = "LEVEL", help_heading = LOG)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,

    /// Lines for people or JSON for collectors [default: text]
    ///
    /// They go to standard error.
    #[arg(long, env = "BROKER_LOG_FORMAT", value_name = "FORMAT", help_heading = LOG)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,

    /// TOML file to read; its keys are the names of these flags
    ///
    /// What a flag or the environment says wins over the file.
    #[arg(long, env = "BROKER_CONFIG", value_name = "FILE", help_heading = FILE)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the configuration that results, as a file for --config, and end
    #[arg(long, env = "BROKER_PRINT_CONFIG", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = FILE)]
    #[serde(skip)]
    pub print_config: Option<bool>,
}

/// A secret of the settings: its flag's name, what was given, and the file given instead.
pub(super) type SecretSetting<'a> = (&'static str, &'a mut Option<Secret>, &'a mut Option<PathBuf>);

impl Settings {
    /// Everything that is secret, in the order of [`Access`](super::Access)' needs.
    pub fn secrets(&mut self) -> [SecretSetting<'_>; 8] {
        [
            ("secret", &mut self.secret, &mut self.secret_file),
            ("jwt-secret", &mut self.jwt_secret, &mut self.jwt_secret_file),
            ("streams-secret", &mut self.streams_secret, &mut self.streams_secret_file),
            (
                "turbo-streams-secret",
                &mut self.turbo_streams_secret,
                &mut self.turbo_streams_secret_file,
            ),
            ("cable-ready-secret", &mut self.cable_ready_secret, &mut self.cable_ready_secret_file),
            ("broadcast-key", &mut self.broadcast_key, &mut self.broadcast_key_file),
            ("api-key", &mut self.api_key, &mut self.api_key_file),
            ("metrics-key", &mut self.metrics_key, &mut self.metrics_key_file),
        ]
    }
}

//! The part of [`Settings`](super::Settings) about the application that is asked about connections and
//! channels.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::value::{ByteSize, DisconnectMode, HumanDuration, RpcProtocol, count, switch};

const APPLICATION: &str = "The application's callbacks";

/// Settings of the application's callbacks, each as given, or `None`.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(rename_all = "kebab-case", default)]
pub struct ApplicationSettings {
    /// Address of the application that decides about connections and channels (AnyCable's RPC)
    ///
    /// Such as `http://127.0.0.1:3000/_anycable` for callbacks over HTTP, or `127.0.0.1:50051` for gRPC, also as
    /// `grpc://HOST:PORT` or `dns:///HOST:PORT`, and several with commas between them. Unset, the application isn't asked:
    /// tokens and signed names decide.
    #[arg(long, env = "BROKER_RPC_HOST", value_name = "ADDRESS", help_heading = APPLICATION)]
    pub rpc_host: Option<String>,

    /// Protocol of the callbacks: http, grpc, or none to ask nothing
    ///
    /// Unset, it is what the --rpc-host says.
    #[arg(long, env = "BROKER_RPC_IMPL", value_name = "PROTOCOL", help_heading = APPLICATION)]
    pub rpc_impl: Option<RpcProtocol>,

    /// Key that the application is shown: `Authorization: Bearer KEY`
    ///
    /// Unset, it is derived from the --secret; without a secret, there is none.
    #[arg(long, env = "BROKER_HTTP_RPC_SECRET", value_name = "KEY", help_heading = APPLICATION)]
    #[serde(skip_serializing)]
    pub http_rpc_secret: Option<Secret>,

    /// File with the --http-rpc-secret
    #[arg(long, env = "BROKER_HTTP_RPC_SECRET_FILE", value_name = "FILE", help_heading = APPLICATION)]
    pub http_rpc_secret_file: Option<PathBuf>,

    /// Maximum number of calls that the application has at a time [default: 0]
    ///
    /// 0 finds it out: from 25, up to 100 while calls get through, and down to 5 when the application has too much to do.
    /// Calls that hang, for several times as long as others take, don't count then.
    #[arg(long, env = "BROKER_RPC_CONCURRENCY", value_name = "COUNT", value_parser = count, help_heading = APPLICATION)]
    pub rpc_concurrency: Option<usize>,

    /// Maximum number of calls that wait for their turn [default: 4096]
    ///
    /// Most places are for commands of those connected, a fifth is for connects, a tenth for disconnects. Without a place,
    /// a handshake is answered with HTTP 503.
    #[arg(long, env = "BROKER_RPC_BACKLOG", value_name = "COUNT", value_parser = count, help_heading = APPLICATION)]
    pub rpc_backlog: Option<usize>,

    /// Maximum time for the answer to a call once it is sent [default: 3s]
    #[arg(long, env = "BROKER_RPC_REQUEST_TIMEOUT", value_name = "DURATION", help_heading = APPLICATION)]
    pub rpc_request_timeout: Option<HumanDuration>,

    /// Maximum time for a call, with its wait and its repeats [default: 5s]
    ///
    /// Only calls that the application surely hasn't run are repeated. Below 10s, after which clients give up.
    #[arg(long, env = "BROKER_RPC_COMMAND_TIMEOUT", value_name = "DURATION", help_heading = APPLICATION)]
    pub rpc_command_timeout: Option<HumanDuration>,

    /// Maximum size of an answer [default: 1MiB]
    #[arg(long, env = "BROKER_RPC_MAX_ANSWER", value_name = "SIZE", help_heading = APPLICATION)]
    pub rpc_max_answer: Option<ByteSize>,

    /// Maximum size of an answer over gRPC, instead of the --rpc-max-answer
    #[arg(long, env = "BROKER_RPC_MAX_CALL_RECV_SIZE", value_name = "SIZE", help_heading = APPLICATION)]
    pub rpc_max_call_recv_size: Option<ByteSize>,

    /// Maximum size of a call over gRPC
    ///
    /// A larger one isn't sent, and fails. Unset, only the limits on clients bound it.
    #[arg(long, env = "BROKER_RPC_MAX_CALL_SEND_SIZE", value_name = "SIZE", help_heading = APPLICATION)]
    pub rpc_max_call_send_size: Option<ByteSize>,

    /// Whether gRPC is spoken over TLS [default: false]
    ///
    /// It trusts the system's certificate authorities, or those in `SSL_CERT_FILE`. Over HTTP, an `https` URL says it.
    #[arg(long, env = "BROKER_RPC_ENABLE_TLS", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = APPLICATION)]
    pub rpc_enable_tls: Option<bool>,

    /// Whether the application's certificate is verified [default: true]
    ///
    /// If it isn't, whoever is between the broker and the application can pose as it.
    #[arg(long, env = "BROKER_RPC_TLS_VERIFY", value_name = "BOOL", value_parser = switch, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", help_heading = APPLICATION)]
    pub rpc_tls_verify: Option<bool>,

    /// Certificate authorities of the application, trusted instead of the system's: a PEM file, or its text
    #[arg(long, env = "BROKER_RPC_TLS_ROOT_CA", value_name = "PEM", help_heading = APPLICATION)]
    pub rpc_tls_root_ca: Option<String>,

    /// Headers of the handshake that the application is sent, comma-separated [default: cookie]
    #[arg(long, env = "BROKER_HEADERS", value_name = "NAMES", help_heading = APPLICATION)]
    pub headers: Option<String>,

    /// Cookies that the application is sent, comma-separated
    ///
    /// Unset, it is sent all, if --headers has `cookie`.
    #[arg(long, env = "BROKER_PROXY_COOKIES", value_name = "NAMES", help_heading = APPLICATION)]
    pub proxy_cookies: Option<String>,

    /// Whose end the application is told: auto, always or never [default: auto]
    ///
    /// `auto` leaves out sessions that the application was never asked about.
    #[arg(long, env = "BROKER_DISCONNECT_MODE", value_name = "MODE", help_heading = APPLICATION)]
    pub disconnect_mode: Option<DisconnectMode>,

    /// Maximum number of ends that the application is told per second [default: 100]
    ///
    /// 0 is unlimited, and so is a stop.
    #[arg(long, env = "BROKER_DISCONNECT_RATE", value_name = "COUNT", value_parser = count, help_heading = APPLICATION)]
    pub disconnect_rate: Option<usize>,

    /// How long after a connection's end the application is told, unless the session is resumed
    ///
    /// Unset, it is the --sessions-ttl: until then the session may be resumed. With 0s it is told at once, also of
    /// connections whose clients come back, as by AnyCable. There is nothing in between.
    #[arg(long, env = "BROKER_DISCONNECT_DELAY", value_name = "DURATION", help_heading = APPLICATION)]
    pub disconnect_delay: Option<HumanDuration>,
}

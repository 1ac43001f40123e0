//! Errors in the settings of the application's callbacks.

use thiserror::Error;

use super::rpc_host::BadRpcHost;

/// Why the settings of the application's callbacks can't be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplicationError {
    /// An invalid address.
    #[error("--rpc-host: {0}")]
    Host(#[from] BadRpcHost),
    /// A protocol without an address.
    #[error(
        "--rpc-impl needs a --rpc-host: set the application's address, or write none to ask nothing"
    )]
    NoHost,
    /// HTTP at an address of gRPC.
    #[error(
        "--rpc-impl=http needs a --rpc-host that begins with http:// or https://, and it is {0}"
    )]
    NoUrl(String),
    /// gRPC at a URL.
    #[error("--rpc-impl=grpc can't be spoken to {0}: write the --rpc-host as HOST:PORT")]
    Url(String),
    /// TLS for a URL that says otherwise.
    #[error(
        "--rpc-enable-tls is for gRPC: begin the --rpc-host with https:// instead, or write it as HOST:PORT"
    )]
    TlsOfUrl,
    /// Authorities, and no TLS.
    #[error(
        "--{setting} needs TLS: begin the --rpc-host with https://, set --rpc-enable-tls for gRPC, or leave it out"
    )]
    NoTls {
        /// The setting.
        setting: &'static str,
    },
    /// Authorities for certificates that aren't verified.
    #[error("--rpc-tls-root-ca has no effect with --rpc-tls-verify=false: leave one of them out")]
    UnusedAuthorities,
    /// Text that isn't PEM.
    #[error("--rpc-tls-root-ca holds no certificate: it has to be PEM, or the path of a PEM file")]
    NoAuthorities,
    /// Sizes of gRPC for HTTP.
    #[error(
        "--{setting} is for gRPC, and the --rpc-host is a URL: use --rpc-max-answer, or leave it out"
    )]
    GrpcOnly {
        /// The setting.
        setting: &'static str,
    },
    /// A delay that is neither of the two there are.
    #[error(
        "--disconnect-delay {0}: it is 0s, which tells the application of the end of each connection, or left out, \
         which tells it when the session can no longer be resumed (--sessions-ttl)"
    )]
    Delay(super::HumanDuration),
    /// A call that takes longer than all its attempts.
    #[error(
        "--rpc-request-timeout {request} is above --rpc-command-timeout {command}, which bounds it: lower the first or \
         raise the second"
    )]
    RequestAboveCommand {
        /// Of one attempt.
        request: super::HumanDuration,
        /// Of all.
        command: super::HumanDuration,
    },
    /// A header or cookie that can't be.
    #[error("--{setting}: `{name}` is no name of a {what}: write names with commas between them")]
    Name {
        /// The setting.
        setting: &'static str,
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Cookies that aren't sent.
    #[error(
        "--proxy-cookies has no effect without cookie among the --headers: add it, or leave the cookies out"
    )]
    CookiesWithoutHeader,
    /// Several keys.
    #[error(
        "--http-rpc-secret can't be several: the application is shown one; a comma can only be in a file"
    )]
    SeveralSecrets,
}

//! Configuration errors, one sentence each: the setting, the problem, what to do.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::app_url::BadAppUrl;
use super::application_error::ApplicationError;
use super::proxies::BadProxy;
use crate::auth::BadOrigin;

/// Why the settings aren't a valid [`Config`](super::Config).
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Open access beyond loopback without `--public`.
    #[error(
        "--host {host} would serve everyone who can reach it: pass --secret to protect it, \
         --public if that is intended, or keep --host 127.0.0.1"
    )]
    NotLoopback {
        /// The configured address.
        host: IpAddr,
    },
    /// Clients need a token, but publishing or the API would be open beyond loopback.
    #[error(
        "--host {host} would let everyone who can reach it {open}: pass {missing} besides the \
         --jwt-secret, or --secret, from which all keys are derived"
    )]
    NotKeyed {
        /// The configured address.
        host: IpAddr,
        /// What would be open.
        open: &'static str,
        /// The keys that protect it.
        missing: &'static str,
    },
    /// A setting that needs a secret, without one.
    #[error("--{setting} has no effect without a secret: pass --secret or --{of}")]
    NoSecret {
        /// The setting.
        setting: &'static str,
        /// The specific secret it could have.
        of: &'static str,
    },
    /// An empty name.
    #[error("--{setting} is empty: write a name, or leave it out")]
    EmptyName {
        /// The setting.
        setting: &'static str,
    },
    /// A name that can't be a header's.
    #[error(
        "--jwt-param `{param}` has characters a header's name can't have: use letters, digits, - and _"
    )]
    JwtParam {
        /// The name given.
        param: String,
    },
    /// A dashboard that is open beyond loopback.
    #[error(
        "--dashboard would show all members to everyone who can reach it: set an --api-key, or a \
         --secret to derive it from, or keep --host 127.0.0.1"
    )]
    OpenDashboard,
    /// An invalid list of origins.
    #[error("--allowed-origins: {0}")]
    Origins(#[from] BadOrigin),
    /// Settings of the application's callbacks that can't be.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// A state directory and an engine.
    #[error(
        "--state-dir is for one node alone, and with --redis-url or --nats-servers the state is with the other nodes: \
         leave one of them out"
    )]
    TwoKeepers,
    /// Sentinels without the name of a primary.
    #[error(
        "--redis-sentinels needs a --redis-url with the name of the primary as its host, such as redis://mymaster"
    )]
    SentinelsAlone,
    /// A cluster's secret without an engine.
    #[error(
        "--cluster-secret needs a --redis-url or --nats-servers: a node alone has nothing to seal"
    )]
    ClusterSecretAlone,
    /// Several secrets of a cluster.
    #[error(
        "--cluster-secret can't be several: to replace it, stop all nodes and start them with another --cluster-name; a \
         comma can only be in a file"
    )]
    SeveralClusterSecrets,
    /// Two engines.
    #[error(
        "--redis-url and --nats-servers are both set, and a cluster has one of them: leave the other out"
    )]
    TwoEngines,
    /// A user in an address, and credentials.
    #[error("--nats-creds and --nats-servers both name a user: keep one")]
    TwoNatsUsers,
    /// A file without credentials.
    #[error(
        "--nats-creds {} holds no user's JWT with its seed: it has to be a file as `nsc generate creds` writes it",
        file.display()
    )]
    NoCredentials {
        /// The file.
        file: PathBuf,
    },
    /// A number of replicas that NATS can't have, or that is no better than a smaller one.
    #[error("--nats-replicas {0} can't be: it has to be 1, 3 or 5")]
    Replicas(u8),
    /// An invalid list of proxies.
    #[error("--trusted-proxies: {0}")]
    Proxies(#[from] BadProxy),
    /// An invalid URL for presence lookups.
    #[error("--presence-fetch-url: {0}")]
    AppUrl(#[from] BadAppUrl),
    /// A certificate without a key, or a key without a certificate.
    #[error("--{given} needs --{missing}: give both, or neither")]
    TlsHalf {
        /// The setting given.
        given: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// Files for the TLS of Redis, and no TLS.
    #[error("--{setting} needs TLS: begin the --redis-url with rediss://, or leave it out")]
    RedisWithoutTls {
        /// The setting.
        setting: &'static str,
    },
    /// Authorities for certificates that aren't verified.
    #[error(
        "--redis-tls-ca-cert-path has no effect with --redis-tls-verify=false: leave one of them out"
    )]
    UnusedAuthorities,
    /// An unreadable certificate or key file.
    #[error("--{setting} {} can't be read ({}): check the path and its permissions", file.display(), Plain(source))]
    TlsFile {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate file without a certificate.
    #[error("--{setting} {} holds no certificate: it has to be PEM", file.display())]
    NoCertificate {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// A key file without a private key.
    #[error("--{setting} {} holds no private key: it has to be PEM, without a passphrase", file.display())]
    NoPrivateKey {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// A key that isn't the certificate's.
    #[error(
        "--{setting} {} is not the key of the certificate in {}: give a certificate and its own key",
        key.display(), cert.display()
    )]
    TlsMismatch {
        /// The setting with the key.
        setting: &'static str,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// A certificate or key that rustls refuses.
    #[error("--{setting} {} with the key in {} can't be used: {source}", cert.display(), key.display())]
    TlsUnusable {
        /// The setting with the certificate.
        setting: &'static str,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why not.
        source: Box<rustls::Error>,
    },
    /// A value out of bounds.
    #[error("--{setting} {given} is {side} {bound}: {reason}")]
    OutOfRange {
        /// Which setting.
        setting: &'static str,
        /// The value given.
        given: String,
        /// `below` or `above`.
        side: &'static str,
        /// The bound it is beyond.
        bound: String,
        /// Why the bound is there.
        reason: &'static str,
    },
    /// An outbox that can't hold a message.
    #[error(
        "--max-outbox-size {outbox} is below --max-message-size {message}: one message would \
         overflow it, so raise the first or lower the second"
    )]
    OutboxBelowMessage {
        /// The outbox.
        outbox: super::ByteSize,
        /// The message.
        message: super::ByteSize,
    },
    /// A stop longer than members whose connections it has closed are present.
    #[error(
        "--shutdown-drain {drain} is above --presence-ttl {presence_ttl}: whoever is closed last would \
         see those leave that were closed first, so lower the first or raise the second; with several \
         nodes it may be longer"
    )]
    DrainAboveTtl {
        /// The time over which connections are closed.
        drain: super::HumanDuration,
        /// The TTL.
        presence_ttl: super::HumanDuration,
    },
    /// A burst without a rate.
    #[error(
        "--max-commands-burst {burst} limits nothing without --max-commands-per-second: set that, \
         or leave both out"
    )]
    BurstWithoutRate {
        /// The bucket.
        burst: usize,
    },
    /// A burst below the rate.
    #[error(
        "--max-commands-burst {burst} is below --max-commands-per-second {per_second}: a second's \
         commands may come at once, so raise the first or lower the second"
    )]
    BurstBelowRate {
        /// The bucket.
        burst: u32,
        /// The rate.
        per_second: u32,
    },
    /// An invalid path.
    #[error("--{setting} `{path}` {problem}")]
    Path {
        /// The setting.
        setting: &'static str,
        /// The path given.
        path: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Two protocols at the same path.
    #[error(
        "{one} and {other} are the same: choose another path for one, or leave its protocol \
         out of --protocols"
    )]
    SamePath {
        /// The setting of one.
        one: String,
        /// The setting of the other.
        other: String,
    },
    /// An invalid list of protocols.
    #[error("--protocols: {0}")]
    Protocols(#[from] super::BadProtocol),
    /// An invalid log filter.
    #[error(
        "--log-level `{level}` is not a level: write error, warn, info, debug, trace or off, or \
         `info,broker::http=debug`"
    )]
    LogLevel {
        /// The text given.
        level: String,
    },
    /// Both a key and a file with a key.
    #[error("--{setting} and --{setting}-file are both given: keep one")]
    KeyTwice {
        /// The setting.
        setting: &'static str,
    },
    /// A key that isn't valid in a header.
    #[error(
        "--{setting}{from} {problem}", from = FromFile(file.as_deref())
    )]
    Key {
        /// The setting.
        setting: &'static str,
        /// The file it was read from.
        file: Option<PathBuf>,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// An unreadable key file.
    #[error("--{setting}-file {} can't be read ({}): check the path and its permissions", file.display(), Plain(source))]
    KeyFile {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An unreadable configuration file.
    #[error("the configuration file {} can't be read ({}): check --config", file.display(), Plain(source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A configuration file that isn't TOML.
    #[error("{}, line {line}: not TOML: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// An unknown key in the configuration file.
    #[error("{}, line {line}: `{key}` {hint}", file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// What to do.
        hint: String,
    },
    /// An invalid value in the configuration file.
    #[error("{}, line {line}: {key}: {problem}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// `-file FILE`, if there is one.
struct FromFile<'a>(Option<&'a Path>);

impl ConfigError {
    /// Why a certificate with its key can't be used, each with its setting.
    pub(super) fn key_unusable(
        (of_cert, cert): (&'static str, &Path),
        (of_key, key): (&'static str, &Path),
        source: rustls::Error,
    ) -> Self {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            Self::TlsMismatch { setting: of_key, cert, key }
        } else {
            Self::TlsUnusable { setting: of_cert, cert, key, source: Box::new(source) }
        }
    }
}

impl fmt::Display for FromFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |file| write!(f, "-file {}", file.display()))
    }
}

/// A system error without its number, as part of a sentence.
#[derive(Debug)]
pub struct Plain<'a>(pub &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        f.write_str(&plain.to_lowercase())
    }
}

//! Why a configuration is refused: one sentence each, naming the setting and what to do.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::app_url::BadAppUrl;
use super::proxies::BadProxy;
use crate::auth::BadOrigin;

/// Why no [`Config`](super::Config) came of the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Anyone could connect, and nobody said so.
    #[error(
        "--host {host} would serve everyone who can reach it: pass --secret to protect it, \
         --public if everyone is meant, or keep --host 127.0.0.1"
    )]
    NotLoopback {
        /// The address asked for.
        host: IpAddr,
    },
    /// Clients need a token, and the rest would be open to everyone.
    #[error(
        "--host {host} would let everyone who can reach it {open}: pass {missing} beside the \
         --jwt-secret, or --secret, from which all keys follow"
    )]
    NotKeyed {
        /// The address asked for.
        host: IpAddr,
        /// What everyone could do.
        open: &'static str,
        /// The keys that would prevent it.
        missing: &'static str,
    },
    /// A protection that rests on a secret, without one.
    #[error("--{setting} would protect or open nothing without a secret: pass --secret or --{of}")]
    NoSecret {
        /// The setting.
        setting: &'static str,
        /// The secret of its own it could have.
        of: &'static str,
    },
    /// A name that is empty.
    #[error("--{setting} is empty: write a name, or leave it out")]
    EmptyName {
        /// The setting.
        setting: &'static str,
    },
    /// A name that is no parameter's and no header's.
    #[error(
        "--jwt-param `{param}` has characters a header's name can't have: use letters, digits, - and _"
    )]
    JwtParam {
        /// The name given.
        param: String,
    },
    /// A page for everyone that shows everyone.
    #[error(
        "--dashboard would show everyone who can reach it who is present: set an --api-key, which it \
         then asks for, or a --secret to derive one from, or keep --host 127.0.0.1"
    )]
    OpenDashboard,
    /// A list of origins that is none.
    #[error("--allowed-origins: {0}")]
    Origins(#[from] BadOrigin),
    /// A list of proxies that is none.
    #[error("--trusted-proxies: {0}")]
    Proxies(#[from] BadProxy),
    /// An address at which the application can't be asked.
    #[error("--presence-fetch-url: {0}")]
    AppUrl(#[from] BadAppUrl),
    /// A certificate without a key, or the other way round.
    #[error("--tls-{given} needs --tls-{missing}: give both, or neither for plain HTTP")]
    TlsHalf {
        /// The one given.
        given: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// A file of TLS's that can't be read.
    #[error("--{setting} {} can't be read ({}): check the path and its permissions", file.display(), Plain(source))]
    TlsFile {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file without a certificate.
    #[error("--tls-cert {} holds no certificate: it has to be PEM, the server's own first", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file without a private key.
    #[error("--tls-key {} holds no private key: it has to be PEM, without a passphrase", file.display())]
    NoPrivateKey {
        /// The file.
        file: PathBuf,
    },
    /// A key of another certificate.
    #[error(
        "--tls-key {} is not the key of the certificate in {}: give a certificate and its own key",
        key.display(), cert.display()
    )]
    TlsMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// A certificate or a key that rustls doesn't take.
    #[error("--tls-cert {} with --tls-key {} can't be used: {source}", cert.display(), key.display())]
    TlsUnusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A value beyond its bounds.
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
    /// A message that would never fit.
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
    /// A bucket that nothing fills.
    #[error(
        "--max-commands-burst {burst} limits nothing without --max-commands-per-second: set that, \
         or leave both out"
    )]
    BurstWithoutRate {
        /// The bucket.
        burst: usize,
    },
    /// A bucket that overflows as it is filled.
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
    /// A path no request can have.
    #[error("--{setting} `{path}` {problem}")]
    Path {
        /// The setting.
        setting: &'static str,
        /// The path given.
        path: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Two protocols at one path.
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
    /// Not a list of protocols.
    #[error("--protocols: {0}")]
    Protocols(#[from] super::BadProtocol),
    /// Not a filter for logs.
    #[error(
        "--log-level `{level}` is no level: write error, warn, info, debug, trace or off, or \
         `info,broker::http=debug`"
    )]
    LogLevel {
        /// The text given.
        level: String,
    },
    /// A key and a file with a key.
    #[error("--{setting} and --{setting}-file are both given: keep one")]
    KeyTwice {
        /// The setting.
        setting: &'static str,
    },
    /// A key that can't be sent.
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
    /// A file that should hold a key and can't be read.
    #[error("--{setting}-file {} can't be read ({}): check the path and its permissions", file.display(), Plain(source))]
    KeyFile {
        /// The setting.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file can't be read.
    #[error("the configuration file {} can't be read ({}): check --config", file.display(), Plain(source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file is no TOML.
    #[error("{}, line {line}: not TOML: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key in the configuration file that isn't a setting.
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
    /// A value in the configuration file that its key can't have.
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

/// ` in FILE`, if there is one.
struct FromFile<'a>(Option<&'a Path>);

impl fmt::Display for FromFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |file| write!(f, "-file {}", file.display()))
    }
}

/// An operating system's error without its number, as part of a sentence.
#[derive(Debug)]
pub struct Plain<'a>(pub &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        f.write_str(&plain.to_lowercase())
    }
}

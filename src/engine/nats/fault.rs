//! Why NATS can't be used, in sentences that say what to do.

use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind};
use serde::Deserialize;

use crate::telemetry::EngineFault;

/// Why NATS can't be used at the moment.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// A connection can't be made, or fails.
    Connection(String),
    /// NATS doesn't answer.
    NoAnswer,
    /// NATS ended the connection.
    Closed,
    /// The file with the credentials can't be read.
    Credentials(String),
    /// NATS doesn't know the user.
    Unauthorized,
    /// NATS refuses something.
    Refused(String),
    /// JetStream refuses a request.
    JetStream(Refusal),
    /// There is no JetStream.
    NoJetStream,
    /// There is no such stream.
    NoStream,
    /// There is no such consumer, or no more.
    NoConsumer,
    /// A consumer doesn't answer, or lacks messages that are there.
    Silent,
    /// NATS is too old.
    Version(String),
    /// Messages can't be large enough, in bytes.
    MaxPayload(usize),
    /// A message is larger than NATS takes.
    TooLarge,
    /// An answer isn't what the manual says.
    Unexpected,
}

impl Fault {
    /// What it counts as.
    pub(super) fn kind(&self) -> EngineFault {
        match self {
            Self::Connection(_) => EngineFault::Unreachable,
            Self::NoAnswer => EngineFault::Timeout,
            Self::Closed => EngineFault::Closed,
            Self::Silent | Self::NoConsumer | Self::NoStream => EngineFault::Silent,
            Self::Unauthorized | Self::Refused(_) | Self::JetStream(_) | Self::TooLarge => {
                EngineFault::Refused
            }
            Self::Credentials(_)
            | Self::NoJetStream
            | Self::Version(_)
            | Self::MaxPayload(_)
            | Self::Unexpected => EngineFault::Unusable,
        }
    }
}

/// An error of JetStream's.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(rename = "err_code", default)]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) description: String,
}

/// JetStream isn't on: for the account; at all.
const NOT_ENABLED: [u32; 2] = [10039, 10076];

/// The subjects are another stream's.
const OVERLAP: u32 = 10065;

/// No stream or no consumer more.
const TOO_MANY: [u32; 2] = [10026, 10027];

/// No servers for as many replicas: none at all in a cluster, too few of them.
const NO_REPLICAS: [u32; 2] = [10074, 10005];

/// No room in memory or on disk: resources, memory, storage, the stream's.
const NO_ROOM: [u32; 4] = [10023, 10028, 10047, 10077];

/// Texts of connections that fail, and what they mean.
const FAILURES: [(&str, &str); 5] = [
    ("refused", "can't be reached: start it, or correct host and port in its address"),
    (
        "maximum connections",
        "has no connection left: raise its `max_connections`, or end other clients",
    ),
    ("InvalidContentType", "doesn't answer with TLS: write `nats://` if it doesn't use TLS there"),
    ("expected INFO", "doesn't answer as NATS does: name NATS' host and port"),
    ("invalid server operation", "doesn't answer as NATS does: name NATS' host and port"),
];

/// Ends of the TLS handshake about this node's certificate, or because it has none.
const ALERTS: [&str; 2] = ["Certificate", "UnknownCA"];

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                Self::Unauthorized
            }
            ConnectErrorKind::TimedOut => Self::NoAnswer,
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => Self::Connection(error.to_string()),
        }
    }
}

/// What sentences need to know.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    /// Hosts and ports.
    pub(super) address: String,
    /// Whether connections use TLS.
    pub(super) is_encrypted: bool,
    /// Whether there is a certificate of this node's own.
    pub(super) shows_certificate: bool,
    /// Whether its user has credentials in a file.
    pub(super) has_credentials: bool,
    /// Maximum time for an answer.
    pub(super) timeout: Duration,
    /// What subjects begin with.
    pub(super) prefix: String,
}

impl Speaker {
    /// A sentence for a log or an error.
    pub(super) fn sentence(&self, fault: &Fault) -> String {
        let Self { address, prefix, .. } = self;
        let what = match fault {
            Fault::Connection(text) => return self.failure(text),
            Fault::Credentials(text) => {
                return format!("--nats-creds can't be read any more ({text}): put the file back; trying again");
            }
            Fault::NoAnswer => {
                let timeout = humantime::format_duration(self.timeout);
                let hint = if self.is_encrypted { "write `nats://` if it doesn't use TLS there; " } else { "" };
                format!("doesn't answer within {timeout}; {hint}trying again")
            }
            Fault::Closed => "ended the connection; connecting again".to_owned(),
            Fault::Unauthorized if self.has_credentials => {
                "refuses the user in --nats-creds: it has expired, was revoked, or is of another account or operator; \
                 write new credentials to the file"
                    .to_owned()
            }
            Fault::Unauthorized => {
                "refuses the user, the password or the token, or wants them: correct them in its address, \
                 `nats://USER:PASSWORD@HOST` or `nats://TOKEN@HOST`, or name a file with --nats-creds"
                    .to_owned()
            }
            Fault::Refused(text) if text.to_lowercase().contains("permissions violation") => format!(
                "doesn't permit its user what the broker needs ({text}): allow it to publish to `$JS.API.>` and \
                 `{prefix}.>`, and to subscribe to `_INBOX.>` and `{prefix}.bids.*`"
            ),
            Fault::Refused(text) => format!("ended the connection ({text}); connecting again"),
            Fault::JetStream(refusal) => return self.refusal(refusal),
            Fault::NoJetStream => {
                "has no JetStream, or not for this user's account: start it with `-js`, or permit the account \
                 JetStream"
                    .to_owned()
            }
            Fault::NoStream => "doesn't have all of the cluster's streams any more: the nodes put back what they had".to_owned(),
            Fault::NoConsumer | Fault::Silent => {
                "has messages that it doesn't deliver; connecting again".to_owned()
            }
            Fault::Version(version) => {
                format!("has version {version}: the broker needs 2.9 or newer")
            }
            Fault::MaxPayload(size) => format!(
                "takes no messages of more than {size} bytes: the broker needs a `max_payload` of 64 KiB or more"
            ),
            Fault::TooLarge => "takes no messages as large as one of the broker's: raise its `max_payload`".to_owned(),
            Fault::Unexpected => {
                "gave an answer that NATS doesn't give: is it NATS, 2.9 or newer?".to_owned()
            }
        };
        format!("NATS at {address} {what}")
    }

    /// A connection that can't be made, or has failed.
    fn failure(&self, text: &str) -> String {
        let Self { address, .. } = self;
        if let Some((_, what)) = FAILURES.iter().find(|(part, _)| text.contains(part)) {
            format!("NATS at {address} {what}")
        } else if text.contains("fatal alert") && ALERTS.iter().any(|it| text.contains(it)) {
            if self.shows_certificate {
                format!(
                    "NATS at {address} doesn't accept the certificate in --nats-tls-client-cert-path ({text}): take \
                     one of an authority in its `ca_file`"
                )
            } else {
                format!(
                    "NATS at {address} wants a certificate: name one with --nats-tls-client-cert-path"
                )
            }
        } else if text.contains("certificate") {
            format!(
                "the TLS certificate of NATS at {address} isn't accepted: {text}; name its authority with \
                 --nats-tls-ca-cert-path"
            )
        } else {
            format!("the connection to NATS at {address} failed: {text}; trying again")
        }
    }

    fn refusal(&self, Refusal { code, description }: &Refusal) -> String {
        let Self { address, prefix, .. } = self;
        if NOT_ENABLED.contains(code) {
            return self.sentence(&Fault::NoJetStream);
        }
        let hint = if *code == OVERLAP {
            format!(
                ": another stream has subjects that begin with `{prefix}.`, choose another --cluster-name"
            )
        } else if NO_REPLICAS.contains(code) {
            ": a NATS cluster needs at least as many servers as --nats-replicas says".to_owned()
        } else if TOO_MANY.contains(code) {
            ": raise the account's limits".to_owned()
        } else if NO_ROOM.contains(code) {
            ": raise its `max_memory_store` or `max_file_store`, or the account's limits".to_owned()
        } else {
            String::new()
        };
        format!("JetStream at {address} refuses a request ({description}){hint}")
    }
}

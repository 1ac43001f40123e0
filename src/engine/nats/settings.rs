//! Settings of NATS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::engine::error::EngineError;

/// How long a snapshot has been the newest before the log is trimmed up to it: who has read it still needs what is
/// behind it.
const MARGIN: Duration = Duration::from_secs(60);

/// Time within which nodes come back to a server that has restarted: if it has lost their logs, they put them back.
const RETURN: Duration = Duration::from_secs(1);

/// Where NATS is, and how to connect to it.
#[derive(Clone)]
pub struct NatsSettings {
    pub(super) servers: Vec<ServerAddr>,
    /// User and password, or a token as the user.
    pub(super) user: Option<(String, Option<String>)>,
    /// What logs may say of the servers: neither user nor password.
    pub(super) address: String,
    pub(super) storage: NatsStorage,
    /// How long a snapshot has been the newest before the log is trimmed up to it.
    pub margin: Duration,
    /// How long logs have been missing before a node that starts creates them.
    pub patience: Duration,
    /// Servers that have each of the streams.
    pub replicas: u8,
    /// File with the credentials of a user: a JWT and its seed. It is read for each connection.
    pub credentials: Option<PathBuf>,
    /// Whether the servers are tried in any order.
    pub randomizes: bool,
    /// File with the certificate authorities to trust instead of the system's. It is read for each connection.
    pub authorities: Option<PathBuf>,
    /// Files with the certificate that servers are shown, and its key, likewise.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where JetStream keeps the streams. Decided when they are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsStorage {
    /// In memory: they are lost when the server ends.
    Memory,
    /// In files.
    File,
}

impl NatsSettings {
    /// From the addresses of one or several servers: `nats://[USER:PASSWORD@]HOST[:PORT]`, or `tls://…` for TLS.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        storage: NatsStorage,
    ) -> Result<Self, EngineError> {
        let servers = addresses.into_iter().map(server).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(EngineError::Servers("there is none".to_owned()));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut users = servers.iter().filter_map(|server| {
            Some((decoded(server.username()?), server.password().map(decoded)))
        });
        let user = users.next();
        if users.any(|other| Some(&other) != user.as_ref()) {
            return Err(EngineError::Servers("they have different users or passwords".to_owned()));
        }
        let address = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        let address = servers.iter().map(address).collect::<Vec<_>>().join(", ");
        Ok(Self {
            servers,
            user,
            address,
            storage,
            margin: MARGIN,
            patience: RETURN,
            replicas: 1,
            credentials: None,
            randomizes: true,
            authorities: None,
            client: None,
        })
    }

    /// Whether all connections use TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.servers.iter().all(ServerAddr::tls_required)
    }
}

/// A server's address. What is wrong with one is said without it, as it may have a password.
fn server(address: &str) -> Result<ServerAddr, EngineError> {
    let invalid = |reason: &str| EngineError::Servers(reason.to_owned());
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(invalid("one doesn't begin with `nats://` or `tls://`"));
    };
    if !["nats", "tls"].contains(&scheme) {
        return Err(invalid(&format!("`{scheme}` is no scheme of theirs")));
    }
    let server: ServerAddr = address.parse().map_err(|_| invalid("one is no URL"))?;
    let has_more = rest.trim_end_matches('/').contains(['/', '?', '#']);
    if server.host().is_empty() || has_more {
        return Err(invalid("one has no host, or more than a host and a port"));
    }
    Ok(server)
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSettings").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(addresses: &[&str]) -> Result<NatsSettings, EngineError> {
        NatsSettings::new(addresses.iter().copied(), NatsStorage::Memory)
    }

    #[test]
    fn a_password_is_never_shown() {
        let given = settings(&["nats://me:s3cret@a", "nats://me:s3cret@b:7000/"]).unwrap();
        assert_eq!(given.address, "a:4222, b:7000");
        assert_eq!(given.user, Some(("me".to_owned(), Some("s3cret".to_owned()))));
        let token = settings(&["tls://a%40b@h"]).unwrap();
        assert_eq!(token.user, Some(("a@b".to_owned(), None)));
        assert!(token.is_encrypted() && !given.is_encrypted());
        assert!(!format!("{given:?}").contains("s3cret"));
        for address in [
            "s3cret",
            "http://me:s3cret@a",
            "ws://me:s3cret@a",
            "nats://me:s3cret@",
            "nats://me:s3cret@a/x",
            "nats://me:s3cret@a:x",
        ] {
            let error = settings(&[address]).unwrap_err().to_string();
            assert!(error.contains("write nats://") && !error.contains("s3cret"), "{error}");
        }
        assert!(settings(&["nats://a:s3cret@h", "nats://b:s3cret@h"]).is_err());
        assert!(settings(&[]).is_err());
    }
}

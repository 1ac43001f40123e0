//! Settings of Redis.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates,
};

use crate::engine::error::EngineError;

/// Where Redis is, and how to connect to it.
#[derive(Clone)]
pub struct RedisSettings {
    client: Client,
    /// What logs may say of it: neither user nor password.
    address: String,
    is_encrypted: bool,
}

impl RedisSettings {
    /// From a URL: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://…` for TLS. `authorities` are the
    /// certificates, in PEM, to trust instead of the system's.
    pub fn new(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, EngineError> {
        let invalid = |error: redis::RedisError| EngineError::Url(reason(&error));
        let info: ConnectionInfo = url.into_connection_info().map_err(invalid)?;
        let redis = info.redis_settings().clone();
        let redis = redis.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let info = info.set_redis_settings(redis);
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address = info.addr().to_string();
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = match authorities {
            None => Client::open(info),
            Some(_) if !is_encrypted => {
                return Err(EngineError::Url("certificates need TLS, so `rediss://`".to_owned()));
            }
            Some(pem) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(pem) },
            ),
        };
        Ok(Self { client: client.map_err(invalid)?, address, is_encrypted })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is wrong with a URL, without the URL, which may have a password.
fn reason(error: &redis::RedisError) -> String {
    let text = error.to_string();
    text.split(" - ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let settings = RedisSettings::new("redis://me:s3cret@localhost:7000/2", None).unwrap();
        assert_eq!(settings.address(), "localhost:7000");
        assert!(!format!("{settings:?}").contains("s3cret"));
        for url in ["http://me:s3cret@localhost", "redis://me:s3cret@localhost/db", "s3cret"] {
            let error = RedisSettings::new(url, None).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

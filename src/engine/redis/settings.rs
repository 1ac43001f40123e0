//! Settings of Redis.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};

use crate::engine::error::EngineError;

/// The port of Sentinels, if none is written.
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, and how to connect to it.
#[derive(Clone)]
pub struct RedisSettings {
    info: ConnectionInfo,
    /// The server, and others of its Redis Cluster.
    seeds: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
    /// Who says where the primary is.
    sentinels: Vec<ConnectionInfo>,
    /// What logs may say of it: neither user nor password.
    address: String,
    is_encrypted: bool,
}

impl RedisSettings {
    /// From a URL: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://…` for TLS. `authorities` are the
    /// certificates, in PEM, to trust instead of the system's.
    pub fn new(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, EngineError> {
        let info: ConnectionInfo = url.into_connection_info().map_err(|error| invalid(&error))?;
        let redis = info.redis_settings().clone();
        let redis = redis.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let info = info.set_redis_settings(redis);
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address = info.addr().to_string();
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if authorities.is_some() && !is_encrypted {
            return Err(EngineError::Url("certificates need TLS, so `rediss://`".to_owned()));
        }
        let certificates =
            authorities.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let seeds = vec![info.clone()];
        let settings =
            Self { info, seeds, certificates, sentinels: Vec::new(), address, is_encrypted };
        settings.client(settings.info.clone()).map_err(|error| invalid(&error))?;
        Ok(settings)
    }

    /// The same with a certificate that servers are shown, and its key, both in PEM.
    #[must_use]
    pub fn with_client_certificate(mut self, client_cert: Vec<u8>, client_key: Vec<u8>) -> Self {
        let certificates = TlsCertificates { client_tls: None, root_cert: None };
        let certificates = self.certificates.get_or_insert(certificates);
        certificates.client_tls = Some(ClientTlsConfig { client_cert, client_key });
        self
    }

    /// The same without verifying the certificates of servers.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        if let ConnectionAddr::TcpTls { host, port, tls_params, .. } = self.info.addr().clone() {
            let address = ConnectionAddr::TcpTls { host, port, insecure: true, tls_params };
            self.info = self.info.set_addr(address);
        }
        for seed in &mut self.seeds {
            if let ConnectionAddr::TcpTls { host, port, tls_params, .. } = seed.addr().clone() {
                let address = ConnectionAddr::TcpTls { host, port, insecure: true, tls_params };
                *seed = seed.clone().set_addr(address);
            }
        }
        self
    }

    /// The same with more servers of a Redis Cluster: URLs that differ from the first one in host and port only.
    pub fn with_seeds<'a>(
        mut self,
        urls: impl Iterator<Item = &'a str>,
    ) -> Result<Self, EngineError> {
        for url in urls {
            let Self { info, is_encrypted, .. } = Self::new(url, None)?;
            let ours = self.info.redis_settings();
            let theirs = info.redis_settings();
            let is_same = |get: fn(&RedisConnectionInfo) -> Option<&str>| get(ours) == get(theirs);
            if !is_same(RedisConnectionInfo::username)
                || !is_same(RedisConnectionInfo::password)
                || ours.db() != theirs.db()
                || is_encrypted != self.is_encrypted
            {
                return Err(EngineError::Seeds);
            }
            let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
                info.addr()
            else {
                return Err(EngineError::Seeds);
            };
            let seed = self.server_at(host, *port);
            self.address = format!("{}, {}", self.address, seed.addr());
            self.seeds.push(seed);
        }
        if self.seeds.len() > 1 && self.info.redis_settings().db() != 0 {
            return Err(EngineError::Database);
        }
        Ok(self)
    }

    /// The same with Sentinels, which say where the primary is: `[:PASSWORD@]HOST[:PORT]`, separated by commas. The host
    /// of the URL is the primary's name then.
    pub fn with_sentinels(self, sentinels: &str) -> Result<Self, EngineError> {
        let refused = || EngineError::Sentinels(without_passwords(sentinels));
        let mut infos = Vec::new();
        for sentinel in sentinels.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let (password, place) = match sentinel.rsplit_once('@') {
                Some((password, place)) => (password.strip_prefix(':'), place),
                None => (None, sentinel),
            };
            let (host, port) = match place.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_| refused())?),
                None => (place, SENTINEL_PORT),
            };
            if host.is_empty() || host.contains('/') {
                return Err(refused());
            }
            let redis = RedisConnectionInfo::default().set_skip_set_lib_name();
            let redis = match password {
                Some(password) => redis.set_password(password),
                None => redis,
            };
            let info = self.info.clone().set_redis_settings(redis);
            infos.push(info.set_addr(self.at(host, port)));
        }
        if infos.is_empty() {
            return Err(refused());
        }
        if self.seeds.len() > 1 {
            return Err(EngineError::SeedsAndSentinels);
        }
        let places: Vec<_> = infos.iter().map(|info| info.addr().to_string()).collect();
        let address = format!("{} (Sentinels: {})", self.primary(), places.join(", "));
        Ok(Self { sentinels: infos, address, ..self })
    }

    /// The name of the primary, as Sentinels know it.
    pub(super) fn primary(&self) -> &str {
        host_of(&self.info)
    }

    /// The servers that are asked where the others of their Redis Cluster are.
    pub(super) fn seeds(&self) -> &[ConnectionInfo] {
        &self.seeds
    }

    pub(super) fn sentinels(&self) -> &[ConnectionInfo] {
        &self.sentinels
    }

    /// The server, if its place is known.
    pub(super) fn server(&self) -> ConnectionInfo {
        self.info.clone()
    }

    /// The server at another place.
    pub(super) fn server_at(&self, host: &str, port: u16) -> ConnectionInfo {
        self.info.clone().set_addr(self.at(host, port))
    }

    fn at(&self, host: &str, port: u16) -> ConnectionAddr {
        let host = host.to_owned();
        if let ConnectionAddr::TcpTls { insecure, tls_params, .. } = self.info.addr().clone() {
            return ConnectionAddr::TcpTls { host, port, insecure, tls_params };
        }
        ConnectionAddr::Tcp(host, port)
    }

    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }

    /// What logs may say of it.
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

/// The host of a server; empty if it has none.
pub(super) fn host_of(server: &ConnectionInfo) -> &str {
    let (ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) = server.addr() else {
        return "";
    };
    host
}

fn invalid(error: &RedisError) -> EngineError {
    EngineError::Url(reason(error))
}

/// A list of Sentinels, without their passwords.
fn without_passwords(sentinels: &str) -> String {
    let places = sentinels.split(',').map(|it| it.rsplit_once('@').map_or(it, |(_, place)| place));
    places.collect::<Vec<_>>().join(",")
}

/// What is wrong with a URL, without the URL, which may have a password.
fn reason(error: &RedisError) -> String {
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

    #[test]
    fn sentinels_are_hosts_with_ports() {
        let with = |sentinels: &str| {
            let settings = RedisSettings::new("redis://:pw@mymaster/5", None).unwrap();
            settings.with_sentinels(sentinels)
        };
        let settings = with("a:1, :s3cret@b,[::1]:7").unwrap();
        assert_eq!(settings.primary(), "mymaster");
        let places: Vec<_> = settings.sentinels().iter().map(|it| it.addr().to_string()).collect();
        assert_eq!(places[..2], ["a:1", "b:26379"]);
        assert!(!format!("{settings:?}").contains("s3cret"));
        for refused in ["", ",", ":s3cret@a:x", "redis://a:1", ":1"] {
            let error = with(refused).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

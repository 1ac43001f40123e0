//! How nodes reach the Redis that they share.

use super::cluster_settings::ClusterSettings;
use super::error::ConfigError;
use super::pem::{ClientSettings, Pem};
use super::secret::{self, Secret};

const AUTHORITIES: &str = "redis-tls-ca-cert-path";
const CLIENT: ClientSettings =
    ClientSettings { certificate: "redis-tls-client-cert-path", key: "redis-tls-client-key-path" };

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Its URL; it may have a password.
    pub url: Secret,
    /// Sentinels that say where it is; they may have passwords.
    pub sentinels: Option<Secret>,
    /// What is particular in its TLS, and in that of the Sentinels.
    pub tls: RedisTls,
}

/// What is particular in the TLS of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTls {
    /// Certificates to trust instead of the system's.
    pub authorities: Option<Pem>,
    /// The certificate that Redis is shown, and its key.
    pub client: Option<(Pem, Pem)>,
    /// Whether the certificate of Redis is verified.
    pub verify: bool,
}

impl RedisConfig {
    /// Redis, if there is a URL.
    pub(super) fn from_settings(
        settings: &mut ClusterSettings,
    ) -> Result<Option<Self>, ConfigError> {
        let is_given = |secret: &Secret| secret.each().any(|part| !part.is_empty());
        let url = settings.redis_url.take().filter(is_given);
        let url = secret::read("redis-url", url, settings.redis_url_file.take())?;
        let (given, file) = (settings.redis_sentinels.take(), settings.redis_sentinels_file.take());
        let sentinels = secret::read("redis-sentinels", given, file)?;
        match url {
            Some(url) => {
                let uses_tls = url.each().any(|url| url.starts_with("rediss://"));
                let tls = RedisTls::from_settings(settings, uses_tls)?;
                Ok(Some(Self { url, sentinels, tls }))
            }
            None if sentinels.is_some() => Err(ConfigError::SentinelsAlone),
            None => Ok(None),
        }
    }

    /// The settings that result in this, or in no Redis.
    pub(super) fn to_settings(redis: Option<&Self>, settings: &mut ClusterSettings) {
        (settings.redis_url, settings.redis_url_file) = secret::split(redis.map(|it| &it.url));
        (settings.redis_sentinels, settings.redis_sentinels_file) =
            secret::split(redis.and_then(|it| it.sentinels.as_ref()));
        let tls = redis.map(|it| &it.tls);
        let path = |pem: &Pem| pem.file.clone();
        settings.redis_tls_ca_cert_path = tls.and_then(|it| it.authorities.as_ref()).map(path);
        let client = tls.and_then(|it| it.client.as_ref());
        settings.redis_tls_client_cert_path = client.map(|(certificate, _)| path(certificate));
        settings.redis_tls_client_key_path = client.map(|(_, key)| path(key));
        settings.redis_tls_verify = Some(tls.is_none_or(|it| it.verify));
    }
}

impl RedisTls {
    fn from_settings(settings: &mut ClusterSettings, uses_tls: bool) -> Result<Self, ConfigError> {
        let authorities = settings.redis_tls_ca_cert_path.take();
        let client = CLIENT.both(
            settings.redis_tls_client_cert_path.take(),
            settings.redis_tls_client_key_path.take(),
        )?;
        let verify = settings.redis_tls_verify.take().unwrap_or(true);
        let unused = if authorities.is_some() { AUTHORITIES } else { CLIENT.certificate };
        if !uses_tls && (authorities.is_some() || client.is_some()) {
            return Err(ConfigError::RedisWithoutTls { setting: unused });
        }
        if !verify && authorities.is_some() {
            return Err(ConfigError::UnusedAuthorities);
        }
        let authorities =
            authorities.map(|file| Pem::authorities(AUTHORITIES, file)).transpose()?;
        let client = client.map(|files| CLIENT.read(files)).transpose()?;
        Ok(Self { authorities, client, verify })
    }
}

/// All that can be said of Redis.
#[cfg(test)]
pub(super) fn full() -> RedisConfig {
    let tls = RedisTls {
        authorities: Some(Pem::unread("a")),
        client: Some((Pem::unread("c"), Pem::unread("k"))),
        verify: true,
    };
    RedisConfig { url: "rediss://h".into(), sentinels: None, tls }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file that goes with it.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("broker-redis-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            Self(path)
        }

        fn path(&self) -> PathBuf {
            self.0.clone()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    fn tls(url: &str, settings: ClusterSettings) -> Result<RedisTls, String> {
        let mut settings = ClusterSettings { redis_url: Some(url.into()), ..settings };
        let redis = RedisConfig::from_settings(&mut settings).map_err(|error| error.to_string())?;
        let redis = redis.unwrap();
        let mut back = ClusterSettings::default();
        RedisConfig::to_settings(Some(&redis), &mut back);
        assert_eq!(RedisConfig::from_settings(&mut back).unwrap().as_ref(), Some(&redis));
        Ok(redis.tls)
    }

    fn client(
        certificate: impl Into<Option<PathBuf>>,
        key: impl Into<Option<PathBuf>>,
    ) -> ClusterSettings {
        ClusterSettings {
            redis_tls_client_cert_path: certificate.into(),
            redis_tls_client_key_path: key.into(),
            ..ClusterSettings::default()
        }
    }

    fn authorities(file: PathBuf) -> ClusterSettings {
        ClusterSettings { redis_tls_ca_cert_path: Some(file), ..ClusterSettings::default() }
    }

    #[test]
    fn redis_is_shown_a_certificate_with_its_own_key() {
        let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        let cert = Temporary::new("cert", &one.cert.pem());
        let key = Temporary::new("key", &one.signing_key.serialize_pem());
        let others = Temporary::new("others-key", &other.signing_key.serialize_pem());
        let all = || ClusterSettings {
            redis_tls_ca_cert_path: Some(cert.path()),
            ..client(cert.path(), key.path())
        };
        let good = tls("rediss://h", all()).unwrap();
        assert_eq!(good.authorities.unwrap().bytes, one.cert.pem().into_bytes());
        assert!(good.verify && good.client.is_some());
        let unverified = |settings| ClusterSettings { redis_tls_verify: Some(false), ..settings };
        assert!(!tls("rediss://h", unverified(ClusterSettings::default())).unwrap().verify);
        let nowhere = || authorities("/nowhere".into());
        for (url, settings, sentence) in vec![
            (
                "redis://h",
                authorities(cert.path()),
                "ca-cert-path needs TLS: begin the --redis-url",
            ),
            ("redis://h", all(), "ca-cert-path needs TLS"),
            ("redis://h", client(cert.path(), key.path()), "client-cert-path needs TLS"),
            (
                "rediss://h",
                client(cert.path(), None::<PathBuf>),
                "needs --redis-tls-client-key-path",
            ),
            (
                "rediss://h",
                client(None::<PathBuf>, key.path()),
                "needs --redis-tls-client-cert-path",
            ),
            ("rediss://h", authorities(key.path()), "holds no certificate: it has to be PEM"),
            ("rediss://h", nowhere(), "can't be read (no such file or directory)"),
            ("rediss://h", client(cert.path(), others.path()), "is not the key of the certificate"),
            ("rediss://h", client(key.path(), key.path()), "holds no certificate"),
            ("rediss://h", client(cert.path(), cert.path()), "holds no private key"),
            ("rediss://h", unverified(authorities(cert.path())), "has no effect with"),
        ] {
            let refusal = tls(url, settings).unwrap_err();
            assert!(refusal.contains(sentence) && refusal.starts_with("--redis-tls-"), "{refusal}");
            assert!(!refusal.contains("PRIVATE") && !refusal.contains('\n'), "{refusal}");
        }
    }
}

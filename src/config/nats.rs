//! How nodes reach the NATS that they share, and what it has for them.

use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;

use super::cluster_settings::ClusterSettings;
use super::defaults;
use super::error::ConfigError;
use super::pem::{ClientSettings, Pem};
use super::secret::{self, Secret};
use super::tls::read;
use super::value::NatsStorage;

const CREDENTIALS: &str = "nats-creds";
const AUTHORITIES: &str = "nats-tls-ca-cert-path";
const CLIENT: ClientSettings =
    ClientSettings { certificate: "nats-tls-client-cert-path", key: "nats-tls-client-key-path" };

/// Numbers of servers that can have a stream: a majority of them decides.
const REPLICAS: [u8; 3] = [1, 3, 5];

/// Where NATS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsConfig {
    /// Addresses of its servers; they may have passwords.
    pub servers: Secret,
    /// File with the credentials of its user.
    pub credentials: Option<PathBuf>,
    /// Whether the servers are tried in any order.
    pub randomizes: bool,
    /// Where it keeps streams.
    pub storage: NatsStorage,
    /// Servers that have each stream.
    pub replicas: u8,
    /// Certificates to trust instead of the system's.
    pub authorities: Option<Pem>,
    /// The certificate that NATS is shown, and its key.
    pub client: Option<(Pem, Pem)>,
}

impl NatsConfig {
    /// NATS, if there are addresses.
    pub(super) fn from_settings(
        settings: &mut ClusterSettings,
    ) -> Result<Option<Self>, ConfigError> {
        let is_given = |secret: &Secret| secret.each().any(|part| !part.is_empty());
        let servers = settings.nats_servers.take().filter(is_given);
        let servers = secret::read("nats-servers", servers, settings.nats_servers_file.take())?;
        let storage = settings.nats_storage.take().unwrap_or(defaults::NATS_STORAGE);
        let replicas = settings.nats_replicas.take().unwrap_or(defaults::NATS_REPLICAS);
        let randomizes = !settings.nats_dont_randomize_servers.take().unwrap_or(false);
        if !REPLICAS.contains(&replicas) {
            return Err(ConfigError::Replicas(replicas));
        }
        let authorities = settings.nats_tls_ca_cert_path.take();
        let client = CLIENT.both(
            settings.nats_tls_client_cert_path.take(),
            settings.nats_tls_client_key_path.take(),
        )?;
        let credentials = settings.nats_creds.take();
        let Some(servers) = servers else { return Ok(None) };
        if let Some(file) = &credentials {
            if servers.each().any(|server| server.contains('@')) {
                return Err(ConfigError::TwoNatsUsers);
            }
            check_credentials(file)?;
        }
        let authorities =
            authorities.map(|file| Pem::authorities(AUTHORITIES, file)).transpose()?;
        let client = client.map(|files| CLIENT.read(files)).transpose()?;
        Ok(Some(Self { servers, credentials, randomizes, storage, replicas, authorities, client }))
    }

    /// The settings that result in this, or in no NATS.
    pub(super) fn to_settings(nats: Option<&Self>, settings: &mut ClusterSettings) {
        (settings.nats_servers, settings.nats_servers_file) =
            secret::split(nats.map(|it| &it.servers));
        settings.nats_creds = nats.and_then(|it| it.credentials.clone());
        settings.nats_dont_randomize_servers = Some(nats.is_some_and(|it| !it.randomizes));
        settings.nats_storage = Some(nats.map_or(defaults::NATS_STORAGE, |it| it.storage));
        settings.nats_replicas = Some(nats.map_or(defaults::NATS_REPLICAS, |it| it.replicas));
        let path = |pem: &Pem| pem.file.clone();
        settings.nats_tls_ca_cert_path = nats.and_then(|it| it.authorities.as_ref()).map(path);
        let client = nats.and_then(|it| it.client.as_ref());
        settings.nats_tls_client_cert_path = client.map(|(certificate, _)| path(certificate));
        settings.nats_tls_client_key_path = client.map(|(_, key)| path(key));
    }
}

/// Checks that a file has a JWT and its seed.
fn check_credentials(file: &Path) -> Result<(), ConfigError> {
    let bytes = read(CREDENTIALS, file)?;
    let text = String::from_utf8_lossy(&bytes);
    let read = ConnectOptions::with_credentials(&text);
    read.map(|_| ()).map_err(|_| ConfigError::NoCredentials { file: file.to_owned() })
}

/// All that can be said of NATS.
#[cfg(test)]
pub(super) fn full() -> NatsConfig {
    NatsConfig {
        servers: "nats://h".into(),
        credentials: Some("c".into()),
        randomizes: true,
        storage: NatsStorage::File,
        replicas: 1,
        authorities: Some(Pem::unread("a")),
        client: Some((Pem::unread("c"), Pem::unread("k"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::temporary;
    use super::*;

    fn read(settings: ClusterSettings) -> Result<NatsConfig, String> {
        let mut settings = ClusterSettings { nats_servers: Some("nats://h".into()), ..settings };
        let nats = NatsConfig::from_settings(&mut settings).map_err(|error| error.to_string())?;
        let nats = nats.unwrap();
        let mut back = ClusterSettings::default();
        NatsConfig::to_settings(Some(&nats), &mut back);
        assert_eq!(NatsConfig::from_settings(&mut back).unwrap().as_ref(), Some(&nats));
        Ok(nats)
    }

    #[test]
    fn what_nats_has_is_read() {
        let nats = read(ClusterSettings::default()).unwrap();
        assert_eq!((nats.replicas, nats.randomizes), (1, true));
        let settings = ClusterSettings {
            nats_replicas: Some(3),
            nats_dont_randomize_servers: Some(true),
            ..ClusterSettings::default()
        };
        let nats = read(settings).unwrap();
        assert_eq!((nats.replicas, nats.randomizes), (3, false));
    }

    #[test]
    fn credentials_are_a_jwt_and_its_seed() {
        let good = "-----BEGIN NATS USER JWT-----\nab.cd\n------END NATS USER JWT------\n\n\
            -----BEGIN USER NKEY SEED-----\nSUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\n\
            ------END USER NKEY SEED------\n";
        let of = |name, text: &str| -> PathBuf { temporary(name, text).into() };
        let given = |file: &Path| ClusterSettings {
            nats_creds: Some(file.to_owned()),
            ..ClusterSettings::default()
        };
        let file = of("creds", good);
        assert_eq!(read(given(&file)).unwrap().credentials.as_ref(), Some(&file));
        let mut user =
            ClusterSettings { nats_servers: Some("nats://u:p@h".into()), ..given(&file) };
        let refusal = NatsConfig::from_settings(&mut user).unwrap_err().to_string();
        assert!(refusal.contains("both name a user"), "{refusal}");
        let half = of("creds-half", good.split("-----BEGIN USER").next().unwrap());
        let broken = of("creds-broken", &good.replace("SUAI", "SUAJ"));
        let empty = of("creds-empty", "");
        for file in [&half, &broken, &empty] {
            let refusal = read(given(file)).unwrap_err();
            assert!(refusal.contains("holds no user's JWT with its seed"), "{refusal}");
            assert!(!refusal.contains("SUAI") && !refusal.contains('\n'), "{refusal}");
        }
        for file in [file, half, broken, empty] {
            std::fs::remove_file(file).unwrap();
        }
        let refusal = read(given(Path::new("/no"))).unwrap_err();
        assert!(refusal.contains("--nats-creds /no can't be read (no such file"), "{refusal}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let replicas =
            |count| ClusterSettings { nats_replicas: Some(count), ..ClusterSettings::default() };
        for count in [0, 2, 4, 6] {
            let refusal = read(replicas(count)).unwrap_err();
            assert!(refusal.contains("it has to be 1, 3 or 5"), "{refusal}");
        }
        for (settings, sentence) in [
            (
                ClusterSettings {
                    nats_tls_ca_cert_path: Some("/no".into()),
                    ..ClusterSettings::default()
                },
                "--nats-tls-ca-cert-path /no can't be read",
            ),
            (
                ClusterSettings {
                    nats_tls_client_cert_path: Some("/no".into()),
                    ..ClusterSettings::default()
                },
                "--nats-tls-client-cert-path needs --nats-tls-client-key-path",
            ),
        ] {
            let refusal = read(settings).unwrap_err();
            assert!(refusal.starts_with(sentence), "{refusal}");
        }
    }
}

//! How nodes reach the NATS that they share, and what it has for them.

use super::cluster_settings::ClusterSettings;
use super::defaults;
use super::error::ConfigError;
use super::pem::{ClientSettings, Pem};
use super::secret::{self, Secret};
use super::value::NatsStorage;

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
        let Some(servers) = servers else { return Ok(None) };
        let authorities =
            authorities.map(|file| Pem::authorities(AUTHORITIES, file)).transpose()?;
        let client = client.map(|files| CLIENT.read(files)).transpose()?;
        Ok(Some(Self { servers, randomizes, storage, replicas, authorities, client }))
    }

    /// The settings that result in this, or in no NATS.
    pub(super) fn to_settings(nats: Option<&Self>, settings: &mut ClusterSettings) {
        (settings.nats_servers, settings.nats_servers_file) =
            secret::split(nats.map(|it| &it.servers));
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

/// All that can be said of NATS.
#[cfg(test)]
pub(super) fn full() -> NatsConfig {
    NatsConfig {
        servers: "nats://h".into(),
        randomizes: true,
        storage: NatsStorage::File,
        replicas: 1,
        authorities: Some(Pem::unread("a")),
        client: Some((Pem::unread("c"), Pem::unread("k"))),
    }
}

#[cfg(test)]
mod tests {
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

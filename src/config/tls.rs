//! The TLS certificate and key: from PEM files to rustls's configuration.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ConfigError;
use super::settings::Settings;

const CERT: &str = "tls-cert";
const KEY: &str = "tls-key";

/// Maximum size of a file. Certificate chains are a few KiB.
const LARGEST: u64 = 1024 * 1024;

/// The files of the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The full chain: the server's certificate first, then the intermediates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Contents of the two files.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsPair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    pub(super) fn from_settings(settings: &mut Settings) -> Result<Option<Self>, ConfigError> {
        let files = match (settings.tls_cert.take(), settings.tls_key.take()) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => Self { cert, key },
            (Some(_), None) => return Err(ConfigError::TlsHalf { given: CERT, missing: KEY }),
            (None, Some(_)) => return Err(ConfigError::TlsHalf { given: KEY, missing: CERT }),
        };
        files.read()?.server(&files)?;
        Ok(Some(files))
    }

    /// Reads both files.
    pub fn read(&self) -> Result<TlsPair, ConfigError> {
        Ok(TlsPair { cert: read(CERT, &self.cert)?, key: read(KEY, &self.key)? })
    }
}

impl TlsPair {
    /// The configuration for rustls: TLS 1.2 and 1.3, HTTP/1.1. Errors refer to `files`.
    pub fn server(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, ConfigError> {
        let certs = certificates(CERT, &files.cert, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| ConfigError::NoPrivateKey { setting: KEY, file: files.key.clone() })?;
        let unusable =
            |source| ConfigError::key_unusable((CERT, &files.cert), (KEY, &files.key), source);
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(certs, key)
            .map_err(unusable)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        // session tickets spare reconnecting clients, often a crowd, the expensive part of the
        // handshake
        server.ticketer = ring::Ticketer::new().map_err(unusable)?;
        Ok(Arc::new(server))
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(
    setting: &'static str,
    file: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = read.unwrap_or_default();
    if certificates.is_empty() {
        return Err(ConfigError::NoCertificate { setting, file: file.to_owned() });
    }
    Ok(certificates)
}

/// Reads a file that has to be small.
pub(super) fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, ConfigError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if read as u64 > LARGEST {
            return Err(io::Error::other("more than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|source| ConfigError::TlsFile { setting, file: file.to_owned(), source })
}

impl std::fmt::Debug for TlsPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsPair(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::{config, file, refusal, temporary};
    use super::*;

    #[test]
    fn a_certificate_and_its_own_key_go_together() {
        let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        let cert = temporary("cert", &one.cert.pem());
        let key = temporary("tls-key", &one.signing_key.serialize_pem());
        let others = temporary("other-key", &other.signing_key.serialize_pem());
        let broken = temporary(
            "broken-cert",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        let with = |cert: &str, key: &str| config(&["--tls-cert", cert, "--tls-key", key]);
        let good = with(&cert, &key).unwrap();
        assert_eq!(good.tls, Some(TlsFiles { cert: cert.clone().into(), key: key.clone().into() }));
        assert_eq!(Config::from_settings(file(&good.to_toml()).unwrap()).unwrap(), good);
        for (cert, key, sentence) in [
            (&cert, &others, "is not the key of the certificate in"),
            (&key, &key, "holds no certificate"),
            (&cert, &cert, "holds no private key"),
            (&broken, &key, "can't be used"),
            (&cert, &"/nowhere".to_owned(), "can't be read (no such file or directory)"),
        ] {
            let refusal = with(cert, key).unwrap_err();
            assert!(refusal.contains(sentence) && refusal.starts_with("--tls-"), "{refusal}");
            assert!(!refusal.contains("PRIVATE"), "{refusal}");
        }
        assert!(refusal(&["--tls-cert", &cert]).contains("--tls-cert needs --tls-key"));
        assert!(refusal(&["--tls-key", &key]).contains("--tls-key needs --tls-cert"));
        for file in [cert, key, others, broken] {
            std::fs::remove_file(file).unwrap();
        }
    }
}

//! PEM files for TLS to an engine.

use std::fmt;
use std::path::PathBuf;

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;

use super::error::ConfigError;
use super::tls::{certificates, read};

/// A PEM file, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where it was read.
    pub file: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Settings of a certificate that an engine is shown, and of its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientSettings {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

impl Pem {
    /// Certificate authorities.
    pub(super) fn authorities(setting: &'static str, file: PathBuf) -> Result<Self, ConfigError> {
        let pem = Self::read(setting, file)?;
        certificates(setting, &pem.file, &pem.bytes)?;
        Ok(pem)
    }

    fn read(setting: &'static str, file: PathBuf) -> Result<Self, ConfigError> {
        let bytes = read(setting, &file)?;
        Ok(Self { file, bytes })
    }

    /// A file that isn't there.
    #[cfg(test)]
    pub(super) fn unread(file: &str) -> Self {
        Self { file: file.into(), bytes: Vec::new() }
    }
}

impl ClientSettings {
    /// Both files, or none.
    pub(super) fn both(
        self,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (Some(_), None) => {
                Err(ConfigError::TlsHalf { given: self.certificate, missing: self.key })
            }
            (None, Some(_)) => {
                Err(ConfigError::TlsHalf { given: self.key, missing: self.certificate })
            }
        }
    }

    /// A certificate and its key.
    pub(super) fn read(self, files: (PathBuf, PathBuf)) -> Result<(Pem, Pem), ConfigError> {
        let certificate = Pem::read(self.certificate, files.0)?;
        let key = Pem::read(self.key, files.1)?;
        let chain = certificates(self.certificate, &certificate.file, &certificate.bytes)?;
        let private = PrivateKeyDer::from_pem_slice(&key.bytes)
            .map_err(|_| ConfigError::NoPrivateKey { setting: self.key, file: key.file.clone() })?;
        CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|source| {
            let (of_cert, of_key) =
                ((self.certificate, &*certificate.file), (self.key, &*key.file));
            ConfigError::key_unusable(of_cert, of_key, source)
        })?;
        Ok((certificate, key))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pem").field(&self.file).finish()
    }
}

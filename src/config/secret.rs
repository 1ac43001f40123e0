//! Secrets and keys: never printed, and compared in constant time.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ConfigError;
use crate::auth;

/// Minimum length of a secret without a warning, in bytes: 16 random ones can't be guessed.
const SHORTEST: usize = 16;

/// Maximum size of a file with a key.
const MAX_KEY_SIZE: u64 = 4096;

/// A secret and the file it was read from, if any. It may be several, the current one first:
/// comma-separated, or one per line of a file.
///
/// ```
/// use broker::config::Secret;
/// let key = Secret::from("s3cret");
/// assert_eq!(format!("{key:?}"), "Secret(not shown)");
/// assert!(key.matches(b"s3cret") && !key.matches(b"guess"));
/// assert!(Secret::from("new,old").matches(b"old"));
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret {
    text: Box<str>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Whether `candidate` is one of the secrets, in constant time.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.each().fold(false, |found, key| found | auth::same(key.as_bytes(), candidate))
    }

    /// The secrets, the current one first. Never log them.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        let between = if self.file.is_some() { '\n' } else { ',' };
        self.text.split(between).map(|key| key.trim_end_matches('\r'))
    }

    /// The keys for one purpose, derived from each secret.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let derived: Vec<String> = self.each().map(|key| auth::derive(key, purpose)).collect();
        Self { text: derived.join(",").into(), file: None }
    }

    /// Whether it, or one of several, may be guessed.
    pub(super) fn is_guessable(&self) -> bool {
        self.each().any(|secret| secret.len() < SHORTEST)
    }

    /// The file it was read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn read_from(text: &str, file: PathBuf) -> Self {
        Self { text: text.into(), file: Some(file) }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self { text: text.into(), file: None }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self { text: text.into(), file: None }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        auth::same(self.text.as_bytes(), other.text.as_bytes()) && self.file == other.file
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Reads one or several secrets. They must be valid in an `Authorization` header.
pub(super) fn read(
    setting: &'static str,
    given: Option<Secret>,
    file: Option<PathBuf>,
) -> Result<Option<Secret>, ConfigError> {
    let key = match (given, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(ConfigError::KeyTwice { setting }),
        (Some(key), None) => key,
        (None, Some(file)) => {
            let text = read_key(&file).map_err(|source| ConfigError::KeyFile {
                setting,
                file: file.clone(),
                source,
            })?;
            Secret::read_from(text.trim_end_matches(['\r', '\n']), file)
        }
    };
    let problem = if key.each().any(str::is_empty) {
        "is empty, or one of several is: write a key, or leave it out to go without"
    } else if key.each().any(|key| key.trim() != key) {
        "begins or ends with a space, or one of several does: take it away"
    } else if key.each().any(|key| key == "none") {
        "is `none`, which everyone would guess: leave it out to go without"
    } else if (setting.ends_with("-key") || setting == "http-rpc-secret")
        && !key.each().all(|key| key.bytes().all(|b| b.is_ascii_graphic()))
    {
        "has a character an Authorization header can't carry: use letters, digits and signs, \
         without spaces"
    } else {
        return Ok(Some(key));
    };
    Err(ConfigError::Key { setting, file: key.file().map(PathBuf::from), problem })
}

/// A secret as two settings: as it was given, and the file that it was read from.
pub(super) fn split(secret: Option<&Secret>) -> (Option<Secret>, Option<PathBuf>) {
    let file = secret.and_then(Secret::file).map(Path::to_path_buf);
    (secret.filter(|_| file.is_none()).cloned(), file)
}

fn read_key(file: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(file)?.take(MAX_KEY_SIZE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_KEY_SIZE {
        return Err(io::Error::other("more than 4096 bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let key = Secret::read_from("s3cret", "/run/key".into());
        assert!(!format!("{key:?} {:#?}", Some(&key)).contains("s3cret"));
        assert_eq!(key.each().collect::<Vec<_>>(), ["s3cret"]);
    }

    #[test]
    fn several_are_between_commas_or_on_lines() {
        let given = Secret::from("new,old");
        assert_eq!(given.each().collect::<Vec<_>>(), ["new", "old"]);
        assert!(given.matches(b"new") && given.matches(b"old") && !given.matches(b"new,old"));
        let read = Secret::read_from("a,b\r\nold", "/run/key".into());
        assert_eq!(read.each().collect::<Vec<_>>(), ["a,b", "old"]);
        assert_eq!(read.derive("x").each().count(), 2);
    }

    #[test]
    fn only_the_whole_key_matches() {
        let key = Secret::from("s3cret");
        assert!(key.matches(b"s3cret"));
        for guess in ["", "s", "s3cre", "s3cret ", "s3creT", "s3crets3cret"] {
            assert!(!key.matches(guess.as_bytes()), "{guess}");
        }
    }
}

//! A key that must not be told: nothing prints it, and comparing it takes the same time whatever
//! is guessed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A key, and the file it was read from, if it was.
///
/// ```
/// use broker::config::Secret;
/// let key = Secret::from("s3cret");
/// assert_eq!(format!("{key:?}"), "Secret(not shown)");
/// assert!(key.matches(b"s3cret") && !key.matches(b"guess"));
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret {
    text: Box<str>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Whether `candidate` is the key. Takes the same time wherever the two differ.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let key = self.text.as_bytes();
        let differing = key.iter().zip(candidate).fold(0u8, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(differing) == 0 && key.len() == candidate.len()
    }

    /// The key itself, for signing. Never log it.
    pub fn expose(&self) -> &str {
        &self.text
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
        self.matches(other.text.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let key = Secret::read_from("s3cret", "/run/key".into());
        assert!(!format!("{key:?} {:#?}", Some(&key)).contains("s3cret"));
        assert_eq!(key.expose(), "s3cret");
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

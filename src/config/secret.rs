//! A key or secret that must not be told: nothing prints it, and comparing it takes the same time
//! whatever is guessed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::auth;

/// A key, and the file it was read from, if it was. It may be several, the one in use first and
/// those before it behind: with commas between them, or a line each in a file.
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
    /// Whether `candidate` is one of the keys. Takes the same time wherever they differ.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.each().fold(false, |found, key| found | auth::same(key.as_bytes(), candidate))
    }

    /// The keys themselves, the one in use first. Never log them.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        let between = if self.file.is_some() { '\n' } else { ',' };
        self.text.split(between).map(|key| key.trim_end_matches('\r'))
    }

    /// The key for one purpose that follows from each.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let derived: Vec<String> = self.each().map(|key| auth::derive(key, purpose)).collect();
        Self { text: derived.join(",").into(), file: None }
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

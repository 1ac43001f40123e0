//! A list that is encoded once and reused until it changes.

use std::ops::Deref;
use std::sync::OnceLock;

/// A list and its encoded text.
///
/// Most lists change before their second use, so the text is kept only from the second use on.
#[derive(Debug, Default)]
pub struct CachedList<T> {
    list: T,
    used: OnceLock<()>,
    text: OnceLock<Box<[u8]>>,
}

impl<T> CachedList<T> {
    /// A list without a text yet.
    pub fn new(list: T) -> Self {
        Self { list, used: OnceLock::new(), text: OnceLock::new() }
    }

    /// Appends the encoded list. All callers must pass the same `write`.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>, write: impl FnOnce(&T, &mut Vec<u8>)) {
        if let Some(text) = self.text.get() {
            return out.extend_from_slice(text);
        }
        let start = out.len();
        write(&self.list, out);
        if self.used.set(()).is_err() {
            self.text.get_or_init(|| out.get(start..).unwrap_or_default().into());
        }
    }
}

impl<T> Deref for CachedList<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.list
    }
}

impl<T: PartialEq> PartialEq for CachedList<T> {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<T: Eq> Eq for CachedList<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_twice_and_then_known() {
        let list = CachedList::new(vec![1, 2]);
        let mut written = 0;
        let mut out = b"before ".to_vec();
        for _ in 0..4 {
            list.encode_into(&mut out, |list, out| {
                written += 1;
                out.extend(list);
            });
        }
        assert_eq!(written, 2);
        assert_eq!(out, b"before \x01\x02\x01\x02\x01\x02\x01\x02");
    }
}

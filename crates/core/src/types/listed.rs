//! A list that is told as it is, again and again until its next change.

use std::ops::Deref;
use std::sync::OnceLock;

/// A list, and the text it was told in.
///
/// Most lists change before they are told twice, so only the second time is the text kept.
#[derive(Debug, Default)]
pub struct Listed<T> {
    list: T,
    told: OnceLock<()>,
    text: OnceLock<Box<[u8]>>,
}

impl<T> Listed<T> {
    /// A list that hasn't been told.
    pub fn new(list: T) -> Self {
        Self { list, told: OnceLock::new(), text: OnceLock::new() }
    }

    /// Appends its text. There is one text of a list: all that call this must `write` the same.
    pub fn tell(&self, out: &mut Vec<u8>, write: impl FnOnce(&T, &mut Vec<u8>)) {
        if let Some(text) = self.text.get() {
            return out.extend_from_slice(text);
        }
        let start = out.len();
        write(&self.list, out);
        if self.told.set(()).is_err() {
            self.text.get_or_init(|| out.get(start..).unwrap_or_default().into());
        }
    }
}

impl<T> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.list
    }
}

impl<T: PartialEq> PartialEq for Listed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<T: Eq> Eq for Listed<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_twice_and_then_known() {
        let list = Listed::new(vec![1, 2]);
        let mut written = 0;
        let mut out = b"before ".to_vec();
        for _ in 0..4 {
            list.tell(&mut out, |list, out| {
                written += 1;
                out.extend(list);
            });
        }
        assert_eq!(written, 2);
        assert_eq!(out, b"before \x01\x02\x01\x02\x01\x02\x01\x02");
    }
}

//! Shares one allocation among equal texts.
//!
//! Clients of a stream send its name and identifier in their own frames. Each thread remembers
//! recent texts, so that most copies share memory. A text that isn't remembered is only copied once
//! more.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Number of texts that a thread remembers, one per slot of their hashes.
const SLOTS: usize = 2048;

/// Longer texts aren't kept: they would waste memory once unused.
const LONGEST: usize = 256;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

#[derive(Default)]
struct Seen {
    hasher: RandomState,
    slots: Vec<Option<Arc<str>>>,
}

/// A copy of a text, shared if possible.
pub(super) fn share(text: &str) -> Arc<str> {
    if text.len() > LONGEST {
        return text.into();
    }
    SEEN.with_borrow_mut(|seen| seen.share(text))
}

impl Seen {
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash are as good")]
    fn share(&mut self, text: &str) -> Arc<str> {
        self.slots.resize_with(SLOTS, || None);
        let at = self.hasher.hash_one(text) as usize % SLOTS;
        match self.slots.get_mut(at) {
            Some(Some(known)) if **known == *text => Arc::clone(known),
            Some(slot) => Arc::clone(slot.insert(text.into())),
            None => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_before_is_shared_and_what_is_long_or_another_is_not() {
        let first = share("room/1");
        assert!(Arc::ptr_eq(&first, &share("room/1")));
        assert_eq!(&*share("room/2"), "room/2");
        let long = "a".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&share(&long), &share(&long)));
    }

    #[test]
    fn it_is_always_the_same_text_however_many_there_are() {
        for number in (0..3 * SLOTS).chain(0..SLOTS) {
            let name = format!("room/{number}");
            assert_eq!(*share(&name), *name);
        }
    }
}

//! One allocation for a text that many connections hold.
//!
//! Clients that follow the same stream send the same name and the same identifier, each in a frame
//! of its own. Every thread remembers the texts it has seen last, so that most of them end up with
//! the same copy. It is only about memory: what isn't remembered is copied once more.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// How many texts a thread remembers: one for each slot that their hashes fall into.
const SLOTS: usize = 2048;

/// Longer ones aren't worth being held on to when nobody else needs them any more.
const LONGEST: usize = 256;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

#[derive(Default)]
struct Seen {
    hasher: RandomState,
    slots: Vec<Option<Arc<str>>>,
}

/// A copy of a text, the one that others have if possible.
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

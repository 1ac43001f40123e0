//! A doubly linked list through the values of [`Pages`]: an order with removal in constant time, for
//! 8 bytes per entry and without allocations.

use super::pages::Pages;

const NONE: u32 = u32::MAX;

/// An entry's neighbours, stored in the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// An entry of a [`List`].
pub(crate) trait Linked {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// First and last entry of a list; its order is in their [`Links`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl List {
    pub(crate) const fn last(self) -> Option<u32> {
        if self.last == NONE { None } else { Some(self.last) }
    }

    /// Appends an entry that is in no list.
    pub(crate) fn push_back<T: Linked>(&mut self, entries: &mut Pages<T>, key: u32) {
        let links = Links { previous: self.last, next: NONE };
        *entries.live_mut(key as usize).links_mut() = links;
        match entries.get_mut(self.last as usize) {
            Some(last) => last.links_mut().next = key,
            None => self.first = key,
        }
        self.last = key;
    }

    /// Removes an entry.
    pub(crate) fn remove<T: Linked>(&mut self, entries: &mut Pages<T>, key: u32) {
        let entry = entries.live_mut(key as usize);
        let Links { previous, next } = std::mem::take(entry.links_mut());
        match entries.get_mut(previous as usize) {
            Some(entry) => entry.links_mut().next = next,
            None => self.first = next,
        }
        match entries.get_mut(next as usize) {
            Some(entry) => entry.links_mut().previous = previous,
            None => self.last = previous,
        }
    }

    /// The key of the first entry for which something holds.
    pub(crate) fn find<T: Linked>(
        self,
        entries: &Pages<T>,
        holds: impl Fn(&T) -> bool,
    ) -> Option<u32> {
        let mut key = self.first;
        loop {
            let entry = entries.get(key as usize)?;
            if holds(entry) {
                return Some(key);
            }
            key = entry.links().next;
        }
    }

    /// The entries' keys in order.
    pub(crate) fn keys<T: Linked>(self, entries: &Pages<T>) -> impl Iterator<Item = u32> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let key = next;
            next = entries.get(key as usize)?.links().next;
            Some(key)
        })
    }

    /// The entries in order.
    pub(crate) fn iter<T: Linked>(self, entries: &Pages<T>) -> impl Iterator<Item = &T> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let entry = entries.get(next as usize)?;
            next = entry.links().next;
            Some(entry)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Entry(u32, Links);

    impl Linked for Entry {
        fn links(&self) -> &Links {
            &self.1
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.1
        }
    }

    proptest! {
        #[test]
        fn keeps_the_order_of_a_vector(operations in prop::collection::vec((any::<bool>(), 0_usize..20), 0..200)) {
            let (mut entries, mut list) = (Pages::default(), List::default());
            let mut model: Vec<(u32, u32)> = Vec::new();
            for (number, (push, at)) in operations.into_iter().enumerate() {
                if push || model.is_empty() {
                    let number = u32::try_from(number).unwrap();
                    let key = u32::try_from(entries.insert(Entry(number, Links::default()))).unwrap();
                    list.push_back(&mut entries, key);
                    model.push((key, number));
                } else {
                    let (key, _) = model.remove(at % model.len());
                    list.remove(&mut entries, key);
                    entries.remove(key as usize);
                }
                let now: Vec<u32> = list.iter(&entries).map(|entry| entry.0).collect();
                prop_assert_eq!(now, model.iter().map(|(_, n)| *n).collect::<Vec<_>>());
                prop_assert_eq!(list.last(), model.last().map(|(key, _)| *key));
            }
        }
    }
}

//! A slab of values in pages, which frees its memory as it empties.
//!
//! A single vector would keep its capacity after a crowd has left. Here a page is freed with its last
//! value, so each remaining value keeps at most one page.

/// Number of values per page: one bit of `used` each.
const PAGE: usize = u16::BITS as usize;

/// No page.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Pages<T> {
    all: Vec<Page<T>>,
    /// The first page with a free place; they form a linked list.
    vacant: u32,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    values: Vec<Option<T>>,
    /// Bitmap of taken places.
    used: u16,
    /// The next page with a free place, if this one has one.
    next: u32,
}

/// Whether a table should shrink after a removal: only if it is so empty that it won't have to grow again
/// at once.
pub(crate) const fn is_roomy(len: usize, capacity: usize) -> bool {
    capacity > PAGE && len < capacity / 4
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { all: Vec::new(), vacant: NONE, len: 0 }
    }
}

impl<T> Pages<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Upper bound of all numbers.
    pub(crate) fn end(&self) -> usize {
        self.all.len() * PAGE
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.all.get(number / PAGE)?.values.get(number % PAGE)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.all.get_mut(number / PAGE)?.values.get_mut(number % PAGE)?.as_mut()
    }

    /// A value that is here.
    #[inline]
    pub(crate) fn live(&self, number: usize) -> &T {
        match self.get(number) {
            Some(value) => value,
            None => missing(number),
        }
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn live_mut(&mut self, number: usize) -> &mut T {
        match self.get_mut(number) {
            Some(value) => value,
            None => missing(number),
        }
    }

    /// Adds a value and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        if self.all.get(self.vacant as usize).is_none() {
            if self.all.is_empty() {
                self.all.reserve_exact(1); // most tables never have a second page
            }
            self.vacant = u32::try_from(self.all.len()).unwrap_or(NONE);
            self.all.push(Page { values: Vec::new(), used: 0, next: NONE });
        }
        let number = self.vacant as usize;
        let Some(page) = self.all.get_mut(number) else { missing(number) };
        let place = page.used.trailing_ones() as usize;
        match page.values.get_mut(place) {
            Some(empty) => *empty = Some(value),
            None => page.values.push(Some(value)),
        }
        page.used |= 1 << place;
        if page.used == u16::MAX {
            self.vacant = page.next;
        }
        self.len += 1;
        number * PAGE + place
    }

    /// Removes a value, if it exists.
    pub(crate) fn remove(&mut self, number: usize) -> Option<T> {
        let page = self.all.get_mut(number / PAGE)?;
        let value = page.values.get_mut(number % PAGE)?.take()?;
        if page.used == u16::MAX {
            page.next = self.vacant;
            self.vacant = u32::try_from(number / PAGE).unwrap_or(NONE);
        }
        page.used &= !(1 << (number % PAGE));
        if page.used == 0 {
            page.values = Vec::new();
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        Some(value)
    }

    /// Removes a value that is here.
    pub(crate) fn take(&mut self, number: usize) -> T {
        match self.remove(number) {
            Some(value) => value,
            None => missing(number),
        }
    }

    /// The values with their numbers, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.all.iter().enumerate().flat_map(|(number, page)| {
            let values = page.values.iter().enumerate();
            values.filter_map(move |(place, value)| Some((number * PAGE + place, value.as_ref()?)))
        })
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the stream, whose state is wrong then")]
pub(crate) fn missing(number: usize) -> ! {
    panic!("nothing is at {number} any more")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn held(pages: &Pages<u32>) -> usize {
        pages.all.iter().map(|page| page.values.capacity()).sum()
    }

    proptest! {
        #[test]
        fn holds_what_a_map_does(steps in prop::collection::vec((0..3_u8, 0..200_usize), 0..600)) {
            let (mut pages, mut model) = (Pages::default(), BTreeMap::new());
            for (made, (what, number)) in steps.into_iter().enumerate() {
                if what > 0 {
                    let value = u32::try_from(made).unwrap();
                    let number = pages.insert(value);
                    prop_assert!(number < pages.end());
                    prop_assert_eq!(model.insert(number, value), None, "it was taken");
                } else {
                    prop_assert_eq!(pages.remove(number), model.remove(&number));
                }
                if let Some(value) = pages.get_mut(number) {
                    *value += 1;
                    *model.get_mut(&number).unwrap() += 1;
                }
                prop_assert_eq!(pages.get(number), model.get(&number));
                prop_assert_eq!((pages.len(), pages.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(pages.iter().eq(model.iter().map(|(number, value)| (*number, value))));
            let numbers: Vec<_> = model.into_keys().collect();
            for number in numbers {
                prop_assert!(held(&pages) <= pages.len() * PAGE);
                pages.remove(number);
            }
            prop_assert_eq!(pages.all.capacity(), 0);
        }
    }

    #[test]
    fn what_stays_holds_on_to_one_page() {
        let mut pages = Pages::default();
        let numbers: Vec<_> = (0..1000).map(|value| pages.insert(value)).collect();
        assert!(held(&pages) >= 1000);
        for number in &numbers[..999] {
            pages.remove(*number);
        }
        assert!(held(&pages) <= PAGE);
        let again: Vec<_> = (0..999).map(|value| pages.insert(value)).collect();
        assert!(again.iter().all(|number| *number < 1000 + PAGE), "what is free is taken first");
    }
}

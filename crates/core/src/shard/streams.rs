//! A shard's streams, by name and by number.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::stream::Stream;
use crate::stream::pages::{Pages, is_roomy};
use crate::types::StreamName;

/// Streams by name and by number. A number is a stream's own as long as the stream is here; what may
/// outlive it asks with [`Streams::get`], everything else with [`Streams::live`].
#[derive(Debug)]
pub(super) struct Streams<R> {
    all: Pages<Stream<R>>,
    numbers: HashMap<StreamName, u32, RandomState>,
}

impl<R> Default for Streams<R> {
    fn default() -> Self {
        Self { all: Pages::default(), numbers: HashMap::default() }
    }
}

impl<R> Streams<R> {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// All places are below.
    pub(super) fn end(&self) -> usize {
        self.all.end()
    }

    /// The number of a stream of this name.
    pub(super) fn find(&self, name: &StreamName) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The stream of this name.
    pub(super) fn named(&self, name: &StreamName) -> Option<&Stream<R>> {
        self.find(name).map(|number| self.live(number))
    }

    pub(super) fn insert(&mut self, stream: Stream<R>) -> u32 {
        let name = stream.name.clone();
        // four billion streams don't fit in memory
        let number = u32::try_from(self.all.insert(stream)).unwrap_or(u32::MAX);
        self.numbers.insert(name, number);
        number
    }

    /// Removes a stream that is here.
    pub(super) fn remove(&mut self, number: u32) -> Stream<R> {
        let stream = self.all.take(number as usize);
        self.numbers.remove(&stream.name);
        if is_roomy(self.numbers.len(), self.numbers.capacity()) {
            self.numbers.shrink_to(2 * self.numbers.len());
        }
        stream
    }

    /// A stream, if it is still here.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Stream<R>> {
        self.all.get(number as usize)
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Stream<R>> {
        self.all.get_mut(number as usize)
    }

    /// A stream that is here.
    #[inline]
    pub(super) fn live(&self, number: u32) -> &Stream<R> {
        match self.get(number) {
            Some(stream) => stream,
            None => missing(number),
        }
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn live_mut(&mut self, number: u32) -> &mut Stream<R> {
        match self.get_mut(number) {
            Some(stream) => stream,
            None => missing(number),
        }
    }

    /// The stream at a place, if there is one; places count from 0.
    pub(super) fn at(&self, place: usize) -> Option<&Stream<R>> {
        self.all.get(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream<R>> {
        self.all.iter().map(|(_, stream)| stream)
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the shard, whose streams are lost then")]
fn missing(number: u32) -> ! {
    panic!("stream {number} is not here any more")
}

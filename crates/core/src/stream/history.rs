//! What a stream keeps of its publications, so that nobody who was away loses one without
//! knowing.
//!
//! Offsets count the publications of one *epoch*, a lifetime of the history. A client that names
//! the last position it has gets what follows it or a refusal: never a gap. A stream that is
//! forgotten and used again has another epoch, so that an old position can't be mistaken for one
//! in the new count.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::{
    Epoch, HistoryRequest, Labels, Offset, Position, Publication, RawJson, ServerMessage,
    StreamName,
};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Most publications of a stream; 0 keeps none, and gives none a position.
    pub limit: usize,
    /// How long one is kept.
    pub ttl: Duration,
    /// Most bytes of all streams of a shard; beyond it the oldest go first.
    pub max_bytes: usize,
}

/// One stream's history.
#[derive(Debug)]
pub(crate) struct History {
    epoch: Epoch,
    /// The offset of the last publication; 0 before the first.
    head: u64,
    /// The last publications, their offsets without gaps up to `head`.
    kept: VecDeque<Kept>,
    /// When the newest publication that isn't kept was made, in milliseconds of the Unix epoch.
    /// From then on, nothing is missing.
    lost: u64,
}

#[derive(Debug)]
struct Kept {
    publication: Arc<Publication>,
    expires: Instant,
}

/// What was missed is more than may be told in one answer.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Memory that keeping a publication takes besides its texts.
const OVERHEAD: usize = size_of::<Kept>() + size_of::<Publication>();

impl History {
    /// An empty history that goes on behind an offset.
    pub(crate) fn behind(epoch: Epoch, head: Offset, lost: u64) -> Self {
        Self { epoch, head: head.0, kept: VecDeque::new(), lost }
    }

    /// An empty history, before which publications up to `lost` may have been.
    pub(crate) fn new(epoch: Epoch, lost: u64) -> Self {
        Self { epoch, head: 0, kept: VecDeque::new(), lost }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many publications are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The offset of the last publication.
    pub(crate) fn head(&self) -> Offset {
        Offset(self.head)
    }

    /// When the newest publication that isn't kept was made.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Gives a publication its position and keeps it until it expires.
    pub(crate) fn append(
        &mut self,
        stream: &StreamName,
        (data, labels): (RawJson, Labels),
        at: u64,
        expires: Instant,
    ) -> Arc<Publication> {
        self.head += 1;
        let position = Position { epoch: self.epoch.clone(), offset: Offset(self.head) };
        let publication = Arc::new(Publication {
            stream: stream.clone(),
            data,
            labels,
            at,
            position: Some(position),
        });
        self.kept.push_back(Kept { publication: Arc::clone(&publication), expires });
        publication
    }

    /// Keeps a publication that was made before.
    pub(crate) fn restore(&mut self, publication: Arc<Publication>, expires: Instant) {
        let Some(position) = &publication.position else { return };
        if position.offset.0 == self.head + 1 {
            self.head += 1;
            self.kept.push_back(Kept { publication, expires });
        }
    }

    /// What there was before the publications that are kept, and these.
    pub(crate) fn parts(&self) -> (Epoch, Offset, u64, impl Iterator<Item = &Arc<Publication>>) {
        let before = Offset(self.head - self.kept.len() as u64);
        let kept = self.kept.iter().map(|kept| &kept.publication);
        (self.epoch.clone(), before, self.lost, kept)
    }

    /// The newest of the publications that are kept whose payloads have so many bytes together,
    /// oldest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<Arc<Publication>> {
        let mut left = most;
        let newest = self.kept.iter().rev().map_while(|kept| {
            left = left.checked_sub(kept.publication.data.as_str().len())?;
            Some(Arc::clone(&kept.publication))
        });
        let mut newest: Vec<_> = newest.collect();
        newest.reverse();
        newest
    }

    /// When the oldest publication expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.kept.front().map(|kept| kept.expires)
    }

    /// Drops the oldest publication; returns the bytes it took.
    pub(crate) fn drop_oldest(&mut self) -> usize {
        let Some(Kept { publication, .. }) = self.kept.pop_front() else { return 0 };
        self.lost = self.lost.max(publication.at);
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        weight(&publication)
    }

    /// What a client missed, up to and including an offset, followed by the confirmation; or the
    /// refusal alone, if something of it is not kept. `Err` is a refusal because it has more bytes
    /// of payload than that.
    pub(crate) fn answer(
        &self,
        stream: &StreamName,
        request: &HistoryRequest,
        up_to: Offset,
        most: usize,
    ) -> Result<Vec<ServerMessage>, TooLarge> {
        let position = request.positions.iter().find(|(name, _)| name == stream);
        let missed = match (position, request.since) {
            (Some((_, position)), _) => self.after(position),
            (None, Some(since)) => self.since(since),
            (None, None) => None,
        };
        let Some(first) = missed else { return Ok(vec![ServerMessage::HistoryRejected]) };
        let missed = self.kept.iter().map(|kept| &kept.publication).filter(|publication| {
            let position = publication.position.as_ref();
            position.is_some_and(|at| first <= at.offset && at.offset <= up_to)
        });
        let missed: Vec<_> = missed.collect();
        if missed.iter().map(|publication| publication.data.as_str().len()).sum::<usize>() > most {
            return Err(TooLarge);
        }
        let missed = missed.into_iter().map(Arc::clone).map(ServerMessage::Publication);
        Ok(missed.chain([ServerMessage::HistoryConfirmed]).collect())
    }

    /// The first offset after a position; `None` if what follows it isn't all here.
    fn after(&self, position: &Position) -> Option<Offset> {
        let first_kept = self.head + 1 - self.kept.len() as u64;
        let next = position.offset.0.checked_add(1)?;
        let complete =
            position.epoch == self.epoch && position.offset.0 <= self.head && next >= first_kept;
        complete.then_some(Offset(next))
    }

    /// The first offset since a time in seconds; `None` if not all since then is here.
    fn since(&self, seconds: u64) -> Option<Offset> {
        let from = seconds.saturating_mul(1000);
        if self.lost > 0 && self.lost >= from {
            return None;
        }
        let first = self.kept.iter().find(|kept| kept.publication.at >= from);
        let first = first.and_then(|kept| kept.publication.position.as_ref());
        Some(first.map_or(Offset(self.head + 1), |position| position.offset))
    }
}

/// The memory that keeping a publication takes.
pub(crate) fn weight(publication: &Publication) -> usize {
    publication.length() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    struct Fixture {
        history: History,
        start: Instant,
    }

    /// A history of publications `1`, `2`, … made a second apart from second 1 on.
    fn of(count: u64) -> Fixture {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut history = History::new("e".into(), 0);
        for n in 1..=count {
            let data = RawJson::from(n.to_string());
            history.append(&"a".into(), (data, None), n * 1000, start + LATER);
        }
        Fixture { history, start }
    }

    impl Fixture {
        fn ask(&self, request: &HistoryRequest) -> Result<Vec<u64>, ()> {
            let head = self.history.head();
            let mut answer =
                self.history.answer(&"a".into(), request, head, usize::MAX).expect("no limit");
            match answer.pop() {
                Some(ServerMessage::HistoryConfirmed) => Ok(answer
                    .iter()
                    .map(|message| {
                        let ServerMessage::Publication(told) = message else {
                            panic!("{message:?}")
                        };
                        told.position.as_ref().unwrap().offset.0
                    })
                    .collect()),
                Some(ServerMessage::HistoryRejected) if answer.is_empty() => Err(()),
                other => panic!("{other:?}"),
            }
        }

        fn after(&self, epoch: &str, offset: u64) -> Result<Vec<u64>, ()> {
            let position = Position { epoch: epoch.into(), offset: Offset(offset) };
            let positions = vec![("b".into(), position.clone()), ("a".into(), position)];
            self.ask(&HistoryRequest { since: Some(0), positions })
        }

        fn since(&self, since: u64) -> Result<Vec<u64>, ()> {
            self.ask(&HistoryRequest { since: Some(since), positions: vec![] })
        }
    }

    #[test]
    fn after_a_position() {
        let mut fixture = of(5);
        assert_eq!(fixture.after("e", 0), Ok(vec![1, 2, 3, 4, 5]));
        assert_eq!(fixture.after("e", 3), Ok(vec![4, 5]));
        assert_eq!(fixture.after("e", 5), Ok(vec![]));
        assert_eq!(fixture.after("e", 6), Err(()));
        assert_eq!(fixture.after("e", u64::MAX), Err(()));
        assert_eq!(fixture.after("f", 3), Err(()));
        fixture.history.drop_oldest();
        fixture.history.drop_oldest();
        assert_eq!(fixture.after("e", 2), Ok(vec![3, 4, 5]));
        assert_eq!(fixture.after("e", 1), Err(()));
        for _ in 0..3 {
            fixture.history.drop_oldest();
        }
        assert_eq!(fixture.after("e", 5), Ok(vec![]));
        assert_eq!(fixture.after("e", 4), Err(()));
        assert_eq!(of(0).after("e", 0), Ok(vec![]));
    }

    #[test]
    fn since_a_time() {
        let mut fixture = of(5);
        assert_eq!(fixture.since(0), Ok(vec![1, 2, 3, 4, 5]));
        assert_eq!(fixture.since(4), Ok(vec![4, 5]));
        assert_eq!(fixture.since(9), Ok(vec![]));
        assert_eq!(fixture.since(u64::MAX), Ok(vec![]));
        fixture.history.drop_oldest();
        assert_eq!(fixture.since(2), Ok(vec![2, 3, 4, 5]));
        assert_eq!(fixture.since(1), Err(()));
        assert_eq!(of(0).since(0), Ok(vec![]));
    }

    #[test]
    fn nothing_beyond_what_follows_live() {
        let fixture = of(5);
        let request = HistoryRequest { since: Some(0), positions: vec![] };
        let answer = |most| fixture.history.answer(&"a".into(), &request, Offset(2), most);
        assert_eq!(answer(2).unwrap().len(), 3, "two publications and the confirmation");
        assert!(answer(1).is_err(), "more than may be told at once");
        assert_eq!(fixture.history.next_expiry(), Some(fixture.start + LATER));
    }

    #[test]
    fn the_newest_that_fit() {
        let newest = |most| -> Vec<String> {
            let newest = of(12).history.newest(most);
            newest.iter().map(|publication| publication.data.to_string()).collect()
        };
        assert_eq!(newest(0), [""; 0]);
        assert_eq!(newest(4), ["11", "12"]);
        assert_eq!(newest(7), ["9", "10", "11", "12"]);
        assert_eq!(newest(usize::MAX).len(), 12);
    }

    #[test]
    fn a_request_for_nothing_is_refused() {
        assert_eq!(of(1).ask(&HistoryRequest::default()), Err(()));
    }
}

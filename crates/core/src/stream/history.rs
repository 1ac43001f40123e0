//! A stream's kept publications, for clients that missed some.
//!
//! Offsets count the publications of one *epoch*, a lifetime of the history. A client that gives its last
//! position gets all later publications or a refusal, never a gap. A stream that was forgotten and is
//! used again has a new epoch, so that old positions are refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::{
    Epoch, HistoryRequest, Offset, Publication, ServerMessage, StreamName, StreamPosition,
};

/// Limits of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Maximum number of publications per stream; with 0, none is kept or has a position.
    pub limit: usize,
    /// Time for which a publication is kept.
    pub ttl: Duration,
    /// Maximum bytes of all streams of a shard; beyond it the oldest publications are dropped.
    pub max_bytes: usize,
}

/// One stream's history.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The last publications, in order. Their offsets have no gaps.
    kept: VecDeque<Kept>,
    /// Time of the newest publication that isn't kept, in milliseconds of the Unix epoch. All later ones
    /// are here.
    lost: u64,
}

#[derive(Debug)]
struct Kept {
    publication: Arc<Publication>,
    expires: Instant,
}

/// The missed publications exceed the size limit of an answer.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Memory of a kept publication besides its texts, in bytes.
const OVERHEAD: usize = size_of::<Kept>() + size_of::<Publication>();

impl History {
    /// An empty history. Earlier publications, up to the time `lost`, may have been lost.
    pub(crate) fn new(lost: u64) -> Self {
        Self { kept: VecDeque::new(), lost }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Number of kept publications.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Time of the newest publication that isn't kept.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Keeps a publication until it expires.
    pub(crate) fn keep(&mut self, publication: Arc<Publication>, expires: Instant) {
        self.kept.push_back(Kept { publication, expires });
    }

    /// The kept publications, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Arc<Publication>> {
        self.kept.iter().map(|kept| &kept.publication)
    }

    /// The newest kept publications whose payloads have at most `max` bytes together, oldest first.
    pub(crate) fn newest(&self, max: usize) -> Vec<Arc<Publication>> {
        let mut left = max;
        let newest = self.kept.iter().rev().map_while(|kept| {
            left = left.checked_sub(kept.publication.data.as_str().len())?;
            Some(Arc::clone(&kept.publication))
        });
        let mut newest: Vec<_> = newest.collect();
        newest.reverse();
        newest
    }

    /// Expiry of the oldest publication.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.kept.front().map(|kept| kept.expires)
    }

    /// Whether a publication is kept for longer than until a time.
    pub(crate) fn is_kept_after(&self, now: Instant) -> bool {
        self.kept.iter().any(|kept| kept.expires > now)
    }

    /// Drops the oldest publication; returns its weight in bytes.
    pub(crate) fn drop_oldest(&mut self) -> usize {
        let Some(Kept { publication, .. }) = self.kept.pop_front() else { return 0 };
        self.lost = self.lost.max(publication.at);
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        weight(&publication)
    }

    /// The publications a client missed, up to and including the offset `up_to`, and the confirmation; or
    /// the refusal alone, if some aren't kept. `Err` if the payloads have more than `max` bytes.
    pub(crate) fn answer(
        &self,
        (stream, head): (&StreamName, Head<'_>),
        request: &HistoryRequest,
        up_to: Offset,
        max: usize,
    ) -> Result<Vec<ServerMessage>, TooLarge> {
        let position = request.positions.iter().find(|(name, _)| name == stream);
        let missed = match (position, request.since) {
            (Some((_, position)), _) => self.after(head, position),
            (None, Some(since)) => self.since(head, since),
            (None, None) => None,
        };
        let Some(first) = missed else { return Ok(vec![ServerMessage::HistoryRejected]) };
        let missed = self.kept.iter().map(|kept| &kept.publication).filter(|publication| {
            let position = publication.position.as_ref();
            position.is_some_and(|at| first <= at.offset && at.offset <= up_to)
        });
        let missed: Vec<_> = missed.collect();
        if missed.iter().map(|publication| publication.data.as_str().len()).sum::<usize>() > max {
            return Err(TooLarge);
        }
        let missed = missed.into_iter().map(Arc::clone).map(ServerMessage::Publication);
        Ok(missed.chain([ServerMessage::HistoryConfirmed]).collect())
    }

    /// The first offset after a position; `None` if later publications are missing.
    fn after(&self, head: Head<'_>, position: &StreamPosition) -> Option<Offset> {
        let Head { epoch, offset } = head;
        let first_kept = offset.0.saturating_add(1).saturating_sub(self.kept.len() as u64);
        let next = position.offset.0.checked_add(1)?;
        let complete =
            Some(&position.epoch) == epoch && position.offset <= offset && next >= first_kept;
        complete.then_some(Offset(next))
    }

    /// The first offset since a time in seconds; `None` if publications since then are missing.
    fn since(&self, head: Head<'_>, seconds: u64) -> Option<Offset> {
        let from = seconds.saturating_mul(1000);
        if self.lost > 0 && self.lost >= from {
            return None;
        }
        let first = self.kept.iter().find(|kept| kept.publication.at >= from);
        let first = first.and_then(|kept| kept.publication.position.as_ref());
        Some(first.map_or(Offset(head.offset.0.saturating_add(1)), |position| position.offset))
    }
}

/// The end of a stream's history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// Its epoch, if it has begun.
    pub(crate) epoch: Option<&'a Epoch>,
    /// Offset of the newest publication.
    pub(crate) offset: Offset,
}

/// Memory of a kept publication, in bytes.
pub(crate) fn weight(publication: &Publication) -> usize {
    publication.length() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    struct Fixture {
        history: History,
        epoch: Epoch,
        head: Offset,
        start: Instant,
    }

    /// A history of publications `1`, `2`, … made a second apart from second 1 on.
    fn of(count: u64) -> Fixture {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let (mut history, epoch) = (History::new(0), Epoch::from("e"));
        for n in 1..=count {
            let position = Some(StreamPosition { epoch: epoch.clone(), offset: Offset(n) });
            let (stream, data, at) = ("a".into(), n.to_string().into(), n * 1000);
            let publication = Publication { stream, data, labels: None, at, position };
            history.keep(Arc::new(publication), start + LATER);
        }
        Fixture { history, epoch, head: Offset(count), start }
    }

    impl Fixture {
        fn answer(
            &self,
            request: &HistoryRequest,
            up_to: Offset,
            max: usize,
        ) -> Result<Vec<ServerMessage>, TooLarge> {
            let head = Head { epoch: Some(&self.epoch), offset: self.head };
            self.history.answer((&"a".into(), head), request, up_to, max)
        }

        fn ask(&self, request: &HistoryRequest) -> Result<Vec<u64>, ()> {
            let mut answer = self.answer(request, self.head, usize::MAX).expect("no limit");
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
            let position = StreamPosition { epoch: epoch.into(), offset: Offset(offset) };
            let positions = vec![("b".into(), position.clone()), ("a".into(), position)];
            self.ask(&HistoryRequest { since: Some(0), positions, joint: None })
        }

        fn since(&self, since: u64) -> Result<Vec<u64>, ()> {
            self.ask(&HistoryRequest { since: Some(since), positions: vec![], joint: None })
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
        let request = HistoryRequest { since: Some(0), positions: vec![], joint: None };
        let answer = |max| fixture.answer(&request, Offset(2), max);
        assert_eq!(answer(2).unwrap().len(), 3, "two publications and the confirmation");
        assert!(answer(1).is_err(), "more than may be told at once");
        assert_eq!(fixture.history.next_expiry(), Some(fixture.start + LATER));
    }

    #[test]
    fn the_newest_that_fit() {
        let newest = |max| -> Vec<String> {
            let newest = of(12).history.newest(max);
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

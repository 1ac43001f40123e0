//! Lookups of members: queued ids, requests in flight, and cached answers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::types::{Extra, FetchOutcome, PresenceId, StreamName};

/// Maximum number of ids per request.
pub(super) const MAX_AT_ONCE: usize = 100;

/// Maximum number of requests in flight per stream; later ids are collected for the next one.
const MAX_OF_A_STREAM: usize = 4;

/// Maximum number of queued ids. A connection waits for each, or did until its timeout.
const MAX_WAITING: usize = 1 << 16;

/// Time for which an answer is cached: long enough for a page reload or a change of rooms.
const KEPT: Duration = Duration::from_secs(10);

/// Maximum number of cached answers.
const MAX_KEPT: usize = 10_000;

/// A lookup of one member's data.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) stream: StreamName,
    pub(super) id: PresenceId,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A member's data, and the outcome of the lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: FetchOutcome,
    pub(super) extra: Extra,
}

type Key = (StreamName, PresenceId);

#[derive(Default)]
pub(super) struct LookupQueue {
    /// Callers that wait for an answer, queued or in flight.
    waiters: HashMap<Key, Vec<oneshot::Sender<Answer>>, RandomState>,
    /// Queued ids by stream.
    queued: HashMap<StreamName, Vec<PresenceId>, RandomState>,
    /// Streams with queued ids, in turn.
    turns: VecDeque<StreamName>,
    /// Number of queued ids.
    count: usize,
    /// Number of requests in flight by stream.
    under_way: HashMap<StreamName, usize, RandomState>,
    /// Cached answers with their expiry.
    kept: HashMap<Key, (Instant, Extra), RandomState>,
    /// Expiry of the cached answers, oldest first.
    ends: VecDeque<(Instant, Key)>,
}

impl LookupQueue {
    /// Adds a lookup, or answers it at once: from the cache, or with a failure if the queue is full.
    pub(super) fn ask(&mut self, lookup: Lookup, now: Instant) {
        let Lookup { stream, id, answer } = lookup;
        self.tidy(now);
        let key = (stream, id);
        let at_once = if let Some((_, extra)) = self.kept.get(&key) {
            Answer { outcome: FetchOutcome::Cached, extra: extra.clone() }
        } else if let Some(waiting) = self.waiters.get_mut(&key) {
            return waiting.push(answer);
        } else if self.count >= MAX_WAITING {
            Answer { outcome: FetchOutcome::Failed, extra: None }
        } else {
            let (stream, id) = key.clone();
            let ids = self.queued.entry(stream.clone()).or_default();
            if ids.is_empty() {
                self.turns.push_back(stream);
            }
            ids.push(id);
            self.count += 1;
            self.waiters.insert(key, vec![answer]);
            return;
        };
        answer.send(at_once).ok(); // whoever asked may be gone
    }

    /// Whether ids are queued.
    pub(super) fn has_waiting(&self) -> bool {
        self.count > 0
    }

    /// Whether a stream's queued ids fill a request.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MAX_AT_ONCE && self.queued.values().any(|ids| ids.len() >= MAX_AT_ONCE)
    }

    /// The ids for the next request, of a stream below its maximum of requests in flight. Ids without
    /// waiting callers are dropped.
    pub(super) fn next(&mut self) -> Option<(StreamName, Vec<PresenceId>)> {
        for _ in 0..self.turns.len() {
            let stream = self.turns.pop_front()?;
            if self.under_way.get(&stream).is_some_and(|requests| *requests >= MAX_OF_A_STREAM) {
                self.turns.push_back(stream);
                continue;
            }
            let mut ids = self.queued.remove(&stream).unwrap_or_default();
            let before = ids.len();
            ids.retain(|id| {
                let key = (stream.clone(), id.clone());
                let waiting = self.waiters.get_mut(&key);
                let is_awaited = waiting.is_some_and(|waiting| {
                    waiting.retain(|answer| !answer.is_closed());
                    !waiting.is_empty()
                });
                if !is_awaited {
                    self.waiters.remove(&key);
                }
                is_awaited
            });
            let rest = ids.split_off(ids.len().min(MAX_AT_ONCE));
            self.count -= before - rest.len();
            if !rest.is_empty() {
                self.queued.insert(stream.clone(), rest);
                self.turns.push_back(stream.clone());
            }
            if !ids.is_empty() {
                *self.under_way.entry(stream.clone()).or_default() += 1;
                return Some((stream, ids));
            }
        }
        None
    }

    /// Ends a request and answers its callers, with the application's data or the reason of the failure.
    pub(super) fn complete(
        &mut self,
        stream: &StreamName,
        ids: Vec<PresenceId>,
        mut said: Result<HashMap<PresenceId, Extra>, FetchOutcome>,
        now: Instant,
    ) {
        self.tidy(now);
        if let Some(requests) = self.under_way.get_mut(stream) {
            *requests -= 1;
            if *requests == 0 {
                self.under_way.remove(stream);
            }
        }
        for id in ids {
            let key = (stream.clone(), id);
            let answer = match &mut said {
                Ok(said) => {
                    let extra = said.remove(&key.1).unwrap_or_default();
                    self.keep(key.clone(), extra.clone(), now);
                    Answer { outcome: FetchOutcome::Fetched, extra }
                }
                Err(outcome) => Answer { outcome: *outcome, extra: None },
            };
            for waiting in self.waiters.remove(&key).unwrap_or_default() {
                waiting.send(answer.clone()).ok(); // the caller may be gone
            }
        }
    }

    fn keep(&mut self, key: Key, extra: Extra, now: Instant) {
        let end = now + KEPT;
        self.kept.insert(key.clone(), (end, extra));
        self.ends.push_back((end, key));
        if self.ends.len() > MAX_KEPT {
            self.forget_oldest();
        }
    }

    /// Removes expired answers.
    fn tidy(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((end, key)) = self.ends.pop_front()
            && self.kept.get(&key).is_some_and(|(newer, _)| *newer <= end)
        {
            self.kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::types::RawJson;

    type Asked = oneshot::Receiver<Answer>;

    fn ask(lookups: &mut LookupQueue, id: &str, now: Instant) -> Asked {
        ask_in(lookups, "room", id, now)
    }

    fn ask_in(lookups: &mut LookupQueue, stream: &str, id: &str, now: Instant) -> Asked {
        let (answer, asked) = oneshot::channel();
        lookups.ask(Lookup { stream: stream.into(), id: id.into(), answer }, now);
        asked
    }

    #[expect(clippy::unnecessary_wraps, reason = "as answers have it")]
    fn extra(id: &str) -> Extra {
        Some(Box::new(RawJson::from(format!("{{\"of\":\"{id}\"}}"))))
    }

    /// The application answers one request, and knows nothing of `c`.
    fn answer(lookups: &mut LookupQueue, now: Instant) -> Vec<String> {
        let (stream, ids) = lookups.next().unwrap();
        let said = ids.iter().filter(|id| id.as_str() != "c");
        let said = said.map(|id| (id.clone(), extra(id.as_str()))).collect();
        let asked = ids.iter().map(ToString::to_string).collect();
        lookups.complete(&stream, ids, Ok(said), now);
        asked
    }

    fn told(asked: &mut Asked) -> Option<(FetchOutcome, Extra)> {
        asked.try_recv().ok().map(|answer| (answer.outcome, answer.extra))
    }

    #[test]
    fn one_request_answers_all_who_ask() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        let mut asked: Vec<Asked> =
            ["a", "b", "a", "c"].map(|id| ask(&mut lookups, id, now)).into_iter().collect();
        let (stream, ids) = lookups.next().unwrap();
        asked.push(ask(&mut lookups, "b", now));
        assert!(
            lookups.next().is_none() && !lookups.has_waiting(),
            "it is being asked about already"
        );
        let said = [("a".into(), extra("a")), ("b".into(), extra("b"))].into();
        lookups.complete(&stream, ids, Ok(said), now);
        let told: Vec<_> = asked.iter_mut().map(|asked| told(asked).unwrap()).collect();
        let fetched = |extra| (FetchOutcome::Fetched, extra);
        let of = |id| fetched(extra(id));
        assert_eq!(told, [of("a"), of("b"), of("a"), fetched(None), of("b")]);
        assert!(lookups.waiters.is_empty());
    }

    #[test]
    fn answers_are_good_for_a_while() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        for id in ["a", "c"] {
            ask(&mut lookups, id, now);
            let mut asked = ask(&mut lookups, id, now);
            answer(&mut lookups, now);
            assert_eq!(told(&mut asked).unwrap().0, FetchOutcome::Fetched);
        }
        let soon = now + KEPT.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(
            told(&mut ask(&mut lookups, "a", soon)),
            Some((FetchOutcome::Cached, extra("a")))
        );
        assert_eq!(told(&mut ask(&mut lookups, "c", soon)), Some((FetchOutcome::Cached, None)));
        assert!(
            told(&mut ask_in(&mut lookups, "other", "a", soon)).is_none(),
            "it is another stream"
        );
        assert_eq!(lookups.next().map(|(stream, _)| stream), None, "nobody waits for it");
        let _asked = ask(&mut lookups, "a", now + KEPT);
        assert!(lookups.has_waiting() && lookups.kept.is_empty() && lookups.ends.is_empty());
    }

    #[test]
    fn a_failure_is_told_and_not_kept() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        let mut asked = ask(&mut lookups, "a", now);
        let (stream, ids) = lookups.next().unwrap();
        lookups.complete(&stream, ids, Err(FetchOutcome::Failed), now);
        assert_eq!(told(&mut asked), Some((FetchOutcome::Failed, None)));
        let _asked = ask(&mut lookups, "a", now);
        assert!(lookups.next().is_some());
    }

    #[test]
    fn requests_are_bounded_and_streams_take_turns() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        let mut asked = Vec::new();
        for number in 0..=2 * MAX_AT_ONCE {
            assert_eq!(lookups.is_full(), number >= MAX_AT_ONCE);
            asked.push(ask(&mut lookups, &format!("{number}"), now));
        }
        asked.push(ask_in(&mut lookups, "other", "x", now));
        assert_eq!(answer(&mut lookups, now).len(), MAX_AT_ONCE);
        assert_eq!(answer(&mut lookups, now), ["x"]);
        assert_eq!(answer(&mut lookups, now).len(), MAX_AT_ONCE);
        assert_eq!(answer(&mut lookups, now), [format!("{}", 2 * MAX_AT_ONCE)]);
        assert!(asked.iter_mut().all(|asked| told(asked).is_some()));
        assert!(lookups.next().is_none() && lookups.queued.is_empty() && lookups.count == 0);
    }

    #[test]
    fn a_stream_has_so_many_requests_under_way_and_others_have_theirs() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        let mut asked = Vec::new();
        let mut requests: Vec<_> = (0..MAX_OF_A_STREAM)
            .map(|number| {
                asked.push(ask(&mut lookups, &format!("{number}"), now));
                lookups.next().unwrap()
            })
            .collect();
        asked.push(ask(&mut lookups, "more", now));
        assert_eq!(lookups.next(), None, "it waits for one of them");
        asked.push(ask_in(&mut lookups, "other", "x", now));
        asked.push(ask(&mut lookups, "most", now));
        assert_eq!(lookups.next().unwrap().0, "other".into());
        let (stream, ids) = requests.pop().unwrap();
        lookups.complete(&stream, ids, Err(FetchOutcome::Failed), now);
        assert_eq!(lookups.next().unwrap().1, ["more".into(), "most".into()]);
        let other = ("other".into(), vec!["x".into()]);
        let more = ("room".into(), vec!["more".into(), "most".into()]);
        for (stream, ids) in requests.into_iter().chain([other, more]) {
            lookups.complete(&stream, ids, Err(FetchOutcome::Failed), now);
        }
        assert!(lookups.under_way.is_empty() && lookups.waiters.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_not_asked() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        drop(ask(&mut lookups, "a", now));
        let _asked = ask(&mut lookups, "b", now);
        drop(ask(&mut lookups, "b", now));
        assert_eq!(answer(&mut lookups, now), ["b"]);
        assert!(lookups.waiters.is_empty());
    }

    #[test]
    fn so_much_is_kept_and_waits_and_no_more() {
        let (mut lookups, now) = (LookupQueue::default(), Clock::new().now());
        for number in 0..=MAX_KEPT {
            let _asked = ask(&mut lookups, &format!("{number}"), now);
            answer(&mut lookups, now);
        }
        assert_eq!((lookups.kept.len(), lookups.ends.len()), (MAX_KEPT, MAX_KEPT));
        assert!(!lookups.kept.contains_key(&("room".into(), "0".into())), "the oldest went");
        let asked: Vec<_> = (0..MAX_WAITING)
            .map(|number| ask_in(&mut lookups, "x", &format!("{number}"), now))
            .collect();
        let mut more = ask_in(&mut lookups, "y", "a", now);
        assert_eq!(told(&mut more), Some((FetchOutcome::Failed, None)));
        drop(asked);
        assert!(lookups.next().is_none() && lookups.waiters.is_empty());
    }
}

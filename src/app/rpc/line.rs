//! The calls of a lane that wait. Sessions take turns, each with one call; those of a session are sent in order. A session
//! that has as many calls out as it may have takes no turn, and its calls take no places. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::types::SessionId;

/// Maximum number of calls that wait for others of their session to end. A session asks for fewer at a time.
const MAX_HELD: usize = 64;

/// The calls that wait, each with a `T`, and the sessions that have some out.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Maximum number of calls of a session that are out.
    max_out: usize,
    sessions: HashMap<SessionId, OfSession<T>, RandomState>,
    /// The sessions whose turn comes, in order: those that may have one more out, and have one that waits.
    turns: BTreeMap<u64, SessionId>,
    /// Number of the next turn.
    next_turn: u64,
    /// Calls of those sessions that wait.
    due: usize,
    /// Calls that wait for others of their session to end.
    held: usize,
}

#[derive(Debug)]
struct OfSession<T> {
    /// By their numbers, with the times since which they wait.
    waiting: VecDeque<(u64, Instant, T)>,
    out: usize,
    turn: Option<u64>,
}

impl<T> Line<T> {
    pub(super) fn new(max_out: usize) -> Self {
        let (sessions, turns) = (HashMap::default(), BTreeMap::new());
        Self { max_out, sessions, turns, next_turn: 0, due: 0, held: 0 }
    }

    /// Call `number`, above those before, waits, if there is one of the `places`.
    pub(super) fn enter(
        &mut self,
        session: SessionId,
        (number, now, waiter): (u64, Instant, T),
        places: usize,
    ) -> bool {
        let known = self.sessions.get(&session);
        let is_held = known.is_some_and(|it| it.out >= self.max_out);
        let is_full = if is_held {
            known.is_some_and(|it| it.waiting.len() >= MAX_HELD)
        } else {
            self.due >= places
        };
        if is_full {
            return false;
        }
        let of_session = self.sessions.entry(session).or_default();
        of_session.waiting.push_back((number, now, waiter));
        if is_held {
            self.held += 1;
        } else {
            self.due += 1;
            self.take_turn(session);
        }
        true
    }

    /// A call waits no longer; whether it still did.
    pub(super) fn leave(&mut self, session: SessionId, number: u64) -> bool {
        let Some(of_session) = self.sessions.get_mut(&session) else { return false };
        let waiting = &mut of_session.waiting;
        let Ok(at) = waiting.binary_search_by_key(&number, |(number, ..)| *number) else {
            return false;
        };
        waiting.remove(at);
        let Some(turn) = of_session.turn else {
            self.held -= 1;
            return true;
        };
        self.due -= 1;
        if waiting.is_empty() {
            of_session.turn = None;
            self.turns.remove(&turn);
            self.forget(session);
        }
        true
    }

    /// The call whose turn it is, which is out then.
    pub(super) fn next(&mut self) -> Option<(SessionId, T)> {
        let (_, session) = self.turns.pop_first()?;
        let of_session = self.sessions.get_mut(&session)?;
        let (_, _, waiter) = of_session.waiting.pop_front()?;
        of_session.turn = None;
        of_session.out += 1;
        self.due -= 1;
        if of_session.out < self.max_out {
            self.take_turn(session);
        } else {
            self.held += of_session.waiting.len();
            self.due -= of_session.waiting.len();
        }
        Some((session, waiter))
    }

    /// A call that hasn't waited is out, if its session may have one more, and none of it waits.
    pub(super) fn send(&mut self, session: SessionId) -> bool {
        let of_session = self.sessions.entry(session).or_default();
        let may = of_session.waiting.is_empty() && of_session.out < self.max_out;
        if may {
            of_session.out += 1;
        }
        may
    }

    /// A call that was out has ended.
    pub(super) fn finish(&mut self, session: SessionId) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        if of_session.out >= self.max_out {
            self.held -= of_session.waiting.len();
            self.due += of_session.waiting.len();
        }
        of_session.out -= 1;
        self.take_turn(session);
        self.forget(session);
    }

    /// Number of calls that wait for their turn.
    pub(super) fn in_line(&self) -> usize {
        self.due
    }

    /// Number of calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.due + self.held
    }

    /// Since when the call that is next waits.
    pub(super) fn since(&self) -> Option<Instant> {
        let (_, session) = self.turns.first_key_value()?;
        self.sessions.get(session)?.waiting.front().map(|(_, since, _)| *since)
    }

    /// A session that may have one more out has a turn if a call of it waits.
    fn take_turn(&mut self, session: SessionId) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        if of_session.turn.is_none() && !of_session.waiting.is_empty() {
            of_session.turn = Some(self.next_turn);
            self.turns.insert(self.next_turn, session);
            self.next_turn += 1;
        }
    }

    fn forget(&mut self, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|it| it.waiting.is_empty() && it.out == 0) {
            self.sessions.remove(&session);
        }
    }
}

impl<T> Default for OfSession<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), out: 0, turn: None }
    }
}

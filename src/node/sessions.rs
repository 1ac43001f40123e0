//! Sessions that can be resumed, by sid: parked, or still held by a connection that is lost without
//! having been closed.
//!
//! ```text
//! connect ─▶ connected ─ park ─▶ parked ─ expire ─▶ forgotten
//!                  └─ claim ─▶ closed, parks itself, handed over
//!                                         └─ claim ─▶ handed over
//! ```
//!
//! A sid works once: the session gets a new one when it is resumed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::outbound::Recipient;
use crate::session::{Session, Subscription};
use crate::types::{CloseReason, Identity, Names, SessionId};

/// Maximum weight of all parked sessions, in subscriptions with a short identifier: 64 to 128 MiB
/// without the streams. Beyond it, a session ends with its connection and its client subscribes
/// again.
const MAX_PARKED: usize = 1 << 18;

/// Bytes of an identifier that weigh as much as one subscription.
const IDENTIFIER_UNIT: usize = 256;

/// Maximum time for which to wait until the old connection has ended. That takes as long as its shards
/// need to accept the last commands.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How often it is looked whether all connections have ended.
const LOOK: Duration = Duration::from_millis(10);

/// All sessions that can be resumed.
#[derive(Debug)]
pub struct Sessions {
    ttl: Duration,
    parked: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, SessionState, RandomState>,
    /// Deadlines of parked sessions. Those resumed meanwhile are skipped.
    ends: VecDeque<(Instant, SessionId)>,
    /// Connections that wait for a session whose old connection is being closed.
    waiting: HashMap<SessionId, oneshot::Sender<Session>>,
    parked: usize,
    /// Sessions that were ended while they were parked, and whose end the application should know.
    over: Vec<Session>,
    /// Sessions that other nodes are about to resume, and by when: none before the next look.
    parted: Vec<(Option<Instant>, Session)>,
    /// Weight of the parked sessions, and of those about to be parked.
    parked_weight: usize,
    /// Whether none can be resumed any more.
    is_over: bool,
}

#[derive(Debug)]
enum SessionState {
    /// Boxed: few sessions have an owner, and every entry would be larger.
    Connected(Recipient, Option<Box<Identity>>),
    Parked(Box<Session>),
}

/// Result of [`Sessions::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The session.
    Ready(Box<Session>),
    /// The session's connection is being closed; the session follows.
    Closing(oneshot::Receiver<Session>),
    /// No such session, or it has expired.
    Unknown,
    /// The session belongs to another identity.
    Denied,
    /// Another node had it: see [`Peers::claim_elsewhere`](super::Peers::claim_elsewhere).
    Elsewhere(SessionId),
}

impl Claim {
    /// The session, once its connection has ended.
    pub async fn wait(self) -> Option<Session> {
        match self {
            Self::Ready(session) => Some(*session),
            Self::Closing(closing) => tokio::time::timeout(HAND_OVER, closing).await.ok()?.ok(),
            Self::Unknown | Self::Denied | Self::Elsewhere(_) => None,
        }
    }
}

impl Sessions {
    /// Sessions that stay resumable for `ttl` after their connection ended; zero disables resuming.
    pub fn new(ttl: Duration, parked: Gauge) -> Self {
        Self { ttl, parked, state: Mutex::default() }
    }

    /// Registers a session that has a connection.
    pub fn connect(&self, session: &Session, outbox: &Recipient) {
        if !self.ttl.is_zero() {
            let (sid, identity) = (session.id(), session.identity());
            let identity = (identity != Identity::ANYONE).then(|| Box::new(identity));
            let held = SessionState::Connected(Recipient::clone(outbox), identity);
            self.state.lock().sessions.insert(sid, held);
        }
    }

    /// Whether a session can be resumed after its connection: it has subscriptions, and the limit
    /// allows it. Call [`Sessions::park`] or [`Sessions::forget`] once its streams know of the end.
    pub fn end(&self, session: &Session) -> bool {
        if self.ttl.is_zero() {
            return false;
        }
        let weight = weight(session);
        let mut state = self.state.lock();
        let room = !state.is_over && state.parked_weight + weight <= MAX_PARKED;
        if room {
            state.parked_weight += weight;
        }
        room && weight > 0
    }

    /// Removes a session, and answers the connection that waits for it.
    pub fn forget(&self, session: &Session) {
        let mut state = self.state.lock();
        state.sessions.remove(&session.id());
        state.waiting.remove(&session.id());
    }

    /// Parks a session, or hands it to the connection that waits for it. Returns it if it was ended
    /// meanwhile: its streams have parked its subscriptions and must drop them.
    #[must_use]
    pub fn park(&self, session: Session, now: Instant) -> Option<Session> {
        let sid = session.id();
        let mut state = self.state.lock();
        let weight = weight(&session);
        let is_ended = state.sessions.remove(&sid).is_none();
        let session = match state.waiting.remove(&sid) {
            None => Some(session),
            Some(waiting) => waiting.send(session).err(), // the waiting connection may have given up
        };
        match session {
            Some(session) if !is_ended => {
                state.keep(session, now + self.ttl);
                self.parked.set(state.count());
                None
            }
            ended => {
                state.parked_weight -= weight;
                ended
            }
        }
    }

    /// Waits until no session has a connection: all are parked, and their streams know.
    pub async fn all_ended(&self) {
        while self.state.lock().has_connected() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends all sessions: from now on, none is resumed.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        state.waiting.clear();
        let sessions = std::mem::take(&mut state.sessions).into_values();
        sessions.for_each(|held| match held {
            SessionState::Parked(session) => state.unpark(&session),
            SessionState::Connected(..) => {}
        });
        self.parked.set(state.count());
    }

    /// Ends the parked sessions, and returns those whose end the application should know.
    #[must_use]
    pub fn end_all(&self) -> Vec<Session> {
        let mut state = self.state.lock();
        state.is_over = true;
        let sessions = std::mem::take(&mut state.sessions).into_values();
        let mut over = std::mem::take(&mut state.over);
        sessions.for_each(|held| match held {
            SessionState::Parked(session) => {
                state.unpark(&session);
                over.extend(session.has_channels().then_some(*session));
            }
            SessionState::Connected(..) => {}
        });
        self.parked.set(state.count());
        over
    }

    /// Parks the sessions restored from disk. Those that can't be resumed are over: see [`Sessions::expire`].
    pub fn restore(&self, sessions: impl IntoIterator<Item = Session>, now: Instant) {
        for session in sessions {
            let can_be_resumed = session.may_be_resumed() && self.end(&session);
            let mut state = self.state.lock();
            if can_be_resumed {
                state.keep(session, now + self.ttl);
            } else if session.has_channels() {
                state.over.push(session);
            }
        }
        self.parked.set(self.state.lock().count());
    }

    /// Owner of a session that can be resumed.
    pub fn owner(&self, sid: SessionId) -> Option<Identity> {
        Some(match self.state.lock().sessions.get(&sid)? {
            SessionState::Parked(session) => session.identity(),
            SessionState::Connected(_, identity) => {
                identity.as_deref().copied().unwrap_or(Identity::ANYONE)
            }
        })
    }

    /// Resumes a session; the identity must match.
    pub fn claim(&self, sid: SessionId, identity: Identity) -> Claim {
        let mut state = self.state.lock();
        let Entry::Occupied(held) = state.sessions.entry(sid) else { return Claim::Unknown };
        let (outbox, theirs) = match held.get() {
            SessionState::Parked(session) => (None, session.identity()),
            SessionState::Connected(outbox, identity) => {
                let theirs = identity.as_deref().copied().unwrap_or(Identity::ANYONE);
                (Some(Recipient::clone(outbox)), theirs)
            }
        };
        if !theirs.may_be_resumed_by(identity) {
            return Claim::Denied;
        }
        let Some(outbox) = outbox else {
            let SessionState::Parked(session) = held.remove() else { return Claim::Unknown };
            state.unpark(&session);
            self.parked.set(state.count());
            return Claim::Ready(session);
        };
        if state.waiting.contains_key(&sid) {
            return Claim::Unknown; // another connection claimed it first
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(sid, sender);
        drop(state);
        outbox.close(CloseReason::Resumed);
        Claim::Closing(receiver)
    }

    /// Ends a user's sessions, so that none can be resumed: parked, connected, or being handed
    /// over. Returns the parked ones, whose streams must drop their subscriptions.
    #[must_use]
    pub fn disconnect(&self, names: Names) -> Vec<Session> {
        let mut state = self.state.lock();
        let theirs = state.sessions.extract_if(|_, held| match held {
            SessionState::Parked(session) => session.identity().goes_by(names),
            SessionState::Connected(_, whose) => {
                whose.as_ref().is_some_and(|whose| whose.goes_by(names))
            }
        });
        let mut ended = Vec::new();
        for (sid, held) in theirs.collect::<Vec<_>>() {
            state.waiting.remove(&sid);
            if let SessionState::Parked(parked) = held {
                state.unpark(&parked);
                ended.push(*parked);
            }
        }
        self.parked.set(state.count());
        ended
    }

    /// Parts with a session that another node is about to resume. If it doesn't, the session is over.
    pub fn part_with(&self, session: Session) {
        if session.has_channels() {
            self.state.lock().parted.push((None, session));
        }
    }

    /// Takes sessions that were ended while they were parked, once their streams know.
    pub fn note_over(&self, sessions: Vec<Session>) {
        self.state.lock().over.extend(sessions.into_iter().filter(Session::has_channels));
    }

    /// Removes expired sessions, and returns all whose end the application should know.
    #[must_use]
    pub fn expire(&self, now: Instant) -> Vec<Session> {
        let mut state = self.state.lock();
        let mut over = std::mem::take(&mut state.over);
        let by = now + self.ttl + HAND_OVER;
        let parted =
            state.parted.extract_if(.., |(end, _)| *end.get_or_insert(by) <= now).map(|it| it.1);
        over.extend(parted);
        while let Some((_, sid)) = state.ends.front().copied().filter(|(end, _)| *end <= now) {
            state.ends.pop_front();
            if let Entry::Occupied(held) = state.sessions.entry(sid)
                && let SessionState::Parked(_) = held.get()
                && let SessionState::Parked(parked) = held.remove()
            {
                state.unpark(&parked);
                if parked.has_channels() {
                    over.push(*parked);
                }
            }
        }
        if state.parked == 0 {
            state.ends = VecDeque::new();
        }
        self.parked.set(state.count());
        over
    }
}

impl State {
    fn keep(&mut self, session: Session, end: Instant) {
        self.parked += 1;
        self.ends.push_back((end, session.id()));
        self.sessions.insert(session.id(), SessionState::Parked(Box::new(session)));
    }

    fn has_connected(&self) -> bool {
        self.sessions.len() > self.parked
    }

    fn unpark(&mut self, session: &Session) {
        self.parked -= 1;
        self.parked_weight -= weight(session);
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats, and far from 2^52")]
    fn count(&self) -> f64 {
        self.parked as f64
    }
}

/// Weight of a parked session, in subscriptions with a short identifier.
fn weight(session: &Session) -> usize {
    let weigh = |identifier: &str| 1 + identifier.len() / IDENTIFIER_UNIT;
    let streams = |held: &Subscription| held.streams().count().max(1);
    let subscriptions = session.subscriptions().iter();
    subscriptions.map(|held| streams(held) * weigh(held.identifier.as_str())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Rights, Watch};

    fn session(number: u128, subscriptions: usize, length: usize) -> Session {
        let mut session = Session::restored(SessionId::from_bits(number), Identity::ANYONE);
        for at in 0..subscriptions {
            let identifier = format!("{at:0length$}");
            let rights = Rights { join: true, whisper: true };
            session.restore(identifier.as_str().into(), "room".into(), Watch::Members, rights);
        }
        session
    }

    #[test]
    fn long_identifiers_leave_room_for_fewer_sessions() {
        for (length, fit) in [(40, 262), (4096, 15)] {
            let sessions = Sessions::new(Duration::from_secs(1), Gauge::noop());
            let parked = (0..300).filter(|at| sessions.end(&session(*at, 1000, length)));
            assert_eq!(parked.count(), fit, "with identifiers of {length} bytes");
        }
    }
}

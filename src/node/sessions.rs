//! Sessions by their sid, so that a new connection can take one over: from a connection that ended,
//! or from one that is still there because nobody has noticed yet that its client is gone.
//!
//! ```text
//! connect ─▶ connected ─ park ─▶ parked ─ expire ─▶ forgotten
//!                  └─ claim ─▶ closed, parks itself, handed over
//!                                         └─ claim ─▶ handed over
//! ```
//!
//! A sid works once: whoever takes a session over gets another one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::outbound::Recipient;
use crate::session::Session;
use crate::types::{CloseReason, Identity, Names, SessionId};

/// How much may wait to be resumed, in subscriptions with a short identifier: 64 to 128 MiB, the streams
/// apart. A session that ends beyond that is over, and its client subscribes anew.
const MAX_PARKED: usize = 1 << 18;

/// How many bytes of its identifier count as one subscription more.
const IDENTIFIER_UNIT: usize = 256;

/// All sessions that can be taken over.
#[derive(Debug)]
pub struct Sessions {
    ttl: Duration,
    parked: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<SessionId, Held, RandomState>,
    /// When the parked ones end. Those that were taken over meanwhile stand here still.
    ends: VecDeque<(Instant, SessionId)>,
    /// Who waits for the session of a connection that is being closed for it.
    waiting: HashMap<SessionId, oneshot::Sender<Session>>,
    parked: usize,
    /// What the parked sessions weigh, and those that are about to be parked.
    parked_weight: usize,
}

#[derive(Debug)]
enum Held {
    /// Whose it is is rarely said, so it needn't make all entries larger.
    Connected(Recipient, Option<Box<Identity>>),
    Parked(Box<Session>),
}

/// What became of the wish to take a session over.
#[derive(Debug)]
pub enum Claim {
    /// Here it is.
    Ready(Box<Session>),
    /// Its connection is being closed, and then hands it over.
    Closing(oneshot::Receiver<Session>),
    /// There is no such session, or no longer.
    Unknown,
    /// It was given to somebody else.
    Denied,
}

impl Sessions {
    /// Sessions that can be resumed so long after their connection ended; zero is not at all.
    pub fn new(ttl: Duration, parked: Gauge) -> Self {
        Self { ttl, parked, state: Mutex::default() }
    }

    /// Notes that a session has a connection.
    pub fn connect(&self, session: &Session, outbox: &Recipient) {
        if !self.ttl.is_zero() {
            let (sid, identity) = (session.id(), session.identity());
            let identity = (identity != Identity::ANYONE).then(|| Box::new(identity));
            let held = Held::Connected(Recipient::clone(outbox), identity);
            self.state.lock().held.insert(sid, held);
        }
    }

    /// Whether a session whose connection has ended can be resumed: if it follows anything, and
    /// there is room for it. Once its streams know of the end, [`Sessions::park`] follows, or
    /// [`Sessions::forget`].
    pub fn end(&self, session: &Session) -> bool {
        if self.ttl.is_zero() {
            return false;
        }
        let weight = weight(session);
        let mut state = self.state.lock();
        let room = state.parked_weight + weight <= MAX_PARKED;
        if room {
            state.parked_weight += weight;
        }
        room && weight > 0
    }

    /// Notes that a session is over. Who waits for it hears of that.
    pub fn forget(&self, session: &Session) {
        let mut state = self.state.lock();
        state.held.remove(&session.id());
        state.waiting.remove(&session.id());
    }

    /// Keeps a session for who takes it over, or gives it to who waits for it. One that was ended
    /// meanwhile comes back: its streams have parked it and are to be told.
    #[must_use]
    pub fn park(&self, session: Session, now: Instant) -> Option<Session> {
        let sid = session.id();
        let mut state = self.state.lock();
        let weight = weight(&session);
        let is_over = state.held.remove(&sid).is_none();
        let session = match state.waiting.remove(&sid) {
            None => Some(session),
            Some(waiting) => waiting.send(session).err(), // who waited may have given up
        };
        match session {
            Some(session) if !is_over => {
                state.keep(session, now + self.ttl);
                self.parked.set(state.count());
                None
            }
            over => {
                state.parked_weight -= weight;
                over
            }
        }
    }

    /// Parks the sessions from before.
    pub fn restore(&self, sessions: impl IntoIterator<Item = Session>, now: Instant) {
        for session in sessions {
            if self.end(&session) {
                self.state.lock().keep(session, now + self.ttl);
            }
        }
        self.parked.set(self.state.lock().count());
    }

    /// Takes a session over, for whom it was given to and nobody else.
    pub fn claim(&self, sid: SessionId, identity: Identity) -> Claim {
        let mut state = self.state.lock();
        let Entry::Occupied(held) = state.held.entry(sid) else { return Claim::Unknown };
        let (outbox, theirs) = match held.get() {
            Held::Parked(session) => (None, session.identity()),
            Held::Connected(outbox, identity) => {
                let theirs = identity.as_deref().copied().unwrap_or(Identity::ANYONE);
                (Some(Recipient::clone(outbox)), theirs)
            }
        };
        if identity != theirs {
            return Claim::Denied;
        }
        let Some(outbox) = outbox else {
            let Held::Parked(session) = held.remove() else { return Claim::Unknown };
            state.unpark(&session);
            self.parked.set(state.count());
            return Claim::Ready(session);
        };
        if state.waiting.contains_key(&sid) {
            return Claim::Unknown; // somebody was faster
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(sid, sender);
        drop(state);
        outbox.close(CloseReason::Resumed);
        Claim::Closing(receiver)
    }

    /// Ends the sessions of a user: nobody can resume them any more, whether they are parked, have a
    /// connection still or are on their way to another one. Gives those that were parked: their
    /// streams are to be told.
    #[must_use]
    pub fn disconnect(&self, names: Names) -> Vec<Session> {
        let mut state = self.state.lock();
        let theirs = state.held.extract_if(|_, held| match held {
            Held::Parked(session) => session.identity().goes_by(names),
            Held::Connected(_, whose) => whose.as_ref().is_some_and(|whose| whose.goes_by(names)),
        });
        let mut ended = Vec::new();
        for (sid, held) in theirs.collect::<Vec<_>>() {
            state.waiting.remove(&sid);
            if let Held::Parked(parked) = held {
                state.unpark(&parked);
                ended.push(*parked);
            }
        }
        self.parked.set(state.count());
        ended
    }

    /// Forgets the sessions whose time is over.
    pub fn expire(&self, now: Instant) {
        let mut state = self.state.lock();
        while let Some((_, sid)) = state.ends.front().copied().filter(|(end, _)| *end <= now) {
            state.ends.pop_front();
            if let Entry::Occupied(held) = state.held.entry(sid)
                && let Held::Parked(_) = held.get()
                && let Held::Parked(parked) = held.remove()
            {
                state.unpark(&parked);
            }
        }
        if state.parked == 0 {
            state.ends = VecDeque::new();
        }
        self.parked.set(state.count());
    }
}

impl State {
    fn keep(&mut self, session: Session, end: Instant) {
        self.parked += 1;
        self.ends.push_back((end, session.id()));
        self.held.insert(session.id(), Held::Parked(Box::new(session)));
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

/// What a session weighs when it is parked, in subscriptions with a short identifier.
fn weight(session: &Session) -> usize {
    let weigh = |identifier: &str| 1 + identifier.len() / IDENTIFIER_UNIT;
    session.subscriptions().iter().map(|held| weigh(held.identifier.as_str())).sum()
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

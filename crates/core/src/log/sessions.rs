//! The sessions that the application knows, as their changes have it. Each stays until the application knows that it is
//! over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::entry::Void;
use super::node::NodeId;
use super::position::Position;
use super::session::{SessionChange, SessionState};
use crate::types::SessionId;

/// The sessions that the application knows, by id.
#[derive(Debug, Default)]
pub struct KnownSessions(HashMap<SessionId, KnownSession, RandomState>);

/// A session that the application knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSession {
    /// What it knows.
    pub state: Arc<SessionState>,
    /// Position of the last change.
    pub at: Position,
    /// Position at which the session's node was gone, if it is.
    pub left: Option<Position>,
}

impl KnownSessions {
    /// Applies a change at its position. `Err` is why it is void.
    pub fn apply(&mut self, at: Position, change: &SessionChange) -> Result<(), Void> {
        match change {
            SessionChange::Known { sid, state, left } => {
                let (state, left) = (Arc::clone(state), *left);
                self.0.insert(*sid, KnownSession { state, at, left });
            }
            SessionChange::Moved { from, to, left } => {
                let Entry::Occupied(held) = self.0.entry(*from) else { return Err(Void::Stale) };
                if left.is_some() && held.get().left != *left {
                    return Err(Void::Stale);
                }
                let session = KnownSession { at, left: None, ..held.remove() };
                self.0.insert(*to, session);
            }
            SessionChange::Told { sid } => {
                self.0.remove(sid).ok_or(Void::Stale)?;
            }
        }
        self.give_back();
        Ok(())
    }

    /// A node is gone, at a position: returns the sessions that it had.
    pub fn leave(&mut self, node: NodeId, at: Position) -> Vec<SessionId> {
        let theirs = self.0.iter_mut().filter(|(sid, _)| node.has(**sid));
        let left = theirs.map(|(sid, session)| {
            session.left = Some(at);
            *sid
        });
        left.collect()
    }

    /// A session.
    pub fn get(&self, sid: SessionId) -> Option<&KnownSession> {
        self.0.get(&sid)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &KnownSession)> {
        self.0.iter().map(|(sid, session)| (*sid, session))
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives memory back that a crowd needed.
    fn give_back(&mut self) {
        if self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

impl KnownSession {
    /// The change that makes it known as it is.
    pub fn change(&self, sid: SessionId) -> SessionChange {
        SessionChange::Known { sid, state: Arc::clone(&self.state), left: self.left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Identity, Origin, State};

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn known(sid: SessionId) -> SessionChange {
        let state = SessionState {
            first: sid,
            identity: Identity::ANYONE,
            resumes: true,
            is_known: true,
            is_told: false,
            origin: Origin::default(),
            identifiers: "ann".into(),
            connection: State::default(),
            channels: Vec::new(),
        };
        SessionChange::Known { sid, state: Arc::new(state), left: None }
    }

    fn moved(from: SessionId, to: SessionId, left: Option<u64>) -> SessionChange {
        SessionChange::Moved { from, to, left: left.map(Position) }
    }

    #[test]
    fn a_session_is_known_until_the_application_knows_its_end() {
        let mut sessions = KnownSessions::default();
        let (sid, next) = (ONE.session(1), TWO.session(1));
        assert_eq!(sessions.apply(Position(1), &known(sid)), Ok(()));
        assert_eq!(sessions.apply(Position(2), &moved(sid, next, None)), Ok(()));
        assert_eq!(sessions.apply(Position(3), &moved(sid, next, None)), Err(Void::Stale));
        assert_eq!(sessions.apply(Position(4), &SessionChange::Told { sid }), Err(Void::Stale));
        assert_eq!(sessions.get(next).map(|it| (it.state.first, it.at)), Some((sid, Position(2))));
        assert_eq!(sessions.apply(Position(5), &SessionChange::Told { sid: next }), Ok(()));
        assert!(sessions.is_empty());
    }

    #[test]
    fn one_node_takes_over_what_a_gone_one_had() {
        let mut sessions = KnownSessions::default();
        let (sid, other) = (ONE.session(1), TWO.session(2));
        for sid in [sid, other] {
            sessions.apply(Position(1), &known(sid)).unwrap();
        }
        let taken = NodeId(3).session(1);
        assert_eq!(
            sessions.apply(Position(2), &moved(sid, taken, Some(1))),
            Err(Void::Stale),
            "its node is there"
        );
        assert_eq!(sessions.leave(ONE, Position(3)), [sid]);
        assert_eq!(
            sessions.apply(Position(4), &moved(sid, taken, Some(2))),
            Err(Void::Stale),
            "gone, but not since then"
        );
        assert_eq!(sessions.apply(Position(5), &moved(sid, taken, Some(3))), Ok(()));
        assert_eq!(
            sessions.apply(Position(6), &moved(sid, TWO.session(9), Some(3))),
            Err(Void::Stale)
        );
        // the node is there again before anybody has taken it over
        assert_eq!(sessions.leave(TWO, Position(7)), [other]);
        sessions.apply(Position(8), &known(other)).unwrap();
        let late = moved(other, taken, Some(7));
        assert_eq!(sessions.apply(Position(9), &late), Err(Void::Stale));
    }
}

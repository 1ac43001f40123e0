//! Parked sessions of all nodes. Each node has them all, so any can resume them when their own is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::log::{NodeId, Subscription};
use crate::session::Session;
use crate::shard::{ParkedChange, ParkedState};
use crate::types::{Grant, Identifier, Names, SessionId, StreamName, Watch};

/// Parked subscriptions that can be resumed, by session, as far as this node has read the logs.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<HashMap<SessionId, Vec<Held>, RandomState>>);

/// A subscription's part in a stream.
#[derive(Debug)]
struct Held {
    stream: StreamName,
    identifier: Identifier,
    watch: Watch,
    grant: Grant,
}

impl Parked {
    /// Notes what has been parked and what no longer is, in order.
    pub(super) fn note(&self, changes: Vec<ParkedChange>) {
        if changes.is_empty() {
            return;
        }
        let mut sessions = self.0.lock();
        for ParkedChange { stream, by: Subscription { session, identifier }, state } in changes {
            match (sessions.entry(session), state) {
                (entry, ParkedState::Parked(watch, grant)) => {
                    entry.or_default().push(Held { stream, identifier, watch, grant });
                }
                (Entry::Occupied(entry), ParkedState::Resumed) => {
                    entry.remove(); // all of it: a session is resumed once
                }
                (Entry::Occupied(mut entry), ParkedState::Over) => {
                    let held = entry.get_mut();
                    held.retain(|it| it.stream != stream || it.identifier != identifier);
                    if held.is_empty() {
                        entry.remove();
                    }
                }
                (Entry::Vacant(_), ParkedState::Resumed | ParkedState::Over) => {}
            }
        }
    }

    /// Whether any subscription of a session is parked.
    pub(super) fn has(&self, sid: SessionId) -> bool {
        self.0.lock().contains_key(&sid)
    }

    /// A session's parked subscriptions.
    pub(super) fn session(&self, sid: SessionId) -> Option<Session> {
        restored(sid, self.0.lock().get(&sid)?)
    }

    /// Those sessions of a user that are of no node that is there.
    pub(super) fn left_by(&self, names: Names, is_there: impl Fn(NodeId) -> bool) -> Vec<Session> {
        let sessions = self.0.lock();
        let theirs = sessions.iter().filter(|(sid, held)| {
            held.first().is_some_and(|held| held.grant.identity.goes_by(names))
                && !is_there(NodeId::of(**sid))
        });
        theirs.filter_map(|(sid, held)| restored(*sid, held)).collect()
    }
}

/// A session with these subscriptions, in an order that is the same on every node.
fn restored(sid: SessionId, held: &[Held]) -> Option<Session> {
    let mut held: Vec<&Held> = held.iter().collect();
    held.sort_unstable_by(|a, b| (&a.stream, &a.identifier).cmp(&(&b.stream, &b.identifier)));
    let mut session = Session::restored(sid, held.first()?.grant.identity);
    for Held { stream, identifier, watch, grant } in held {
        session.restore(identifier.clone(), stream.clone(), *watch, grant.rights);
    }
    Some(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Identity;

    const NODE: NodeId = NodeId(7);

    fn change(number: u64, place: (&str, &str), state: ParkedState) -> ParkedChange {
        let (stream, identifier) = (place.0.into(), place.1.into());
        ParkedChange {
            stream,
            by: Subscription { session: NODE.session(number), identifier },
            state,
        }
    }

    fn parks(number: u64, place: (&str, &str), user: u64) -> ParkedChange {
        let identity = Identity { identifier: user, presence_id: 0 };
        let state = ParkedState::Parked(Watch::Members, Grant { identity, ..Grant::OPEN });
        change(number, place, state)
    }

    fn places(session: &Session) -> Vec<String> {
        session.streams().map(|(held, stream)| format!("{} {stream}", held.identifier)).collect()
    }

    #[test]
    fn a_session_is_what_is_parked_of_it() {
        let (parked, sid) = (Parked::default(), NODE.session(1));
        let (one, two, other) = (("b", "\"1\""), ("a", "\"2\""), ("b", "\"2\""));
        parked.note([one, two, other].map(|place| parks(1, place, 5)).into());
        parked.note(vec![parks(2, one, 6), parks(2, two, 6)]);
        let session = parked.session(sid).unwrap();
        assert_eq!((session.id(), session.identity().identifier), (sid, 5));
        assert_eq!(places(&session), ["\"2\" a", "\"2\" b", "\"1\" b"]);
        parked.note([two, one].map(|place| change(1, place, ParkedState::Over)).into());
        assert_eq!(places(&parked.session(sid).unwrap()), ["\"2\" b"]);
        parked
            .note([(1, other), (3, one)].map(|(it, of)| change(it, of, ParkedState::Over)).into());
        assert!(!parked.has(sid) && parked.session(sid).is_none());
        assert!(parked.has(NODE.session(2)) && !parked.has(NODE.session(3)));
        parked.note(vec![change(2, two, ParkedState::Resumed), change(2, two, ParkedState::Over)]);
        assert!(!parked.has(NODE.session(2)), "who has resumed a part of it has it all");
    }

    #[test]
    fn a_user_has_left_behind_what_is_of_no_node() {
        let parked = Parked::default();
        parked.note([1, 2, 3].map(|it| parks(it, ("a", "\"1\""), it % 2)).into());
        let left = |identifier, is_there| {
            let names = Names { identifier: Some(identifier), presence_id: None };
            parked.left_by(names, |node| node == NODE && is_there).len()
        };
        assert_eq!([left(1, false), left(0, false), left(1, true), left(5, false)], [2, 1, 0, 0]);
    }
}

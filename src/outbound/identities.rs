//! Index of connections by the identity of their clients (token identifiers and presence id), for
//! remote disconnects.
//!
//! Anonymous connections aren't in it, so they cost nothing. A guard removes a connection once its
//! streams know of its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::watch;

use super::outbox::Recipient;
use crate::types::{CloseReason, Names};

/// Connections by identity.
#[derive(Debug, Default)]
pub struct Identities {
    connections: Mutex<HashMap<Name, Slab<Connection>, RandomState>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Identifier(u64),
    PresenceId(u64),
}

#[derive(Debug)]
struct Connection {
    outbox: Recipient,
    /// Dropped with the entry, which wakes those who wait for it.
    end: Option<watch::Sender<()>>,
}

/// A connection's entries; removed on drop.
#[derive(Debug)]
pub struct Registration {
    identities: Arc<Identities>,
    entries: [Option<(Name, usize)>; 2],
}

/// Connections that are being closed.
#[derive(Debug, Default)]
pub struct Disconnected {
    /// Their number.
    pub count: usize,
    ends: Vec<watch::Receiver<()>>,
}

impl Disconnected {
    /// Waits until their streams know of the end: nothing published later reaches them.
    pub async fn ended(self) {
        for mut end in self.ends {
            while end.changed().await.is_ok() {}
        }
    }
}

impl Identities {
    /// Adds a connection under its client's identities until the entry is dropped; `None` if it has
    /// none.
    pub fn register(self: &Arc<Self>, names: Names, outbox: &Recipient) -> Option<Registration> {
        let mut connections = self.connections.lock();
        let entries = every(names).map(|name| {
            let connection = Connection { outbox: Arc::clone(outbox), end: None };
            Some((name?, connections.entry(name?).or_default().insert(connection)))
        });
        let is_named = entries.iter().any(Option::is_some);
        is_named.then(|| Registration { identities: Arc::clone(self), entries })
    }

    /// Closes all connections with one of these identities, after the messages published before.
    pub fn disconnect(&self, names: Names, reconnect: bool) -> Disconnected {
        let (mut outboxes, mut ends) = (Vec::new(), Vec::new());
        let mut connections = self.connections.lock();
        for name in every(names).into_iter().flatten() {
            for (_, Connection { outbox, end }) in connections.get_mut(&name).into_iter().flatten()
            {
                outboxes.push(Arc::clone(outbox));
                ends.push(end.get_or_insert_with(|| watch::channel(()).0).subscribe());
            }
        }
        drop(connections);
        outboxes.sort_by_key(Arc::as_ptr);
        outboxes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        for outbox in &outboxes {
            outbox.close_behind(CloseReason::Remote { reconnect });
        }
        Disconnected { count: outboxes.len(), ends }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut connections = self.identities.connections.lock();
        for (name, key) in self.entries.into_iter().flatten() {
            if let Entry::Occupied(mut all) = connections.entry(name) {
                all.get_mut().try_remove(key);
                if all.get().is_empty() {
                    all.remove();
                }
            }
        }
    }
}

fn every(names: Names) -> [Option<Name>; 2] {
    [names.identifier.map(Name::Identifier), names.presence_id.map(Name::PresenceId)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Outbox, Wire};
    use crate::protocol::action_cable;

    fn outbox() -> Recipient {
        Outbox::new(Box::<Wire>::default(), action_cable::CODEC, 100)
    }

    /// The names of a client with identifiers, a presence id, or both; 0 is none.
    fn names(identifier: u64, presence_id: u64) -> Names {
        let some = |digest| Some(digest).filter(|digest| *digest > 0);
        Names { identifier: some(identifier), presence_id: some(presence_id) }
    }

    #[test]
    fn all_connections_of_one_are_ended_and_no_other() {
        let identities = Arc::new(Identities::default());
        let (phone, laptop, other) = (outbox(), outbox(), outbox());
        let guards = [(names(1, 7), &phone), (names(1, 0), &laptop), (names(2, 0), &other)]
            .map(|(names, outbox)| identities.register(names, outbox).unwrap());
        assert!(identities.register(names(0, 0), &other).is_none());
        assert_eq!(identities.disconnect(names(3, 2), false).count, 0);
        assert_eq!(
            identities.disconnect(names(1, 7), true).count,
            2,
            "the phone goes by both names"
        );
        let remote = Some(CloseReason::Remote { reconnect: true });
        assert_eq!((phone.closing(), laptop.closing(), other.closing()), (remote, remote, None));
        assert!(!phone.is_closed(), "its streams have something to say first");
        drop(guards);
    }

    #[test]
    fn a_presence_id_is_no_identifier() {
        let identities = Arc::new(Identities::default());
        let guard = identities.register(names(0, 5), &outbox());
        assert_eq!(identities.disconnect(names(5, 0), false).count, 0);
        assert_eq!(identities.disconnect(names(0, 5), false).count, 1);
        drop(guard);
    }

    #[test]
    fn what_has_ended_leaves_nothing() {
        let identities = Arc::new(Identities::default());
        let first = identities.register(names(1, 2), &outbox());
        let second = identities.register(names(1, 0), &outbox());
        drop(first);
        assert_eq!(identities.disconnect(names(1, 2), false).count, 1);
        let third = identities.register(names(1, 0), &outbox());
        drop(second);
        assert_eq!(identities.disconnect(names(1, 0), false).count, 1);
        drop(third);
        assert!(identities.connections.lock().is_empty());
    }

    #[tokio::test]
    async fn who_ends_connections_is_told_when_their_streams_were() {
        let identities = Arc::new(Identities::default());
        let guards = [0, 1].map(|_| identities.register(names(1, 2), &outbox()));
        let [mut one, mut other] = [0, 1].map(|_| {
            let disconnected = identities.disconnect(names(1, 2), false);
            assert_eq!(disconnected.count, 2);
            Box::pin(disconnected.ended())
        });
        for guard in guards {
            assert!(futures_util::poll!(&mut one).is_pending());
            assert!(futures_util::poll!(&mut other).is_pending());
            drop(guard);
        }
        one.await;
        other.await;
        identities.disconnect(names(1, 2), false).ended().await;
    }
}

//! Whose connections are whose: from the identifiers the application gave them to their outboxes.
//!
//! Only connections that have identifiers stand here, so the others cost nothing; a guard takes a
//! connection out again, however it ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use super::Recipient;
use crate::types::CloseReason;

/// Everyone who is connected under a name.
#[derive(Debug, Default)]
pub struct Identities {
    connections: Mutex<HashMap<Arc<str>, Slab<Recipient>>>,
}

/// A connection's entry; gone when dropped.
#[derive(Debug)]
pub struct Registration {
    identities: Arc<Identities>,
    identifier: Arc<str>,
    key: usize,
}

impl Identities {
    /// Notes a connection under its identifier until the entry is dropped.
    pub fn register(self: &Arc<Self>, identifier: &str, outbox: &Recipient) -> Registration {
        let mut connections = self.connections.lock();
        let known = connections.get_key_value(identifier).map(|(known, _)| Arc::clone(known));
        let identifier = known.unwrap_or_else(|| identifier.into());
        let all = connections.entry(Arc::clone(&identifier)).or_default();
        let key = all.insert(Arc::clone(outbox));
        Registration { identities: Arc::clone(self), identifier, key }
    }

    /// Ends all connections under an identifier, byte for byte; says how many there were.
    pub fn disconnect(&self, identifier: &str, reconnect: bool) -> usize {
        let all: Vec<Recipient> = {
            let connections = self.connections.lock();
            let found = connections.get(identifier);
            found.into_iter().flatten().map(|(_, outbox)| Arc::clone(outbox)).collect()
        };
        for outbox in &all {
            outbox.close(CloseReason::Remote { reconnect });
        }
        all.len()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut connections = self.identities.connections.lock();
        if let Entry::Occupied(mut all) = connections.entry(Arc::clone(&self.identifier)) {
            all.get_mut().try_remove(self.key);
            if all.get().is_empty() {
                all.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::Shutdown;
    use std::task::{Context, Poll};

    use super::*;
    use crate::fanout::{Outbox, Socket};
    use crate::types::Codec;

    struct Nowhere;

    impl Socket for Nowhere {
        fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn has_input(&self) -> bool {
            false
        }
        fn shutdown(&self, _: Shutdown) {}
    }

    fn outbox() -> Recipient {
        Outbox::new(Box::new(Nowhere), Codec::ActionCable, 100)
    }

    #[test]
    fn all_connections_of_one_are_ended_and_no_other() {
        let identities = Arc::new(Identities::default());
        let (phone, laptop, other) = (outbox(), outbox(), outbox());
        let guards = [("ann", &phone), ("ann", &laptop), ("bob", &other)]
            .map(|(identifier, outbox)| identities.register(identifier, outbox));
        assert_eq!(identities.disconnect("cem", false), 0);
        assert_eq!(identities.disconnect("ann", true), 2);
        let remote = Some(CloseReason::Remote { reconnect: true });
        assert_eq!((phone.closing(), laptop.closing(), other.closing()), (remote, remote, None));
        drop(guards);
    }

    #[test]
    fn what_has_ended_leaves_nothing() {
        let identities = Arc::new(Identities::default());
        let first = identities.register("ann", &outbox());
        let second = identities.register("ann", &outbox());
        drop(first);
        assert_eq!(identities.disconnect("ann", false), 1);
        let third = identities.register("ann", &outbox());
        drop(second);
        assert_eq!(identities.disconnect("ann", false), 1);
        drop(third);
        assert!(identities.connections.lock().is_empty());
    }
}

//! By which token a client that polls finds its connection again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pipe::Far;
use crate::types::SessionId;

/// As hard to guess as a session's id, and told to nobody but the client.
pub(super) type Token = SessionId;

/// All connections without a wire.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<Token, Far>>);

/// A connection's entry; gone when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    tokens: Arc<Tokens>,
    token: Token,
}

impl Tokens {
    /// Finds a connection by its token.
    pub(super) fn find(&self, token: Token) -> Option<Far> {
        self.0.lock().get(&token).cloned()
    }

    /// Notes a connection until its entry is dropped.
    pub(super) fn enter(self: &Arc<Self>, token: Token, far: Far) -> Entry {
        self.0.lock().insert(token, far);
        Entry { tokens: Arc::clone(self), token }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tokens.0.lock().remove(&self.token);
    }
}

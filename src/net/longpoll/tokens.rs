//! By which token a client that polls finds its connection again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::SessionId;

/// As hard to guess as a session's id, and told to nobody but the client.
pub(super) type Token = SessionId;

/// What is to be found by a token.
#[derive(Debug)]
pub(super) struct Tokens<T>(Mutex<HashMap<Token, T>>);

/// Frees a token when dropped.
#[derive(Debug)]
pub(super) struct Entry<T> {
    tokens: Arc<Tokens<T>>,
    token: Token,
}

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Tokens<T> {
    /// Finds it.
    pub(super) fn find(&self, token: Token) -> Option<T> {
        self.0.lock().get(&token).cloned()
    }

    /// Notes it until the entry is dropped.
    pub(super) fn enter(self: &Arc<Self>, token: Token, found: T) -> Entry<T> {
        self.0.lock().insert(token, found);
        Entry { tokens: Arc::clone(self), token }
    }
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        self.tokens.0.lock().remove(&self.token);
    }
}

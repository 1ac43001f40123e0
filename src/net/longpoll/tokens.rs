//! Tokens by which long-polling clients find their connection.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::SessionId;

/// A random token, as hard to guess as a session id, known to its client only.
pub(super) type Token = SessionId;

/// Entries by token.
#[derive(Debug)]
pub(super) struct Tokens<T>(Mutex<HashMap<Token, T>>);

/// Removes an entry on drop.
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
    /// Looks an entry up.
    pub(super) fn find(&self, token: Token) -> Option<T> {
        self.0.lock().get(&token).cloned()
    }

    /// Adds an entry, which stays until the guard is dropped.
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

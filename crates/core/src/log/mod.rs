//! What happens to streams, in an order that is the same for everyone.

mod change;

pub use change::Change;

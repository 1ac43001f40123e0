//! Random numbers.

use super::error::EngineError;

/// A random number.
pub(in crate::engine) fn random() -> Result<u64, EngineError> {
    getrandom::u64().map_err(|error| EngineError::Failed(format!("no random numbers: {error}")))
}

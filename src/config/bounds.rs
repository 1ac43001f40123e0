//! Bounds of values.

use std::fmt::Display;

use super::error::ConfigError;

/// `value`, if it is within both bounds; each bound has its reason.
pub(super) fn bounded<T: PartialOrd + Display>(
    setting: &'static str,
    value: T,
    min: (T, &'static str),
    max: (T, &'static str),
) -> Result<T, ConfigError> {
    let beyond = if value < min.0 {
        Some(("below", min))
    } else if value > max.0 {
        Some(("above", max))
    } else {
        None
    };
    match beyond {
        None => Ok(value),
        Some((side, (bound, reason))) => Err(ConfigError::OutOfRange {
            setting,
            given: value.to_string(),
            side,
            bound: bound.to_string(),
            reason,
        }),
    }
}

//! Rules: what the batches of a log mean may change from one version of the broker to the next.
//!
//! A log has *rules* in force, by number. They follow from the log alone, so all nodes change them at the same place:
//!
//! - Each batch names the rules by which it was written, and counts only while these are in force. A batch that was on
//!   its way when they were raised is appended again.
//! - [`Item::Rules`](super::Item::Rules) raises them by one, if all members know the next ones, as each says with its
//!   beats. They never fall.
//! - A node that meets rules that it doesn't know stops: what it has decided stays, and it decides nothing more.
//!
//! A new version knows its own rules and those of the version before. So its nodes can take the places of the old ones,
//! one at a time, and the rules are raised when the last of these is gone.

use serde::{Deserialize, Serialize};

/// Rules, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rules(pub u16);

impl Rules {
    /// The ones behind these.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The rules that a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRules {
    /// The oldest ones: those of the version before.
    pub oldest: Rules,
    /// The newest ones.
    pub newest: Rules,
}

impl KnownRules {
    /// Those of this version. From the second ones on, logs have the sessions that the application knows.
    pub const OWN: Self = Self { oldest: Rules(1), newest: Rules(2) };

    /// Whether the node knows them. `Err` is why it can't go on.
    pub fn check(self, rules: Rules) -> Result<(), Unknown> {
        if rules > self.newest {
            Err(Unknown::Newer(rules))
        } else if rules < self.oldest {
            Err(Unknown::Older(rules))
        } else {
            Ok(())
        }
    }
}

/// Rules that a node doesn't know: it can't go on with their log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Those of a newer version.
    #[error("a newer version has raised the rules to {}: update this node", .0.0)]
    Newer(Rules),
    /// Those of a version before the last one.
    #[error("the rules are still {}, of an older version: update by way of the version in between", .0.0)]
    Older(Rules),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_what_is_between_its_oldest_and_its_newest() {
        let known = KnownRules { oldest: Rules(2), newest: Rules(3) };
        let checked = [1, 2, 3, 4].map(|rules| known.check(Rules(rules)));
        let (older, newer) = (Err(Unknown::Older(Rules(1))), Err(Unknown::Newer(Rules(4))));
        assert_eq!(checked, [older, Ok(()), Ok(()), newer]);
        assert_eq!(Rules(u16::MAX).next(), Rules(u16::MAX));
    }
}

//! The rules that a log is applied by.

use super::admission::Refused;
use super::rules::{KnownRules, Rules, Unknown};

/// The rules of a log. They are replicated, but for what a node knows of them.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    known: KnownRules,
    /// The rules in force. `None`: those of the first batch.
    rules: Option<Rules>,
    /// Those by which the node would write that one.
    first: Rules,
    /// What the node has met and doesn't know.
    unknown: Option<Unknown>,
}

impl InForce {
    /// Of a log of which nothing is read, at a node that knows some rules.
    pub(super) fn new(known: KnownRules) -> Self {
        // its other nodes may know no newer ones
        Self { known, rules: None, first: known.oldest, unknown: None }
    }

    pub(super) fn known(&self) -> KnownRules {
        self.known
    }

    pub(super) fn rules(&self) -> Option<Rules> {
        self.rules
    }

    pub(super) fn unknown(&self) -> Option<Unknown> {
        self.unknown
    }

    /// As a snapshot has it.
    pub(super) fn restore(&mut self, rules: Option<Rules>) {
        self.rules = rules;
        self.unknown = rules.and_then(|rules| self.known.check(rules).err());
    }

    /// The rules by which the node writes.
    pub(super) fn to_write(&self) -> Rules {
        self.rules.unwrap_or(self.first)
    }

    /// A log in which nothing is yet begins with these, if the node knows them.
    pub(super) fn begin_with(&mut self, rules: Rules) {
        if self.known.check(rules).is_ok() {
            self.first = rules;
        }
    }

    /// The next rules, if the node knows them.
    pub(super) fn next(&self) -> Option<Rules> {
        let next = self.rules?.next();
        Some(next).filter(|next| *next <= self.known.newest)
    }

    /// Admits a batch that is written by some rules. Those of the first one are in force.
    pub(super) fn admit(&mut self, rules: Rules) -> Result<(), Refused> {
        self.unknown.map_or(Ok(()), Err)?;
        match self.rules {
            Some(in_force) if rules == in_force => Ok(()),
            Some(in_force) if rules < in_force => Err(Refused::Rules(rules)),
            Some(_) => self.meet(rules).and(Err(Refused::Rules(rules))),
            None => {
                self.meet(rules)?;
                self.rules = Some(rules);
                Ok(())
            }
        }
    }

    /// Raises the rules to these, if they are the next ones. `Err`: the node doesn't know them.
    pub(super) fn raise(&mut self, to: Rules) -> Result<(), Refused> {
        if self.rules.is_some_and(|rules| to > rules && to == rules.next()) {
            self.meet(to)?;
            self.rules = Some(to);
        }
        Ok(())
    }

    fn meet(&mut self, rules: Rules) -> Result<(), Refused> {
        self.known.check(rules).map_err(|unknown| {
            self.unknown = Some(unknown);
            unknown.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: KnownRules = KnownRules { oldest: Rules(1), newest: Rules(2) };

    #[test]
    fn a_batch_counts_while_its_rules_are_in_force() {
        let mut log = InForce::new(TWO);
        assert_eq!((log.to_write(), log.next()), (Rules(1), None));
        assert_eq!(log.admit(Rules(1)), Ok(()));
        assert_eq!(
            (log.admit(Rules(2)), log.next()),
            (Err(Refused::Rules(Rules(2))), Some(Rules(2)))
        );
        for _ in 0..2 {
            assert_eq!(log.raise(Rules(2)), Ok(()));
            assert_eq!((log.rules(), log.to_write(), log.next()), (Some(Rules(2)), Rules(2), None));
        }
        assert_eq!(log.admit(Rules(1)), Err(Refused::Rules(Rules(1))));
        assert_eq!(log.admit(Rules(2)), Ok(()));
    }

    #[test]
    fn they_are_raised_one_by_one_and_never_fall() {
        let mut log = InForce::new(KnownRules { oldest: Rules(1), newest: Rules(9) });
        log.admit(Rules(1)).unwrap();
        for (to, rules) in [(3, 1), (2, 2), (2, 2), (1, 2), (9, 2), (3, 3)] {
            assert_eq!((log.raise(Rules(to)), log.rules()), (Ok(()), Some(Rules(rules))));
        }
    }

    #[test]
    fn who_meets_what_it_does_not_know_goes_no_further() {
        let newer = Unknown::Newer(Rules(3));
        for way in 0..3 {
            let mut log = InForce::new(TWO);
            log.admit(Rules(1)).unwrap();
            log.raise(Rules(2)).unwrap();
            match way {
                0 => assert_eq!(log.raise(Rules(3)), Err(newer.into())),
                1 => assert_eq!(log.admit(Rules(3)), Err(newer.into())),
                _ => log.restore(Some(Rules(3))),
            }
            assert_eq!((log.unknown(), log.admit(Rules(2))), (Some(newer), Err(newer.into())));
        }
        let mut log = InForce::new(KnownRules { oldest: Rules(2), newest: Rules(3) });
        for (rules, to_write) in [(3, 3), (4, 3), (2, 2)] {
            log.begin_with(Rules(rules));
            assert_eq!(log.to_write(), Rules(to_write));
        }
        assert_eq!(log.admit(Rules(1)), Err(Unknown::Older(Rules(1)).into()));
    }
}

//! Requests of the application, and their outcomes.

use std::collections::BTreeMap;

use broker::log::Change;
use broker::shard::{Outcome, Publish, Ticket};

/// Tickets from here on are of requests.
const FIRST: usize = 1 << 32;

/// The application's publications, by ticket; the payload of each is the number of its ticket.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    made: usize,
    /// Whether it was told that the publication is in the log, or that it never will be.
    answers: BTreeMap<usize, bool>,
}

impl Requests {
    pub(crate) fn publish(&mut self, at: u64) -> (Publish, Ticket) {
        let number = FIRST + self.made;
        self.made += 1;
        let data = number.to_string().into();
        let publish = Publish { data, labels: None, at, except: None, is_transient: false };
        (publish, Ticket(number))
    }

    /// Takes an outcome of a publication; gives back that of anything else.
    /// `is_applied` says whether its node has applied something published.
    pub(crate) fn hear(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        is_applied: impl Fn(&str) -> bool,
    ) -> Option<(usize, Outcome)> {
        let Ticket(number) = ticket;
        if number < FIRST {
            return Some((number, outcome));
        }
        let is_in_log = outcome == Outcome::Synced;
        assert!(
            is_in_log || outcome == Outcome::Dropped,
            "{outcome:?} says nothing of a publication"
        );
        assert!(!is_in_log || is_applied(&number.to_string()), "{number} isn't in the log yet");
        let earlier = self.answers.insert(number, is_in_log);
        assert_eq!(earlier, None, "{number} is answered twice");
        None
    }

    /// What was published has been lost with the nodes that had it, as all histories say.
    pub(crate) fn lose(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.answers.retain(|number, is_in_log| !*is_in_log || is_kept(&number.to_string()));
    }

    /// Number of publications that the application was told will never be in the log.
    pub(crate) fn dropped(&self) -> usize {
        self.answers.values().filter(|is_in_log| !**is_in_log).count()
    }

    /// Compares what the application was told with the changes that all nodes have applied.
    pub(crate) fn check<'a>(&self, applied: impl Iterator<Item = &'a Change>) {
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        for change in applied {
            if let Change::Published { data, .. } = change
                && let Ok(number @ FIRST..) = data.as_str().parse()
            {
                *times.entry(number).or_default() += 1;
            }
        }
        for (number, is_in_log) in &self.answers {
            let times = times.get(number).copied().unwrap_or_default();
            assert_eq!(times, usize::from(*is_in_log), "of {number}: {is_in_log}");
        }
        assert!(times.values().all(|times| *times == 1), "published twice: {times:?}");
    }
}

//! The operators who look at a shard: what they ask is answered, and what they watch is told to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::question::{Attendance, Onlooker, Part, Question, Tally};
use crate::shard::{Destination, Shard};

/// How many streams a shard looks at before other inputs get their turn.
const STREAMS_A_TURN: usize = 4096;

/// A shard's onlookers, in its task.
#[derive(Debug, Default)]
pub(super) struct Onlookers(Vec<Onlooker>);

impl Onlookers {
    /// Answers a question.
    pub(super) fn answer<R: Destination>(
        &mut self,
        question: Question,
        shard: &mut Shard<R>,
        tally: Tally,
        now: Instant,
    ) {
        match question {
            Question::Survey { place, max, answer } => {
                let (largest, next) = shard.largest(place, STREAMS_A_TURN, max);
                let (totals, observers) = (shard.totals(), self.0.len());
                let part = Part { totals, tally, largest, observers, next };
                drop(answer.send(part)); // whoever asked may be gone
            }
            Question::Attendance { stream, max, answer } => {
                let total = shard.member_count(&stream);
                let first = shard.attendance(&stream, max, now);
                drop(answer.send(Attendance { total, first })); // likewise
            }
            Question::Observe(onlooker) => {
                self.0.push(onlooker);
                self.look_again(shard);
            }
            Question::Prune => self.look_again(shard),
        }
    }

    fn look_again<R: Destination>(&mut self, shard: &mut Shard<R>) {
        self.tell(shard); // what happened before goes to those who were there
        self.0.retain(|onlooker| !onlooker.events.is_closed());
        shard.observe(self.0.iter().map(|onlooker| onlooker.stream.clone()));
    }

    /// Passes on what happened.
    pub(super) fn tell<R: Destination>(&self, shard: &mut Shard<R>) {
        if self.0.is_empty() {
            return;
        }
        for (stream, change) in shard.take_observed() {
            for onlooker in self.0.iter().filter(|onlooker| onlooker.stream == stream) {
                if onlooker.events.try_send(Arc::clone(&change)).is_err() {
                    onlooker.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

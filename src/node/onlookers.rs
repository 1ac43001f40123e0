//! The dashboard's side of a shard: answers its queries and sends it events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::question::{Attendance, Onlooker, Part, Question, Tally};
use crate::shard::{Destination, Output};

/// Streams a shard looks at per query, before other inputs get their turn.
const STREAMS_A_TURN: usize = 4096;

/// A shard's observers, in its task.
#[derive(Debug, Default)]
pub(super) struct Onlookers(Vec<Onlooker>);

impl Onlookers {
    /// Answers a query.
    pub(super) fn answer<R: Destination>(
        &mut self,
        question: Question,
        mut output: Output<'_, R>,
        tally: Tally,
        now: Instant,
    ) {
        match question {
            Question::Survey { place, max, answer } => {
                let (largest, next) = output.largest(place, STREAMS_A_TURN, max);
                let (totals, observers) = (output.totals(), self.0.len());
                let part = Part { totals, tally, largest, observers, next };
                drop(answer.send(part)); // the dashboard may be gone
            }
            Question::Attendance { stream, max, answer } => {
                let total = output.member_count(&stream);
                let first = output.attendance(&stream, max, now);
                drop(answer.send(Attendance { total, first })); // likewise
            }
            Question::Observe(onlooker) => {
                self.0.push(onlooker);
                self.look_again(&mut output);
            }
            Question::Prune => self.look_again(&mut output),
        }
    }

    fn look_again<R: Destination>(&mut self, output: &mut Output<'_, R>) {
        self.tell(output); // earlier events go to earlier observers
        self.0.retain(|onlooker| !onlooker.events.is_closed());
        output.observe(self.0.iter().map(|onlooker| onlooker.stream.clone()));
    }

    /// Sends the events since the last call to the observers.
    pub(super) fn tell<R: Destination>(&self, output: &mut Output<'_, R>) {
        if self.0.is_empty() {
            return;
        }
        for (stream, change) in output.take_observed() {
            for onlooker in self.0.iter().filter(|onlooker| onlooker.stream == stream) {
                if onlooker.events.try_send(Arc::clone(&change)).is_err() {
                    onlooker.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

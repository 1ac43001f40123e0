//! The dashboard's side of a shard: answers its queries and sends it events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::query::{Attendance, ObserverSender, Part, Query, Tally};
use crate::shard::{Destination, Output};

/// Streams a shard looks at per query, before other inputs get their turn.
const STREAMS_A_TURN: usize = 4096;

/// A shard's observers, in its task.
#[derive(Debug, Default)]
pub(super) struct Observers(Vec<ObserverSender>);

impl Observers {
    /// Answers a query.
    pub(super) fn answer<R: Destination>(
        &mut self,
        query: Query,
        mut output: Output<'_, R>,
        tally: Tally,
        now: Instant,
    ) {
        match query {
            Query::Survey { place, max, answer } => {
                let (largest, next) = output.largest(place, STREAMS_A_TURN, max);
                let (totals, observers) = (output.totals(), self.0.len());
                let part = Part { totals, tally, largest, observers, next };
                drop(answer.send(part)); // the dashboard may be gone
            }
            Query::Attendance { stream, max, answer } => {
                let total = output.member_count(&stream);
                let first = output.attendance(&stream, max, now);
                drop(answer.send(Attendance { total, first })); // likewise
            }
            Query::Observe(observer) => {
                self.0.push(observer);
                self.remove_closed(&mut output);
            }
            Query::Prune => self.remove_closed(&mut output),
        }
    }

    fn remove_closed<R: Destination>(&mut self, output: &mut Output<'_, R>) {
        self.send(output); // earlier events go to earlier observers
        self.0.retain(|observer| !observer.events.is_closed());
        output.observe(self.0.iter().map(|observer| observer.stream.clone()));
    }

    /// Sends the events since the last call to the observers.
    pub(super) fn send<R: Destination>(&self, output: &mut Output<'_, R>) {
        if self.0.is_empty() {
            return;
        }
        for (stream, change) in output.take_observed() {
            for observer in self.0.iter().filter(|observer| observer.stream == stream) {
                if observer.events.try_send(Arc::clone(&change)).is_err() {
                    observer.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

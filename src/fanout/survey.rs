//! What operators ask the shards: how large the streams are, who is present in one, and what happens
//! there from now on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::hub::{Hub, Stopped};
use super::job::Job;
use crate::broker::{Attendee, Counts, Destination, Shard, StreamSize, Totals};
use crate::types::{PresenceChange, StreamName};

/// How many streams a shard looks at before other inputs get their turn.
const STREAMS_A_TURN: usize = 4096;

/// How many events wait for an observer before it misses some.
const EVENTS: usize = 256;

/// All shards as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// What they hold.
    pub totals: Totals,
    /// What they have done.
    pub tally: Tally,
    /// The largest streams, those first.
    pub largest: Vec<StreamSize>,
    /// How many observers there are.
    pub observers: usize,
}

/// What a shard has done since it was started, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands followed or refused.
    pub commands: u64,
    /// Publications accepted.
    pub publications: u64,
    /// Messages for a subscriber.
    pub deliveries: u64,
    /// Members that arrived.
    pub joins: u64,
    /// Members that left.
    pub leaves: u64,
}

impl Tally {
    pub(super) fn add(&mut self, counts: &Counts, deliveries: usize) {
        self.commands += counts.commands.len() as u64;
        self.publications += counts.publications;
        self.deliveries += deliveries as u64;
        self.joins += counts.joins.len() as u64;
        self.leaves += counts.leaves.len() as u64;
    }
}

/// One shard's part of a survey.
#[derive(Debug)]
pub(super) struct Part {
    totals: Totals,
    tally: Tally,
    largest: Vec<StreamSize>,
    observers: usize,
    /// Where to go on.
    next: Option<usize>,
}

/// What operators want to know of a shard.
#[derive(Debug)]
pub(super) enum Question {
    /// Of the streams from a place on, the largest.
    Survey { place: usize, most: usize, answer: oneshot::Sender<Part> },
    /// The first who are present: how many of them, and how many bytes of infos.
    Attendance { stream: StreamName, most: (usize, usize), answer: oneshot::Sender<Attendance> },
    /// What happens in a stream from now on.
    Observe(Onlooker),
    /// Somebody may have stopped to look.
    Prune,
}

/// Who is present in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// How many.
    pub total: usize,
    /// The first of them, in order of arrival.
    pub first: Vec<Attendee>,
}

/// Whom a shard tells what happens in a stream.
#[derive(Debug)]
pub(super) struct Onlooker {
    stream: StreamName,
    events: mpsc::Sender<Arc<PresenceChange>>,
    missed: Arc<AtomicU64>,
}

/// A stream that is looked at from within the broker: what becomes of its members, as it happens. It
/// isn't a subscriber, so nobody sees it and nothing waits for it.
#[derive(Debug)]
pub struct Observer {
    events: mpsc::Receiver<Arc<PresenceChange>>,
    missed: Arc<AtomicU64>,
    shard: mpsc::Sender<Job>,
}

impl Observer {
    /// The next event; `None` after the stop.
    pub async fn next(&mut self) -> Option<Arc<PresenceChange>> {
        self.events.recv().await
    }

    /// How many events there have been, since this was last called, that came too fast.
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.events.close();
        // if there is no room, the next one who looks has it done
        drop(self.shard.try_send(Job::Question(Question::Prune)));
    }
}

impl Hub {
    /// Looks at all streams, in turns so that nothing else is held up, and tells the largest.
    pub async fn survey(&self, most: usize) -> Result<Survey, Stopped> {
        let mut survey = Survey::default();
        for shard in self.shards() {
            let mut next = Some(0);
            while let Some(place) = next {
                let (answer, answered) = oneshot::channel();
                let question = Question::Survey { place, most, answer };
                shard.send(Job::Question(question)).await.map_err(|_| Stopped)?;
                let part = answered.await.map_err(|_| Stopped)?;
                survey.largest.extend(part.largest);
                StreamSize::keep_largest(&mut survey.largest, most);
                next = part.next;
                if next.is_none() {
                    survey.add(part.totals, part.tally);
                    survey.observers += part.observers;
                }
            }
        }
        Ok(survey)
    }

    /// Asks who is present in a stream, in its turn: the first of them, so many, and no more once
    /// their infos have so many bytes.
    pub async fn attendance(
        &self,
        stream: StreamName,
        most: (usize, usize),
    ) -> Result<Attendance, Stopped> {
        let (answer, answered) = oneshot::channel();
        let shard = self.shard(&stream).ok_or(Stopped)?;
        let question = Question::Attendance { stream, most, answer };
        shard.send(Job::Question(question)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Looks at a stream from now on.
    pub async fn observe(&self, stream: StreamName) -> Result<Observer, Stopped> {
        let shard = self.shard(&stream).ok_or(Stopped)?;
        let (sender, events) = mpsc::channel(EVENTS);
        let missed = Arc::<AtomicU64>::default();
        let onlooker = Onlooker { stream, events: sender, missed: Arc::clone(&missed) };
        let question = Question::Observe(onlooker);
        shard.send(Job::Question(question)).await.map_err(|_| Stopped)?;
        Ok(Observer { events, missed, shard: shard.clone() })
    }

    /// Waits for the stop.
    pub async fn stopped(&self) {
        if let Some(shard) = self.shards().first() {
            shard.closed().await;
        }
    }
}

impl Survey {
    fn add(&mut self, totals: Totals, tally: Tally) {
        let (all, done) = (&mut self.totals, &mut self.tally);
        all.streams += totals.streams;
        all.subscriptions += totals.subscriptions;
        all.parked += totals.parked;
        all.members += totals.members;
        all.records += totals.records;
        all.publications += totals.publications;
        all.history_bytes += totals.history_bytes;
        done.commands += tally.commands;
        done.publications += tally.publications;
        done.deliveries += tally.deliveries;
        done.joins += tally.joins;
        done.leaves += tally.leaves;
    }
}

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
        now: std::time::Instant,
    ) {
        match question {
            Question::Survey { place, most, answer } => {
                let (largest, next) = shard.largest(place, STREAMS_A_TURN, most);
                let (totals, observers) = (shard.totals(), self.0.len());
                let part = Part { totals, tally, largest, observers, next };
                drop(answer.send(part)); // whoever asked may be gone
            }
            Question::Attendance { stream, most, answer } => {
                let total = shard.member_count(&stream);
                let first = shard.attendance(&stream, most, now);
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

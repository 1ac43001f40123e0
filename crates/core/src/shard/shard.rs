//! The shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::counts::{Counts, Totals};
use super::deadlines::Deadlines;
use super::delivery::{Delivery, Destination};
use super::input::{Input, SubscriberKey};
use super::observed::Observed;
use super::outcome::{Outcome, Ticket};
use super::proposals::Shared;
use super::settings::Settings;
use super::stream::{Groups, Stream, Subscriber};
use super::streams::Streams;
use super::timers::Timers;
use crate::log::{Entry, Position};
use crate::stream::{Effect, History, Ticks};
use crate::types::{CommandKind, Reference, ServerMessage, StreamName};

/// Bytes of unsent messages from which on the shard should take no more inputs.
pub(super) const MAX_BACKLOG: usize = 4 * 1024 * 1024;

/// Streams with their subscribers. `R` is the destination of a subscriber's messages; the shard only
/// clones it.
#[derive(Debug)]
pub struct Shard<R> {
    pub(super) settings: Settings,
    pub(super) ticks: Ticks,
    /// The time of the last input.
    pub(super) now: Instant,
    pub(super) streams: Streams<R>,
    /// The position of the next entry.
    pub(super) next: Position,
    /// The time of day, in milliseconds of the Unix epoch, that entries carry.
    pub(super) unix: u64,
    /// Digest of all streams' states.
    pub(super) digest: u64,
    /// Effects of the entry that is being applied.
    pub(super) effects: Vec<Effect>,
    pub(super) timers: Timers,
    /// For each stream with a history, the expiry of its oldest publication, or an earlier time.
    pub(super) expiries: Deadlines<u32>,
    /// For each stream with a journal, a time at which its oldest entry is no longer needed.
    pub(super) journals: Deadlines<u32>,
    /// Bytes of all journals.
    pub(super) noted: usize,
    /// Time of the newest publication of all forgotten streams, in milliseconds of the Unix epoch. A new
    /// stream may have been one of them.
    pub(super) forgotten: u64,
    pub(super) replies: VecDeque<Delivery<R>>,
    /// Outcomes of requests from within the broker.
    pub(super) outcomes: VecDeque<(Ticket, Outcome)>,
    /// Reference of the request that is being handled, if it has one.
    pub(super) reference: Option<Arc<Reference>>,
    /// The request has its reply: further messages to its client don't carry the reference.
    pub(super) is_answered: bool,
    /// Bytes of the replies.
    pub(super) reply_weight: usize,
    /// Streams with a fan-out in progress, in turn.
    pub(super) passes: VecDeque<u32>,
    /// Streams whose fan-out is deferred while records expire, and since when.
    pub(super) deferred: VecDeque<(Instant, u32)>,
    /// Streams whose fan-out waits for more changes, until a time.
    pub(super) paused: Deadlines<u32>,
    /// The last turn left expired items for the next one.
    pub(super) is_expiring: bool,
    /// Number of resumed subscribers without a command since.
    pub(super) silent: usize,
    /// Bytes of all windows.
    pub(super) backlog: usize,
    pub(super) counts: Counts,
    pub(super) totals: Totals,
    /// The stream that is being restored, which may be empty until its last entry.
    pub(super) restoring: Option<u32>,
    /// What it has proposed, if others write its log, too.
    pub(super) shared: Option<Box<Shared<R>>>,
    /// Entries since the last commit, if they are kept.
    pub(super) entries: Option<Vec<Entry>>,
    /// The streams that operators watch.
    pub(super) observed: Option<Box<Observed>>,
}

impl<R: Destination> Shard<R> {
    /// A shard without streams.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            ticks: Ticks::since(now),
            now,
            streams: Streams::default(),
            next: Position(1),
            unix: 0,
            digest: 0,
            effects: Vec::new(),
            timers: Timers::default(),
            expiries: Deadlines::default(),
            journals: Deadlines::default(),
            noted: 0,
            forgotten: 0,
            replies: VecDeque::new(),
            outcomes: VecDeque::new(),
            reference: None,
            is_answered: false,
            reply_weight: 0,
            passes: VecDeque::new(),
            deferred: VecDeque::new(),
            paused: Deadlines::default(),
            is_expiring: false,
            silent: 0,
            backlog: 0,
            counts: Counts::default(),
            totals: Totals::default(),
            restoring: None,
            shared: None,
            entries: None,
            observed: None,
        }
    }

    /// The time of day, in milliseconds of the Unix epoch, that is given to entries from here on.
    pub fn set_unix(&mut self, unix: u64) {
        self.unix = unix;
    }

    /// Sets the maximum memory of all kept publications, in bytes.
    pub fn set_max_history(&mut self, bytes: usize) {
        self.settings.history.max_bytes = bytes;
    }

    /// Handles an input. Poll the replies afterwards; the fan-out can wait for more inputs.
    pub fn handle(&mut self, name: &StreamName, input: Input<R>, now: Instant) {
        self.now = now;
        if self.shared.is_some() {
            self.await_entries(name, input, now);
        } else {
            self.handle_now(name, input, now);
        }
    }

    pub(super) fn handle_now(&mut self, name: &StreamName, input: Input<R>, now: Instant) {
        match input {
            Input::Command { key, recipient, command, reference } => {
                if command.has_large_reply() {
                    recipient.answered(); // not before: its client may wait for as many more
                }
                self.reference = reference;
                self.command(name, &key, recipient, command, now);
                self.reference = None;
                self.is_answered = false;
                self.end_silence(name, &key);
            }
            Input::Ended { key, end } => self.ended(name, &key, end),
            Input::Publish(publish) => self.publish(name, publish, now),
            Input::Put { put, ticket } => {
                let placed = self.put(name, put, now);
                self.outcomes.push_back((ticket, Outcome::Put(placed)));
            }
            Input::Kick { id, ticket } => {
                let records = self.kick(name, id, now);
                self.outcomes.push_back((ticket, Outcome::Kicked(records)));
            }
            Input::Resume { from, to, recipient, ticket } => {
                let resumed = self.resume(name, &from, (to, recipient), now);
                self.outcomes.push_back((ticket, Outcome::Resumed(resumed)));
            }
            Input::Forget { key } => self.forget_parked(name, &key),
            Input::Identify { key, ticket } => {
                let id = self.present_as(name, &key);
                self.outcomes.push_back((ticket, Outcome::Present(id)));
            }
            Input::CatchUp { key } => {
                if let Some(index) = self.find(name) {
                    self.reply(index, &key, []);
                }
            }
        }
        if self.shared.is_some()
            && let Some(index) = self.find(name)
        {
            self.review_use(index);
        }
    }

    /// Whether unsent messages should be sent before more inputs are taken: publications come faster than
    /// subscribers can be sent them.
    pub fn is_over_backlog(&self) -> bool {
        self.backlog > MAX_BACKLOG
    }

    /// Whether a fan-out is pending. Messages for held subscribers don't count.
    pub(super) fn has_fan_out(&self) -> bool {
        !self.passes.is_empty() || !self.deferred.is_empty() || self.paused.next().is_some()
    }

    /// Whether [`Output::poll_reply`](super::Output::poll_reply) has more.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Bytes of the replies in [`Output::poll_reply`](super::Output::poll_reply): lists and histories can be large.
    pub fn reply_weight(&self) -> usize {
        self.reply_weight
    }

    /// Counts since the last call.
    pub fn take_counts(&mut self) -> Counts {
        self.count_in(Counts::default())
    }

    /// The same; the next counts reuse the memory of the given ones.
    pub fn count_in(&mut self, counts: Counts) -> Counts {
        std::mem::replace(&mut self.counts, counts)
    }

    /// Current totals.
    pub fn totals(&self) -> Totals {
        Totals { streams: self.streams.len(), ..self.totals }
    }

    /// Digest of the replicated state of all streams. Shards that have applied the same entries have the same
    /// one. If streams are divided over several shards, the sum of theirs is that of one shard with all streams.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn subscriber(&self, index: u32, key: &SubscriberKey) -> Option<&Subscriber<R>> {
        self.streams.get(index)?.groups.get(&key.group)?.get(&key.session)
    }

    /// A subscriber that is here.
    pub(super) fn live_subscriber(&self, index: u32, key: &SubscriberKey) -> &Subscriber<R> {
        match self.subscriber(index, key) {
            Some(subscriber) => subscriber,
            None => no_subscriber(key),
        }
    }

    pub(super) fn find(&self, name: &StreamName) -> Option<u32> {
        self.streams.find(name)
    }

    pub(super) fn find_or_add(&mut self, name: &StreamName) -> u32 {
        let found = self.find(name);
        found.unwrap_or_else(|| {
            self.streams.insert(Stream::new(name.clone(), History::new(self.forgotten)))
        })
    }

    /// Counts a command that was accepted.
    pub(super) fn count_accepted(&mut self, kind: CommandKind) {
        self.counts.commands.push((kind, true));
    }
}

pub(super) fn subscriber_mut<'a, R>(
    groups: &'a mut Groups<R>,
    key: &SubscriberKey,
) -> Option<&'a mut Subscriber<R>> {
    groups.get_mut(&key.group)?.get_mut(&key.session)
}

/// A subscriber that is here.
pub(super) fn live_subscriber_mut<'a, R>(
    groups: &'a mut Groups<R>,
    key: &SubscriberKey,
) -> &'a mut Subscriber<R> {
    match subscriber_mut(groups, key) {
        Some(subscriber) => subscriber,
        None => no_subscriber(key),
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the shard, whose streams are lost then")]
fn no_subscriber(key: &SubscriberKey) -> ! {
    panic!("{key:?} is not subscribed")
}

pub(super) fn weight(messages: &[ServerMessage]) -> usize {
    messages.iter().map(ServerMessage::weight).sum()
}

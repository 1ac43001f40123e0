//! The streams that one task looks after, with their subscribers.
//!
//! ```text
//! handle(stream, input, now) ─▶ a change ─▶ entry ─▶ State::apply ─▶ effects
//! handle_timeout(now) ─▶ the same, of what ends by itself; poll_timeout() says when
//! commit(keep) ─▶ keep(entries), then the Output:
//!   poll_reply()    what one subscriber is told, after what it hadn't been sent before
//!   poll_fan_out()  what a slice of a group's subscribers hasn't been sent yet
//!   members(), …    what is asked from within the broker
//! ```

mod admin;
mod apply;
mod commands;
mod counts;
mod deadlines;
mod delivery;
mod end;
mod fan_out;
mod input;
mod inspect;
mod member_lists;
mod occupancy;
mod output;
mod presence;
mod publish;
mod restore;
mod resume;
mod snapshot;
mod stream;
mod streams;
mod subscribe;
mod timers;
mod window;

pub use crate::stream::HistorySettings;
pub use crate::types::GroupKey;
pub use admin::{Placed, Put};
pub use counts::{Counts, Totals};
pub use delivery::{CountRecords, Delivery, Destination, FanOut};
pub use input::{End, Input, SubscriberKey};
pub use inspect::{Attendee, StreamSize};
pub use output::{Output, Unkept};
pub use restore::Restoring;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::{Entry, LogId, Position};
use crate::stream::pages::is_roomy;
use crate::stream::{Effect, History, Ticks};
use crate::types::{Codec, CommandKind, Reference, ServerMessage, StreamName};
use deadlines::Deadlines;
use inspect::Observed;
use stream::{Stream, Subscriber};
use streams::Streams;
use timers::{Due, Timers};

/// How much may be yet to be said, in bytes, before no more inputs should be taken.
const CROWDED: usize = 4 * 1024 * 1024;

/// How many records, and how many streams, expire before other inputs get their turn.
const EXPIRED_AT_ONCE: usize = 512;

/// Streams with their subscribers and presence. `R` is where a subscriber's messages go; the
/// shard only ever clones it.
#[derive(Debug)]
pub struct Shard<R> {
    settings: Settings,
    ticks: Ticks,
    /// The time of the last input.
    now: Instant,
    streams: Streams<R>,
    /// The position of the next entry.
    next: Position,
    /// The time of day, in milliseconds of the Unix epoch, that entries carry.
    unix: u64,
    /// Of the states of all streams.
    digest: u64,
    /// What the entry that is being applied does.
    effects: Vec<Effect>,
    timers: Timers,
    /// For each stream with a history, when its oldest publication expires, or earlier.
    expiries: Deadlines<u32>,
    /// For each stream with a journal, when the oldest of what it has noted is needed no longer, or later.
    journals: Deadlines<u32>,
    /// What all journals weigh, in bytes.
    noted: usize,
    /// When the newest publication of a stream that was forgotten was made, in milliseconds of
    /// the Unix epoch: that much is not known of a stream that is new.
    forgotten: u64,
    replies: VecDeque<Delivery<R>>,
    /// The name of the request that is being answered, if its client gave it one.
    reference: Option<Arc<Reference>>,
    /// It has been answered already: what else there is to say is no answer to it.
    is_answered: bool,
    /// What the replies weigh, in bytes.
    reply_weight: usize,
    /// Streams with a pass under way, in turn.
    passes: VecDeque<u32>,
    /// Streams with a pass that can wait while records expire, since when.
    unhurried: VecDeque<(Instant, u32)>,
    /// Streams with a pass that waits for more changes, until when.
    paused: Deadlines<u32>,
    /// More has been due than expires at once.
    is_expiring: bool,
    /// How many subscribers were resumed and have said nothing since.
    silent: usize,
    /// What all logs weigh, in bytes.
    backlog: usize,
    counts: Counts,
    totals: Totals,
    /// The stream that is being restored: nothing is left of it only when all of it has been seen.
    restoring: Option<u32>,
    /// What has happened since that was last asked, if it is kept anywhere.
    entries: Option<Vec<Entry>>,
    /// What operators look at, if they do.
    observed: Option<Box<Observed>>,
}

/// What holds for all streams of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long records outlive their connection.
    pub presence_ttl: Duration,
    /// How sessions are resumed.
    pub resume: ResumeSettings,
    /// Most members of a stream.
    pub max_members: usize,
    /// Most records of a client, in all streams.
    pub max_records: usize,
    /// Most bytes of ids, infos or payloads in one answer: it may wait whole for its client. A client
    /// that wants more does better to ask the application.
    pub max_answer: usize,
    /// How often those who only count the members are told, at most.
    pub occupancy_interval: Duration,
    /// What is kept of publications.
    pub history: HistorySettings,
    /// The log that the shard's entries belong to: references and epochs are named after it.
    pub log: LogId,
}

/// What holds for subscriptions whose sessions can be resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeSettings {
    /// How long they outlive their connection; zero is not at all.
    pub ttl: Duration,
    /// How long after it was sent to everyone it may not be sure that a presence event arrived:
    /// later than that a connection it was lost on has ended.
    pub longest_doubt: Duration,
}

impl ResumeSettings {
    /// Whether subscriptions of clients of a codec can be resumed.
    fn is_for(self, codec: Codec) -> bool {
        codec.resumes() && !self.ttl.is_zero()
    }
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
            reference: None,
            is_answered: false,
            reply_weight: 0,
            passes: VecDeque::new(),
            unhurried: VecDeque::new(),
            paused: Deadlines::default(),
            is_expiring: false,
            silent: 0,
            backlog: 0,
            counts: Counts::default(),
            totals: Totals::default(),
            restoring: None,
            entries: None,
            observed: None,
        }
    }

    /// The time of day, in milliseconds of the Unix epoch, that is given to entries from here on.
    pub fn set_unix(&mut self, unix: u64) {
        self.unix = unix;
    }

    /// Follows an input. Take the replies afterwards; fan-out can wait for more inputs.
    pub fn handle(&mut self, name: &StreamName, input: Input<R>, now: Instant) {
        self.now = now;
        match input {
            Input::Command { key, recipient, command, reference } => {
                self.reference = reference;
                self.command(name, &key, recipient, command, now);
                self.reference = None;
                self.is_answered = false;
                self.end_silence(name, &key);
            }
            Input::Ended { key, end } => self.ended(name, &key, end),
            Input::Publish { data, labels, at, except, is_transient } => {
                self.publish(name, (data, labels, at), except, is_transient, now);
            }
        }
    }

    /// Whether so much is yet to be said that it should be before more is taken in: publications
    /// come faster than all subscribers can be told.
    pub fn is_crowded(&self) -> bool {
        self.backlog > CROWDED
    }

    /// Whether somebody lacks something that [`Output::poll_fan_out`] tells, sooner or later. What is kept
    /// for subscribers that are held is none of that.
    fn has_fan_out(&self) -> bool {
        !self.passes.is_empty() || !self.unhurried.is_empty() || self.paused.next().is_some()
    }

    /// Whether [`Output::poll_reply`] has more.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// What the replies that [`Output::poll_reply`] has weigh, in bytes: lists and histories can be
    /// large, and each may be another one.
    pub fn reply_weight(&self) -> usize {
        self.reply_weight
    }

    /// Whether [`Shard::handle_timeout`] has left something over, and should soon go on.
    pub fn is_expiring(&self) -> bool {
        self.is_expiring
    }

    /// When [`Shard::handle_timeout`] has something to do, or [`Output::poll_fan_out`] something to say
    /// that waited for more.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_deadline(), self.paused.next()].into_iter().flatten().min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let all = [self.timers.next(), self.expiries.next(), self.journals.next()];
        all.into_iter().flatten().min()
    }

    /// Lets records and publications go whose time is over, a bounded number at once and none as long as
    /// so much is yet to be told that it should be first: ask [`Shard::poll_timeout`] again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        for _ in 0..EXPIRED_AT_ONCE {
            if self.is_crowded() && self.has_fan_out() {
                break;
            }
            let Some((deadline, due)) = self.timers.pop(now) else { break };
            let stream = due.stream();
            match due {
                Due::Record { stream, record } => {
                    self.counts.expiry_lags.push(now.saturating_duration_since(deadline));
                    self.expire(stream, record, now);
                }
                Due::Parked { stream, by } => self.lapse(stream, *by, now),
                Due::Count { stream } => self.tell_count(stream, now),
                Due::Held { stream, key } => self.release(stream, &key),
            }
            self.forget_if_idle(stream);
        }
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((_, stream)) = self.expiries.pop(now) else { break };
            self.drop_expired(stream, now);
        }
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((_, stream)) = self.journals.pop(now) else { break };
            self.tidy(stream, now);
        }
        self.is_expiring = self.next_deadline().is_some_and(|due| due <= now);
    }

    /// What was done since this was last called.
    pub fn take_counts(&mut self) -> Counts {
        self.count_in(Counts::default())
    }

    /// What was done since then; from here on it is counted in other counts, with the room they have.
    pub fn count_in(&mut self, counts: Counts) -> Counts {
        std::mem::replace(&mut self.counts, counts)
    }

    /// What is held now.
    pub fn totals(&self) -> Totals {
        Totals { streams: self.streams.len(), ..self.totals }
    }

    /// A number that shards have in common which have applied the same entries, whatever their slices and
    /// timers: of who is present where and how, who waits to be resumed, and how much was published.
    /// Shards that share streams out among them have it together: combine theirs by exclusive or.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    fn subscriber(&self, index: u32, key: &SubscriberKey) -> Option<&Subscriber<R>> {
        self.streams.get(index)?.groups.get(&key.group)?.get(&key.session)
    }

    fn find(&self, name: &StreamName) -> Option<u32> {
        self.streams.find(name)
    }

    fn find_or_add(&mut self, name: &StreamName) -> u32 {
        let found = self.find(name);
        found.unwrap_or_else(|| {
            self.streams.insert(Stream::new(name.clone(), History::new(self.forgotten)))
        })
    }

    fn followed(&mut self, kind: CommandKind) {
        self.counts.commands.push((kind, true));
    }
}

fn subscriber_mut<'a, R>(
    stream: &'a mut Stream<R>,
    key: &SubscriberKey,
) -> Option<&'a mut Subscriber<R>> {
    stream.groups.get_mut(&key.group)?.get_mut(&key.session)
}

fn weight(messages: &[ServerMessage]) -> usize {
    messages.iter().map(ServerMessage::weight).sum()
}

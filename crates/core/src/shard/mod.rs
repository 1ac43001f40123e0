//! The streams that one task looks after.

mod application;
mod counting;
mod counts;
pub(crate) mod deadlines;
mod delivery;
pub(crate) mod input;
mod joining;
mod keeping;
mod publishing;
mod repeating;
mod restoring;
mod resuming;
mod surveying;
mod telling;
mod watched;
mod window;

pub use crate::stream::HistorySettings;
pub use crate::types::GroupKey;
pub use application::{Full, Placed, Put};
pub use counts::{Counts, Totals};
pub use delivery::{CountRecords, Delivery, Destination, FanOut};
pub use input::{End, Input, SubscriberKey};
pub use restoring::Restoring;
pub use surveying::{Attendee, StreamSize};

use surveying::Observed;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use indexmap::map::Entry;

use crate::log::Change;
use crate::shard::deadlines::Deadlines;
use crate::shard::repeating::repeat_to;
use crate::shard::watched::{Stream, Subscriber, UNCONFIRMED};
use crate::stream::history::History;
use crate::stream::journal::Ticks;
use crate::stream::pages::{Pages, is_roomy};
use crate::stream::presence::{PresenceSet, RecordKey};
use crate::types::{
    Arrival, Codec, CommandKind, Grant, JoinCause, Labels, LeaveCause, Listed, MemberList,
    RecordList, Reference, Repeat, ServerMessage, StreamCommand, StreamName, Watch,
};

/// How much may be yet to be said, in bytes, before no more inputs should be taken.
const CROWDED: usize = 4 * 1024 * 1024;

/// How far epochs are apart: far enough that one looks nothing like the next.
const EPOCH_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// How long a confirmation may take to arrive, and its client repeat its subscribe meanwhile.
const CONFIRMATION_ARRIVES: Duration = Duration::from_secs(5);

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
    streams: Pages<Stream<R>>,
    names: HashMap<StreamName, u32, RandomState>,
    deadlines: Deadlines<Due>,
    /// For each stream with a history, when its oldest publication expires, or earlier.
    expiries: Deadlines<u32>,
    /// For each stream with a journal, when the oldest of what it has noted is needed no longer, or later.
    journals: Deadlines<u32>,
    /// What all journals weigh, in bytes.
    noted: usize,
    /// When the newest publication of a stream that was forgotten was made, in milliseconds of
    /// the Unix epoch: that much is not known of a stream that is new.
    forgotten: u64,
    /// How many epochs there have been.
    epochs: u64,
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
    /// What has changed since that was last asked, if it is kept anywhere.
    changes: Option<Vec<Change>>,
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
    /// A random number that no other shard has, of this process or another: epochs come of it.
    pub seed: u64,
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

/// What ends at a deadline.
#[derive(Debug)]
enum Due {
    /// A record goes.
    Record { stream: u32, record: RecordKey },
    /// A subscription can no longer be resumed.
    Parked { stream: u32, key: Box<SubscriberKey> },
    /// Those who only count the members of a stream are told.
    Count { stream: u32 },
    /// A resumed subscription has had its time to ask for what it missed.
    Held { stream: u32, key: Box<SubscriberKey> },
}

impl<R: Destination> Shard<R> {
    /// A shard without streams.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            ticks: Ticks::since(now),
            now,
            streams: Pages::default(),
            names: HashMap::default(),
            deadlines: Deadlines::default(),
            expiries: Deadlines::default(),
            journals: Deadlines::default(),
            noted: 0,
            forgotten: 0,
            epochs: 0,
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
            changes: None,
            observed: None,
        }
    }

    /// Applies an input. Take the replies afterwards; fan-out can wait for more inputs.
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
            Input::Ended { key, end } => self.ended(name, key, end, now),
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

    /// Whether somebody lacks something that [`Shard::poll_fan_out`] tells, sooner or later. What is kept
    /// for subscribers that are held is none of that.
    fn has_fan_out(&self) -> bool {
        !self.passes.is_empty() || !self.unhurried.is_empty() || self.paused.next().is_some()
    }

    /// Whether [`Shard::poll_reply`] has more.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// What the replies that [`Shard::poll_reply`] has weigh, in bytes: lists and histories can be
    /// large, and each may be another one.
    pub fn reply_weight(&self) -> usize {
        self.reply_weight
    }

    /// What one subscriber is told. Each is due before anything that comes after it.
    pub fn poll_reply(&mut self) -> Option<Delivery<R>> {
        let reply = self.replies.pop_front()?;
        self.reply_weight -= weight(&reply.messages);
        Some(reply)
    }

    /// Whether [`Shard::handle_timeout`] has left something over, and should soon go on.
    pub fn is_expiring(&self) -> bool {
        self.is_expiring
    }

    /// When [`Shard::handle_timeout`] has something to do, or [`Shard::poll_fan_out`] something to say
    /// that waited for more.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_deadline(), self.paused.next()].into_iter().flatten().min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let all = [self.deadlines.next(), self.expiries.next(), self.journals.next()];
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
            let Some((deadline, due)) = self.deadlines.pop(now) else { break };
            let (Due::Record { stream, .. }
            | Due::Parked { stream, .. }
            | Due::Count { stream }
            | Due::Held { stream, .. }) = due;
            match due {
                Due::Record { stream, record } => {
                    self.counts.expiry_lags.push(now.saturating_duration_since(deadline));
                    self.remove_record(stream, record, LeaveCause::Expired, now);
                }
                Due::Parked { stream, key } => self.drop_parked(stream, &key),
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

    /// Who is present in a stream, in order of arrival.
    pub fn members(&mut self, name: &StreamName) -> Arc<Listed<MemberList>> {
        match self.find(name).and_then(|key| self.streams.get_mut(key as usize)) {
            Some(stream) => stream.presence.list(),
            None => Arc::default(),
        }
    }

    /// Who is present in a stream with each record, in order of arrival.
    pub fn records(&mut self, name: &StreamName) -> Arc<RecordList> {
        match self.find(name).and_then(|key| self.streams.get_mut(key as usize)) {
            Some(stream) => stream.presence.list_records(),
            None => Arc::default(),
        }
    }

    /// How many are present in a stream.
    pub fn member_count(&self, name: &StreamName) -> usize {
        let stream = self.find(name).and_then(|key| self.streams.get(key as usize));
        stream.map_or(0, |stream| stream.presence.members())
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

    fn command(
        &mut self,
        name: &StreamName,
        key: &SubscriberKey,
        recipient: R,
        command: StreamCommand,
        now: Instant,
    ) {
        match command {
            StreamCommand::Subscribe { join, history, grant, arrival } => {
                let Arrival { list_before, list_after, is_announced, ends, repeat } = arrival;
                if ends.is_some() {
                    self.change_watch(name, key);
                }
                let (stream, is_new) = self.subscribe(name, key, recipient, grant);
                let is_confirmed = self.confirm(stream, key, repeat, history.is_some());
                self.followed(CommandKind::Subscribe);
                if ends.is_some() {
                    let reference = std::mem::replace(&mut self.reference, ends);
                    self.reply(stream, key, [ServerMessage::Ended]);
                    self.reference = reference;
                }
                self.is_answered = true;
                if let Some(request) = history.filter(|_| is_confirmed) {
                    self.tell_history(stream, key, &request);
                }
                if is_announced && is_new {
                    self.say(stream, ServerMessage::Arrived, None, now);
                }
                if key.group.watch == Watch::Occupancy {
                    if is_confirmed {
                        self.tell_count_to(stream, key);
                    }
                } else if let Some(listing) = list_before {
                    self.list(stream, key, listing);
                }
                match join {
                    Some(Ok(join)) => {
                        self.join(stream, key, join, JoinCause::Subscribed, now);
                    }
                    Some(Err(reason)) => self.refuse(stream, key, CommandKind::Join, reason),
                    None => {}
                }
                if let Some(listing) = list_after {
                    self.list_ahead(stream, key, listing);
                }
            }
            StreamCommand::Unsubscribe => self.give_up(name, key, now),
            StreamCommand::Join(join) => {
                let Some(stream) = self.find(name) else { return };
                if self.join(stream, key, join, JoinCause::Joined, now) {
                    self.done(stream, key);
                }
            }
            StreamCommand::Update(join) => {
                let Some(stream) = self.find(name) else { return };
                if self.update(stream, key, join, now) {
                    self.done(stream, key);
                }
            }
            StreamCommand::Leave(id) => {
                if let Some(stream) = self.find(name)
                    && self.leave(stream, key, id.as_ref(), now)
                {
                    self.done(stream, key);
                }
            }
            StreamCommand::List(listing) => {
                let Some(stream) = self.find(name) else { return };
                self.list(stream, key, listing);
            }
            StreamCommand::History(request) => {
                let Some(stream) = self.find(name) else { return };
                let told = self.tell_history(stream, key, &request);
                self.counts.commands.push((CommandKind::History, told));
            }
            StreamCommand::Whisper { whisper, members_only } => {
                let Some(stream) = self.find(name) else { return };
                if members_only && !self.check_author(stream, key, CommandKind::Whisper) {
                    return;
                }
                self.say(stream, ServerMessage::Whisper(whisper), Some(key.session), now);
                self.done(stream, key);
                self.followed(CommandKind::Whisper);
            }
            StreamCommand::Publish { data, at, members_only } => {
                let Some(stream) = self.find(name) else { return };
                if members_only && !self.check_author(stream, key, CommandKind::Publish) {
                    return;
                }
                self.publish(name, (data, Labels::default(), at), None, false, now);
                self.done(stream, key);
                self.followed(CommandKind::Publish);
            }
            StreamCommand::RefusePresence(kind, reason) => {
                let Some(stream) = self.find(name) else { return };
                self.refuse(stream, key, kind, reason);
            }
        }
    }

    /// Ends a subscription, as its client wants.
    fn give_up(&mut self, name: &StreamName, key: &SubscriberKey, now: Instant) {
        let Some(stream) = self.find(name) else { return };
        if self.reference.is_some() {
            self.reply(stream, key, [ServerMessage::Done, ServerMessage::Ended]);
        }
        if let Some(subscriber) = self.unsubscribe(stream, key) {
            if let Some(record) = subscriber.record {
                subscriber.recipient.remove_record();
                self.remove_record(stream, record, LeaveCause::Unsubscribed, now);
            }
            self.keep_unsubscribed(stream, key);
            self.give_back(stream);
        }
        self.followed(CommandKind::Unsubscribe);
        self.forget_if_idle(stream);
    }

    /// Adds the subscriber, or makes sure of it if it is there already; whether it is new.
    fn subscribe(
        &mut self,
        name: &StreamName,
        key: &SubscriberKey,
        recipient: R,
        grant: Grant,
    ) -> (u32, bool) {
        let index = self.find_or_add(name);
        let Some(stream) = self.streams.get_mut(index as usize) else { return (index, false) };
        let sent = stream.log.end();
        let group = stream.groups.entry(key.group.clone()).or_default();
        let place = group.entry(key.session);
        let is_new = matches!(place, Entry::Vacant(_));
        if let Entry::Vacant(place) = place {
            let is_kept = self.changes.is_some() && self.settings.resume.is_for(key.group.codec);
            let grant = is_kept.then(|| Box::new(grant));
            place.insert(Subscriber {
                recipient,
                sent,
                record: None,
                resumed: None,
                grant,
                confirmed: UNCONFIRMED,
                is_held: false,
            });
            self.totals.subscriptions += 1;
            self.keep_subscribed(index, key);
        }
        (index, is_new)
    }

    /// Confirms a subscription, if it wasn't yet or its client waits for it to be again. Where history
    /// follows that comes first, nothing that it was kept from goes before.
    fn confirm(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        repeat: Repeat,
        history_follows: bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let Some(subscriber) = subscriber_mut(stream, key) else { return false };
        let since = subscriber.confirmed;
        let is_again = since != UNCONFIRMED;
        let is_awaited = match repeat {
            Repeat::Always => true,
            Repeat::Later => {
                !is_again || self.now >= self.ticks.began(since + 1) + CONFIRMATION_ARRIVES
            }
            Repeat::Never => !is_again,
            Repeat::Elsewhere => false,
        };
        if !is_awaited {
            return false;
        }
        subscriber.confirmed = self.ticks.at(self.now);
        if subscriber.is_held && history_follows {
            let recipient = subscriber.recipient.clone();
            self.send(recipient, key, vec![ServerMessage::Confirmed]);
        } else {
            self.reply(index, key, [ServerMessage::Confirmed]);
        }
        true
    }

    /// Moves a session's subscription, which it makes anew, to those who are told of presence as it
    /// wants to be now.
    fn change_watch(&mut self, name: &StreamName, key: &SubscriberKey) {
        let Some(index) = self.find(name) else { return };
        for watch in Watch::ALL.into_iter().filter(|watch| *watch != key.group.watch) {
            let before = SubscriberKey { group: GroupKey { watch, ..key.group.clone() }, ..*key };
            self.reply(index, &before, []); // what was said so far
            let Some(subscriber) = self.unsubscribe(index, &before) else { continue };
            let Some(stream) = self.streams.get_mut(index as usize) else { return };
            let moved = Subscriber { sent: stream.log.end(), ..subscriber };
            stream.groups.entry(key.group.clone()).or_default().insert(key.session, moved);
            self.totals.subscriptions += 1;
        }
    }

    /// Takes the subscriber out, if there is one.
    fn unsubscribe(&mut self, stream: u32, key: &SubscriberKey) -> Option<Subscriber<R>> {
        let stream = self.streams.get_mut(stream as usize)?;
        let subscribers = stream.groups.get_mut(&key.group)?;
        let mut subscriber = subscribers.swap_remove(&key.session)?;
        stream.held.release(&mut subscriber, self.now);
        if subscriber.end_silence() {
            self.silent -= 1;
        }
        self.totals.subscriptions -= 1;
        if subscribers.is_empty() {
            stream.groups.swap_remove(&key.group);
            stream.group_removed();
            if is_roomy(stream.groups.len(), stream.groups.capacity()) {
                stream.groups.shrink_to(2 * stream.groups.len());
            }
        } else if is_roomy(subscribers.len(), subscribers.capacity()) {
            subscribers.shrink_to(2 * subscribers.len());
        }
        Some(subscriber)
    }

    /// Tells one subscriber something, after all that was said before.
    fn reply(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        answer: impl IntoIterator<Item = ServerMessage>,
    ) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Stream { groups, log, held, presence, .. } = stream;
        let group = groups.get_mut(&key.group);
        let Some(subscriber) = group.and_then(|group| group.get_mut(&key.session)) else { return };
        let was_held = subscriber.is_held;
        let mut messages = Stream::catch_up(log, held, subscriber, self.now);
        repeat_to(&key.group, &mut messages, || presence.repeated(self.settings.max_answer));
        messages.extend(answer);
        let recipient = subscriber.recipient.clone();
        self.send(recipient, key, messages);
        if was_held {
            self.give_back(index);
        }
    }

    fn send(&mut self, recipient: R, key: &SubscriberKey, messages: Vec<ServerMessage>) {
        if !messages.is_empty() {
            self.reply_weight += weight(&messages);
            let (group, reference) = (key.group.clone(), self.reference.clone());
            self.replies.push_back(Delivery { recipient, group, messages, reference });
        }
    }

    /// Says that a command was followed, to a client that gave it a name.
    fn done(&mut self, index: u32, key: &SubscriberKey) {
        if self.reference.is_some() {
            self.reply(index, key, [ServerMessage::Done]);
        }
    }

    fn refuse(
        &mut self,
        stream: u32,
        key: &SubscriberKey,
        kind: CommandKind,
        reason: Cow<'static, str>,
    ) {
        if let (true, Some(reference)) = (self.is_answered, &self.reference) {
            let subscription = reference.subscription.clone();
            self.reference = Some(Arc::new(Reference { subscription, request: None }));
        }
        self.reply(stream, key, [ServerMessage::Refused(reason)]);
        self.counts.commands.push((kind, false));
    }

    fn find(&self, name: &StreamName) -> Option<u32> {
        self.names.get(name).copied()
    }

    fn find_or_add(&mut self, name: &StreamName) -> u32 {
        self.find(name).unwrap_or_else(|| {
            let epoch = self.next_epoch();
            let history = History::new(epoch, self.forgotten);
            let key = self.add(name, history);
            self.keep_began(key);
            key
        })
    }

    fn add(&mut self, name: &StreamName, history: History) -> u32 {
        let presence = PresenceSet::numbered_from(self.next_number());
        let key = u32::try_from(self.streams.insert(Stream::new(name.clone(), presence, history)));
        let key = key.unwrap_or(u32::MAX); // four billion streams don't fit in memory
        self.names.insert(name.clone(), key);
        key
    }

    fn forget_if_idle(&mut self, index: u32) {
        if self.streams.get(index as usize).is_some_and(Stream::is_idle)
            && let Some(stream) = self.streams.remove(index as usize)
        {
            self.backlog -= stream.log.weight();
            self.noted -= stream.journal.weight();
            self.forgotten = self.forgotten.max(stream.history.lost());
            self.names.remove(&stream.name);
            if is_roomy(self.names.len(), self.names.capacity()) {
                self.names.shrink_to(2 * self.names.len());
            }
            if let Some(due) = stream.journal_due {
                self.journals.cancel(due);
            }
            if let Some(due) = stream.count_due {
                self.deadlines.cancel(due);
            }
            if let Some(pause) = stream.pause {
                self.paused.cancel(pause);
            }
            let (stream, lost) = (stream.name, stream.history.lost());
            self.keep(|| Change::Forgotten { stream, lost });
        }
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

//! A stream on this node: its state, history and journal, its subscribers, and the messages that aren't
//! sent to all of them yet.

use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::deadlines::Deadline;
use super::delivery::FanOut;
use super::member_lists::{pause_behind, repeat_to};
use super::window::Window;
use crate::log::{Known, Position};
use crate::stream::{Head, History, Journal, State, Ticks};
use crate::types::{
    CachedList, GroupKey, IdList, MemberChange, MemberEvent, Offset, ServerMessage, SessionId,
    StreamName, Watch,
};

#[derive(Debug)]
pub(super) struct Stream<R> {
    pub(super) name: StreamName,
    pub(super) state: State,
    pub(super) groups: Groups<R>,
    pub(super) journal: Journal,
    /// Timer for dropping journal entries that nobody can need any more.
    pub(super) journal_timer: Option<Deadline>,
    pub(super) history: History,
    pub(super) window: Window,
    pub(super) held: HeldSubscribers,
    /// Time since which a subscriber has unsent messages.
    pub(super) behind_since: Option<Instant>,
    /// The same, if all of them can wait: then the fan-out is deferred.
    pub(super) deferred_since: Option<Instant>,
    /// Time until which changes wait for more, after a list of members was sent.
    pub(super) paused_until: Option<Instant>,
    /// Timer for that, if changes wait.
    pub(super) pause_timer: Option<Deadline>,
    /// Time of the last occupancy message, and the number in it if all subscribers have that.
    pub(super) last_occupancy: Option<(Instant, Option<usize>)>,
    /// Timer of the next occupancy message.
    pub(super) occupancy_timer: Option<Deadline>,
    pub(super) idling: Idling,
    pass: Pass,
}

/// How long a stream of a shared log has been idle here: what this node says of that is in
/// [`idle`](super::idle).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idling {
    /// Tick until which it is idle before this node says so, while it is; else 0.
    pub(super) until: u32,
    /// Whether it has a timer, which may ring before.
    pub(super) has_timer: bool,
}

/// Subscribers by group: a group gets the same bytes.
pub(super) type Groups<R> = IndexMap<GroupKey, Group<R>, RandomState>;

/// A group's subscribers by their session.
pub(super) type Group<R> = IndexMap<SessionId, Subscriber<R>, RandomState>;

#[derive(Debug)]
pub(super) struct Subscriber<R> {
    /// Destination of its messages.
    pub(super) recipient: R,
    /// Place in the window up to which it has been sent.
    pub(super) sent: u64,
    /// State of the resume, if its session was resumed.
    pub(super) resumed: Option<Box<Resumed>>,
    /// Tick of its last confirmation on this connection, or [`UNCONFIRMED`].
    pub(super) confirmed: u32,
    /// Held after a resume: nothing is sent until it has requested what it missed.
    pub(super) is_held: bool,
}

/// Tick of a subscriber that isn't confirmed on its connection. Four bytes less than an option.
pub(super) const UNCONFIRMED: u32 = u32::MAX;

/// State of a resumed subscriber.
#[derive(Debug)]
pub(super) struct Resumed {
    /// Time of the resume, or of the end of the hold.
    pub(super) at: Instant,
    /// Member events it had before: the connection may end before the missed ones arrive.
    pub(super) known: Known,
    /// Last offset at the resume, until the client's first command for the subscription: later publications
    /// are sent live.
    pub(super) live_after: Option<Offset>,
    /// Places in the window, ascending, of messages that exclude it, while it is held.
    excluded: Vec<u64>,
}

impl Resumed {
    pub(super) fn new(at: Instant, known: Known) -> Self {
        Self { at, known, live_after: None, excluded: Vec::new() }
    }
}

impl<R> Subscriber<R> {
    /// Offset up to which its first history request after a resume is answered.
    pub(super) fn live_after(&self) -> Option<Offset> {
        self.resumed.as_ref()?.live_after
    }

    /// Notes a command of its client; returns whether it is the first one after a resume.
    pub(super) fn end_silence(&mut self) -> bool {
        self.resumed.as_mut().is_some_and(|resumed| resumed.live_after.take().is_some())
    }

    /// State of its resume, of a subscriber that was resumed: only those are held.
    pub(super) fn live_resumed(&mut self) -> &mut Resumed {
        match &mut self.resumed {
            Some(resumed) => resumed,
            None => not_resumed(),
        }
    }

    /// Excludes it from the next message.
    fn exclude(&mut self, position: u64) {
        if let Some(resumed) = &mut self.resumed {
            resumed.excluded.push(position);
        }
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the shard, whose streams are lost then")]
fn not_resumed() -> ! {
    panic!("a subscriber is held that wasn't resumed")
}

/// The held subscribers, for which messages stay in the window.
#[derive(Debug, Default)]
pub(super) struct HeldSubscribers {
    count: usize,
    /// Place up to which all of them have been sent.
    floor: u64,
}

impl HeldSubscribers {
    pub(super) fn add<R>(&mut self, subscriber: &mut Subscriber<R>) {
        if self.count == 0 {
            self.floor = subscriber.sent;
        }
        self.count += 1;
        subscriber.is_held = true;
    }

    /// Ends the hold of a subscriber. Returns the places of messages that exclude it.
    pub(super) fn release<R>(&mut self, subscriber: &mut Subscriber<R>, now: Instant) -> Vec<u64> {
        if !std::mem::take(&mut subscriber.is_held) {
            return Vec::new();
        }
        self.count -= 1;
        let resumed = subscriber.live_resumed();
        resumed.at = now; // what is sent now may not arrive either
        std::mem::take(&mut resumed.excluded)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Place up to which everyone has the window, if all that aren't held have it up to a given one.
    fn everyone_has(&self, position: u64) -> u64 {
        if self.is_empty() { position } else { position.min(self.floor) }
    }
}

/// One fan-out: a walk over all subscribers that brings them up to `target`.
///
/// It goes from the last group to the first and from the last subscriber to the first, because
/// removing an entry of an `IndexMap` moves the last one into its place, which has been visited
/// already or is new. A second visit sends nothing again, since each subscriber has its place.
#[derive(Debug, Default)]
struct Pass {
    /// A fan-out is due.
    is_wanted: bool,
    /// All messages are member events, which occupancy subscribers don't get.
    is_of_members: bool,
    /// Groups before this one, and its subscribers before that one, are left. Four bytes are enough: more groups don't
    /// fit in memory.
    group: u32,
    subscriber: usize,
    target: u64,
    /// End of the journal at the target.
    noted: Position,
    /// Members at the target, if a group repeats them.
    members: Option<Arc<CachedList<IdList>>>,
}

impl<R: Clone> Stream<R> {
    pub(super) fn new(name: StreamName, history: History) -> Self {
        Self {
            name,
            state: State::default(),
            groups: Groups::default(),
            journal: Journal::default(),
            journal_timer: None,
            history,
            window: Window::default(),
            held: HeldSubscribers::default(),
            behind_since: None,
            deferred_since: None,
            paused_until: None,
            pause_timer: None,
            last_occupancy: None,
            occupancy_timer: None,
            idling: Idling::default(),
            pass: Pass::default(),
        }
    }

    /// Approximate memory of an empty stream in bytes: itself, its name and its places in maps.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.name.as_str().len() + 128
    }

    /// Whether it has occupancy subscribers.
    pub(super) fn has_occupancy_watchers(&self) -> bool {
        self.groups.keys().any(|group| group.watch == Watch::Occupancy)
    }

    /// Whether it can be forgotten without loss.
    pub(super) fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.history.is_empty() && self.state.is_empty()
    }

    /// Whether it has subscribers, or publications for some.
    pub(super) fn is_in_use(&self, now: Instant) -> bool {
        !self.groups.is_empty() || self.history.is_kept_after(now)
    }

    /// Head of its history.
    pub(super) fn head(&self) -> Head<'_> {
        Head { epoch: self.state.epoch(), offset: self.state.head() }
    }

    /// Adds a message of an entry for all current subscribers.
    pub(super) fn push_message(&mut self, position: Position, message: ServerMessage) {
        if !self.groups.is_empty() {
            self.window.push(position, message);
        }
    }

    /// Member events a subscriber has got. `unacked_since` is the time since which deliveries are
    /// unconfirmed, if any are.
    pub(super) fn known(
        &self,
        subscriber: &Subscriber<R>,
        unacked_since: Option<Instant>,
        ticks: Ticks,
    ) -> Known {
        let mut unsent = self.window.range(subscriber.sent, self.window.end());
        let first = unsent.find(|(_, message)| is_noted(message)).map(|(position, _)| *position);
        let known = self.journal.known(first.unwrap_or(self.journal.end()), unacked_since, ticks);
        match subscriber.resumed.as_deref() {
            Some(Resumed { at, known: before, .. })
                if unacked_since.is_some_and(|unacked_since| unacked_since <= *at) =>
            {
                known.or_as_before(*before)
            }
            Some(_) | None => known,
        }
    }

    /// Messages that bring a subscriber up to date on members; `None` if the journal doesn't reach back.
    pub(super) fn news(&self, known: Known) -> Option<Vec<ServerMessage>> {
        let news = self.journal.missed(known)?.into_iter().filter_map(|(id, event)| {
            let shown = self.state.presence().shown_of(id);
            let info = || shown.map(|(info, _)| info.clone());
            let change = match event {
                MemberEvent::Joined => MemberChange::Joined { info: info()? },
                MemberEvent::Updated => MemberChange::Updated { info: info()? },
                MemberEvent::Left => MemberChange::Left,
            };
            let extra = shown.and_then(|(_, extra)| extra.clone());
            Some(ServerMessage::Missed { id: id.clone(), change, extra })
        });
        Some(news.collect())
    }

    /// Takes a subscriber's unsent messages, without the lists of [`repeat_to`].
    pub(super) fn catch_up(
        window: &Window,
        held: &mut HeldSubscribers,
        subscriber: &mut Subscriber<R>,
        now: Instant,
    ) -> Vec<ServerMessage> {
        let excluded = held.release(subscriber, now);
        let sent = subscriber.sent.max(window.start());
        let behind = (sent..).zip(window.range(sent, window.end()));
        let behind = behind.filter(|(position, _)| excluded.binary_search(position).is_err());
        let behind = behind.map(|(_, (_, message))| message.clone()).collect();
        subscriber.sent = window.end();
        behind
    }

    /// Takes a subscriber's unsent messages before one that excludes it; none while it is held.
    pub(super) fn catch_up_except(
        window: &Window,
        held: &mut HeldSubscribers,
        subscriber: &mut Subscriber<R>,
        now: Instant,
    ) -> Vec<ServerMessage> {
        if subscriber.is_held {
            subscriber.exclude(window.end());
            return Vec::new();
        }
        let behind = Self::catch_up(window, held, subscriber, now);
        subscriber.sent += 1; // as if it had been sent what is said next
        behind
    }

    /// Notes that offsets begin anew: subscribers are sent all of them live.
    pub(super) fn restart_offsets(&mut self) {
        let subscribers = self.groups.values_mut().flat_map(IndexMap::values_mut);
        for resumed in subscribers.filter_map(|subscriber| subscriber.resumed.as_mut()) {
            resumed.live_after = resumed.live_after.map(|_| Offset::default());
        }
    }

    /// Requests a fan-out. It begins in its turn, so messages until then go in the same write.
    pub(super) fn want_pass(&mut self) {
        self.pass.is_wanted = true;
    }

    /// Begins a fan-out of all messages so far.
    fn begin_pass(&mut self, max_repeated: usize, now: Instant) {
        let repeats = self.groups.keys().any(|group| group.codec.repeats_members());
        let members = if repeats { self.state.presence().repeated(max_repeated) } else { None };
        self.paused_until = members.as_ref().map(|members| now + pause_behind(members));
        self.pass = Pass {
            is_wanted: false,
            group: u32::try_from(self.groups.len()).unwrap_or(u32::MAX),
            subscriber: usize::MAX,
            target: self.window.end(),
            noted: self.journal.end(),
            members,
            is_of_members: self
                .window
                .range(0, self.window.end())
                .all(|(_, it)| it.is_of_members()),
        };
    }

    /// Takes up to `max` subscribers of one group with unsent messages, which then count as sent. `None` at
    /// the end of the fan-out. Lists of more than `max_repeated` bytes aren't repeated.
    pub(super) fn next_slice(
        &mut self,
        max: usize,
        max_repeated: usize,
        now: Instant,
    ) -> Option<FanOut<R>> {
        if self.pass.is_wanted {
            self.begin_pass(max_repeated, now);
        }
        while let Some(index) = (self.pass.group as usize).min(self.groups.len()).checked_sub(1) {
            let slice = self.slice_of_group(index, max);
            if self.pass.subscriber == 0 {
                self.pass.group = u32::try_from(index).unwrap_or(u32::MAX);
                self.pass.subscriber = usize::MAX;
            }
            if slice.is_some() {
                return slice;
            }
        }
        self.pass.group = 0;
        None
    }

    /// Whether the fan-out has reached everyone.
    pub(super) fn pass_is_over(&self) -> bool {
        self.pass.group == 0
    }

    fn slice_of_group(&mut self, index: usize, max: usize) -> Option<FanOut<R>> {
        let target = self.pass.target;
        let (key, group) = self.groups.get_index_mut(index)?;
        if self.pass.is_of_members && key.watch == Watch::Occupancy {
            self.pass.subscriber = 0;
            return None;
        }
        let (start, mut at) = (self.window.start(), self.pass.subscriber.min(group.len()));
        let (mut recipients, mut earliest) = (Vec::new(), target);
        while at > 0 && recipients.len() < max.max(1) {
            at -= 1;
            let Some((_, subscriber)) = group.get_index_mut(at) else { break };
            if subscriber.sent < target && !subscriber.is_held {
                let sent = subscriber.sent.max(start); // what is before was not for it
                earliest = earliest.min(sent);
                recipients.push((subscriber.recipient.clone(), sent));
                subscriber.sent = target;
            }
        }
        self.pass.subscriber = at;
        if recipients.is_empty() {
            return None;
        }
        let has = |sent: u64| usize::try_from(sent - earliest).unwrap_or(usize::MAX);
        let messages = self.window.range(earliest, target);
        let mut messages: Vec<_> = messages.map(|(_, message)| message.clone()).collect();
        repeat_to(key, &mut messages, || self.pass.members.clone());
        Some(FanOut {
            group: key.clone(),
            messages,
            recipients: recipients.into_iter().map(|(r, sent)| (r, has(sent))).collect(),
        })
    }

    /// Ends a fan-out: drops messages that everyone has. Returns whether there are new ones.
    pub(super) fn end_pass(&mut self, ticks: Ticks, now: Instant) -> bool {
        self.window.trim(self.held.everyone_has(self.pass.target));
        self.journal.mark_sent(self.pass.noted, ticks, now);
        self.pass.members = None;
        self.window.end() > self.pass.target
    }

    /// Restarts the current group after a group was removed, which shifts the others.
    pub(super) fn group_removed(&mut self) {
        self.pass.subscriber = usize::MAX;
    }
}

/// Whether the journal has an entry for a message.
fn is_noted(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Presence(change) if change.member.event().is_some())
}

//! A stream as a node has it: its state, what is kept of it, its subscribers, and what has been said and
//! not yet been sent to all of them.

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
    GroupKey, IdList, Listed, MemberChange, MemberEvent, Offset, ServerMessage, SessionId,
    StreamName, Watch,
};

#[derive(Debug)]
pub(super) struct Stream<R> {
    pub(super) name: StreamName,
    pub(super) state: State,
    pub(super) groups: Groups<R>,
    pub(super) journal: Journal,
    /// When the journal is looked at, to give back what nobody can need any more.
    pub(super) journal_due: Option<Deadline>,
    pub(super) history: History,
    pub(super) window: Window,
    pub(super) held: Held,
    /// Since when a subscriber lacks something, if one does.
    pub(super) behind_since: Option<Instant>,
    /// The same, if none of it is in a hurry.
    pub(super) unhurried_since: Option<Instant>,
    /// Until when changes wait for others, as who is present has just been repeated.
    pub(super) paused_until: Option<Instant>,
    /// When they have their turn, if some wait.
    pub(super) pause: Option<Deadline>,
    /// When those who only count were last told, and the number that all of them know, if it is
    /// the same one.
    pub(super) counted: Option<(Instant, Option<usize>)>,
    /// When they are told next, if there is something to tell.
    pub(super) count_due: Option<Deadline>,
    pass: Pass,
}

/// Subscribers that are sent the very same bytes, by what makes them so.
pub(super) type Groups<R> = IndexMap<GroupKey, Group<R>, RandomState>;

/// A group's subscribers by their session.
pub(super) type Group<R> = IndexMap<SessionId, Subscriber<R>, RandomState>;

#[derive(Debug)]
pub(super) struct Subscriber<R> {
    /// Where what it is told goes.
    pub(super) recipient: R,
    /// It has been sent the window up to here.
    pub(super) sent: u64,
    /// What is kept of it from the resume, if its session was resumed.
    pub(super) resumed: Option<Box<Resumed>>,
    /// At which tick it was last confirmed on the connection it has, or [`UNCONFIRMED`].
    pub(super) confirmed: u32,
    /// It has been resumed and is told nothing until it has asked for what it missed.
    pub(super) is_held: bool,
}

/// The tick of a subscriber that wasn't confirmed on its connection. Four bytes less than an option.
pub(super) const UNCONFIRMED: u32 = u32::MAX;

/// What is kept of a subscriber whose session was resumed.
#[derive(Debug)]
pub(super) struct Resumed {
    /// When it was last told what it had been kept from: at the resume, or when its hold ended.
    pub(super) at: Instant,
    /// What it knew of the members before, for the connection may end before the news arrives.
    pub(super) known: Known,
    /// The stream's last offset at the resume, until the client has said something about the
    /// subscription: it is sent live what came later.
    pub(super) live_after: Option<Offset>,
    /// Places in the window, ascending, of what isn't meant for it, while it is held.
    excluded: Vec<u64>,
}

impl Resumed {
    pub(super) fn new(at: Instant, known: Known) -> Self {
        Self { at, known, live_after: None, excluded: Vec::new() }
    }
}

impl<R> Subscriber<R> {
    /// Up to which offset its first request for history after a resume is answered.
    pub(super) fn live_after(&self) -> Option<Offset> {
        self.resumed.as_ref()?.live_after
    }

    /// Its client says something about it; whether that is the first thing after a resume.
    pub(super) fn end_silence(&mut self) -> bool {
        self.resumed.as_mut().is_some_and(|resumed| resumed.live_after.take().is_some())
    }

    /// Leaves it out of what is said next.
    fn exclude(&mut self, position: u64) {
        if let Some(resumed) = &mut self.resumed {
            resumed.excluded.push(position);
        }
    }
}

/// The subscribers that are held: what is said meanwhile stays in the window.
#[derive(Debug, Default)]
pub(super) struct Held {
    count: usize,
    /// The first has been sent the window up to here, and the others more.
    floor: u64,
}

impl Held {
    pub(super) fn add<R>(&mut self, subscriber: &mut Subscriber<R>) {
        if self.count == 0 {
            self.floor = subscriber.sent;
        }
        self.count += 1;
        subscriber.is_held = true;
    }

    /// A subscriber goes, or is told everything at a time. Gives the positions of what isn't meant
    /// for it.
    pub(super) fn release<R>(&mut self, subscriber: &mut Subscriber<R>, now: Instant) -> Vec<u64> {
        if !std::mem::take(&mut subscriber.is_held) {
            return Vec::new();
        }
        self.count -= 1;
        let Some(resumed) = &mut subscriber.resumed else { return Vec::new() };
        resumed.at = now; // what it is told now may not arrive either
        std::mem::take(&mut resumed.excluded)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How far of the window everyone has, if those who aren't held have it up to a position.
    fn everyone_has(&self, position: u64) -> u64 {
        if self.is_empty() { position } else { position.min(self.floor) }
    }
}

/// One walk over all subscribers, to bring them up to `target`.
///
/// It goes from the last group to the first and from the last subscriber to the first, because
/// taking an entry out of an `IndexMap` moves the last one into its place: that one has then been
/// visited already, or is new and lacks nothing. A visit twice sends nothing twice, since every
/// subscriber knows how far it is.
#[derive(Debug, Default)]
struct Pass {
    /// It hasn't begun.
    is_wanted: bool,
    /// The groups before this one, and in it the subscribers before that one, are still to do.
    group: usize,
    subscriber: usize,
    target: u64,
    /// The end of the journal that goes with the target.
    noted: Position,
    /// Who was present at the target, where somebody is told that with the changes.
    members: Option<Arc<Listed<IdList>>>,
    /// All that is told is of members, which those who only count are not.
    is_of_members: bool,
}

impl<R: Clone> Stream<R> {
    pub(super) fn new(name: StreamName, history: History) -> Self {
        Self {
            name,
            state: State::default(),
            groups: Groups::default(),
            journal: Journal::default(),
            journal_due: None,
            history,
            window: Window::default(),
            held: Held::default(),
            behind_since: None,
            unhurried_since: None,
            paused_until: None,
            pause: None,
            counted: None,
            count_due: None,
            pass: Pass::default(),
        }
    }

    /// Roughly the memory that a stream takes apart from what it keeps: itself, its name, its place
    /// in the maps of names and of deadlines.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.name.as_str().len() + 128
    }

    /// Whether somebody only counts the members.
    pub(super) fn is_counted(&self) -> bool {
        self.groups.keys().any(|group| group.watch == Watch::Occupancy)
    }

    /// Whether nothing would be lost by forgetting the stream.
    pub(super) fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.history.is_empty() && self.state.is_empty()
    }

    /// Where its history has got to.
    pub(super) fn head(&self) -> Head<'_> {
        Head { epoch: self.state.epoch(), offset: self.state.head() }
    }

    /// Says something to all subscribers, of an entry. Whoever subscribes later begins behind it.
    pub(super) fn say(&mut self, position: Position, message: ServerMessage) {
        if !self.groups.is_empty() {
            self.window.push(position, message);
        }
    }

    /// What a subscriber knows of the members, if what it was sent is in doubt since a time.
    pub(super) fn known(
        &self,
        subscriber: &Subscriber<R>,
        doubt: Option<Instant>,
        ticks: Ticks,
    ) -> Known {
        let mut unsent = self.window.range(subscriber.sent, self.window.end());
        let first = unsent.find(|(_, message)| is_noted(message)).map(|(position, _)| *position);
        let known = self.journal.known(first.unwrap_or(self.journal.end()), doubt, ticks);
        match subscriber.resumed.as_deref() {
            Some(Resumed { at, known: before, .. }) if doubt.is_some_and(|doubt| doubt <= *at) => {
                known.or_as_before(*before)
            }
            Some(_) | None => known,
        }
    }

    /// What a subscriber that knew so much is to be told of the members; `None` if not all of it is
    /// kept.
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

    /// What a subscriber is yet to be sent; from then on it counts as sent. What goes along with it is
    /// [`repeat_to`]'s matter.
    pub(super) fn catch_up(
        window: &Window,
        held: &mut Held,
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

    /// What a subscriber is yet to be sent before it is left out of what is said next; nothing while
    /// it is held, as it stays so.
    pub(super) fn catch_up_except(
        window: &Window,
        held: &mut Held,
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

    /// Notes that somebody lacks something. The pass begins when it is its turn, so what is said
    /// until then goes along in the same write.
    pub(super) fn want_pass(&mut self) {
        self.pass.is_wanted = true;
    }

    /// Begins to bring everyone up to what has been said by now.
    fn begin_pass(&mut self, most_repeated: usize, now: Instant) {
        let repeats = self.groups.keys().any(|group| group.codec.repeats_members());
        let members = if repeats { self.state.presence().repeated(most_repeated) } else { None };
        self.paused_until = members.as_ref().map(|members| now + pause_behind(members));
        self.pass = Pass {
            is_wanted: false,
            group: self.groups.len(),
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

    /// Takes up to `most` subscribers of one group that lack something, and counts it as sent.
    /// `None` when the pass is over. Who is present is repeated to nobody if a list of that has more
    /// than `most_repeated` bytes.
    pub(super) fn next_slice(
        &mut self,
        most: usize,
        most_repeated: usize,
        now: Instant,
    ) -> Option<FanOut<R>> {
        if self.pass.is_wanted {
            self.begin_pass(most_repeated, now);
        }
        while let Some(index) = self.pass.group.min(self.groups.len()).checked_sub(1) {
            let slice = self.slice_of_group(index, most);
            if self.pass.subscriber == 0 {
                self.pass.group = index;
                self.pass.subscriber = usize::MAX;
            }
            if slice.is_some() {
                return slice;
            }
        }
        self.pass.group = 0;
        None
    }

    /// Whether the pass has been to everyone.
    pub(super) fn pass_is_over(&self) -> bool {
        self.pass.group == 0
    }

    fn slice_of_group(&mut self, index: usize, most: usize) -> Option<FanOut<R>> {
        let target = self.pass.target;
        let (key, group) = self.groups.get_index_mut(index)?;
        if self.pass.is_of_members && key.watch == Watch::Occupancy {
            self.pass.subscriber = 0;
            return None;
        }
        let (start, mut at) = (self.window.start(), self.pass.subscriber.min(group.len()));
        let (mut recipients, mut earliest) = (Vec::new(), target);
        while at > 0 && recipients.len() < most.max(1) {
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

    /// Ends a pass: forgets what everyone has. Whether there is something to say already.
    pub(super) fn end_pass(&mut self, ticks: Ticks, now: Instant) -> bool {
        self.window.trim(self.held.everyone_has(self.pass.target));
        self.journal.told(self.pass.noted, ticks, now);
        self.pass.members = None;
        self.window.end() > self.pass.target
    }

    /// A group that has gone shifts the others: the one under way is then walked again.
    pub(super) fn group_removed(&mut self) {
        self.pass.subscriber = usize::MAX;
    }
}

/// Whether the journal notes what a message tells.
fn is_noted(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Presence(change) if change.member.event().is_some())
}

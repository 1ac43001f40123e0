//! A naive model of a shard's streams: lists that are searched, and each subscriber's messages, noted as
//! they are due.
//!
//! It knows no slices and no log: a subscriber gets, in order, the messages since its subscribe.

mod inputs;

use std::sync::Arc;

use broker::protocol::action_cable;
use broker::shard::{GroupKey, SubscriberKey, Totals};
use broker::types::{
    CachedList, CommandKind, Grant, HistoryRequest, Identifier, Join, JoinCause, LeaveCause, Limit,
    Listing, Member, MemberChange, MemberList, PresenceChange, PresenceId, Publication, RawJson,
    RecordChange, Repeat, ServerMessage, SessionId, StreamCommand, StreamName, SubscribeOptions,
    UpdateCause, Whisper,
};

pub(crate) use self::inputs::{Command, Given, Key, Presence, Step};

/// Number of streams; a subscription's name determines its stream.
pub(crate) const STREAMS: usize = 2;
/// Number of names for a connection's subscriptions.
pub(crate) const NAMES: usize = 5;
/// Maximum number of open connections.
pub(crate) const CONNECTIONS: usize = 6;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Milliseconds.
    pub(crate) ttl: u64,
    /// Maximum number of members in a stream.
    pub(crate) max_members: usize,
    /// Maximum size of a list, in bytes.
    pub(crate) max_answer: usize,
    pub(crate) now: u64,
    /// All subscriptions so far; the index is the recipient.
    pub(crate) subscriptions: Vec<Subscription>,
    /// Records of all streams, by their last change.
    records: Vec<Record>,
    /// A record was taken over that isn't the one of its member that changed last.
    adopted: bool,
    /// Each stream's members in order of arrival.
    members: [Vec<PresenceId>; STREAMS],
    /// The number of each stream's latest lifetime.
    lifetimes: [usize; STREAMS],
    /// Number of earlier connections in each place.
    generations: [usize; CONNECTIONS],
    numbers: u64,
    /// The shard's inputs in the last step.
    pub(crate) given: Vec<Given>,
    /// The shard's counts in the last step.
    pub(crate) counted: Counted,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    connection: usize,
    name: usize,
    pub(crate) stream: usize,
    /// Number of the stream's lifetime.
    pub(crate) lifetime: usize,
    pub(crate) key: SubscriberKey,
    pub(crate) is_held: bool,
    /// All messages it must get, in order.
    pub(crate) told: Vec<ServerMessage>,
    /// Number of messages up to the last answer, which it has got once the replies are sent.
    pub(crate) answered: usize,
    /// Time of its last confirmation.
    confirmed: Option<u64>,
}

#[derive(Clone, Debug)]
struct Record {
    stream: usize,
    /// The presence id and info that it shows.
    join: Join,
    /// Number of its last change.
    reference: u64,
    holder: Holder,
    /// Its expiry, and the number of the step that set it.
    deadline: Option<(u64, u64)>,
}

/// Owner of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    /// A subscription, by its number.
    Subscription(usize),
    Application,
    /// Nobody: the connection has ended, and can't be resumed.
    Orphan,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) commands: Vec<(CommandKind, bool)>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) publications: u64,
    pub(crate) joins: Vec<JoinCause>,
    pub(crate) leaves: Vec<LeaveCause>,
    pub(crate) updates: Vec<UpdateCause>,
    /// Milliseconds.
    pub(crate) expiry_lags: Vec<u64>,
}

/// The last name's stream has one group of subscribers, the other has several.
fn stream_of(name: usize) -> usize {
    usize::from(name == NAMES - 1)
}

pub(crate) fn stream_name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

impl Model {
    pub(crate) fn new((ttl, max_members, max_answer): (u64, usize, usize)) -> Self {
        Self {
            ttl,
            max_members,
            max_answer,
            now: 0,
            subscriptions: Vec::new(),
            records: Vec::new(),
            adopted: false,
            members: Default::default(),
            lifetimes: Default::default(),
            generations: Default::default(),
            numbers: 0,
            given: Vec::new(),
            counted: Counted::default(),
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        self.given.clear();
        self.counted = Counted::default();
        match step {
            Step::Subscribe { key, join, history, repeat } => {
                self.subscribe(*key, join.as_ref(), *history, *repeat);
            }
            Step::Join { key, presence } => {
                let Some(held) = self.held(*key) else { return };
                self.give(held, StreamCommand::Join(presence.clone()));
                self.join(held, presence, JoinCause::Joined);
            }
            Step::Command { key, what } => {
                if let Some(held) = self.held(*key) {
                    self.command(held, *what);
                }
            }
            Step::Publish { stream, except } => {
                let data = self.payload();
                let publication = Arc::new(Publication {
                    stream: stream_name(*stream),
                    data: data.clone(),
                    labels: None,
                    at: 0,
                    position: None,
                });
                let except = except.map(|connection| self.session(connection));
                let message = ServerMessage::Publication(publication);
                self.given.push(Given::Publish { stream: *stream, data, except });
                self.say(*stream, &message, except);
                self.counted.publications += 1;
            }
            Step::Put { stream, presence, ttl } => self.put(*stream, presence, *ttl),
            Step::Kick { stream, id } => self.kick(*stream, id),
            Step::End { connection, late } => self.end(*connection, *late),
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Expire => {
                let mut over: Vec<(u64, u64)> =
                    self.records.iter().filter_map(|r| r.deadline).collect();
                over.retain(|(at, _)| *at <= self.now);
                over.sort_unstable();
                for deadline in over {
                    self.counted.expiry_lags.push(self.now - deadline.0);
                    self.remove(|record| record.deadline == Some(deadline), LeaveCause::Expired);
                }
            }
            Step::Reply | Step::FanOut { .. } => {}
        }
    }

    /// The subscriptions that connections hold.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let held = self.subscriptions.iter().filter(|held| held.is_held);
        held.map(|held| (held.connection, held.name)).collect()
    }

    pub(crate) fn list(&self, stream: usize) -> MemberList {
        let member = |id: &PresenceId| {
            let Join { id, info, extra } = self.seen(stream, id).expect("a member has a record");
            Member { id, info, extra }
        };
        self.members[stream].iter().map(member).collect()
    }

    /// The members with the infos of their records, the last changed at the end.
    pub(crate) fn infos(&self, stream: usize) -> Vec<(PresenceId, Vec<RawJson>)> {
        let of = |id: &PresenceId| {
            let of_id = |record: &&Record| record.stream == stream && record.join.id == *id;
            self.records.iter().filter(of_id).map(|record| record.join.info.clone()).collect()
        };
        self.members[stream].iter().map(|id| (id.clone(), of(id))).collect()
    }

    /// The bytes of all members in a list: `{"id":"…","info":…,"data":…},` each.
    fn list_size(&self, stream: usize) -> usize {
        let member = |Member { id, info, extra }: Member| {
            let extra = extra.map_or(String::new(), |extra| format!(",\"data\":{extra}"));
            format!("{{\"id\":\"{id}\",\"info\":{info}{extra}}},")
        };
        self.list(stream).into_iter().map(|it| member(it).len()).sum()
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.records.iter().filter_map(|record| record.deadline).map(|(at, _)| at).min()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            streams: (0..STREAMS).filter(|stream| self.lives(*stream)).count(),
            subscriptions: self.keys().len(),
            members: self.members.iter().map(Vec::len).sum(),
            records: self.records.len(),
            ..Totals::default()
        }
    }

    /// Whether anyone follows a stream or is present in it.
    fn lives(&self, stream: usize) -> bool {
        self.subscriptions.iter().any(|held| held.is_held && held.stream == stream)
            || !self.members[stream].is_empty()
    }

    fn session(&self, connection: usize) -> SessionId {
        SessionId::from_bits((self.generations[connection] * CONNECTIONS + connection) as u128)
    }

    fn held(&self, (connection, name): Key) -> Option<usize> {
        self.subscriptions
            .iter()
            .position(|held| held.is_held && held.connection == connection && held.name == name)
    }

    fn give(&mut self, subscription: usize, command: StreamCommand) {
        self.given.push(Given::Command { subscription, command });
    }

    fn subscribe(
        &mut self,
        key: Key,
        join: Option<&Result<Presence, ()>>,
        history: bool,
        repeat: Repeat,
    ) {
        let (connection, name) = key;
        let number = self.held(key).unwrap_or_else(|| {
            let stream = stream_of(name);
            if !self.lives(stream) {
                self.lifetimes[stream] = self.subscriptions.len();
            }
            let identifier = Identifier::from(format!("\"{name}\""));
            let group = GroupKey::new(action_cable::CODEC, identifier);
            self.subscriptions.push(Subscription {
                connection,
                name,
                stream,
                lifetime: self.lifetimes[stream],
                key: SubscriberKey { session: self.session(connection), group },
                is_held: true,
                told: Vec::new(),
                answered: 0,
                confirmed: None,
            });
            self.subscriptions.len() - 1
        });
        self.give(
            number,
            StreamCommand::Subscribe {
                join: join.map(|join| match join {
                    Ok(join) => Ok(join.clone()),
                    Err(()) => Err("no good".into()),
                }),
                history: history.then(HistoryRequest::default),
                options: SubscribeOptions { repeat, ..SubscribeOptions::default() },
                grant: Grant::OPEN,
            },
        );
        let is_confirmed = match (repeat, self.subscriptions[number].confirmed) {
            (Repeat::Elsewhere, _) | (Repeat::Never, Some(_)) => false,
            (Repeat::Always, _) | (_, None) => true,
            (Repeat::Later, Some(at)) => self.now >= (at / 100 + 1) * 100 + 5000,
        };
        self.counted.commands.push((CommandKind::Subscribe, true));
        if is_confirmed {
            self.subscriptions[number].confirmed = Some(self.now);
            self.answer(number, ServerMessage::Confirmed);
        }
        if history && is_confirmed {
            self.answer(number, ServerMessage::HistoryRejected); // none is kept
        }
        match join {
            Some(Ok(join)) => self.join(number, join, JoinCause::Subscribed),
            Some(Err(())) => self.refuse(number, CommandKind::Join, "no good"),
            None => {}
        }
    }

    fn command(&mut self, held: usize, what: Command) {
        let Subscription { stream, key: SubscriberKey { session, .. }, .. } =
            self.subscriptions[held];
        let of_held = |record: &Record| record.holder == Holder::Subscription(held);
        let (command, kind) = match what {
            Command::Unsubscribe => {
                self.subscriptions[held].is_held = false;
                self.remove(of_held, LeaveCause::Unsubscribed);
                (StreamCommand::Unsubscribe, CommandKind::Unsubscribe)
            }
            Command::Leave => {
                self.give(held, StreamCommand::Leave(None));
                let left = self.remove(of_held, LeaveCause::Left);
                if left {
                    self.counted.commands.push((CommandKind::Leave, true));
                } else {
                    self.refuse(held, CommandKind::Leave, "");
                }
                return;
            }
            Command::List if self.list_size(stream) > self.max_answer => {
                self.give(held, StreamCommand::List(Listing::Members));
                self.counted.limits.push(Limit::AnswerSize);
                self.refuse(held, CommandKind::Presence, "");
                return;
            }
            Command::List => {
                self.answer(
                    held,
                    ServerMessage::PresenceList(Arc::new(CachedList::new(self.list(stream)))),
                );
                (StreamCommand::List(Listing::Members), CommandKind::Presence)
            }
            Command::Count => {
                self.answer(held, ServerMessage::PresenceCount(self.members[stream].len()));
                (StreamCommand::List(Listing::Count), CommandKind::Presence)
            }
            Command::History => {
                self.give(held, StreamCommand::History(HistoryRequest::default()));
                self.answer(held, ServerMessage::HistoryRejected); // none is kept
                self.counted.commands.push((CommandKind::History, false));
                return;
            }
            Command::Whisper => {
                let data = self.payload();
                let whisper = Whisper { event: None, data };
                self.say(stream, &ServerMessage::Whisper(whisper.clone()), Some(session));
                (StreamCommand::Whisper { whisper, members_only: false }, CommandKind::Whisper)
            }
            Command::Refuse => {
                let kind = CommandKind::Presence;
                self.give(held, StreamCommand::RefusePresence(kind, "never".into()));
                self.refuse(held, kind, "never");
                return;
            }
        };
        self.give(held, command);
        self.counted.commands.push((kind, true));
    }

    fn join(&mut self, number: usize, join: &Join, cause: JoinCause) {
        let stream = self.subscriptions[number].stream;
        let holder = Holder::Subscription(number);
        let mut joined = self.records.iter().position(|record| record.holder == holder);
        if joined.is_none() {
            joined = self.adopt(stream, holder, join);
        }
        if joined.is_some_and(|at| self.records[at].join.id != join.id) {
            return self.refuse(number, CommandKind::Join, "");
        }
        if joined.is_none() && !self.has_room(stream, &join.id) {
            return self.refuse(number, CommandKind::Join, "");
        }
        self.counted.commands.push((CommandKind::Join, true));
        self.set_record((stream, holder), joined, join, cause);
    }

    /// Passes an orphan of the same id on to `holder`; returns its index. That counts as a change, if the
    /// member has changed since.
    fn adopt(&mut self, stream: usize, holder: Holder, join: &Join) -> Option<usize> {
        let of_id = |record: &Record| record.stream == stream && record.join.id == join.id;
        let is_orphan = |record: &Record| of_id(record) && record.holder == Holder::Orphan;
        let at = self.records.iter().rposition(is_orphan)?;
        let record = &mut self.records[at];
        (record.holder, record.deadline) = (holder, None);
        self.adopted = self.records.iter().rposition(of_id) != Some(at);
        Some(at)
    }

    fn put(&mut self, stream: usize, presence: &Presence, ttl: Option<u64>) {
        let holder = Holder::Application;
        let of_it = |record: &Record| {
            record.holder == holder && record.stream == stream && record.join.id == presence.id
        };
        let before = self.records.iter().position(of_it);
        let has_room = self.has_room(stream, &presence.id);
        let is_new = has_room.then_some(before.is_none());
        self.given.push(Given::Put { stream, presence: presence.clone(), ttl, is_new });
        if !has_room {
            return;
        }
        if !self.lives(stream) {
            self.lifetimes[stream] = self.subscriptions.len();
        }
        self.set_record((stream, holder), before, presence, JoinCause::Put);
        let deadline = ttl.map(|ttl| (self.now + ttl, self.number()));
        let record = self.records.iter_mut().find(|record| of_it(record));
        record.expect("it was put").deadline = deadline;
    }

    fn kick(&mut self, stream: usize, id: &PresenceId) {
        let of_id = |record: &&Record| record.stream == stream && record.join.id == *id;
        let records = self.records.iter().filter(of_id).count();
        self.given.push(Given::Kick { stream, id: id.clone(), records });
        while self.remove(|record| of_id(&record), LeaveCause::Kicked) {}
    }

    /// Whether a stream may have this member; counted if it may not.
    fn has_room(&mut self, stream: usize, id: &PresenceId) -> bool {
        let members = &self.members[stream];
        let has_room = members.len() < self.max_members || members.contains(id);
        if !has_room {
            self.counted.limits.push(Limit::Members);
        }
        has_room
    }

    /// Adds a record, or shows something else of the one at a place.
    fn set_record(
        &mut self,
        (stream, holder): (usize, Holder),
        joined: Option<usize>,
        join: &Join,
        cause: JoinCause,
    ) {
        let before = self.seen(stream, &join.id);
        let mut join = join.clone();
        // what the application doesn't say takes nothing away
        join.extra = join.extra.or_else(|| before.as_ref().and_then(|seen| seen.extra.clone()));
        let Join { id, info, extra } = join.clone();
        let is_moved = std::mem::take(&mut self.adopted);
        if !is_moved && joined.is_some_and(|at| self.records[at].join == join) {
            return; // as it is already
        }
        let reference = self.number();
        let record = match joined.map(|at| self.records.remove(at)) {
            Some(Record { reference: previous, join: Join { info: before, .. }, .. }) => {
                RecordChange::Updated { info: info.clone(), previous, before }
            }
            None => RecordChange::Added { info: info.clone() },
        };
        let member = match before {
            None => {
                self.members[stream].push(id.clone());
                self.counted.joins.push(cause);
                MemberChange::Joined { info }
            }
            Some(before) if before == join => MemberChange::Unchanged,
            Some(_) => {
                self.counted.updates.push(UpdateCause::Changed);
                MemberChange::Updated { info }
            }
        };
        self.records.push(Record { stream, join, reference, holder, deadline: None });
        let members = None;
        self.changed(stream, PresenceChange { id, reference, record, member, extra, members });
    }

    fn end(&mut self, connection: usize, late: u64) {
        for number in 0..self.subscriptions.len() {
            if !self.subscriptions[number].is_held
                || self.subscriptions[number].connection != connection
            {
                continue;
            }
            let late = late.min(self.now);
            self.given.push(Given::Ended { subscription: number, late });
            self.subscriptions[number].is_held = false;
            let of_it = |record: &Record| record.holder == Holder::Subscription(number);
            if self.ttl == 0 {
                self.remove(of_it, LeaveCause::Expired);
                continue;
            }
            let deadline = (self.now - late + self.ttl, self.number());
            if let Some(record) = self.records.iter_mut().find(|record| of_it(record)) {
                (record.deadline, record.holder) = (Some(deadline), Holder::Orphan);
            }
        }
        self.generations[connection] += 1;
    }

    /// Removes one record; returns whether there was one.
    fn remove(&mut self, which: impl Fn(&Record) -> bool, cause: LeaveCause) -> bool {
        let Some(at) = self.records.iter().position(which) else { return false };
        let (stream, id) = (self.records[at].stream, self.records[at].join.id.clone());
        let before = self.seen(stream, &id);
        let Record { join: Join { info, .. }, reference, .. } = self.records.remove(at);
        let after = self.seen(stream, &id);
        let extra = after.as_ref().or(before.as_ref()).and_then(|seen| seen.extra.clone());
        let member = match after {
            None => {
                self.members[stream].retain(|member| *member != id);
                self.counted.leaves.push(cause);
                MemberChange::Left
            }
            after if after == before => MemberChange::Unchanged,
            Some(Join { info, .. }) => {
                self.counted.updates.push(UpdateCause::Departed);
                MemberChange::Updated { info }
            }
        };
        let (record, members) = (RecordChange::Removed { info, cause }, None);
        self.changed(stream, PresenceChange { id, reference, record, member, extra, members });
        true
    }

    /// What others see of a member.
    fn seen(&self, stream: usize, id: &PresenceId) -> Option<Join> {
        let of_id = |record: &&Record| record.stream == stream && record.join.id == *id;
        self.records.iter().rfind(of_id).map(|record| record.join.clone())
    }

    fn changed(&mut self, stream: usize, change: PresenceChange) {
        self.say(stream, &ServerMessage::Presence(Arc::new(change)), None);
    }

    fn say(&mut self, stream: usize, message: &ServerMessage, except: Option<SessionId>) {
        for held in &mut self.subscriptions {
            if held.is_held && held.stream == stream && Some(held.key.session) != except {
                held.told.push(message.clone());
            }
        }
    }

    fn answer(&mut self, number: usize, message: ServerMessage) {
        let subscription = &mut self.subscriptions[number];
        subscription.told.push(message);
        subscription.answered = subscription.told.len();
    }

    /// An empty reason stands for any.
    fn refuse(&mut self, number: usize, kind: CommandKind, reason: &'static str) {
        self.answer(number, ServerMessage::Refused(reason.into()));
        self.counted.commands.push((kind, false));
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// No two are the same.
    fn payload(&mut self) -> RawJson {
        self.number().to_string().into()
    }
}

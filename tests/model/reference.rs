//! A naive model of a shard's streams: lists that are searched, and each subscriber's messages, noted as
//! they are due.
//!
//! It knows no slices and no log: a subscriber gets, in order, the messages since its subscribe.

mod inputs;
mod presences;

use std::sync::Arc;

use broker::protocol::action_cable;
use broker::shard::{GroupKey, SubscriberKey, Totals};
use broker::types::{
    CachedList, CommandKind, Grant, HistoryRequest, Identifier, Join, JoinCause, LeaveCause, Limit,
    Listing, Member, MemberChange, MemberList, PresenceChange, PresenceId, Publication, RawJson,
    RecordChange, Repeat, ServerMessage, SessionId, StreamCommand, StreamName, Subscribe,
    SubscribeOptions, UpdateCause, Whisper,
};

pub(crate) use self::inputs::{Command, Given, Key, Presence, Step};
use self::presences::{Changed, Holder, Presences, Refusal};

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
    presences: Presences,
    /// The number of each stream's latest lifetime.
    lifetimes: [usize; STREAMS],
    /// Number of earlier connections in each place.
    generations: [usize; CONNECTIONS],
    payloads: u64,
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

#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) commands: Vec<(CommandKind, bool)>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) publications: u64,
    pub(crate) joins: Vec<JoinCause>,
    pub(crate) leaves: Vec<LeaveCause>,
    pub(crate) updates: Vec<UpdateCause>,
    /// Deadlines, in milliseconds.
    pub(crate) expired: Vec<u64>,
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
            presences: Presences::default(),
            lifetimes: Default::default(),
            generations: Default::default(),
            payloads: 0,
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
                while let Some((at, gone)) = self.presences.expire(self.now) {
                    self.counted.expired.push(at);
                    self.changed(Some(gone));
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
        self.presences.list(stream)
    }

    /// The members with the infos of their records, the last changed at the end.
    pub(crate) fn infos(&self, stream: usize) -> Vec<(PresenceId, Vec<RawJson>)> {
        self.presences.infos(stream)
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
        self.presences.next_deadline()
    }

    pub(crate) fn totals(&self) -> Totals {
        let (members, records) = self.presences.totals();
        Totals {
            streams: (0..STREAMS).filter(|stream| self.lives(*stream)).count(),
            subscriptions: self.keys().len(),
            members,
            records,
            ..Totals::default()
        }
    }

    /// Whether anyone follows a stream or is present in it.
    fn lives(&self, stream: usize) -> bool {
        self.subscriptions.iter().any(|held| held.is_held && held.stream == stream)
            || self.presences.count(stream) > 0
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
        (repeat, is_quiet): (Repeat, bool),
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
            StreamCommand::from(Subscribe {
                join: join.map(|join| match join {
                    Ok(join) => Ok(join.clone()),
                    Err(()) => Err("no good".into()),
                }),
                history: history.then(HistoryRequest::default),
                options: SubscribeOptions { repeat, is_quiet, ..SubscribeOptions::default() },
                grant: Grant::OPEN,
            }),
        );
        let is_confirmed = match (repeat, self.subscriptions[number].confirmed) {
            (Repeat::Never, Some(_)) => false,
            (Repeat::Always, _) | (_, None) => true,
            (Repeat::Later, Some(at)) => self.now >= (at / 100 + 1) * 100 + 5000,
        };
        self.counted.commands.push((CommandKind::Subscribe, true));
        if is_confirmed {
            self.subscriptions[number].confirmed = Some(self.now);
        }
        if is_confirmed && !is_quiet {
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
        let (command, kind) = match what {
            Command::Unsubscribe => {
                self.subscriptions[held].is_held = false;
                let left = self.presences.leave(held, LeaveCause::Unsubscribed);
                self.changed(left);
                (StreamCommand::Unsubscribe, CommandKind::Unsubscribe)
            }
            Command::Leave => {
                self.give(held, StreamCommand::Leave(None));
                let left = self.presences.leave(held, LeaveCause::Left);
                if left.is_some() {
                    self.changed(left);
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
                self.answer(held, ServerMessage::PresenceCount(self.presences.count(stream)));
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
        match self.presences.join(stream, number, join, self.max_members) {
            Ok(changed) => {
                self.counted.commands.push((CommandKind::Join, true));
                self.joined(changed, cause);
            }
            Err(refusal) => {
                if refusal == Refusal::Full {
                    self.counted.limits.push(Limit::Members);
                }
                self.refuse(number, CommandKind::Join, "");
            }
        }
    }

    fn put(&mut self, stream: usize, presence: &Presence, ttl: Option<u64>) {
        let (lived, until) = (self.lives(stream), ttl.map(|ttl| self.now + ttl));
        let put = self.presences.put(stream, presence, until, self.max_members);
        let is_new = put.as_ref().ok().map(|(is_new, _)| *is_new);
        self.given.push(Given::Put { stream, presence: presence.clone(), ttl, is_new });
        match put {
            Ok((_, changed)) => {
                if !lived {
                    self.lifetimes[stream] = self.subscriptions.len();
                }
                self.joined(changed, JoinCause::Put);
            }
            Err(_) => self.counted.limits.push(Limit::Members),
        }
    }

    fn kick(&mut self, stream: usize, id: &PresenceId) {
        let gone = self.presences.kick(stream, id);
        self.given.push(Given::Kick { stream, id: id.clone(), records: gone.len() });
        for gone in gone {
            self.changed(Some(gone));
        }
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
            if self.ttl == 0 {
                let left = self.presences.leave(number, LeaveCause::Expired);
                self.changed(left);
            } else {
                self.presences.end(number, self.now - late + self.ttl);
                self.presences.pass_on(number, Holder::Orphan);
            }
        }
        self.generations[connection] += 1;
    }

    fn joined(&mut self, changed: Changed, cause: JoinCause) {
        if let Some((_, PresenceChange { member: MemberChange::Joined { .. }, .. })) = &changed {
            self.counted.joins.push(cause);
        }
        self.changed(changed);
    }

    /// Tells of a change, and counts it, but for joins.
    fn changed(&mut self, changed: Changed) {
        let Some((stream, change)) = changed else { return };
        match (&change.member, &change.record) {
            (MemberChange::Left, RecordChange::Removed { cause, .. }) => {
                self.counted.leaves.push(*cause);
            }
            (MemberChange::Updated { .. }, RecordChange::Removed { .. }) => {
                self.counted.updates.push(UpdateCause::Departed);
            }
            (MemberChange::Updated { .. }, _) => self.counted.updates.push(UpdateCause::Changed),
            _ => {}
        }
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

    /// No two are the same.
    fn payload(&mut self) -> RawJson {
        self.payloads += 1;
        self.payloads.to_string().into()
    }
}

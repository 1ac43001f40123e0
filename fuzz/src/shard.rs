//! Operations on a shard: `[settings, (operation, a, b, c)…]`. An operation has four bytes, so that one can be
//! changed, moved or left out without changing the others.
//!
//! Clients record what they got, and invariants are checked: every watcher's list equals the members;
//! publications and whispers come once and in order; missed ones come without a gap or are refused; no
//! connected member expires, and every other one does; in the end nothing is left. Connections break, and the
//! last writes may or may not have arrived; clients that resume see the right members, too.

mod clients;
mod resuming;

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::Void;
use broker::protocol::action_cable;
use broker::shard::{
    Delivery, FanOut, GroupKey, HistorySettings, Input, Outcome, Publish, Put, ResumeSettings,
    Settings, Shard, SubscriberKey, Ticket, Totals,
};
use broker::types::{
    CommandKind, Grant, HistoryRequest, Identifier, Join, LeaveCause, Listing, PresenceId,
    ServerMessage, SessionId, StreamCommand, StreamName, Subscribe, SubscribeOptions, Whisper,
};

use super::presences::{Holder, Presences};
use super::replay::extra;
use super::shard_settings::without_history;
use clients::{Follower, Place};

const STREAMS: usize = 3;
/// How long a resumed subscriber may be kept from what is said, in milliseconds.
const LONGEST_HOLD: u64 = 1000;
const CONNECTIONS: usize = 5;
/// Names that a connection can give its subscriptions; each is to one stream.
const NAMES: usize = 2 * STREAMS;
const IDS: [&str; 4] = ["ann", "bob", "cem", "dee"];
const TTLS: [u64; 4] = [0, 1, 50, 15_000];
/// Of what the application puts.
const PUT_TTLS: [Option<u64>; 3] = [None, Some(20), Some(5000)];
const LIMITS: [usize; 4] = [0, 1, 3, 100];
const MAX_BYTES: [usize; 2] = [2500, 1 << 20];
const SESSION_TTLS: [u64; 4] = [0, 1500, 40, 20_000];
const MAX_UNACKED: u64 = 500;
const MAX_MEMBERS: [usize; 2] = [usize::MAX, 2];
const HISTORY_TTL: u64 = 10_000;
const PAUSES: [u64; 8] = [0, 1, 7, 49, 50, 1000, 10_000, 86_400_000];
/// Milliseconds at the start, of the clock and, with this much more, of the Unix epoch.
const START: u64 = 100_000;
const UNIX: u64 = 1_000_000_000;

pub fn run(data: &[u8]) {
    let Some((&settings, operations)) = data.split_first() else { return };
    let mut world = World::new(settings);
    for operation in operations.chunks_exact(4) {
        let &[operation, a, b, c] = operation else { return };
        world.apply(operation, [a, b, c].map(usize::from));
        world.check();
    }
    world.end();
}

struct Published {
    number: u64,
    stream: usize,
    /// Milliseconds of the clock.
    at: u64,
}

struct World {
    shard: Shard<usize>,
    ttl: u64,
    session_ttl: u64,
    max_members: usize,
    history: HistorySettings,
    zero: Instant,
    now: u64,
    /// What has been said, publications and whispers, is numbered.
    said: u64,
    published: Vec<Published>,
    followers: Vec<Follower>,
    presences: Presences,
    places: [Place; CONNECTIONS],
    joins: usize,
    leaves: usize,
    updates: usize,
}

fn name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

impl World {
    fn new(settings: u8) -> Self {
        let settings = usize::from(settings);
        let ttl = TTLS[settings % 4];
        let history = HistorySettings {
            limit: LIMITS[settings / 4 % 4],
            ttl: Duration::from_millis(HISTORY_TTL),
            max_bytes: MAX_BYTES[settings / 16 % 2],
        };
        let session_ttl = SESSION_TTLS[settings / 32 % 4];
        let max_members = MAX_MEMBERS[settings / 128];
        let resume = ResumeSettings {
            ttl: Duration::from_millis(session_ttl),
            max_unacked: Duration::from_millis(MAX_UNACKED),
        };
        let (presence_ttl, zero) = (Duration::from_millis(ttl), Clock::new().now());
        Self {
            shard: Shard::new(
                Settings { resume, max_members, history, ..without_history(presence_ttl) },
                zero,
            ),
            ttl,
            session_ttl,
            max_members,
            history,
            zero,
            now: START,
            said: 0,
            published: Vec::new(),
            followers: Vec::new(),
            presences: Presences::default(),
            places: Default::default(),
            joins: 0,
            leaves: 0,
            updates: 0,
        }
    }

    fn apply(&mut self, operation: u8, [a, b, c]: [usize; 3]) {
        match operation % 20 {
            0 | 1 => self.subscribe(a, b, c),
            2 => self.unsubscribe(a, b),
            3 | 4 => self.join(a, b, c),
            5 => self.leave(a, b),
            6 => self.ask(a, b, StreamCommand::List(listing(c))),
            7 => self.ask_history(a, b, c),
            8 => self.whisper(a, b),
            9 => self.refuse(a, b),
            10 => self.publish(a, b),
            11 if c % 4 == 0 => self.kick(a, b),
            11 => self.put(a, b, PUT_TTLS[c % 4 - 1]),
            12 => self.disconnect(a, b),
            13 => self.pass(a),
            14 => self.take_replies(),
            15 => drop(self.fan_out(a, b)),
            16 => self.cut(a, b, c),
            17 => self.notice(a),
            18 => self.resume(a, b),
            _ => drop(self.fan_out(usize::MAX, b)),
        }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.zero + Duration::from_millis(milliseconds)
    }

    /// Whoever a connection's name stands for, if it stands for one.
    fn find(&self, connection: usize, name: usize) -> Option<usize> {
        if self.places[connection % CONNECTIONS].broken.is_some() {
            return None;
        }
        let key = self.key(connection, name);
        self.followers.iter().position(|follower| follower.is_held && follower.key == key)
    }

    fn key(&self, connection: usize, name: usize) -> SubscriberKey {
        let identifier = Identifier::from(format!("\"{}\"", name % NAMES));
        let group = GroupKey::new(action_cable::CODEC, identifier);
        SubscriberKey { session: self.session(connection), group }
    }

    fn session(&self, connection: usize) -> SessionId {
        let connection = connection % CONNECTIONS;
        let session = (self.places[connection].generation << 8) | connection as u64;
        SessionId::from_bits(session.into())
    }

    fn command(&mut self, follower: usize, command: StreamCommand) {
        let Follower { stream, key, .. } = &self.followers[follower];
        let input =
            Input::Command { key: key.clone(), recipient: follower, command, reference: None };
        self.shard.handle(&name(*stream), input, self.at(self.now));
    }

    /// Asks for something that has one answer.
    fn ask(&mut self, connection: usize, name: usize, command: StreamCommand) {
        let Some(follower) = self.find(connection, name) else { return };
        self.followers[follower].answers += 1;
        self.command(follower, command);
    }

    fn subscribe(&mut self, connection: usize, name: usize, how: usize) {
        self.notice(connection);
        let follower = self.find(connection, name).unwrap_or_else(|| {
            let key = self.key(connection, name);
            let (connection, stream) = (connection % CONNECTIONS, name % STREAMS);
            self.followers.push(Follower::new(connection, stream, key));
            self.followers.len() - 1
        });
        let history = (how & 1 == 1).then(|| self.request(follower, how >> 4));
        let join = match how >> 1 & 3 {
            0 => None,
            1 => Some(Err("no".into())),
            _ => Some(Ok(self.join_of(follower, how >> 3))),
        };
        self.followers[follower].answers += 1 + usize::from(matches!(join, Some(Err(_))));
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        self.command(follower, StreamCommand::from(Subscribe { join, history, grant, options }));
    }

    fn unsubscribe(&mut self, connection: usize, name: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        self.command(follower, StreamCommand::Unsubscribe);
        self.let_go(follower);
        self.presences.leave(follower, LeaveCause::Unsubscribed);
    }

    /// What it is yet to be told, it isn't any more; its answers are under way.
    fn let_go(&mut self, follower: usize) {
        let follower = &mut self.followers[follower];
        follower.is_held = false;
    }

    fn join(&mut self, connection: usize, name: usize, what: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        let join = self.join_of(follower, what);
        self.command(follower, StreamCommand::Join(join));
    }

    /// A join, which adds a record, changes one, or is refused as one of another id or one too many.
    fn join_of(&mut self, follower: usize, what: usize) -> Join {
        let join = join(what);
        let stream = self.followers[follower].stream;
        let joined = self.presences.join(stream, follower, &join, self.max_members);
        self.followers[follower].answers += usize::from(joined.is_err());
        join
    }

    /// The application puts a record, which adds one, changes its own, or is one too many.
    fn put(&mut self, stream: usize, what: usize, ttl: Option<u64>) {
        let (stream, join) = (stream % STREAMS, join(what));
        let until = ttl.map(|ttl| self.now + ttl);
        let expected = self.presences.put(stream, &join, until, self.max_members);
        let put = Put { join, ttl: ttl.map(Duration::from_millis) };
        let outcome = self.ask_shard(stream, Input::Put { put, ticket: Ticket(0) });
        let Outcome::Put(placed) = outcome else { panic!("{outcome:?}") };
        let placed = placed.map(|placed| placed.is_new);
        let expected = expected.map(|(is_new, _)| is_new);
        assert_eq!(placed, expected.map_err(|_full| Void::Full(self.max_members)));
    }

    /// The application removes a member.
    fn kick(&mut self, stream: usize, who: usize) {
        let (stream, id) = (stream % STREAMS, PresenceId::from(IDS[who % IDS.len()]));
        let expected = self.presences.kick(stream, &id).len();
        let outcome = self.ask_shard(stream, Input::Kick { id, ticket: Ticket(0) });
        let Outcome::Kicked(records) = outcome else { panic!("{outcome:?}") };
        assert_eq!(records, expected);
    }

    fn ask_shard(&mut self, stream: usize, input: Input<usize>) -> Outcome {
        self.shard.handle(&name(stream), input, self.at(self.now));
        let outcome = self.shard.commit(|_| ()).poll_outcome();
        outcome.map(|(_, outcome)| outcome).expect("an outcome")
    }

    fn leave(&mut self, connection: usize, name: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        let left = self.presences.leave(follower, LeaveCause::Left);
        self.followers[follower].answers += usize::from(left.is_none());
        self.command(follower, StreamCommand::Leave(None));
    }

    fn refuse(&mut self, connection: usize, name: usize) {
        self.ask(connection, name, StreamCommand::RefusePresence(CommandKind::Join, "no".into()));
    }

    fn ask_history(&mut self, connection: usize, name: usize, what: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        let request = self.request(follower, what);
        self.command(follower, StreamCommand::History(request));
    }

    /// A request for what came after the last publication, or since some seconds ago.
    fn request(&mut self, follower: usize, what: usize) -> HistoryRequest {
        let Follower { connection, stream, .. } = self.followers[follower];
        let missed = |after: &dyn Fn(&Published) -> bool| -> Vec<u64> {
            let here = |p: &&Published| p.stream == stream && after(p);
            self.published.iter().filter(here).map(|published| published.number).collect()
        };
        let (request, missed) = match (what % 4, self.places[connection].last.get(&stream)) {
            (0, _) => (HistoryRequest::default(), None),
            (1 | 2, Some((last, position))) => {
                let positions = vec![(name(stream), position.clone())];
                let missed = missed(&|published| published.number > *last);
                (HistoryRequest { since: None, positions, joint: None }, Some(missed))
            }
            _ => {
                let seconds = (UNIX + self.now) / 1000 - what as u64 / 4;
                let missed = missed(&|published| UNIX + published.at >= seconds * 1000);
                (
                    HistoryRequest { since: Some(seconds), positions: vec![], joint: None },
                    Some(missed),
                )
            }
        };
        self.followers[follower].asked.push_back(missed);
        self.followers[follower].answers += 1;
        request
    }

    fn whisper(&mut self, connection: usize, name: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        let Follower { stream, connection, .. } = self.followers[follower];
        let number = self.say(stream, Some(connection));
        self.command(
            follower,
            StreamCommand::Whisper {
                whisper: Whisper { event: None, data: number.to_string().into() },
                members_only: false,
            },
        );
    }

    fn publish(&mut self, stream: usize, except: usize) {
        let (stream, except) =
            (stream % STREAMS, except.checked_sub(1).filter(|e| *e < CONNECTIONS));
        let number = self.say(stream, except);
        let except = except.map(|connection| self.key(connection, 0).session);
        self.published.push(Published { number, stream, at: self.now });
        let (data, at) = (number.to_string().into(), UNIX + self.now);
        let input = Input::Publish(Publish { data, labels: None, at, except, is_transient: false });
        self.shard.handle(&name(stream), input, self.at(self.now));
    }

    /// Notes that a stream's followers are to be told something, but for those of a connection.
    fn say(&mut self, stream: usize, except: Option<usize>) -> u64 {
        self.said += 1;
        for follower in &mut self.followers {
            let is_meant = follower.stream == stream && Some(follower.connection) != except;
            if follower.is_held && is_meant {
                follower.due.push_back(self.said);
            }
        }
        self.said
    }

    /// Time passes, and if it is odd nobody looks at what is over.
    fn pass(&mut self, what: usize) {
        self.now += PAUSES[what / 2 % PAUSES.len()];
        if what % 2 == 1 {
            return;
        }
        let now = self.at(self.now);
        while self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
        }
        while self.presences.expire(self.now).is_some() {}
        for (number, follower) in self.followers.iter_mut().enumerate() {
            if follower.parked.take_if(|parked| parked.deadline <= self.now).is_some() {
                self.presences.pass_on(number, Holder::Orphan);
            }
        }
        let fresh = |published: &&Published| published.at + HISTORY_TTL > self.now;
        assert!(self.shard.totals().publications <= self.published.iter().filter(fresh).count());
    }

    fn take_replies(&mut self) {
        while let Some(Delivery { recipient, group, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            assert_eq!(group, self.followers[recipient].key.group);
            assert!(!messages.is_empty());
            for message in &messages {
                self.receive(recipient, message);
            }
        }
        assert!(!self.shard.has_replies() && self.shard.reply_weight() == 0);
        for follower in &self.followers {
            assert_eq!(follower.answers, 0, "an answer is missing");
        }
    }

    /// Tells so many slices, and says whether there was nothing more to tell.
    fn fan_out(&mut self, slices: usize, max: usize) -> bool {
        self.take_replies();
        let max = max % 4 + 1;
        for _ in 0..slices {
            let now = self.at(self.now);
            let Some(slice) = self.shard.commit(|_| ()).poll_fan_out(max, now) else {
                self.check_all_told();
                return true;
            };
            let FanOut { group, messages, recipients } = slice;
            assert!((1..=max).contains(&recipients.len()));
            for (recipient, has) in recipients {
                assert_eq!(group, self.followers[recipient].key.group);
                assert!(self.followers[recipient].is_held, "it no longer follows the stream");
                assert!(has < messages.len(), "it lacks nothing");
                for message in &messages[has..] {
                    self.receive(recipient, message);
                }
            }
        }
        false
    }

    fn receive(&mut self, number: usize, message: &ServerMessage) {
        let follower = &mut self.followers[number];
        match message {
            ServerMessage::Publication(publication) => {
                assert_eq!(publication.stream, name(follower.stream));
                assert_eq!(publication.position.is_some(), self.history.limit > 0);
                follower.publication(publication);
            }
            ServerMessage::Whisper(whisper) => {
                let number = whisper.data.as_str().parse().ok();
                assert_eq!(number, follower.due.pop_front(), "once and in order");
            }
            ServerMessage::HistoryConfirmed => {
                let missed = follower.asked.pop_front().expect("a request");
                assert_eq!(Some(std::mem::take(&mut follower.missed)), missed);
            }
            ServerMessage::HistoryRejected => {
                follower.asked.pop_front().expect("a request");
                assert!(follower.missed.is_empty(), "the refusal comes alone");
            }
            ServerMessage::Presence(_)
            | ServerMessage::Missed { .. }
            | ServerMessage::PresenceList(_)
            | ServerMessage::PresenceCount(_)
            | ServerMessage::Confirmed
            | ServerMessage::Rejected(_)
            | ServerMessage::Ended
            | ServerMessage::Done
            | ServerMessage::NotSubscribed
            | ServerMessage::PresenceRecords(_)
            | ServerMessage::Arrived
            | ServerMessage::Occupancy(_)
            | ServerMessage::Refused(_) => {}
        }
        if clients::is_answer(message) {
            let answers = follower.answers.checked_sub(1);
            follower.answers = answers.expect("an answer that was asked for");
        }
        follower.view.take_in(message);
        let (connection, stream, session) =
            (follower.connection, follower.stream, follower.key.session);
        if session == self.session(connection) {
            let place = &mut self.places[connection];
            place.take_in(stream, message);
            place.written.push((number, message.clone(), self.now));
        }
    }

    fn check(&mut self) {
        let totals = self.shard.totals();
        let held = self.followers.iter().filter(|follower| follower.is_held).count();
        assert_eq!(totals.subscriptions, held);
        assert_eq!(totals.parked, self.followers.iter().filter(|it| it.parked.is_some()).count());
        let (members, records) = self.presences.totals();
        assert_eq!((totals.members, totals.records), (members, records));
        for stream in 0..STREAMS {
            let list = self.shard.commit(|_| ()).members(&name(stream));
            assert_eq!(self.shard.commit(|_| ()).member_count(&name(stream)), list.len());
            assert_eq!(**list, self.presences.list(stream));
            let records = self.shard.commit(|_| ()).records(&name(stream));
            let infos = records.iter().map(|member| {
                let infos = member.records.iter().map(|record| record.info.clone());
                (member.id.clone(), infos.collect())
            });
            assert_eq!(infos.collect::<Vec<_>>(), self.presences.infos(stream));
        }
        assert!(totals.streams <= STREAMS);
        assert!(totals.publications <= self.history.limit * STREAMS);
        assert!(totals.history_bytes <= self.history.max_bytes);
        assert_eq!(totals.publications == 0, totals.history_bytes == 0);

        self.count();
        assert_eq!(self.joins - self.leaves, members);
        let parked =
            self.followers.iter().filter_map(|follower| Some(follower.parked.as_ref()?.deadline));
        let deadlines = self.presences.next_deadline().into_iter().chain(parked);
        let (next, due) = (deadlines.min().map(|next| self.at(next)), self.shard.poll_timeout());
        // histories and, where sessions are resumed, journals have deadlines, too
        let others = self.history.limit > 0 || self.session_ttl > 0;
        match next {
            Some(next) if others => assert!(due.is_some_and(|due| due <= next)),
            None if others => {}
            next => assert_eq!(due, next),
        }
    }

    /// Takes in what the shard counted; whether an event was among it.
    fn count(&mut self) -> bool {
        let counts = self.shard.take_counts();
        self.joins += counts.joins.len();
        self.leaves += counts.leaves.len();
        self.updates += counts.updates.len();
        !(counts.joins.is_empty() && counts.leaves.is_empty() && counts.updates.is_empty())
    }

    /// Nobody lacks anything, and whoever watches sees who is there.
    fn check_all_told(&mut self) {
        for follower in self.followers.iter().filter(|follower| follower.is_held) {
            assert!(follower.due.is_empty(), "{:?} are missing", follower.due);
            let there = self.shard.commit(|_| ()).members(&name(follower.stream));
            follower.view.check(&there);
        }
    }

    /// Everyone is told everything and goes, and what they leave behind runs out.
    fn end(&mut self) {
        assert!(self.fan_out(usize::MAX, 1));
        for connection in 0..CONNECTIONS {
            self.disconnect(connection, 0);
        }
        for (stream, id) in
            (0..STREAMS).flat_map(|stream| (0..IDS.len()).map(move |id| (stream, id)))
        {
            self.kick(stream, id);
        }
        self.check();
        self.now += self.ttl.max(HISTORY_TTL).max(self.session_ttl).max(LONGEST_HOLD);
        self.pass(0);
        self.check();
        assert_eq!(self.shard.totals(), Totals::default());
        assert_eq!(self.shard.poll_timeout(), None);
        assert!(!self.shard.is_over_backlog());
        let now = self.at(self.now);
        assert!(!self.shard.has_replies());
        assert!(self.shard.commit(|_| ()).poll_fan_out(9, now).is_none());
    }
}

/// A member's id, its info, and what the application says about it.
fn join(what: usize) -> Join {
    let (id, info) = (IDS[what % IDS.len()], what / IDS.len() % 3);
    Join { id: id.into(), info: info.to_string().into(), extra: extra(info) }
}

/// The members most of the time, and their number alone now and then.
fn listing(how: usize) -> Listing {
    if how.is_multiple_of(4) { Listing::Count } else { Listing::Members }
}

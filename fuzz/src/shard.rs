//! What happens to a shard: `[settings, (operation, a, b, c)…]`, an operation four bytes, so that
//! one can be changed, moved or left out without changing what the others mean.
//!
//! Clients know what they were told, and what must hold of it is checked: whoever watches sees who
//! is there; publications and whispers come once and in order; what was missed is told without a
//! gap or refused; nobody connected expires, and nobody else stays; and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use broker::broker::{
    Delivery, End, FanOut, GroupKey, HistorySettings, Input, ResumeSettings, Settings, Shard,
    SubscriberKey, Totals,
};
use broker::clock::Clock;
use broker::types::{
    Codec, CommandKind, Grant, HistoryRequest, Identifier, Join, MemberList, Position, Publication,
    ServerMessage, SessionId, StreamCommand, StreamName,
};

use super::replay::replay;

const STREAMS: usize = 3;
const CONNECTIONS: usize = 5;
/// Names that a connection can give its subscriptions; each is to one stream.
const NAMES: usize = 2 * STREAMS;
const IDS: [&str; 4] = ["ann", "bob", "cem", "dee"];
const TTLS: [u64; 4] = [0, 1, 50, 15_000];
const LIMITS: [usize; 4] = [0, 1, 3, 100];
const MOST_BYTES: [usize; 2] = [2500, 1 << 20];
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

/// One following of a stream by a client; its number is the recipient's.
struct Follower {
    connection: usize,
    stream: usize,
    key: SubscriberKey,
    is_held: bool,
    /// Publications up to this number were before it.
    since: u64,
    /// Publications and whispers that it is yet to be told, by number.
    due: VecDeque<u64>,
    /// How many answers it is yet to be given.
    answers: usize,
    /// For each request for history: what must be told, if it isn't refused.
    asked: VecDeque<Option<Vec<u64>>>,
    /// What has come of the first of those.
    missed: Vec<u64>,
    /// The members as it sees them, once it has been given a list.
    seen: Option<MemberList>,
}

/// A subscription's membership.
struct Record {
    follower: usize,
    stream: usize,
    id: &'static str,
    /// When it goes, once its connection has ended.
    deadline: Option<u64>,
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
    history: HistorySettings,
    zero: Instant,
    now: u64,
    /// What has been said, publications and whispers, is numbered.
    said: u64,
    published: Vec<Published>,
    followers: Vec<Follower>,
    records: Vec<Record>,
    /// How often a connection's place has been taken.
    generations: [u64; CONNECTIONS],
    /// The last publication with a position that a client has of a stream, with its number.
    last: BTreeMap<(usize, usize), (u64, Position)>,
    joins: usize,
    leaves: usize,
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
            max_bytes: MOST_BYTES[settings / 16 % 2],
        };
        let (presence_ttl, zero) = (Duration::from_millis(ttl), Clock::new().now());
        Self {
            shard: Shard::new(
                Settings {
                    presence_ttl,
                    resume: ResumeSettings::default(),
                    max_members: usize::MAX,
                    max_answer: usize::MAX,
                    history,
                    seed: 7,
                },
                zero,
            ),
            ttl,
            history,
            zero,
            now: START,
            said: 0,
            published: Vec::new(),
            followers: Vec::new(),
            records: Vec::new(),
            generations: [0; CONNECTIONS],
            last: BTreeMap::new(),
            joins: 0,
            leaves: 0,
        }
    }

    fn apply(&mut self, operation: u8, [a, b, c]: [usize; 3]) {
        match operation % 16 {
            0 | 1 => self.subscribe(a, b, c),
            2 => self.unsubscribe(a, b),
            3 | 4 => self.join(a, b, c),
            5 => self.leave(a, b),
            6 => self.ask(a, b, StreamCommand::List { records: c % 4 != 0 }),
            7 => self.ask_history(a, b, c),
            8 => self.whisper(a, b),
            9 => self.refuse(a, b),
            10 | 11 => self.publish(a, b),
            12 => self.disconnect(a, b),
            13 => self.pass(a),
            14 => self.take_replies(),
            _ => drop(self.fan_out(a, b)),
        }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.zero + Duration::from_millis(milliseconds)
    }

    /// Whoever a connection's name stands for, if it stands for one.
    fn find(&self, connection: usize, name: usize) -> Option<usize> {
        let key = self.key(connection, name);
        self.followers.iter().position(|follower| follower.is_held && follower.key == key)
    }

    fn key(&self, connection: usize, name: usize) -> SubscriberKey {
        let connection = connection % CONNECTIONS;
        let session = (self.generations[connection] << 8) | connection as u64;
        let identifier = Identifier::from(format!("\"{}\"", name % NAMES));
        let group = GroupKey { codec: Codec::ActionCable, identifier };
        SubscriberKey { session: SessionId::from_bits(session.into()), group }
    }

    fn command(&mut self, follower: usize, command: StreamCommand) {
        let Follower { stream, key, .. } = &self.followers[follower];
        let input = Input::Command { key: key.clone(), recipient: follower, command };
        self.shard.handle(&name(*stream), input, self.at(self.now));
    }

    /// Asks for something that has one answer.
    fn ask(&mut self, connection: usize, name: usize, command: StreamCommand) {
        let Some(follower) = self.find(connection, name) else { return };
        self.followers[follower].answers += 1;
        self.command(follower, command);
    }

    fn subscribe(&mut self, connection: usize, name: usize, how: usize) {
        let follower = self.find(connection, name).unwrap_or_else(|| {
            self.followers.push(Follower {
                connection: connection % CONNECTIONS,
                stream: name % STREAMS,
                key: self.key(connection, name),
                is_held: true,
                since: self.said,
                due: VecDeque::new(),
                answers: 0,
                asked: VecDeque::new(),
                missed: Vec::new(),
                seen: None,
            });
            self.followers.len() - 1
        });
        let history = (how & 1 == 1).then(|| self.request(follower, how >> 4));
        let join = match how >> 1 & 3 {
            0 => None,
            1 => Some(Err("no".into())),
            _ => Some(Ok(self.join_of(follower, how >> 3))),
        };
        self.followers[follower].answers += 1 + usize::from(matches!(join, Some(Err(_))));
        self.command(follower, StreamCommand::Subscribe { join, history, grant: Grant::OPEN });
    }

    fn unsubscribe(&mut self, connection: usize, name: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        self.command(follower, StreamCommand::Unsubscribe);
        self.let_go(follower);
        self.records.retain(|record| record.follower != follower);
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

    /// A join, which adds a record, changes one, or is refused as one of another id.
    fn join_of(&mut self, follower: usize, what: usize) -> Join {
        let id = IDS[what % IDS.len()];
        match self.records.iter().find(|record| record.follower == follower) {
            None => {
                let stream = self.followers[follower].stream;
                self.records.push(Record { follower, stream, id, deadline: None });
            }
            Some(record) if record.id == id => {}
            Some(_) => self.followers[follower].answers += 1,
        }
        Join { id: id.into(), info: (what / IDS.len() % 3).to_string().into() }
    }

    fn leave(&mut self, connection: usize, name: usize) {
        let Some(follower) = self.find(connection, name) else { return };
        let before = self.records.len();
        self.records.retain(|record| record.follower != follower);
        self.followers[follower].answers += usize::from(self.records.len() == before);
        self.command(follower, StreamCommand::Leave);
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
        let Follower { connection, stream, since, .. } = self.followers[follower];
        let missed = |after: &dyn Fn(&Published) -> bool| -> Vec<u64> {
            let here = |p: &&Published| p.stream == stream && p.number <= since && after(p);
            self.published.iter().filter(here).map(|published| published.number).collect()
        };
        let (request, missed) = match (what % 4, self.last.get(&(connection, stream))) {
            (0, _) => (HistoryRequest::default(), None),
            (1 | 2, Some((last, position))) => {
                let positions = vec![(name(stream), position.clone())];
                let missed = missed(&|published| published.number > *last);
                (HistoryRequest { since: None, positions }, Some(missed))
            }
            _ => {
                let seconds = (UNIX + self.now) / 1000 - what as u64 / 4;
                let missed = missed(&|published| UNIX + published.at >= seconds * 1000);
                (HistoryRequest { since: Some(seconds), positions: vec![] }, Some(missed))
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
        self.command(follower, StreamCommand::Whisper(number.to_string().into()));
    }

    fn publish(&mut self, stream: usize, except: usize) {
        let (stream, except) =
            (stream % STREAMS, except.checked_sub(1).filter(|e| *e < CONNECTIONS));
        let number = self.say(stream, except);
        let except = except.map(|connection| self.key(connection, 0).session);
        self.published.push(Published { number, stream, at: self.now });
        let (data, at) = (number.to_string().into(), UNIX + self.now);
        let input = Input::Publish { data, at, except };
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

    /// A connection ends, which is noticed some milliseconds late.
    fn disconnect(&mut self, connection: usize, late: usize) {
        let connection = connection % CONNECTIONS;
        let at = self.now.saturating_sub(late as u64);
        for number in 0..self.followers.len() {
            let follower = &self.followers[number];
            if !follower.is_held || follower.connection != connection {
                continue;
            }
            let input = Input::Ended { key: follower.key.clone(), end: End::at(self.at(at)) };
            self.shard.handle(&name(follower.stream), input, self.at(self.now));
            self.let_go(number);
        }
        for record in &mut self.records {
            if self.followers[record.follower].connection == connection {
                record.deadline.get_or_insert(at + self.ttl);
            }
        }
        if self.ttl == 0 {
            self.records.retain(|record| record.deadline.is_none());
        }
        self.generations[connection] += 1;
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
        self.records.retain(|record| record.deadline.is_none_or(|deadline| deadline > self.now));
        let fresh = |published: &&Published| published.at + HISTORY_TTL > self.now;
        assert!(self.shard.totals().publications <= self.published.iter().filter(fresh).count());
    }

    fn take_replies(&mut self) {
        while let Some(Delivery { recipient, group, messages }) = self.shard.poll_reply() {
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
    fn fan_out(&mut self, slices: usize, most: usize) -> bool {
        self.take_replies();
        let most = most % 4 + 1;
        for _ in 0..slices {
            let Some(slice) = self.shard.poll_fan_out(most, self.at(self.now)) else {
                self.check_all_told();
                return true;
            };
            let FanOut { group, messages, recipients } = slice;
            assert!((1..=most).contains(&recipients.len()));
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
                return self.publication(number, publication);
            }
            ServerMessage::Whisper(data) => {
                let number = data.as_str().parse().ok();
                assert_eq!(number, follower.due.pop_front(), "once and in order");
                return;
            }
            ServerMessage::Presence(change) => {
                if let Some(seen) = &mut follower.seen {
                    replay(seen, change);
                }
                return;
            }
            ServerMessage::PresenceList(list) => {
                let seen = follower.seen.get_or_insert_with(|| list.to_vec());
                assert_eq!(*seen, **list, "it sees others than the list");
            }
            ServerMessage::PresenceCount(total) => {
                let seen = follower.seen.as_ref().map(Vec::len);
                assert!(seen.is_none_or(|seen| seen == *total), "{seen:?} are not {total}");
            }
            ServerMessage::HistoryConfirmed => {
                let missed = follower.asked.pop_front().expect("a request");
                assert_eq!(Some(std::mem::take(&mut follower.missed)), missed);
            }
            ServerMessage::HistoryRejected => {
                follower.asked.pop_front().expect("a request");
                assert!(follower.missed.is_empty(), "the refusal comes alone");
            }
            ServerMessage::Missed { .. } => panic!("nobody resumed"),
            ServerMessage::Confirmed
            | ServerMessage::Rejected
            | ServerMessage::PresenceError(_) => {}
        }
        follower.answers = follower.answers.checked_sub(1).expect("an answer that was asked for");
    }

    fn publication(&mut self, follower: usize, publication: &Publication) {
        let follower = &mut self.followers[follower];
        let number: u64 = publication.data.as_str().parse().expect("a number");
        assert_eq!(publication.stream, name(follower.stream));
        assert_eq!(publication.position.is_some(), self.history.limit > 0);
        if number <= follower.since {
            follower.missed.push(number);
        } else {
            assert_eq!(Some(number), follower.due.pop_front(), "once and in order");
        }
        if let Some(position) = &publication.position {
            let last = (follower.connection, follower.stream);
            self.last.insert(last, (number, position.clone()));
        }
    }

    fn check(&mut self) {
        let totals = self.shard.totals();
        let held = self.followers.iter().filter(|follower| follower.is_held).count();
        assert_eq!(totals.subscriptions, held);
        assert_eq!(totals.records, self.records.len());
        let mut members = 0;
        for stream in 0..STREAMS {
            let here = self.records.iter().filter(|record| record.stream == stream);
            let ids: BTreeSet<&str> = here.map(|record| record.id).collect();
            let list = self.shard.members(&name(stream));
            assert_eq!(self.shard.member_count(&name(stream)), list.len());
            assert_eq!(list.iter().map(|member| member.id.as_str()).collect::<BTreeSet<_>>(), ids);
            assert_eq!(list.len(), ids.len(), "nobody is there twice");
            members += ids.len();
        }
        assert_eq!(totals.members, members);
        assert!(totals.streams <= STREAMS);
        assert!(totals.publications <= self.history.limit * STREAMS);
        assert!(totals.history_bytes <= self.history.max_bytes);
        assert_eq!(totals.publications == 0, totals.history_bytes == 0);

        let counts = self.shard.take_counts();
        self.joins += counts.joins.len();
        self.leaves += counts.leaves.len();
        assert_eq!(self.joins - self.leaves, members);
        let deadlines = self.records.iter().filter_map(|record| record.deadline);
        if let Some(deadline) = deadlines.min() {
            assert!(self.shard.poll_timeout().is_some_and(|due| due <= self.at(deadline)));
        }
    }

    /// Nobody lacks anything, and whoever watches sees who is there.
    fn check_all_told(&mut self) {
        for follower in self.followers.iter().filter(|follower| follower.is_held) {
            assert!(follower.due.is_empty(), "{:?} are missing", follower.due);
            let there = self.shard.members(&name(follower.stream));
            assert!(follower.seen.as_ref().is_none_or(|seen| *seen == *there));
        }
    }

    /// Everyone is told everything and goes, and what they leave behind runs out.
    fn end(&mut self) {
        assert!(self.fan_out(usize::MAX, 1));
        for connection in 0..CONNECTIONS {
            self.disconnect(connection, 0);
        }
        self.check();
        self.now += self.ttl.max(HISTORY_TTL);
        self.pass(0);
        self.check();
        assert_eq!(self.shard.totals(), Totals::default());
        assert_eq!(self.shard.poll_timeout(), None);
        assert!(!self.shard.is_crowded());
        assert!(
            !self.shard.has_replies() && self.shard.poll_fan_out(9, self.at(self.now)).is_none()
        );
    }
}

//! A shard ends at any moment, and another one restores what it kept: its entries, or a snapshot and the
//! entries since.
//!
//! Members, their order and infos, histories with their positions, and sessions are as before. From the
//! restart on, every record and session has its TTL.

mod cases;
mod steps;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId};
use broker::shard::{
    End, HistorySettings, Input, Output, Publish, Put, Restoring, ResumeSettings, Settings, Shard,
    Totals,
};
use broker::types::{
    Grant, HistoryRequest, Join, MemberList, Offset, PresenceId, Publication, ServerMessage,
    SessionId, StreamCommand, StreamName, Subscribe, SubscribeOptions,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use self::steps::{Step, busy_steps, steps};
use crate::door::{Door as _, Opener as _};
use crate::replay::{apply, extra};
use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const STREAMS: usize = 2;
const CLIENTS: usize = 4;
const IDS: [&str; 3] = ["ann", "bob", "cem"];
/// Ids that the application puts: members' ids, and one of its own.
const PUT_IDS: [&str; 3] = ["ann", "bob", "app"];
const INFOS: [&str; 2] = ["0", "1"];
const PRESENCE_TTL: Duration = Duration::from_millis(300);
const SESSION_TTL: Duration = Duration::from_millis(900);
const HISTORY_TTL: Duration = Duration::from_secs(2);
const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: SESSION_TTL, max_unacked: Duration::from_millis(100) },
    history: HistorySettings { limit: 3, ttl: HISTORY_TTL, max_bytes: usize::MAX },
    log: LogId(7),
    ..without_history(PRESENCE_TTL)
};

/// A member whose time was over when the connection ended, and who left after it: its client had heard of
/// the join while it was held.
#[test]
fn who_left_meanwhile_is_missed_after_a_restart() {
    let mut world = World::new();
    for step in [
        Step::Subscribe { client: 2, stream: 1 },
        Step::Restart,
        Step::Resume(2),
        Step::Put { stream: 1, id: 0, info: 0, ttl: Some(100) },
        Step::Pass(150),
        Step::End { client: 2, resumable: true },
        Step::Expire,
        Step::Resume(2),
    ] {
        world.step(&step);
    }
}

#[test]
fn what_the_application_put_has_what_is_left_of_its_time() {
    let mut world = World::new();
    world.step(&Step::Put { stream: 0, id: 2, info: 0, ttl: Some(700) });
    world.step(&Step::Put { stream: 0, id: 0, info: 0, ttl: None });
    world.step(&Step::Pass(300));
    world.step(&Step::Restart);
    assert_eq!(world.shard.poll_timeout(), Some(world.now + Duration::from_millis(400)));
    // and less of it where nothing ran for a while
    for (passed, there) in [(399, &["app", "ann"][..]), (400, &["ann"])] {
        let mut next = Shard::<u32>::new(SETTINGS, world.now);
        let at = Restoring {
            unix: world.unix + passed,
            complete: true,
            has_history: true,
            now: world.now,
        };
        for changes in by_stream(&world.kept).into_values() {
            next.restore(changes, at);
        }
        let members = next.commit(|_| ()).members(&name(0));
        assert_eq!(members.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), there);
        assert_eq!(next.totals().records, there.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_is_resumed_after_restarts_sees_who_is_there(steps in busy_steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        for client in 0..CLIENTS {
            world.step(&Step::Resume(client));
        }
    }
}

#[test]
fn changes_that_nobody_can_have_missed_are_no_reason_to_refuse() {
    for (passed, resumes) in [(0, false), (500, false), (1200, true)] {
        let mut world = World::new();
        world.step(&Step::Churn { stream: 0, changes: 1500 });
        world.step(&Step::Pass(passed));
        world.step(&Step::Expire);
        world.step(&Step::Subscribe { client: 0, stream: 0 });
        world.step(&Step::Snapshot { max: 100 });
        for _ in 0..3 {
            world.step(&Step::Restart);
        }
        world.step(&Step::Resume(0));
        assert_eq!(world.resumed == 1, resumes, "after {passed} ms");
    }
}

/// Else the property above would say little.
#[test]
fn most_sessions_are_resumed_after_restarts_and_some_are_not() {
    let mut runner = TestRunner::deterministic();
    let (mut resumed, mut refused) = (0, 0);
    for _ in 0..30 {
        let mut world = World::new();
        for step in busy_steps().new_tree(&mut runner).unwrap().current() {
            world.step(&step);
        }
        resumed += world.resumed;
        refused += world.refused;
    }
    assert!(resumed > 30 && refused > 5, "{resumed}, {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_kept_is_taken_up(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.restart();
        world.disperse();
    }
}

struct World {
    shard: Shard<u32>,
    now: Instant,
    /// Milliseconds of the Unix epoch.
    unix: u64,
    clients: [Client; CLIENTS],
    sessions: u32,
    /// Entries that aren't kept yet.
    happened: Vec<Entry>,
    kept: Vec<Entry>,
    /// A snapshot under way: its entries, its place, and the size of its slices.
    snapshot: Option<(Vec<Entry>, usize, usize)>,
    published: u32,
    /// The application's records with their expiry, if they have one.
    put: BTreeMap<(usize, usize), Option<u64>>,
    churned: u32,
    /// Number of subscriptions that were resumed; `refused` counts the others.
    resumed: usize,
    refused: usize,
}

#[derive(Clone, Default)]
struct Client {
    session: Option<u32>,
    earlier: Option<u32>,
    follows: [bool; STREAMS],
    /// Members of each stream when its connection ended.
    seen: [MemberList; STREAMS],
}

fn name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let mut shard = Shard::new(SETTINGS, now);
        shard.keep_entries();
        Self {
            shard,
            now,
            unix: 1_000_000,
            clients: Default::default(),
            sessions: 0,
            happened: Vec::new(),
            kept: Vec::new(),
            snapshot: None,
            published: 0,
            put: BTreeMap::new(),
            churned: 0,
            resumed: 0,
            refused: 0,
        }
    }

    fn output(&mut self) -> Output<'_, u32> {
        let happened = &mut self.happened;
        self.shard.commit(|entries| happened.extend_from_slice(entries))
    }

    fn step(&mut self, step: &Step) {
        self.shard.set_unix(self.unix);
        match *step {
            Step::Subscribe { client, stream } => {
                if self.clients[client].session.is_none() {
                    self.sessions += 1;
                    self.clients[client] =
                        Client { session: Some(self.sessions), ..Client::default() };
                }
                self.clients[client].follows[stream] = true;
                self.command(client, stream, subscribe(None));
            }
            Step::Join { client, stream, id, info } => {
                let join = Join {
                    id: PresenceId::from(IDS[id]),
                    info: INFOS[info].into(),
                    extra: extra(info),
                };
                self.command(client, stream, StreamCommand::Join(join));
            }
            Step::Leave { client, stream } => {
                self.command(client, stream, StreamCommand::Leave(None));
            }
            Step::Unsubscribe { client, stream } => {
                self.command(client, stream, StreamCommand::Unsubscribe);
                self.clients[client].follows[stream] = false;
            }
            Step::Publish(stream) => {
                self.published += 1;
                let data = self.published.to_string().as_str().into();
                let input = Input::Publish(Publish {
                    data,
                    labels: None,
                    at: self.unix,
                    except: None,
                    is_transient: false,
                });
                self.shard.handle(&name(stream), input, self.now);
            }
            Step::Put { stream, id, info, ttl } => {
                let join =
                    Join { id: PUT_IDS[id].into(), info: INFOS[info].into(), extra: extra(info) };
                let ttl = ttl.map(Duration::from_millis);
                let put = Put { join, ttl };
                let placed = self.shard.put(&name(stream), put, self.now);
                let placed = self.output().open(placed).unwrap();
                let until = ttl.map(|ttl| self.unix + u64::try_from(ttl.as_millis()).unwrap());
                let before = self.put.insert((stream, id), until);
                assert_eq!(placed.is_new, before.is_none());
            }
            Step::Kick { stream, id } => {
                let gone = self.shard.kick(&name(stream), &PUT_IDS[id].into(), self.now);
                self.output().open(gone);
                self.put.remove(&(stream, id));
            }
            Step::Churn { stream, changes } => {
                for _ in 0..changes {
                    self.churned += 1;
                    let info = self.churned.to_string().as_str().into();
                    let join = Join { id: "bot".into(), info, extra: None };
                    let put = Put { join, ttl: None };
                    let placed = self.shard.put(&name(stream), put, self.now);
                    self.output().open(placed).unwrap();
                }
            }
            Step::End { client, resumable } => self.end(client, resumable),
            Step::Resume(client) => self.resume(client),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.unix += milliseconds;
            }
            Step::Expire => self.expire(),
            Step::Snapshot { max } => {
                self.snapshot.get_or_insert((Vec::new(), 0, max));
            }
            Step::Restart => self.restart(),
        }
        while self.output().poll_reply().is_some() {}
        let now = self.now;
        while self.output().poll_fan_out(100, now).is_some() {}
        self.keep();
    }

    /// Expires records; the application's go only when their time is over.
    fn expire(&mut self) {
        self.shard.handle_timeout(self.now);
        let unix = self.unix;
        self.put.retain(|_, until| until.is_none_or(|until| until > unix));
        for stream in 0..STREAMS {
            let members = self.output().members(&name(stream));
            let is_there = |id: usize| members.iter().any(|it| it.id.as_str() == PUT_IDS[id]);
            for id in (0..PUT_IDS.len()).filter(|id| self.put.contains_key(&(stream, *id))) {
                assert!(is_there(id), "{} has time left", PUT_IDS[id]);
            }
            let app = PUT_IDS.len() - 1;
            assert!(!is_there(app) || self.put.contains_key(&(stream, app)), "its time is over");
        }
    }

    fn command(&mut self, client: usize, stream: usize, command: StreamCommand) {
        let Client { session: Some(session), follows, .. } = &self.clients[client] else { return };
        if follows[stream] {
            let input = Input::Command {
                key: key(*session),
                recipient: *session,
                command,
                reference: None,
            };
            self.shard.handle(&name(stream), input, self.now);
        }
    }

    fn end(&mut self, client: usize, resumable: bool) {
        let Client { session: Some(session), follows, .. } = self.clients[client].clone() else {
            return;
        };
        for stream in (0..STREAMS).filter(|stream| follows[*stream]) {
            let grant = resumable.then_some(Grant::OPEN);
            let (key, end) = (key(session), End { grant, ..End::at(self.now) });
            // what a resumed client is kept from for a moment, too
            self.shard.handle(&name(stream), Input::CatchUp { key: key.clone() }, self.now);
            while self.output().poll_reply().is_some() {}
            self.shard.handle(&name(stream), Input::Ended { key, end }, self.now);
        }
        self.lose(client, resumable);
    }

    /// A client's connection ends, after it has got all messages.
    fn lose(&mut self, client: usize, resumable: bool) {
        let seen = [0, 1].map(|stream| self.output().members(&name(stream)).to_vec());
        let Client { session, follows, .. } = self.clients[client];
        let earlier = session.filter(|_| resumable);
        self.clients[client] = Client { session: None, earlier, follows, seen };
    }

    fn resume(&mut self, client: usize) {
        let Client { session: None, earlier: Some(earlier), follows, mut seen } =
            self.clients[client].clone()
        else {
            return;
        };
        self.sessions += 1;
        let session = self.sessions;
        let to = SessionId::from_bits(session.into());
        let mut taken = [false; STREAMS];
        for stream in (0..STREAMS).filter(|stream| follows[*stream]) {
            let (from, to) = (key(earlier), (to, session));
            let resumed = self.shard.resume(&name(stream), &from, to, self.now);
            taken[stream] = self.output().open(resumed);
            if taken[stream] {
                self.resumed += 1;
                self.sees_who_is_there(stream, &mut seen[stream]);
            } else {
                self.refused += 1;
            }
        }
        self.clients[client] =
            Client { session: Some(session), follows: taken, ..Client::default() };
    }

    /// A resumed client's list, with the events it missed, equals the shard's.
    fn sees_who_is_there(&mut self, stream: usize, seen: &mut MemberList) {
        while let Some(delivery) = self.output().poll_reply() {
            for message in &delivery.messages {
                let ServerMessage::Missed { id, change, extra } = message else {
                    panic!("{message:?} is not what it missed");
                };
                apply(seen, id, (change, extra), false);
            }
        }
        let mut there = self.output().members(&name(stream)).to_vec();
        there.sort_by(|a, b| a.id.cmp(&b.id));
        seen.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(*seen, there, "a resumed client of stream {stream}");
    }

    /// Keeps new entries, and a slice of the snapshot under way.
    fn keep(&mut self) {
        self.output();
        let entries = std::mem::take(&mut self.happened);
        self.kept.extend(entries.iter().cloned());
        if let Some((written, place, max)) = &mut self.snapshot {
            written.extend(entries);
            let (slice, next) = self.shard.commit(|_| ()).snapshot(*place, *max);
            written.extend(slice);
            match next {
                Some(next) => *place = next,
                None => self.kept = self.snapshot.take().unwrap().0,
            }
        }
    }

    fn restart(&mut self) {
        // what has run out and was not looked at yet would have the whole TTL again
        self.expire();
        self.keep();
        let streams = by_stream(&self.kept);
        let mut next = Shard::new(Settings { log: LogId(8), ..SETTINGS }, self.now);
        next.keep_entries();
        next.restore_forgotten(self.shard.forgotten());
        next.restore_position(self.shard.next_position());
        let at = Restoring { unix: self.unix, complete: true, has_history: true, now: self.now };
        for changes in streams.into_values() {
            next.restore(changes, at);
        }
        next.take_counts();
        self.compare(&mut next);
        self.shard = next;
        self.happened.clear();
        // all of it is kept anew, in slices of one stream
        self.kept = next_snapshot(&mut self.shard);
        self.shard.take_entries();
        self.snapshot = None;
        for client in 0..CLIENTS {
            if self.clients[client].session.is_some() {
                self.lose(client, true); // even where nothing was followed
            }
        }
    }

    /// Another shard has the same state.
    fn compare(&mut self, next: &mut Shard<u32>) {
        next.handle_timeout(self.now); // publications that have run out
        let (was, is) = (self.shard.totals(), next.totals());
        let parked = was.parked + was.subscriptions;
        let expected = Totals { subscriptions: 0, parked, ..was };
        assert_eq!(Totals { streams: expected.streams, ..is }, expected);
        for stream in 0..STREAMS {
            let stream = name(stream);
            assert_eq!(next.commit(|_| ()).members(&stream), self.output().members(&stream));
            assert_eq!(
                history(next, &stream, self.now),
                history(&mut self.shard, &stream, self.now)
            );
        }
    }

    fn disperse(&mut self) {
        for client in 0..CLIENTS {
            self.end(client, false);
        }
        for stream in 0..STREAMS {
            for id in PUT_IDS {
                let gone = self.shard.kick(&name(stream), &id.into(), self.now);
                self.output().open(gone);
            }
        }
        self.now += HISTORY_TTL;
        for _ in 0..3 {
            self.shard.handle_timeout(self.now);
        }
        while self.output().poll_reply().is_some() {}
        let now = self.now;
        while self.output().poll_fan_out(100, now).is_some() {}
        assert_eq!(self.shard.totals(), Totals::default());
        self.keep();
        assert!(by_stream(&self.kept).is_empty(), "what is forgotten is not kept");
    }
}

/// The entries that count, as they are loaded from disk: those since a stream's last beginning.
fn by_stream(entries: &[Entry]) -> BTreeMap<StreamName, Vec<Entry>> {
    let mut streams: BTreeMap<StreamName, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        match &entry.change {
            Change::Forgotten { .. } => drop(streams.remove(&entry.stream)),
            Change::Began { .. } | Change::Snapshot { .. } => {
                streams.insert(entry.stream.clone(), vec![entry.clone()]);
            }
            _ => {
                if let Some(stream) = streams.get_mut(&entry.stream) {
                    stream.push(entry.clone());
                }
            }
        }
    }
    streams
}

fn next_snapshot(shard: &mut Shard<u32>) -> Vec<Entry> {
    let (mut all, mut place) = (Vec::new(), 0);
    loop {
        let (entries, next) = shard.commit(|_| ()).snapshot(place, 1);
        all.extend(entries);
        match next {
            Some(next) => place = next,
            None => return all,
        }
    }
}

/// The whole history, as a new subscriber gets it: positions and payloads.
fn history(shard: &mut Shard<u32>, stream: &StreamName, now: Instant) -> Vec<(Offset, String)> {
    let key = key(u32::MAX);
    let request = HistoryRequest { since: Some(0), positions: vec![], joint: None };
    for history in [None, Some(request)] {
        let command = StreamCommand::from(Subscribe {
            join: None,
            history,
            grant: Grant::OPEN,
            options: SubscribeOptions::default(),
        });
        let input =
            Input::Command { key: key.clone(), recipient: u32::MAX, command, reference: None };
        shard.handle(stream, input, now);
    }
    let mut told = Vec::new();
    while let Some(delivery) = shard.commit(|_| ()).poll_reply() {
        if delivery.recipient != u32::MAX {
            continue; // what somebody was kept from
        }
        for message in delivery.messages {
            if let ServerMessage::Publication(publication) = message {
                let Publication { data, position, .. } = &*publication;
                told.push((position.as_ref().unwrap().offset, data.as_str().to_owned()));
            } else if message == ServerMessage::HistoryRejected {
                told.push((Offset(0), "rejected".to_owned()));
            }
        }
    }
    let command = StreamCommand::Unsubscribe;
    shard.handle(
        stream,
        Input::Command { key, recipient: u32::MAX, command, reference: None },
        now,
    );
    told
}

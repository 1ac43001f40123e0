//! One log, many replicas: see [`crate::equal`]. A shard with clients makes the log, with entries that come
//! twice or too late.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{
    Change, Entry, ExpiryReason, Known, LogId, NodeId, Origin, Owner, Position, Subscription,
};
use broker::protocol::{action_cable, phoenix};
use broker::shard::{
    End, GroupKey, HistorySettings, Input, Put, ResumeSettings, Settings, Shard, SubscriberKey,
};
use broker::types::{Epoch, Grant, Join, Offset, SessionId, StreamCommand, Whisper};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::door::{Door as _, OfOutcome, Request};
use crate::equal::{Outcome, STREAMS, check, stream};
use crate::replay::extra;
use crate::shard_settings::without_history;
use crate::subscriber::subscribe;

const CLIENTS: usize = 5;
const IDS: [&str; 3] = ["ann", "bob", "cem"];

/// How far the positions of a shard's entries are moved apart, so that others fit between them.
const APART: u64 = 4;

/// Time of all entries, in milliseconds of the Unix epoch.
const UNIX: u64 = 1_000_000;

pub(crate) const SETTINGS: Settings = Settings {
    resume: ResumeSettings {
        ttl: Duration::from_millis(900),
        max_unacked: Duration::from_millis(100),
    },
    max_members: 2,
    history: HistorySettings { limit: 3, ttl: Duration::from_secs(2), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_millis(300))
};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Command {
        client: usize,
        stream: usize,
        what: What,
    },
    Put {
        stream: usize,
        id: usize,
        ttl: Option<u64>,
    },
    Kick {
        stream: usize,
        id: usize,
    },
    End {
        client: usize,
        resumable: bool,
    },
    Resume {
        client: usize,
    },
    Pass(u64),
    /// All connections are gone, as far as the log says.
    Restart {
        stream: usize,
        has_ttl: bool,
        resumable: bool,
    },
    /// Everybody leaves a stream. A node says that it is idle, and perhaps that it is forgotten.
    Idle {
        stream: usize,
        is_forgotten: bool,
    },
    /// A node uses a stream, or is gone.
    Used {
        stream: usize,
        by: Option<u64>,
    },
    /// A history begins again.
    Fork {
        stream: usize,
    },
    /// An entry of before comes again.
    Again(prop::sample::Index),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Subscribe { join: bool },
    Unsubscribe,
    Join { id: usize, info: usize },
    Update { id: usize, info: usize },
    Leave,
    Whisper { members_only: bool },
    Publish { members_only: bool },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (stream, id, info) = (|| 0..STREAMS, || 0..IDS.len(), || 0..2_usize);
    let what = prop_oneof![
        3 => any::<bool>().prop_map(|join| What::Subscribe { join }),
        1 => Just(What::Unsubscribe),
        4 => (id(), info()).prop_map(|(id, info)| What::Join { id, info }),
        1 => (id(), info()).prop_map(|(id, info)| What::Update { id, info }),
        2 => Just(What::Leave),
        1 => any::<bool>().prop_map(|members_only| What::Whisper { members_only }),
        2 => any::<bool>().prop_map(|members_only| What::Publish { members_only }),
    ];
    let step = prop_oneof![
        12 => (0..CLIENTS, stream(), what)
            .prop_map(|(client, stream, what)| Step::Command { client, stream, what }),
        2 => (stream(), id(), prop::option::of(Just(200)))
            .prop_map(|(stream, id, ttl)| Step::Put { stream, id, ttl }),
        1 => (stream(), id()).prop_map(|(stream, id)| Step::Kick { stream, id }),
        3 => (0..CLIENTS, any::<bool>())
            .prop_map(|(client, resumable)| Step::End { client, resumable }),
        2 => (0..CLIENTS).prop_map(|client| Step::Resume { client }),
        3 => prop::sample::select(vec![50, 300, 1000]).prop_map(Step::Pass),
        1 => (stream(), any::<bool>(), any::<bool>())
            .prop_map(|(stream, has_ttl, resumable)| Step::Restart { stream, has_ttl, resumable }),
        2 => (stream(), any::<bool>())
            .prop_map(|(stream, is_forgotten)| Step::Idle { stream, is_forgotten }),
        1 => (stream(), prop::option::of(1..3_u64))
            .prop_map(|(stream, by)| Step::Used { stream, by }),
        1 => stream().prop_map(|stream| Step::Fork { stream }),
        3 => any::<prop::sample::Index>().prop_map(Step::Again),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_are_equal(steps in steps(), seed in any::<u64>()) {
        check(&log(&steps), seed);
    }
}

/// Else the property above would say little.
#[test]
fn logs_have_entries_that_count_and_some_that_are_void() {
    let mut runner = TestRunner::deterministic();
    let mut all = Outcome::default();
    for seed in 0..30 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let Outcome { applied, void, told } = check(&log(&steps), seed);
        all.applied += applied;
        all.void += void;
        all.told += told;
    }
    assert!(all.applied > 600 && all.void > 100 && all.told > 1_200, "{all:?}");
}

/// A shard with clients, whose entries make a log.
struct Leader {
    shard: Shard<()>,
    now: Instant,
    /// Each client's session, whether it is connected, and how many there have been.
    sessions: [(u128, bool); CLIENTS],
    made: u128,
    log: Vec<Entry>,
}

/// The log of a shard that all this happens to.
pub(crate) fn log(steps: &[Step]) -> Vec<Entry> {
    let now = Clock::new().now();
    let mut shard = Shard::new(SETTINGS, now);
    shard.keep_entries();
    shard.set_unix(1_000_000);
    let sessions = [0, 1, 2, 3, 4].map(|session| (session, true));
    let mut leader = Leader { shard, now, sessions, made: 5, log: Vec::new() };
    for step in steps {
        leader.step(step);
        leader.collect();
    }
    leader.log
}

impl Leader {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Command { client, stream: number, what } => {
                if self.sessions[*client].1 {
                    let input = Input::Command {
                        key: self.key(*client),
                        recipient: (),
                        command: command(*what),
                        reference: None,
                    };
                    self.shard.handle(&stream(*number), input, self.now);
                    self.said(*client, *number, *what);
                }
            }
            Step::Put { stream: number, id, ttl } => {
                let join = join(*id, 0);
                let put = Put { join, ttl: ttl.map(Duration::from_millis) };
                let placed = self.shard.put(&stream(*number), put, self.now);
                drop(self.shard_open(placed));
            }
            Step::Kick { stream: number, id } => {
                let gone = self.shard.kick(&stream(*number), &IDS[*id].into(), self.now);
                self.shard_open(gone);
            }
            Step::End { client, resumable } => self.end(*client, *resumable),
            Step::Resume { client } => self.resume(*client),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                self.shard.handle_timeout(self.now);
            }
            Step::Restart { stream: number, has_ttl, resumable } => {
                let ttl = SETTINGS.presence_ttl * u32::from(*has_ttl);
                let resumable = resumable.then_some(SETTINGS.resume.ttl);
                self.insert(*number, Change::Restarted { ttl, resumable });
            }
            Step::Idle { stream: number, is_forgotten } => {
                self.apply(*number, Change::Restarted { ttl: Duration::ZERO, resumable: None });
                for id in IDS {
                    self.apply(*number, Change::Kicked { id: id.into() });
                }
                let Some((epoch, head)) = self.head(*number) else { return };
                let idle = self.shard.next_position();
                self.apply(*number, Change::Idle { epoch, head });
                if *is_forgotten {
                    self.apply(*number, Change::ForgottenByAll { idle, lost: 7 });
                }
            }
            Step::Used { stream: number, by } => {
                self.apply(*number, Change::Used { by: by.map(NodeId) });
            }
            Step::Fork { stream: number } => self.apply(*number, Change::Forked),
            Step::Again(which) => {
                if !self.log.is_empty() {
                    let Entry { stream: name, change, .. } = which.get(&self.log).clone();
                    let number = (0..STREAMS).find(|number| stream(*number) == name).unwrap();
                    self.insert(number, change);
                }
            }
        }
    }

    /// Epoch and offset of a stream.
    fn head(&mut self, number: usize) -> Option<(Epoch, Offset)> {
        let entries = self.shard.commit(|_| ()).snapshot(0, usize::MAX).0.into_iter();
        let changes = entries.filter(|entry| entry.stream == stream(number)).map(|it| it.change);
        changes.fold(None, |head, change| match (head, change) {
            (_, Change::Snapshot { epoch, head, .. }) => Some((epoch, head)),
            (Some((epoch, Offset(head))), Change::Kept { .. }) => Some((epoch, Offset(head + 1))),
            (head, _) => head,
        })
    }

    /// Applies a change of a node, which is in the log unless it is void.
    fn apply(&mut self, number: usize, change: Change) {
        let (position, origin) = (self.shard.next_position(), Origin::default());
        let entry = Entry { position, at: UNIX, origin, stream: stream(number), change };
        let _void = self.shard.apply(entry, self.now);
    }

    /// Puts an entry of nobody's into the log, if there is room behind the last.
    fn insert(&mut self, number: usize, change: Change) {
        self.collect();
        let position = Position(self.log.last().map_or(1, |last| last.position.0 + 1));
        if !position.0.is_multiple_of(APART) {
            let (stream, origin) = (stream(number), Origin::default());
            self.log.push(Entry { position, at: UNIX, origin, stream, change });
        }
    }

    /// What lasts is in the entries that are kept; of what is only said, the log hears here.
    fn said(&mut self, client: usize, number: usize, what: What) {
        match what {
            What::Subscribe { .. } => self.insert(number, Change::Arrived),
            What::Whisper { members_only } => {
                let from = SessionId::from_bits(self.sessions[client].0);
                let whisper = Whisper { event: None, data: "1".into() };
                let by = Subscription { session: from, identifier: "\"a\"".into() };
                let author = members_only.then_some(by);
                self.insert(number, Change::Whispered { whisper, from, author });
            }
            _ => {}
        }
    }

    fn shard_open<T: OfOutcome>(&mut self, outcome: Request<T>) -> T {
        self.collect();
        self.shard.open(outcome)
    }

    fn key(&self, client: usize) -> SubscriberKey {
        let codec = if client == 0 { phoenix::CODEC } else { action_cable::CODEC };
        let session = SessionId::from_bits(self.sessions[client].0);
        let identifier = if client.is_multiple_of(2) { "\"a\"" } else { "\"b\"" };
        SubscriberKey { session, group: GroupKey::new(codec, identifier.into()) }
    }

    fn end(&mut self, client: usize, resumable: bool) {
        if !std::mem::take(&mut self.sessions[client].1) {
            return;
        }
        for number in 0..STREAMS {
            self.collect();
            let grant = resumable.then_some(Grant::OPEN);
            let (key, end) = (self.key(client), End { grant, ..End::at(self.now) });
            self.shard.handle(&stream(number), Input::Ended { key, end }, self.now);
        }
        if !resumable {
            self.made += 1;
            self.sessions[client] = (self.made, true);
        }
    }

    fn resume(&mut self, client: usize) {
        if self.sessions[client].1 {
            return;
        }
        self.made += 1;
        let to = SessionId::from_bits(self.made);
        for number in 0..STREAMS {
            let from = self.key(client);
            let resumed = self.shard.resume(&stream(number), &from, (to, ()), self.now);
            self.shard_open(resumed);
        }
        self.sessions[client] = (self.made, true);
    }

    /// Takes what happened into the log, and says what there is to say.
    fn collect(&mut self) {
        for entry in self.shard.take_entries() {
            self.log.push(apart(entry));
        }
        let mut output = self.shard.commit(|_| ());
        while output.poll_reply().is_some() {}
        while output.poll_fan_out(100, self.now).is_some() {}
    }
}

/// The same entry in a log with more between the entries.
fn apart(entry: Entry) -> Entry {
    renumbered(entry, &|position| Position(position.0.saturating_mul(APART)))
}

/// An entry in a log whose positions are others.
pub(crate) fn renumbered(mut entry: Entry, moved: &dyn Fn(Position) -> Position) -> Entry {
    let known = |known: Known| Known {
        confirmed_before: moved(known.confirmed_before),
        sent_before: moved(known.sent_before),
    };
    let epoch_at = |epoch: &Epoch| {
        let positions = (1..10_000).map(Position);
        let mut began = positions.flat_map(|at| [(at, 0), (at, UNIX)]); // that of a fork has a time
        let is_it = |it: &(Position, u64)| SETTINGS.log.epoch_at(it.0, it.1) == *epoch;
        let (began, at) = began.find(is_it).unwrap();
        SETTINGS.log.epoch_at(moved(began), at)
    };
    match &mut entry.change {
        Change::Expired { record, reason, .. } => {
            *record = moved(*record);
            if let ExpiryReason::Ended(ended) = reason {
                *ended = moved(*ended);
            }
        }
        Change::Ended { parking: Some(parking), .. } => parking.known = known(parking.known),
        Change::Lapsed { parked, .. } => *parked = moved(*parked),
        Change::Forgotten { epoch, .. } | Change::Idle { epoch, .. } => *epoch = epoch_at(epoch),
        Change::ForgottenByAll { idle, .. } => *idle = moved(*idle),
        Change::Snapshot { epoch, journal, .. } => {
            (*epoch, *journal) = (epoch_at(epoch), moved(*journal));
        }
        Change::Record {
            owner: Owner::Subscription { ended: Some(ended), .. } | Owner::Orphan { ended },
            ..
        } => *ended = moved(*ended),
        Change::Resumable { parked: Some(parked), .. } => {
            (parked.at, parked.known) = (moved(parked.at), known(parked.known));
        }
        _ => {}
    }
    entry.position = moved(entry.position);
    entry
}

fn join(id: usize, info: usize) -> Join {
    Join { id: IDS[id].into(), info: info.to_string().into(), extra: extra(info) }
}

fn command(what: What) -> StreamCommand {
    match what {
        What::Subscribe { join: joins } => subscribe(joins.then(|| join(0, 0))),
        What::Unsubscribe => StreamCommand::Unsubscribe,
        What::Join { id, info } => StreamCommand::Join(join(id, info)),
        What::Update { id, info } => StreamCommand::Update(join(id, info)),
        What::Leave => StreamCommand::Leave(None),
        What::Whisper { members_only } => {
            let whisper = Whisper { event: None, data: "1".into() };
            StreamCommand::Whisper { whisper, members_only }
        }
        What::Publish { members_only } => {
            StreamCommand::Publish { data: "2".into(), at: 7, members_only }
        }
    }
}

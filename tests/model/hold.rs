//! Held subscribers: a client that resumes and requests its missed publications gets these first, then the
//! ones published meanwhile, then live ones, each once and in order. A later request for history gets all it
//! asks for.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::shard::{
    Delivery, End, FanOut, HistorySettings, Input, Publish, ResumeSettings, Settings, Shard,
};
use broker::types::{
    Epoch, Grant, HistoryRequest, Join, Listing, MemberChange, Offset, PresenceId, ServerMessage,
    SessionId, StreamCommand, StreamName, StreamPosition, Whisper,
};
use proptest::prelude::*;

use crate::door::Door as _;
use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

#[derive(Clone, Debug)]
enum Step {
    Publish {
        large: bool,
        /// The client is left out.
        excludes: bool,
    },
    /// Another one joins or leaves.
    Join(bool),
    Cut,
    Resume,
    /// Asks for what it missed, if it has said nothing since it resumed; else for what follows one of the
    /// publications there were.
    Ask(u64),
    /// Asks who is present.
    List,
    /// Says something that isn't answered.
    Whisper,
    Deliver(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(large, excludes)| Step::Publish { large, excludes }),
        2 => any::<bool>().prop_map(Step::Join),
        2 => Just(Step::Cut),
        3 => Just(Step::Resume),
        3 => any::<u64>().prop_map(Step::Ask),
        1 => Just(Step::List),
        1 => Just(Step::Whisper),
        4 => (0..3_usize).prop_map(Step::Deliver),
        1 => prop::sample::select(vec![1, 500, 1000]).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_missed_comes_first(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}

/// What is held is given up beyond so many bytes in a shard.
const MAX_HELD: usize = 4 * 1024 * 1024;

#[test]
fn too_much_to_be_kept_is_told() {
    let mut world = World::new();
    for step in [Step::Cut, Step::Publish { large: false, excludes: false }, Step::Resume] {
        world.step(&step);
    }
    let mut kept = 0;
    while kept + LARGE < MAX_HELD {
        world.step(&Step::Publish { large: true, excludes: false });
        world.deliver(usize::MAX);
        assert!(!world.live, "{kept} bytes are no reason to let it go first");
        kept += LARGE;
    }
    for _ in 0..2 {
        world.step(&Step::Publish { large: true, excludes: false });
    }
    world.deliver(usize::MAX);
    assert!(world.live);
    world.said = Said::NothingInTime;
    world.step(&Step::Ask(0));
    world.settle();
}

/// What a client has said since it resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing that would be answered, and it has time to.
    Nothing,
    /// Nothing, and it is told what is new.
    NothingInTime,
    Something,
}

struct World {
    shard: Shard<u32>,
    now: Instant,
    /// The client's connection, and that of somebody who watches all the time.
    session: u32,
    is_connected: bool,
    resumed: Instant,
    /// The publications that it had missed when it resumed.
    missed: Range<u64>,
    said: Said,
    /// The next publication that it is told live, unless it is left out of it.
    next: u64,
    excluded: BTreeSet<u64>,
    /// Something has been told it live on this connection.
    live: bool,
    /// The publications with which its requests for history are answered; whether these come first.
    answers: VecDeque<(Range<u64>, bool)>,
    epoch: Option<Epoch>,
    published: u64,
    members: Option<usize>,
}

const WATCHER: u32 = u32::MAX;

/// Bytes of a large publication.
const LARGE: usize = 100_000;

fn stream() -> StreamName {
    "room".into()
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let settings = Settings {
            resume: ResumeSettings {
                ttl: Duration::from_secs(600),
                max_unacked: Duration::from_secs(30),
            },
            history: HistorySettings {
                limit: 1000,
                ttl: Duration::from_secs(3600),
                max_bytes: usize::MAX,
            },
            ..without_history(Duration::from_secs(60))
        };
        let mut world = Self {
            shard: Shard::new(settings, now),
            now,
            session: 1,
            is_connected: true,
            resumed: now,
            missed: 0..0,
            said: Said::Something,
            next: 1,
            excluded: BTreeSet::new(),
            live: false,
            answers: VecDeque::new(),
            epoch: None,
            published: 0,
            members: None,
        };
        for session in [WATCHER, 1] {
            world.command(session, subscribe(None));
            world.command(session, StreamCommand::List(Listing::Members));
        }
        world.deliver(usize::MAX);
        world
    }

    fn command(&mut self, session: u32, command: StreamCommand) {
        let input =
            Input::Command { key: key(session), recipient: session, command, reference: None };
        self.shard.handle(&stream(), input, self.now);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish { large, excludes } => {
                self.published += 1;
                let data = if *large { format!("\"{}\"", "x".repeat(LARGE)) } else { "1".into() };
                let except = excludes.then(|| SessionId::from_bits(self.session.into()));
                if *excludes && self.is_connected {
                    self.excluded.insert(self.published);
                }
                let input = Input::Publish(Publish {
                    data: data.into(),
                    labels: None,
                    at: 0,
                    except,
                    is_transient: false,
                });
                self.shard.handle(&stream(), input, self.now);
            }
            Step::Join(joins)
                if *joins == (self.shard.commit(|_| ()).member_count(&stream()) > 0) => {}
            Step::Join(joins) => {
                let join = Join { id: PresenceId::from("bob"), info: "1".into(), extra: None };
                let join =
                    if *joins { StreamCommand::Join(join) } else { StreamCommand::Leave(None) };
                self.command(WATCHER, join);
            }
            Step::Cut if self.is_connected => {
                self.deliver(usize::MAX);
                let end = End { grant: Some(Grant::OPEN), ..End::at(self.now) };
                let ended = Input::Ended { key: key(self.session), end };
                self.shard.handle(&stream(), ended, self.now);
                self.is_connected = false;
            }
            Step::Resume if !self.is_connected => {
                let (from, to) = (key(self.session), self.session + 1);
                let session = SessionId::from_bits(to.into());
                let resumed = self.shard.resume(&stream(), &from, (session, to), self.now);
                assert!(self.shard.open(resumed));
                (self.session, self.is_connected) = (to, true);
                self.resumed = self.now;
                self.said = Said::Nothing;
                self.missed = self.next..self.published + 1;
                self.next = self.published + 1;
                self.excluded.clear();
                self.live = false;
                self.deliver(0);
            }
            Step::Ask(after) if self.is_connected => {
                let Some(epoch) = self.epoch.clone() else { return };
                let answer = match self.said {
                    Said::Nothing | Said::NothingInTime => self.missed.clone(),
                    Said::Something => after % (self.published + 1) + 1..self.published + 1,
                };
                let position = StreamPosition { epoch, offset: Offset(answer.start - 1) };
                let positions = vec![(stream(), position)];
                let request = HistoryRequest { since: None, positions, joint: None };
                self.command(self.session, StreamCommand::History(request));
                self.answers.push_back((answer, self.said == Said::Nothing));
                self.said = Said::Something;
            }
            Step::List if self.is_connected => {
                self.said = Said::Something;
                self.command(self.session, StreamCommand::List(Listing::Members));
            }
            Step::Whisper if self.is_connected => {
                if self.said == Said::NothingInTime {
                    self.said = Said::Something;
                }
                let whisper = Whisper { event: None, data: "1".into() };
                let whisper = StreamCommand::Whisper { whisper, members_only: false };
                self.command(self.session, whisper);
            }
            Step::Cut | Step::Resume | Step::Ask(_) | Step::List | Step::Whisper => {}
            Step::Deliver(slices) => self.deliver(*slices),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                self.shard.handle_timeout(self.now);
                let is_over = self.now >= self.resumed + Duration::from_secs(1);
                if is_over && self.said == Said::Nothing {
                    self.said = Said::NothingInTime;
                }
            }
        }
    }

    fn deliver(&mut self, slices: usize) {
        while let Some(Delivery { recipient, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            self.receive(recipient, &messages);
        }
        for _ in 0..slices {
            let Some(FanOut { messages, recipients, .. }) =
                self.shard.commit(|_| ()).poll_fan_out(1, self.now)
            else {
                break;
            };
            for (recipient, has) in recipients {
                self.receive(recipient, &messages[has..]);
            }
        }
    }

    fn receive(&mut self, recipient: u32, messages: &[ServerMessage]) {
        assert!(!messages.is_empty());
        if recipient == WATCHER {
            return;
        }
        assert!(recipient == self.session && self.is_connected);
        let confirmed = messages.iter().position(|it| *it == ServerMessage::HistoryConfirmed);
        let answer = confirmed.map(|end| {
            let (offsets, comes_first) = self.answers.pop_front().expect("it asked for nothing");
            let count = usize::try_from(offsets.end - offsets.start).unwrap();
            (offsets, comes_first, end - count..end)
        });
        for (index, message) in messages.iter().enumerate() {
            let answer = answer.as_ref().filter(|(.., places)| places.contains(&index));
            match message {
                ServerMessage::HistoryRejected => panic!("all of it is kept"),
                ServerMessage::Publication(publication) => {
                    let StreamPosition { epoch, offset } = publication.position.clone().unwrap();
                    self.epoch = Some(epoch);
                    if let Some((offsets, comes_first, places)) = answer {
                        let place = offsets.start + (index - places.start) as u64;
                        assert_eq!(offset, Offset(place), "one is missing or wrong in the answer");
                        assert!(!(*comes_first && self.live), "something new was told before");
                        continue;
                    }
                    while self.excluded.contains(&self.next) {
                        self.next += 1;
                    }
                    assert_eq!(offset, Offset(self.next), "one is missed or repeated");
                    self.next += 1;
                    self.live = true;
                }
                ServerMessage::PresenceList(list) => self.members = Some(list.len()),
                ServerMessage::Presence(change) => self.changed(&change.member),
                ServerMessage::Missed { change, .. } => self.changed(change),
                _ => {}
            }
        }
    }

    fn changed(&mut self, change: &MemberChange) {
        match change {
            MemberChange::Joined { .. } => assert_eq!(self.members.replace(1), Some(0)),
            MemberChange::Left => assert_eq!(self.members.replace(0), Some(1)),
            MemberChange::Updated { .. } | MemberChange::Unchanged => {}
        }
    }

    fn settle(&mut self) {
        self.now += Duration::from_secs(2);
        self.shard.handle_timeout(self.now);
        self.deliver(usize::MAX);
        assert!(self.answers.is_empty() || !self.is_connected, "each request is answered");
        if self.is_connected {
            while self.excluded.contains(&self.next) {
                self.next += 1;
            }
            assert_eq!(self.next, self.published + 1, "everything has come");
            assert_eq!(self.members, Some(self.shard.commit(|_| ()).member_count(&stream())));
        }
        // what was kept for someone is given back, which only shows in what a shard is made of
        assert!(format!("{:#?}", self.shard).contains("messages: []"), "{:#?}", self.shard);
    }
}

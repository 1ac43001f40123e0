//! A client that resumes its session and asks for what it missed gets that first, then what was
//! published meanwhile, then what follows: each publication once and in order, whenever it asks.

use std::time::{Duration, Instant};

use broker::broker::{
    Delivery, End, FanOut, GroupKey, HistorySettings, Input, ResumeSettings, Settings, Shard,
    SubscriberKey,
};
use broker::clock::Clock;
use broker::types::{
    Arrival, Codec, Grant, HistoryRequest, Identifier, Join, Listing, MemberChange, Offset,
    Position, PresenceId, ServerMessage, SessionId, StreamCommand, StreamName,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        large: bool,
    },
    /// Another one joins or leaves.
    Join(bool),
    Cut,
    Resume,
    /// Asks for what follows the last publication it got.
    Ask,
    /// Asks who is present.
    List,
    Deliver(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::bool::weighted(0.2).prop_map(|large| Step::Publish { large }),
        2 => any::<bool>().prop_map(Step::Join),
        2 => Just(Step::Cut),
        3 => Just(Step::Resume),
        3 => Just(Step::Ask),
        1 => Just(Step::List),
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

struct World {
    shard: Shard<u32>,
    now: Instant,
    /// The client's connection, and that of somebody who watches all the time.
    session: u32,
    is_connected: bool,
    resumed: Instant,
    /// Since its resume it has asked for what it missed before anything else.
    asked: Option<bool>,
    /// The last publication it got, and where.
    last: Option<Position>,
    published: u64,
    members: Option<usize>,
}

const WATCHER: u32 = u32::MAX;

fn stream() -> StreamName {
    "room".into()
}

fn key(session: u32) -> SubscriberKey {
    let group = GroupKey::new(Codec::ActionCable, Identifier::from("\"a\""));
    SubscriberKey { session: SessionId::from_bits(session.into()), group }
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let settings = Settings {
            presence_ttl: Duration::from_secs(60),
            occupancy_interval: Duration::from_secs(1),
            resume: ResumeSettings {
                ttl: Duration::from_secs(600),
                longest_doubt: Duration::from_secs(30),
            },
            max_members: usize::MAX,
            max_answer: usize::MAX,
            history: HistorySettings {
                limit: 1000,
                ttl: Duration::from_secs(3600),
                max_bytes: usize::MAX,
            },
            seed: 1,
        };
        let mut world = Self {
            shard: Shard::new(settings, now),
            now,
            session: 1,
            is_connected: true,
            resumed: now,
            asked: Some(true),
            last: None,
            published: 0,
            members: None,
        };
        for session in [WATCHER, 1] {
            let subscribe = StreamCommand::Subscribe {
                join: None,
                history: None,
                grant: Grant::OPEN,
                arrival: Arrival::default(),
            };
            world.command(session, subscribe);
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
            Step::Publish { large } => {
                self.published += 1;
                let data = if *large { format!("\"{}\"", "x".repeat(100_000)) } else { "1".into() };
                let input = Input::Publish { data: data.into(), event: None, at: 0, except: None };
                self.say(|world| world.shard.handle(&stream(), input, world.now));
            }
            // a refusal would look like something it was kept from
            Step::Join(joins) if *joins == (self.shard.member_count(&stream()) > 0) => {}
            Step::Join(joins) => {
                let join = Join { id: PresenceId::from("bob"), info: "1".into(), extra: None };
                let join =
                    if *joins { StreamCommand::Join(join) } else { StreamCommand::Leave(None) };
                self.say(|world| world.command(WATCHER, join));
            }
            Step::Cut if self.is_connected => {
                self.deliver(usize::MAX);
                let end = End { at: self.now, doubt: None, resumable: true };
                let ended = Input::Ended { key: key(self.session), end };
                self.shard.handle(&stream(), ended, self.now);
                self.is_connected = false;
            }
            Step::Resume if !self.is_connected => {
                let (from, to) = (key(self.session), self.session + 1);
                let session = SessionId::from_bits(to.into());
                assert!(self.shard.resume(&stream(), &from, (session, to), |_| true, self.now));
                (self.session, self.is_connected, self.asked) = (to, true, None);
                self.resumed = self.now;
                self.deliver(0);
            }
            Step::Ask if self.is_connected && self.asked.is_none() => {
                // a position is that of a publication, or else of the stream's beginning
                let Some(last) = self.last.clone() else { return };
                let positions = vec![(stream(), last)];
                self.command(
                    self.session,
                    StreamCommand::History(HistoryRequest { since: None, positions }),
                );
                self.asked = Some(true);
            }
            Step::List if self.is_connected => {
                self.asked.get_or_insert(false);
                self.command(self.session, StreamCommand::List(Listing::Members));
            }
            Step::Cut | Step::Resume | Step::Ask | Step::List => {}
            Step::Deliver(slices) => self.deliver(*slices),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                self.shard.handle_timeout(self.now);
                if self.now >= self.resumed + Duration::from_secs(1) && self.is_connected {
                    self.asked.get_or_insert(false); // it is told without having asked
                }
            }
        }
    }

    /// Has something said to the stream.
    fn say(&mut self, say: impl FnOnce(&mut Self)) {
        let before = self.shard.reply_weight();
        say(self);
        if self.shard.reply_weight() > before {
            self.asked.get_or_insert(false); // too much was kept from it
        }
    }

    fn deliver(&mut self, slices: usize) {
        while let Some(Delivery { recipient, messages, .. }) = self.shard.poll_reply() {
            self.receive(recipient, &messages);
        }
        for _ in 0..slices {
            let Some(FanOut { messages, recipients, .. }) = self.shard.poll_fan_out(1, self.now)
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
        for message in messages {
            match message {
                ServerMessage::Publication(publication) => {
                    let position = publication.position.clone().unwrap();
                    let before = self.last.as_ref().map_or(0, |last| last.offset.0);
                    if self.asked == Some(true) {
                        assert_eq!(
                            position.offset,
                            Offset(before + 1),
                            "one is missed or repeated"
                        );
                    }
                    if position.offset.0 > before {
                        self.last = Some(position);
                    }
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
        if self.is_connected {
            let last = self.last.as_ref().map_or(0, |last| last.offset.0);
            if self.asked == Some(true) {
                assert_eq!(last, self.published, "everything has come");
            }
            assert_eq!(self.members, Some(self.shard.member_count(&stream())));
        }
        // what was kept for someone is given back, which only shows in what a shard is made of
        assert!(format!("{:#?}", self.shard).contains("messages: []"), "{:#?}", self.shard);
    }
}

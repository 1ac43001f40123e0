//! Occupancy: a subscriber gets a true number at once, then at most one per interval, and the final number in
//! the end.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::protocol::action_cable;
use broker::shard::{Delivery, End, FanOut, GroupKey, Input, Settings, Shard, SubscriberKey};
use broker::types::{Identifier, Join, ServerMessage, SessionId, StreamCommand, StreamName, Watch};
use proptest::prelude::*;

use crate::shard_settings::without_history;
use crate::subscriber::subscribe;

const INTERVAL: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_millis(300);
const MEMBERS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    Cut(usize),
    /// Somebody comes who only counts.
    Count,
    Pass(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_counts_is_told_true_numbers_and_not_too_often(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.deliver();
        }
        world.pass(INTERVAL + TTL);
        world.deliver();
        world.pass(INTERVAL);
        world.deliver();
        let present = world.shard.commit(|_| ()).member_count(&stream());
        for counter in &world.counters {
            prop_assert_eq!(counter.total, Some(present), "the last number is the one that is");
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..MEMBERS).prop_map(Step::Join),
        2 => (0..MEMBERS).prop_map(Step::Leave),
        1 => (0..MEMBERS).prop_map(Step::Cut),
        1 => Just(Step::Count),
        3 => prop::sample::select(vec![1, 100, 301, 999, 1500]).prop_map(Step::Pass),
    ]
}

fn stream() -> StreamName {
    "crowded".into()
}

struct Counter {
    total: Option<usize>,
    told: Vec<Instant>,
}

struct World {
    shard: Shard<usize>,
    now: Instant,
    sessions: u128,
    /// The session of each member that is connected.
    members: [Option<SubscriberKey>; MEMBERS],
    counters: Vec<Counter>,
    /// How many were present when all had been told.
    delivered: usize,
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let settings = Settings { occupancy_interval: INTERVAL, ..without_history(TTL) };
        let (members, counters) = (Default::default(), Vec::new());
        let shard = Shard::new(settings, now);
        Self { shard, now, sessions: 0, members, counters, delivered: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join(member) if self.members[member].is_none() => {
                let key = self.key(Watch::Members);
                let join =
                    Join { id: format!("{member}").into(), info: "null".into(), extra: None };
                self.subscribe(&key, usize::MAX, Some(join));
                self.members[member] = Some(key);
            }
            Step::Leave(member) => {
                if let Some(key) = self.members[member].take() {
                    self.command(&key, usize::MAX, StreamCommand::Unsubscribe);
                }
            }
            Step::Cut(member) => {
                if let Some(key) = self.members[member].take() {
                    let input = Input::Ended { key, end: End::at(self.now) };
                    self.shard.handle(&stream(), input, self.now);
                }
            }
            Step::Count => {
                let key = self.key(Watch::Occupancy);
                self.counters.push(Counter { total: None, told: Vec::new() });
                self.subscribe(&key, self.counters.len() - 1, None);
                while let Some(reply) = self.shard.commit(|_| ()).poll_reply() {
                    self.receive(reply.recipient, &reply.messages, false);
                }
                let present = self.shard.commit(|_| ()).member_count(&stream());
                let told = self.counters.last().and_then(|counter| counter.total);
                assert_eq!(told, Some(present), "it is told at once");
            }
            Step::Pass(milliseconds) => self.pass(Duration::from_millis(milliseconds)),
            Step::Join(_) => {}
        }
    }

    fn key(&mut self, watch: Watch) -> SubscriberKey {
        self.sessions += 1;
        let identifier = Identifier::from("\"crowded\"");
        let group = GroupKey { codec: action_cable::CODEC, watch, identifier };
        SubscriberKey { session: SessionId::from_bits(self.sessions), group }
    }

    fn subscribe(&mut self, key: &SubscriberKey, recipient: usize, join: Option<Join>) {
        self.command(key, recipient, subscribe(join));
    }

    fn command(&mut self, key: &SubscriberKey, recipient: usize, command: StreamCommand) {
        let input = Input::Command { key: key.clone(), recipient, command, reference: None };
        self.shard.handle(&stream(), input, self.now);
    }

    /// Time goes by in small steps, as a clock that is waited for does.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let due = self.shard.poll_timeout().unwrap_or(until);
            self.now = due.clamp(self.now, until);
            self.shard.handle_timeout(self.now);
            self.deliver();
            if due > until {
                self.now = until;
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(Delivery { recipient, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            self.receive(recipient, &messages, true);
        }
        while let Some(FanOut { messages, recipients, .. }) =
            self.shard.commit(|_| ()).poll_fan_out(8, self.now)
        {
            for (recipient, has) in recipients {
                self.receive(recipient, &messages[has..], true);
            }
        }
        self.delivered = self.shard.commit(|_| ()).member_count(&stream());
    }

    fn receive(&mut self, recipient: usize, messages: &[ServerMessage], later: bool) {
        let present = self.shard.commit(|_| ()).member_count(&stream());
        let (min, max) = (self.delivered.min(present), self.delivered.max(present));
        let Some(counter) = self.counters.get_mut(recipient) else { return };
        for message in messages {
            let ServerMessage::Occupancy(total) = message else { continue };
            assert!((min..=max).contains(total), "it is a number there was meanwhile");
            counter.total = Some(*total);
            if later {
                if let Some(last) = counter.told.last() {
                    assert!(self.now >= *last + INTERVAL, "it is told too often");
                }
                counter.told.push(self.now);
            }
        }
    }
}

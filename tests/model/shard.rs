//! A shard equals the reference model, in any interleaving of inputs, time and output.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::Void;
use broker::shard::{Delivery, End, FanOut, Input, Placed, Publish, Put, Settings, Shard, Totals};
use broker::types::{
    Grant, Join, MemberList, PresenceChange, PresenceId, RawJson, RecordChange, Repeat,
    ServerMessage,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use crate::door::Door as _;
use crate::reference::{
    CONNECTIONS, Command, Given, Model, NAMES, Presence, STREAMS, Step, stream_name,
};
use crate::replay::replay;
use crate::shard_settings::without_history;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_does_what_the_reference_says(sequential 1..150 => Real);
}

const IDS: [&str; 3] = ["ann", "bob", "cem"];

struct Steps;

impl ReferenceStateMachine for Steps {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        let ttl = select(vec![0, 1, 50, 15_000]);
        let max_members = select(vec![1, 2, usize::MAX]);
        let max_answer = select(vec![30, 60, usize::MAX, usize::MAX]);
        (ttl, max_members, max_answer).prop_map(Model::new).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let ttl = model.ttl;
        let any_key = (0..CONNECTIONS, 0..NAMES);
        let held = model.keys();
        let key = if held.is_empty() { any_key.clone().boxed() } else { select(held).boxed() };
        let join = prop_oneof![
            2 => Just(None),
            4 => presence().prop_map(|presence| Some(Ok(presence))),
            1 => Just(Some(Err(()))),
        ];
        let repeat = select(vec![Repeat::Always, Repeat::Later, Repeat::Never]);
        let repeat = (repeat, prop::bool::weighted(0.2));
        let command = select(vec![
            Command::Unsubscribe,
            Command::Leave,
            Command::Leave,
            Command::List,
            Command::List,
            Command::Count,
            Command::History,
            Command::Whisper,
            Command::Whisper,
            Command::Refuse,
        ]);
        let pause = select(vec![0, 1, 7, ttl.saturating_sub(1), ttl, ttl + 1, 86_400_000]);
        let late = prop_oneof![3 => Just(0), 1 => 0..100_u64, 1 => 0..2 * ttl + 1];
        prop_oneof![
            8 => (any_key, join, prop::bool::weighted(0.1), repeat).prop_map(
                |(key, join, history, repeat)| Step::Subscribe { key, join, history, repeat }
            ),
            5 => (key.clone(), presence()).prop_map(|(key, presence)| Step::Join { key, presence }),
            6 => (key, command).prop_map(|(key, what)| Step::Command { key, what }),
            3 => (0..STREAMS, prop::option::of(0..CONNECTIONS))
                .prop_map(|(stream, except)| Step::Publish { stream, except }),
            2 => (0..STREAMS, presence(), prop::option::of(select(vec![1, 20, 50, 15_000])))
                .prop_map(|(stream, presence, ttl)| Step::Put { stream, presence, ttl }),
            2 => (0..STREAMS, presence())
                .prop_map(|(stream, Join { id, .. })| Step::Kick { stream, id }),
            2 => (0..CONNECTIONS, late)
                .prop_map(|(connection, late)| Step::End { connection, late }),
            2 => pause.prop_map(Step::Pass),
            2 => Just(Step::Expire),
            2 => Just(Step::Reply),
            4 => (1..4_usize, 1..4_usize)
                .prop_map(|(slices, max)| Step::FanOut { slices, max }),
            1 => Just(Step::FanOut { slices: usize::MAX, max: 100 }),
        ]
        .boxed()
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.apply(step);
        model
    }
}

fn presence() -> impl Strategy<Value = Presence> {
    let id = select(&IDS[..]).prop_map(PresenceId::from);
    let info = select(vec!["0", "1", "2"]).prop_map(RawJson::from);
    let extra = select(vec![None, None, Some("{}"), Some("{\"a\":1}")])
        .prop_map(|extra| extra.map(|extra| Box::new(RawJson::from(extra))));
    (id, info, extra).prop_map(|(id, info, extra)| Join { id, info, extra })
}

/// The shard, and what its subscribers received.
struct Real {
    shard: Shard<u32>,
    start: Instant,
    now: Instant,
    received: Vec<Received>,
    references: References,
}

#[derive(Default)]
struct Received {
    /// How many of the messages that it must be told have come.
    messages: usize,
    /// The members as this subscriber sees them: the list it got, and what it was told since.
    seen: Option<MemberList>,
}

/// Which of the shard's numbers for changes stand for which of the model's, in each lifetime of a
/// stream.
#[derive(Default)]
struct References {
    theirs: BTreeMap<(usize, u64), u64>,
    ours: BTreeMap<(usize, u64), u64>,
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Steps;

    fn init_test(model: &Model) -> Self {
        let start = Clock::new().now();
        Self {
            shard: Shard::new(
                Settings {
                    max_members: model.max_members,
                    max_answer: model.max_answer,
                    ..without_history(Duration::from_millis(model.ttl))
                },
                start,
            ),
            start,
            now: start,
            received: Vec::new(),
            references: References::default(),
        }
    }

    fn apply(mut real: Self, model: &Model, step: Step) -> Self {
        real.now = real.at(model.now);
        real.received.resize_with(model.subscriptions.len(), Received::default);
        for given in model.given.clone() {
            real.give(model, given);
        }
        match step {
            Step::Expire => real.expire(),
            Step::Reply => real.take_replies(model),
            Step::FanOut { slices, max } => {
                real.fan_out(model, slices, max);
                if slices == usize::MAX {
                    real.check_all_forgotten();
                }
            }
            Step::Subscribe { .. }
            | Step::Join { .. }
            | Step::Command { .. }
            | Step::Publish { .. }
            | Step::Put { .. }
            | Step::Kick { .. }
            | Step::End { .. }
            | Step::Pass(_) => {}
        }
        real.check_state(model);
        real
    }

    /// Everyone goes, and what they leave behind runs out.
    fn teardown(mut real: Self, mut model: Model) {
        let kicks =
            (0..STREAMS).flat_map(|stream| IDS.map(|id| Step::Kick { stream, id: id.into() }));
        let ends = (0..CONNECTIONS).map(|connection| Step::End { connection, late: 0 });
        let wait = [Step::Pass(model.ttl), Step::Expire];
        for step in [Step::FanOut { slices: usize::MAX, max: 1 }]
            .into_iter()
            .chain(kicks)
            .chain(ends)
            .chain(wait)
        {
            model.apply(&step);
            real = <Self as StateMachineTest>::apply(real, &model, step);
        }
        assert_eq!(real.shard.totals(), Totals::default());
        assert_eq!(real.shard.poll_timeout(), None);
        while real.shard.commit(|_| ()).poll_reply().is_some() {}
        assert!(real.shard.commit(|_| ()).poll_fan_out(100, real.now).is_none(), "told to nobody");
    }
}

impl Real {
    fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    fn give(&mut self, model: &Model, given: Given) {
        let (stream, input) = match given {
            Given::Command { subscription: number, command } => {
                let subscription = &model.subscriptions[number];
                let key = subscription.key.clone();
                let recipient = u32::try_from(number).unwrap();
                (subscription.stream, Input::Command { key, recipient, command, reference: None })
            }
            Given::Ended { subscription, late } => {
                let subscription = &model.subscriptions[subscription];
                let key = subscription.key.clone();
                let at = self.now.checked_sub(Duration::from_millis(late)).unwrap();
                let end = End { grant: Some(Grant::OPEN), ..End::at(at) }; // if any were
                (subscription.stream, Input::Ended { key, end })
            }
            Given::Publish { stream, data, except } => (
                stream,
                Input::Publish(Publish { data, labels: None, at: 0, except, is_transient: false }),
            ),
            Given::Put { stream, presence, ttl, is_new } => {
                return self.put(model, stream, &presence, ttl, is_new);
            }
            Given::Kick { stream, id, records } => {
                let gone = self.shard.kick(&stream_name(stream), &id, self.now);
                assert_eq!(self.shard.open(gone), records);
                return;
            }
        };
        self.shard.handle(&stream_name(stream), input, self.now);
    }

    fn put(
        &mut self,
        model: &Model,
        stream: usize,
        join: &Presence,
        ttl: Option<u64>,
        is_new: Option<bool>,
    ) {
        let (ttl, id) = (ttl.map(Duration::from_millis), join.id.clone());
        let put = Put { join: join.clone(), ttl };
        let placed = self.shard.put(&stream_name(stream), put, self.now);
        let placed = self.shard.open(placed);
        assert_eq!(placed.as_ref().map(|placed| placed.is_new).ok(), is_new);
        match placed {
            Ok(Placed { member, .. }) => {
                assert_eq!(member.id, id);
                assert!(member.records.iter().any(|record| record.info == join.info));
                assert_eq!(
                    self.shard.commit(|_| ()).member(&stream_name(stream), &id),
                    Some(member)
                );
            }
            Err(void) => assert_eq!(void, Void::Full(model.max_members)),
        }
    }

    fn expire(&mut self) {
        for _ in 0..10 {
            self.shard.handle_timeout(self.now);
        }
        assert!(self.shard.poll_timeout().is_none_or(|due| due > self.now), "it stays due");
    }

    fn take_replies(&mut self, model: &Model) {
        while let Some(Delivery { recipient, group, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            let number = recipient as usize;
            assert_eq!(group, model.subscriptions[number].key.group);
            assert!(!messages.is_empty());
            for message in &messages {
                self.receive(model, number, message);
            }
        }
        for (received, subscription) in self.received.iter().zip(&model.subscriptions) {
            assert!(received.messages >= subscription.answered, "an answer is missing");
        }
    }

    fn fan_out(&mut self, model: &Model, slices: usize, max: usize) {
        self.take_replies(model);
        for _ in 0..slices {
            let Some(slice) = self.shard.commit(|_| ()).poll_fan_out(max, self.now) else {
                return self.check_all_told(model);
            };
            let FanOut { group, messages, recipients } = slice;
            assert!((1..=max).contains(&recipients.len()));
            for (recipient, has) in recipients {
                let number = recipient as usize;
                let subscription = &model.subscriptions[number];
                assert_eq!(group, subscription.key.group);
                assert!(subscription.is_held, "it no longer follows the stream");
                assert!(has < messages.len(), "it lacks nothing");
                for message in &messages[has..] {
                    self.receive(model, number, message);
                }
            }
        }
    }

    /// Takes in one message: it must be the next that the reference says the subscriber is told.
    fn receive(&mut self, model: &Model, number: usize, message: &ServerMessage) {
        let received = &mut self.received[number];
        let subscription = &model.subscriptions[number];
        let Some(expected) = subscription.told.get(received.messages) else {
            panic!("subscription {number} is told too much: {message:?}");
        };
        let lifetime = subscription.lifetime;
        assert!(
            self.references.is_same(lifetime, expected, message),
            "subscription {number} is told {message:?} instead of {expected:?}"
        );
        received.messages += 1;
        match message {
            ServerMessage::PresenceList(list) => {
                let seen = received.seen.insert(list.to_vec());
                assert_eq!(seen, &***list);
            }
            ServerMessage::Presence(change) => {
                if let Some(seen) = &mut received.seen {
                    replay(seen, change);
                }
            }
            ServerMessage::PresenceCount(total) => {
                let seen = received.seen.as_ref().map(Vec::len);
                assert!(seen.is_none_or(|seen| seen == *total), "{seen:?} are not {total}");
            }
            ServerMessage::Confirmed
            | ServerMessage::Rejected(_)
            | ServerMessage::Ended
            | ServerMessage::Done
            | ServerMessage::NotSubscribed
            | ServerMessage::Arrived
            | ServerMessage::Occupancy(_)
            | ServerMessage::PresenceRecords(_)
            | ServerMessage::Missed { .. }
            | ServerMessage::Publication(_)
            | ServerMessage::Whisper(_)
            | ServerMessage::Refused(_)
            | ServerMessage::HistoryConfirmed
            | ServerMessage::HistoryRejected => {}
        }
    }

    /// Nobody lacks anything, and everyone sees who is there.
    fn check_all_told(&mut self, model: &Model) {
        for (received, subscription) in self.received.iter().zip(&model.subscriptions) {
            if subscription.is_held {
                assert_eq!(received.messages, subscription.told.len(), "a message is missing");
                let there = self.shard.commit(|_| ()).members(&stream_name(subscription.stream));
                assert!(received.seen.as_ref().is_none_or(|seen| *seen == **there));
            }
        }
    }

    /// What everyone has been told isn't kept, which only shows in what a shard is made of.
    fn check_all_forgotten(&self) {
        let forgotten = format!("{:#?}", self.shard).matches("messages: []").count();
        assert_eq!(forgotten, self.shard.totals().streams, "{:#?}", self.shard);
    }

    fn check_state(&mut self, model: &Model) {
        assert_eq!(self.shard.totals(), model.totals());
        assert_eq!(self.shard.poll_timeout(), model.next_deadline().map(|due| self.at(due)));
        for stream in 0..STREAMS {
            let (name, list) = (stream_name(stream), model.list(stream));
            assert_eq!(self.shard.commit(|_| ()).member_count(&name), list.len());
            assert_eq!(**self.shard.commit(|_| ()).members(&name), list);
            let records = self.shard.commit(|_| ()).records(&name);
            let infos = records.iter().map(|member| {
                let infos = member.records.iter().map(|record| record.info.clone());
                (member.id.clone(), infos.collect())
            });
            assert_eq!(infos.collect::<Vec<_>>(), model.infos(stream));
        }
        let (counts, counted) = (self.shard.take_counts(), &model.counted);
        assert_eq!(counts.commands, counted.commands);
        assert_eq!(counts.limits, counted.limits);
        assert_eq!(counts.publications, counted.publications);
        assert_eq!(counts.joins, counted.joins);
        assert_eq!(counts.leaves, counted.leaves);
        assert_eq!(counts.updates, counted.updates);
        let expired = counted.expired.iter().map(|at| self.at(*at));
        assert!(counts.expired.into_iter().eq(expired));
        assert!(counts.fan_outs.into_iter().all(|since| since <= self.now));
    }
}

impl References {
    /// Whether a message is the expected one, the numbers of changes apart: of those it matters
    /// only that the same change always has the same one, and others others.
    fn is_same(
        &mut self,
        lifetime: usize,
        expected: &ServerMessage,
        actual: &ServerMessage,
    ) -> bool {
        match (expected, actual) {
            (ServerMessage::Refused(expected), ServerMessage::Refused(actual)) => {
                !actual.is_empty() && (expected.is_empty() || actual == expected)
            }
            (ServerMessage::Presence(expected), ServerMessage::Presence(actual)) => {
                let mut same = self.fit(lifetime, expected.reference, actual.reference);
                let mut actual = PresenceChange::clone(actual);
                actual.reference = expected.reference;
                if let RecordChange::Updated { previous, .. } = &mut actual.record
                    && let RecordChange::Updated { previous: ours, .. } = &expected.record
                {
                    same &= self.fit(lifetime, *ours, *previous);
                    *previous = *ours;
                }
                same && actual == **expected
            }
            (expected, actual) => expected == actual,
        }
    }

    fn fit(&mut self, lifetime: usize, ours: u64, theirs: u64) -> bool {
        *self.theirs.entry((lifetime, ours)).or_insert(theirs) == theirs
            && *self.ours.entry((lifetime, theirs)).or_insert(ours) == ours
    }
}

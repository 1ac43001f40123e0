//! Requests for history of a subscription with several streams, whose shards answer in any order: the client gets what
//! each stream has, and then one answer for all of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::auth::{Client, Rights, Streams};
use broker::clock::Clock;
use broker::protocol::action_cable;
use broker::session::{Action, Session};
use broker::shard::{
    Delivery, FanOut, GroupKey, HistorySettings, Input, Publish, Settings, Shard, SubscriberKey,
};
use broker::types::{
    ClientCommand, Epoch, HistoryRequest, Limits, Offset, Repeat, Request, ServerMessage,
    SessionId, StreamCommand, StreamName, StreamPosition, SubscribeOptions, Target, Watch,
};
use proptest::prelude::*;

use crate::shard_settings::without_history;

const SHARDS: usize = 3;
const STREAMS: usize = 5;
/// Publications that a stream keeps.
const LIMIT: usize = 3;
const SESSION: SessionId = SessionId::from_bits(7);
/// A time in seconds that hasn't come.
const LATER: u64 = 1_000_000;

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    /// The client asks for what came after the last so many publications of each stream; in a subscribe or a command.
    Ask {
        back: u64,
        subscribe: bool,
    },
    /// A stream ends under the subscription.
    Stop(usize),
    /// The next reply of a shard.
    Reply(usize),
    FanOut(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..STREAMS).prop_map(Step::Publish),
        3 => (0..5_u64, prop::bool::weighted(0.3))
            .prop_map(|(back, subscribe)| Step::Ask { back, subscribe }),
        1 => (0..STREAMS).prop_map(Step::Stop),
        8 => (0..SHARDS).prop_map(Step::Reply),
        1 => (0..SHARDS).prop_map(Step::FanOut),
    ];
    prop::collection::vec(step, 1..150)
}

#[derive(Default)]
struct Stream {
    is_followed: bool,
    published: u64,
    epoch: Option<Epoch>,
    /// Offsets that the client must get, in order, and how many it has.
    told: Vec<u64>,
    received: usize,
}

/// An answer that the client must get, behind so many publications of each stream that answers.
struct Answer {
    is_confirmed: bool,
    behind: Vec<usize>,
}

struct World {
    shards: Vec<Shard<u32>>,
    now: Instant,
    session: Session,
    streams: Vec<Stream>,
    answers: VecDeque<Answer>,
}

fn name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

impl World {
    fn new(streams: usize) -> Self {
        let history =
            HistorySettings { limit: LIMIT, ttl: Duration::from_secs(9), max_bytes: usize::MAX };
        let settings = Settings { history, ..without_history(Duration::ZERO) };
        let now = Clock::new().now();
        let mut session = Session::new(SESSION, &Client::default()).repeating(Repeat::Never);
        for stream in 0..streams {
            let rights = Rights { join: false, whisper: false };
            session.restore("i".into(), name(stream), Watch::Members, rights);
        }
        Self {
            shards: (0..SHARDS).map(|_| Shard::new(settings, now)).collect(),
            now,
            session,
            streams: (0..streams).map(|_| Stream::default()).collect(),
            answers: VecDeque::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Publish(stream) if stream < self.streams.len() => self.publish(stream),
            Step::Ask { back, subscribe } => self.ask(back, subscribe),
            Step::Stop(stream) if stream < self.streams.len() => {
                self.fan_out(stream % SHARDS); // who unsubscribes misses what is unsent
                self.streams[stream].is_followed = false;
                self.command(stream, StreamCommand::Unsubscribe);
            }
            Step::Publish(_) | Step::Stop(_) => {}
            Step::Reply(shard) => drop(self.reply(shard)),
            Step::FanOut(shard) => self.fan_out(shard),
        }
    }

    fn command(&mut self, stream: usize, command: StreamCommand) {
        let group = GroupKey::new(action_cable::CODEC, "i".into());
        let key = SubscriberKey { session: SESSION, group };
        let input = Input::Command { key, recipient: 0, command, reference: None };
        self.shards[stream % SHARDS].handle(&name(stream), input, self.now);
    }

    fn publish(&mut self, index: usize) {
        let publish =
            Publish { data: "1".into(), labels: None, at: 1, except: None, is_transient: false };
        self.shards[index % SHARDS].handle(&name(index), Input::Publish(publish), self.now);
        let stream = &mut self.streams[index];
        stream.published += 1;
        if stream.is_followed {
            stream.told.push(stream.published);
        }
    }

    fn ask(&mut self, back: u64, subscribe: bool) {
        let position = |(number, stream): (usize, &Stream)| {
            let offset = Offset(stream.published.saturating_sub(back));
            Some((name(number), StreamPosition { epoch: stream.epoch.clone()?, offset }))
        };
        let positions = self.streams.iter().enumerate().filter_map(position).collect();
        let request = HistoryRequest { since: Some(LATER), positions, joint: None };
        let identifier = "i".into();
        let command = if subscribe {
            ClientCommand::Subscribe {
                identifier,
                target: Target::Channel("Chat".into()),
                history: Some(request),
                join: None,
                watch: Watch::Members,
                options: SubscribeOptions::default(),
            }
        } else {
            ClientCommand::History { identifier, request }
        };
        self.expect(back, subscribe);
        let (limits, streams) = (Limits::default(), Streams::default());
        let mut next = Some(self.session.handle(Request::unnamed(Ok(command)), &limits, &streams));
        while let Some(action) = next {
            let Action::Forward { stream, command, .. } = action else { panic!("{action:?}") };
            let number = stream.as_str().trim_start_matches("stream-").parse().unwrap();
            self.command(number, command);
            next = self.session.poll_action(&limits, &streams).map(|(action, _)| action);
        }
    }

    /// What each stream says to a request, and all together: nothing to a repeated subscribe.
    fn expect(&mut self, back: u64, subscribe: bool) {
        let mut verdicts = Vec::new();
        let mut behind = vec![0; self.streams.len()];
        for (stream, behind) in self.streams.iter_mut().zip(&mut behind) {
            if subscribe && std::mem::replace(&mut stream.is_followed, true) {
                continue;
            }
            let missed = if stream.epoch.is_some() { back.min(stream.published) } else { 0 };
            let is_confirmed = stream.is_followed && missed <= LIMIT as u64;
            if is_confirmed {
                stream.told.extend(stream.published - missed + 1..=stream.published);
            }
            *behind = stream.told.len();
            verdicts.push(is_confirmed);
        }
        if !verdicts.is_empty() {
            let is_confirmed = verdicts.iter().all(|is_confirmed| *is_confirmed);
            self.answers.push_back(Answer { is_confirmed, behind });
        }
    }

    fn reply(&mut self, shard: usize) -> bool {
        let Some(Delivery { mut messages, joint, .. }) =
            self.shards[shard].commit(|_| ()).poll_reply()
        else {
            return false;
        };
        if let Some(joint) = joint {
            let part = messages.pop();
            assert!(messages.is_empty(), "what a stream has goes before its part");
            messages.extend(joint.settle(part.as_ref()));
        }
        for message in &messages {
            self.receive(message);
        }
        true
    }

    fn fan_out(&mut self, shard: usize) {
        while self.reply(shard) {}
        while let Some(FanOut { messages, recipients, .. }) =
            self.shards[shard].commit(|_| ()).poll_fan_out(9, self.now)
        {
            let [(_, has)] = recipients[..] else { panic!("{recipients:?}") };
            for message in &messages[has..] {
                self.receive(message);
            }
        }
    }

    fn receive(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Publication(publication) => {
                let number = publication.stream.as_str().trim_start_matches("stream-");
                let stream = &mut self.streams[number.parse::<usize>().unwrap()];
                let StreamPosition { epoch, offset } = publication.position.clone().unwrap();
                assert_eq!(Some(&offset.0), stream.told.get(stream.received));
                stream.received += 1;
                stream.epoch = Some(epoch);
            }
            ServerMessage::HistoryConfirmed | ServerMessage::HistoryRejected => {
                let Answer { is_confirmed, behind } = self.answers.pop_front().expect("no more");
                assert_eq!(*message == ServerMessage::HistoryConfirmed, is_confirmed);
                for (stream, behind) in self.streams.iter().zip(behind) {
                    assert!(stream.received >= behind, "the answer overtakes a publication");
                }
            }
            ServerMessage::Confirmed => {}
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_streams_give_one_answer(streams in 2..=STREAMS, steps in steps()) {
        let mut world = World::new(streams);
        for step in &steps {
            world.apply(step);
        }
        for shard in 0..SHARDS {
            world.fan_out(shard);
        }
        for stream in &world.streams {
            prop_assert_eq!(stream.received, stream.told.len());
        }
        prop_assert!(world.answers.is_empty(), "a request has no answer");
    }
}

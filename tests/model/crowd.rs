//! Fifty sessions join and leave many times under shared presence ids, while twenty watch. From any moment
//! on, all watchers see the same members in the same order.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::protocol::action_cable;
use broker::shard::{End, GroupKey, Input, Shard, SubscriberKey, Totals};
use broker::types::{
    Identifier, Join, Listing, MemberList, ServerMessage, SessionId, StreamCommand, StreamName,
};

use crate::equal::Dice;
use crate::replay::replay;
use crate::subscriber::subscribe;

const SESSIONS: usize = 50;
const WATCHERS: usize = 20;
/// Each presence id is used by up to two sessions, and the watchers have none.
const IDS: usize = 30;
/// Names that clients give their subscription, each for a group.
const NAMES: usize = 4;
const TTL: Duration = Duration::from_secs(1);
const STEPS: usize = 5000;

#[test]
fn everyone_who_watches_sees_the_same() {
    for seed in 0..4 {
        let mut crowd = Crowd::new(seed);
        for step in 0..STEPS {
            crowd.step();
            if step % 500 == 0 {
                crowd.check();
            }
        }
        crowd.check();
        assert!(crowd.checks > 100, "only {} views were compared", crowd.checks);
        crowd.disperse();
    }
}

struct Crowd {
    dice: Dice,
    shard: Shard<u32>,
    stream: StreamName,
    now: Instant,
    /// The first are sessions that join, the rest watch.
    places: Vec<Option<Place>>,
    /// By recipient: the members as it sees them, once it has asked.
    views: Vec<Option<MemberList>>,
    joins: usize,
    leaves: usize,
    checks: usize,
}

#[derive(Clone)]
struct Place {
    recipient: u32,
    key: SubscriberKey,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let now = Clock::new().now();
        Self {
            dice: Dice::new(seed),
            shard: Shard::new(crate::shard_settings::without_history(TTL), now),
            stream: "room".into(),
            now,
            places: vec![None; SESSIONS + WATCHERS],
            views: Vec::new(),
            joins: 0,
            leaves: 0,
            checks: 0,
        }
    }

    fn step(&mut self) {
        let number = self.dice.roll(SESSIONS + WATCHERS);
        match self.places.get(number).cloned().flatten() {
            None => self.come(number),
            Some(place) => self.act(number, &place),
        }
        if self.dice.roll(3) == 0 {
            self.now += Duration::from_millis(self.dice.roll(60) as u64);
        }
        if self.dice.roll(2) == 0 {
            self.shard.handle_timeout(self.now);
        }
        if self.dice.roll(2) == 0 {
            self.replies();
            for _ in 0..self.dice.roll(5) {
                let max = 1 + self.dice.roll(7);
                self.slice(max);
            }
        }
    }

    fn come(&mut self, number: usize) {
        let recipient = u32::try_from(self.views.len()).expect("a recipient");
        self.views.push(None);
        let name = self.dice.roll(NAMES);
        let name = Identifier::from(format!("\"{name}\""));
        let group = GroupKey::new(action_cable::CODEC, name);
        let key = SubscriberKey { session: SessionId::from_bits(recipient.into()), group };
        let place = Place { recipient, key };
        let join = (number < SESSIONS).then(|| self.join_of(number));
        self.command(&place, subscribe(join));
        if number >= SESSIONS {
            self.command(&place, StreamCommand::List(Listing::Members));
        }
        self.places[number] = Some(place);
    }

    fn act(&mut self, number: usize, place: &Place) {
        match self.dice.roll(if number < SESSIONS { 8 } else { 40 }) {
            0 => {
                self.places[number] = None;
                let late = Duration::from_millis(self.dice.roll(5) as u64);
                let at = self.now.checked_sub(late).expect("a time");
                let input = Input::Ended { key: place.key.clone(), end: End::at(at) };
                self.shard.handle(&self.stream, input, self.now);
            }
            1 => {
                self.places[number] = None;
                self.command(place, StreamCommand::Unsubscribe);
            }
            2 => self.command(place, StreamCommand::List(Listing::Members)),
            3 | 4 if number < SESSIONS => self.command(place, StreamCommand::Leave(None)),
            5.. if number < SESSIONS => {
                let join = self.join_of(number);
                self.command(place, StreamCommand::Join(join));
            }
            3.. => {}
        }
    }

    fn join_of(&mut self, number: usize) -> Join {
        let info = self.dice.roll(3).to_string();
        Join { id: format!("id-{}", number % IDS).into(), info: info.into(), extra: None }
    }

    fn command(&mut self, place: &Place, command: StreamCommand) {
        let Place { recipient, key } = place.clone();
        self.shard.handle(
            &self.stream,
            Input::Command { key, recipient, command, reference: None },
            self.now,
        );
    }

    fn replies(&mut self) {
        while let Some(delivery) = self.shard.commit(|_| ()).poll_reply() {
            for message in &delivery.messages {
                self.receive(delivery.recipient, message);
            }
        }
    }

    /// Whether there was one.
    fn slice(&mut self, max: usize) -> bool {
        let Some(slice) = self.shard.commit(|_| ()).poll_fan_out(max, self.now) else {
            return false;
        };
        for (recipient, has) in slice.recipients {
            for message in &slice.messages[has..] {
                self.receive(recipient, message);
            }
        }
        true
    }

    fn receive(&mut self, recipient: u32, message: &ServerMessage) {
        let view = &mut self.views[recipient as usize];
        match (message, view.as_mut()) {
            (ServerMessage::PresenceList(list), None) => *view = Some(list.to_vec()),
            (ServerMessage::PresenceList(list), Some(view)) => {
                assert_eq!(*view, ***list, "{recipient} sees others than the list");
                self.checks += 1;
            }
            (ServerMessage::Presence(change), Some(view)) => replay(view, change),
            _ => {}
        }
    }

    /// Everyone is told everything, and then sees who is there.
    fn check(&mut self) {
        self.replies();
        while {
            let max = 1 + self.dice.roll(9);
            self.slice(max)
        } {}
        let members = self.shard.commit(|_| ()).members(&self.stream);
        for place in self.places.iter().flatten() {
            if let Some(view) = &self.views[place.recipient as usize] {
                assert_eq!(*view, **members);
                self.checks += 1;
            }
        }
        let counts = self.shard.take_counts();
        self.joins += counts.joins.len();
        self.leaves += counts.leaves.len();
        assert_eq!(self.joins - self.leaves, members.len());
    }

    fn disperse(&mut self) {
        for place in std::mem::take(&mut self.places).into_iter().flatten() {
            let input = Input::Ended { key: place.key, end: End::at(self.now) };
            self.shard.handle(&self.stream, input, self.now);
        }
        assert!(!self.shard.commit(|_| ()).members(&self.stream).is_empty());
        self.now += TTL;
        self.shard.handle_timeout(self.now);
        assert_eq!(self.shard.totals(), Totals::default());
        assert_eq!(self.shard.poll_timeout(), None);
        self.check();
    }
}

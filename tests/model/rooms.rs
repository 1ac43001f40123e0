//! Chat and typed JSON from frame to frame, against a naive list of members.
//!
//! Every client in a room gets exactly the frames that the list yields, in the order of the events, whoever
//! joins, leaves, disconnects or whispers. Chat clients get several events with the list after the last one.

use std::time::{Duration, Instant};

use broker::auth::{Client, Streams};
use broker::clock::Clock;
use broker::protocol;
use broker::protocol::websocket::frame_boundary;
use broker::protocol::{action_cable, chat, typed};
use broker::session::{Action, Session};
use broker::shard::{End, GroupKey, Input, Shard, SubscriberKey, Totals};
use broker::types::{Codec, Limits, Request, ServerMessage, SessionId};
use proptest::prelude::*;

const CLIENTS: usize = 6;
/// They are shared, so that some are in several places at once.
const NAMES: [&str; 3] = ["ann", "b\"b", "cém"];
const TTL: u64 = 100;
/// When all frames are received: the time in messages.
const RECEIVED: Duration = Duration::from_millis(1500);
const TIMESTAMP: &str = "1970-01-01T00:00:01.500Z";

#[derive(Clone, Debug)]
enum Step {
    /// A client connects, if it isn't connected.
    Open {
        client: usize,
        codec: Codec,
    },
    /// It says something, or its connection ends.
    Do {
        client: usize,
        what: What,
        name: usize,
    },
    Pass(u64),
    Expire,
    /// Replies are taken, and so many slices of so many subscribers.
    Deliver {
        slices: usize,
        max: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum What {
    Join,
    Leave,
    /// A typed leave that names nobody.
    LeaveUnnamed,
    List,
    Message,
    Typing,
    Vanish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        6 => Just(What::Join),
        2 => Just(What::Leave),
        1 => Just(What::LeaveUnnamed),
        2 => Just(What::List),
        1 => Just(What::Message),
        1 => Just(What::Typing),
        2 => Just(What::Vanish),
    ];
    let codec = prop_oneof![2 => Just(chat::CODEC), 2 => Just(typed::CODEC), 1 => Just(action_cable::CODEC)];
    let step = prop_oneof![
        4 => (0..CLIENTS, codec).prop_map(|(client, codec)| Step::Open { client, codec }),
        12 => (0..CLIENTS, what, 0..NAMES.len())
            .prop_map(|(client, what, name)| Step::Do { client, what, name }),
        2 => (0..TTL).prop_map(Step::Pass),
        2 => Just(Step::Expire),
        3 => (0..4_usize, 1..4_usize).prop_map(|(slices, max)| Step::Deliver { slices, max }),
    ];
    prop::collection::vec(step, 0..120)
}

/// A connection and what it must be told.
struct Connection {
    codec: Codec,
    session: Session,
    /// What it is told in the order of the room, and what it must be.
    told: Vec<String>,
    expected: Vec<Frame>,
    /// Messages about itself, which it gets at once.
    answers: Vec<String>,
    expected_answers: usize,
    follows: bool,
}

/// A frame that a connection must be told.
struct Frame {
    text: String,
    /// The users there are then, if it is one of those that repeat them.
    users: Option<String>,
}

impl Frame {
    /// The frame as it is when the last event that is told along with it left these users.
    fn among(&self, users: Option<&str>) -> String {
        match (&self.users, users) {
            (Some(_), Some(users)) => format!("{},\"users\":{users}}}", self.text),
            (Some(_), None) => panic!("the event itself is told"),
            (None, _) => self.text.clone(),
        }
    }
}

/// Membership through one connection.
struct Record {
    name: &'static str,
    /// The connection's number, while it lasts.
    owner: Option<usize>,
    /// When it goes, and how many connections had ended when that was decided.
    deadline: (u64, usize),
}

struct Room {
    shard: Shard<usize>,
    start: Instant,
    now: u64,
    ends: usize,
    /// All there ever were.
    connections: Vec<Connection>,
    /// Who has which.
    clients: [Option<usize>; CLIENTS],
    /// In the order they were made.
    records: Vec<Record>,
    /// Who is there, in order of arrival.
    present: Vec<&'static str>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everyone_is_told_what_the_list_says(steps in steps()) {
        let mut room = Room::new();
        for step in steps {
            room.step(&step);
            room.check(false);
        }
        room.deliver(usize::MAX, 2);
        room.check(true);
        room.close();
    }
}

/// A frame's own words. `X` is what stands for a name.
fn json(name: &str) -> String {
    serde_json::to_string(name).unwrap()
}

fn list(names: &[&str]) -> String {
    serde_json::to_string(names).unwrap()
}

impl Room {
    fn new() -> Self {
        let start = Clock::new().now();
        let settings = crate::shard_settings::without_history(Duration::from_millis(TTL));
        Self {
            shard: Shard::new(settings, start),
            start,
            now: 0,
            ends: 0,
            connections: Vec::new(),
            clients: [None; CLIENTS],
            records: Vec::new(),
            present: Vec::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { client, codec } if self.clients[client].is_none() => {
                self.clients[client] = Some(self.open(codec));
            }
            Step::Do { client, what, name } => {
                if let Some(number) = self.clients[client] {
                    match self.connections[number].codec {
                        _ if matches!(what, What::Vanish) => {
                            self.vanish(number);
                            self.clients[client] = None;
                        }
                        chat::CODEC => self.chat(number, what, NAMES[name]),
                        typed::CODEC => self.typed(number, what, NAMES[name]),
                        _ => {}
                    }
                }
            }
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Expire => self.expire(),
            Step::Deliver { slices, max } => self.deliver(slices, max),
            Step::Open { .. } => {}
        }
    }

    fn open(&mut self, codec: Codec) -> usize {
        let number = self.connections.len();
        let session = Session::new(SessionId::from_bits(number as u128), &Client::default());
        self.connections.push(Connection {
            codec,
            session,
            told: Vec::new(),
            expected: Vec::new(),
            answers: Vec::new(),
            expected_answers: 0,
            follows: codec != chat::CODEC,
        });
        if codec == action_cable::CODEC {
            let identifier = json(r#"{"channel":"$pubsub","stream_name":"lobby"}"#);
            self.say(number, &format!(r#"{{"command":"subscribe","identifier":{identifier}}}"#));
        }
        if let Some(first) = protocol::decode_connecting(codec) {
            self.request(number, Request::unnamed(Ok(first)));
            let opened =
                r#"{"type":"presence.system","payload":{"message":"A new connection opened"}}"#;
            self.tell(typed::CODEC, None, opened);
        }
        number
    }

    fn chat(&mut self, number: usize, what: What, name: &'static str) {
        let (user, room) = (json(name), r#""room":"lobby""#);
        let joined = self.record_of(number).is_some();
        match what {
            What::Join => {
                self.say(number, &format!(r#"{{"type":"join",{room},"username":{user}}}"#));
                self.connections[number].follows = true;
                let is_new = self.join(number, name);
                match is_new {
                    None => self.tell_one(
                        number,
                        r#"{"type":"error","message":"this subscription has joined under another id: leave first"}"#,
                    ),
                    Some(true) => self.present.push(name),
                    Some(false) => {}
                }
                let users = list(&self.present);
                self.tell_one(number, &format!(r#"{{"type":"user_list","users":{users}}}"#));
                if is_new == Some(true) {
                    self.tell_joined(name);
                }
            }
            What::Leave => {
                self.deliver(0, 1);
                self.say(number, &format!(r#"{{"type":"leave",{room}}}"#));
                self.part(number);
                if let Some(at) = self.record_of(number) {
                    self.remove(at);
                }
            }
            What::Message => {
                let content = r#""content":"hi""#;
                self.say(
                    number,
                    &format!(r#"{{"type":"message",{room},"username":{user},{content}}}"#),
                );
                if joined {
                    let data =
                        format!(r#"{{"username":{user},{content},"timestamp":"{TIMESTAMP}"}}"#);
                    self.tell(
                        chat::CODEC,
                        None,
                        &format!(r#"{{"type":"message",{room},"data":{data}}}"#),
                    );
                    self.tell(
                        typed::CODEC,
                        None,
                        &format!(r#"{{"type":"message","payload":{data}}}"#),
                    );
                } else {
                    self.refuse_author(number);
                }
            }
            What::Typing => {
                self.say(number, &format!(r#"{{"type":"typing",{room},"username":{user}}}"#));
                if joined {
                    let not = Some(number);
                    self.tell(
                        chat::CODEC,
                        not,
                        &format!(r#"{{"type":"typing","username":{user}}}"#),
                    );
                    let payload = format!(r#"{{"username":{user}}}"#);
                    self.tell(
                        typed::CODEC,
                        not,
                        &format!(r#"{{"type":"whisper","payload":{payload}}}"#),
                    );
                } else {
                    self.refuse_author(number);
                }
            }
            What::LeaveUnnamed | What::List | What::Vanish => {}
        }
    }

    /// Who isn't present may say nothing: the stream says so, or at once the session that doesn't follow it.
    fn refuse_author(&mut self, number: usize) {
        if self.connections[number].follows {
            let message = "only who has joined may say something here: join first";
            self.tell_one(number, &format!(r#"{{"type":"error","message":"{message}"}}"#));
        } else {
            self.connections[number].expected_answers += 1;
        }
    }

    fn typed(&mut self, number: usize, what: What, name: &'static str) {
        let user = json(name);
        let refuse = |room: &mut Self, reason: &str| {
            room.tell_one(
                number,
                &format!(r#"{{"type":"error","payload":{{"message":"{reason}"}}}}"#),
            );
        };
        match what {
            What::Join => {
                self.say(
                    number,
                    &format!(r#"{{"type":"presence.join","payload":{{"user":{user}}}}}"#),
                );
                match self.join(number, name) {
                    None => {
                        refuse(self, "this subscription has joined under another id: leave first");
                    }
                    Some(true) => {
                        self.present.push(name);
                        self.tell_joined(name);
                    }
                    Some(false) => {}
                }
            }
            What::Leave | What::LeaveUnnamed => {
                let is_named = matches!(what, What::Leave);
                let payload =
                    if is_named { format!(r#"{{"user":{user}}}"#) } else { "{}".to_owned() };
                self.say(number, &format!(r#"{{"type":"presence.leave","payload":{payload}}}"#));
                match self.record_of(number) {
                    None => refuse(self, "this subscription has not joined"),
                    Some(at) if is_named && self.records[at].name != name => {
                        refuse(self, "this subscription has joined under another id");
                    }
                    Some(at) => self.remove(at),
                }
            }
            What::List => {
                self.say(number, r#"{"type":"presence.list","payload":{}}"#);
                let payload = format!(r#"{{"users":{}}}"#, list(&self.present));
                self.tell_one(
                    number,
                    &format!(r#"{{"type":"presence.current","payload":{payload}}}"#),
                );
            }
            What::Message | What::Typing | What::Vanish => {}
        }
    }

    /// Whether somebody joins who wasn't there; `None` if the connection is somebody else already.
    fn join(&mut self, number: usize, name: &'static str) -> Option<bool> {
        if let Some(at) = self.record_of(number) {
            return (self.records[at].name == name).then_some(false);
        }
        let orphan = self.records.iter_mut().rfind(|it| it.owner.is_none() && it.name == name);
        if let Some(orphan) = orphan {
            orphan.owner = Some(number);
        } else {
            self.records.push(Record { name, owner: Some(number), deadline: (0, 0) });
        }
        Some(!self.present.contains(&name))
    }

    fn record_of(&self, number: usize) -> Option<usize> {
        self.records.iter().position(|record| record.owner == Some(number))
    }

    fn remove(&mut self, at: usize) {
        let Record { name, .. } = self.records.remove(at);
        if self.records.iter().all(|record| record.name != name) {
            self.present.retain(|it| *it != name);
            let user = json(name);
            self.tell_users(&format!(r#"{{"type":"user_left","username":{user}"#));
            let offline = format!(r#"{{"type":"presence.offline","payload":{{"user":{user}}}}}"#);
            self.tell(typed::CODEC, None, &offline);
        }
    }

    /// What a connection hasn't been told by now, it never will be.
    fn part(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.follows = false;
        connection.expected.truncate(connection.told.len());
    }

    fn vanish(&mut self, number: usize) {
        self.deliver(0, 1);
        let end = End::at(self.instant());
        for (held, stream) in self.connections[number].session.end().streams() {
            let group = held.group(self.connections[number].codec);
            let key = SubscriberKey { session: SessionId::from_bits(number as u128), group };
            self.shard.handle(
                stream,
                Input::Ended { key, end },
                self.start + Duration::from_millis(self.now),
            );
        }
        self.part(number);
        if let Some(at) = self.record_of(number) {
            self.records[at].owner = None;
            self.ends += 1;
            self.records[at].deadline = (self.now + TTL, self.ends);
        }
    }

    fn expire(&mut self) {
        self.shard.handle_timeout(self.instant());
        loop {
            let over = self.records.iter().enumerate().filter(|(_, record)| record.owner.is_none());
            let first = over.min_by_key(|(_, record)| record.deadline);
            let Some((at, _)) = first.filter(|(_, record)| record.deadline.0 <= self.now) else {
                break;
            };
            self.remove(at);
        }
    }

    fn tell_joined(&mut self, name: &str) {
        let user = json(name);
        self.tell_users(&format!(r#"{{"type":"user_joined","username":{user}"#));
        let online = format!(r#"{{"type":"presence.online","payload":{{"user":{user}}}}}"#);
        self.tell(typed::CODEC, None, &online);
    }

    fn tell(&mut self, codec: Codec, except: Option<usize>, frame: &str) {
        self.tell_frame(codec, except, frame, None);
    }

    /// Tells the chat's clients, with the users there are.
    fn tell_users(&mut self, frame: &str) {
        let users = list(&self.present);
        self.tell_frame(chat::CODEC, None, frame, Some(&users));
    }

    fn tell_frame(&mut self, codec: Codec, except: Option<usize>, text: &str, users: Option<&str>) {
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if connection.codec == codec && connection.follows && except != Some(number) {
                let (text, users) = (text.to_owned(), users.map(str::to_owned));
                connection.expected.push(Frame { text, users });
            }
        }
    }

    fn tell_one(&mut self, number: usize, frame: &str) {
        let frame = Frame { text: frame.to_owned(), users: None };
        self.connections[number].expected.push(frame);
    }

    fn say(&mut self, number: usize, text: &str) {
        let Connection { codec, session, .. } = &self.connections[number];
        let request = protocol::decode(*codec, text, session.presence_id(), || RECEIVED);
        self.request(number, request);
    }

    fn request(&mut self, number: usize, request: Request<'_>) {
        let now = self.instant();
        let connection = &mut self.connections[number];
        let (limits, streams) = (Limits::default(), Streams::default());
        match connection.session.handle(request, &limits, &streams) {
            Action::Forward { stream, identifier, watch, command } => {
                let group = GroupKey { codec: connection.codec, watch, identifier };
                let key = SubscriberKey { session: connection.session.id(), group };
                let input = Input::Command { key, recipient: number, command, reference: None };
                self.shard.handle(&stream, input, now);
            }
            Action::Answer { message, .. } => {
                let mut out = Vec::new();
                protocol::encode_connection(connection.codec, &message, None, &mut out);
                connection.answers.extend(text(&out));
            }
            Action::Nothing(_) => {} // leaving where one isn't
            other @ (Action::Refuse { .. }
            | Action::Ask { .. }
            | Action::Follow(_)
            | Action::Wait) => {
                panic!("{other:?}")
            }
        }
    }

    fn deliver(&mut self, slices: usize, max: usize) {
        while let Some(delivery) = self.shard.commit(|_| ()).poll_reply() {
            self.receive(delivery.recipient, &delivery.group, &delivery.messages);
        }
        for _ in 0..slices {
            let now = self.instant();
            let Some(slice) = self.shard.commit(|_| ()).poll_fan_out(max, now) else {
                break;
            };
            for (recipient, has) in slice.recipients {
                self.receive(recipient, &slice.group, &slice.messages[has..]);
            }
        }
    }

    /// What is told together must be the next of what a connection must be told.
    fn receive(&mut self, number: usize, group: &GroupKey, messages: &[ServerMessage]) {
        let frame = |message| {
            let mut out = Vec::new();
            protocol::encode(group, message, None, &mut out);
            text(&out)
        };
        let told: Vec<_> = messages.iter().filter_map(frame).collect();
        let connection = &mut self.connections[number];
        if connection.codec != action_cable::CODEC {
            let before = connection.told.len();
            let Some(expected) = connection.expected.get(before..before + told.len()) else {
                panic!("connection {number} is told too much: {told:?}");
            };
            let users = expected.iter().rev().find_map(|frame| frame.users.as_deref());
            let expected: Vec<_> = expected.iter().map(|frame| frame.among(users)).collect();
            assert_eq!(told, expected);
            connection.told.extend(told);
        }
    }

    /// Everyone has been told all they must be, if it is time; and was told nothing else at once.
    fn check(&self, is_all: bool) {
        for connection in &self.connections {
            let Connection { codec, told, expected, answers, expected_answers, .. } = connection;
            if *codec != action_cable::CODEC {
                assert!(!is_all || told.len() == expected.len(), "something is missing");
                assert_eq!(answers.len(), *expected_answers, "{answers:?}");
            }
        }
    }

    /// Nothing is left in the end.
    fn close(&mut self) {
        for number in std::mem::take(&mut self.clients).into_iter().flatten() {
            self.vanish(number);
        }
        self.now += TTL;
        self.expire();
        assert!(self.present.is_empty() && self.records.is_empty());
        self.deliver(usize::MAX, 100);
        assert_eq!(self.shard.totals(), Totals::default());
    }
}

/// The text of a frame, if there is one.
fn text(frame: &[u8]) -> Option<String> {
    if frame.is_empty() {
        return None;
    }
    assert_eq!(frame_boundary(frame, 1), frame.len(), "one frame");
    let header = if frame[1] == 126 { 4 } else { 2 };
    Some(String::from_utf8(frame[header..].to_vec()).unwrap())
}

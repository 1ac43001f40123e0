//! Connections break at any moment, and the last writes may or may not have arrived; sessions are resumed
//! early, late or never. In the end every connected client sees the right members, and no client gets an event
//! because of a resume.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::protocol::action_cable;
use broker::shard::{
    Delivery, End, FanOut, GroupKey, Input, Put, ResumeSettings, Settings, Shard, SubscriberKey,
    Totals,
};
use broker::types::{
    Grant, Identifier, Join, Listing, MemberList, PresenceId, ServerMessage, SessionId,
    StreamCommand, StreamName,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;

use crate::door::Door as _;
use crate::replay::{apply, extra};
use crate::shard_settings::without_history;
use crate::subscriber::subscribe;

/// How many clients there are. They share presence ids.
const CLIENTS: usize = 5;
const IDS: [&str; 3] = ["ann", "bob", "cem"];
const INFOS: [&str; 3] = ["0", "1", "2"];
const PRESENCE_TTL: Duration = Duration::from_millis(300);
const SESSION_TTL: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug)]
enum Step {
    /// A client without a connection connects anew, or one that has one joins.
    Join {
        client: usize,
        id: usize,
        info: usize,
    },
    Leave(usize),
    /// The application puts a record, for some milliseconds or for good.
    Put {
        id: usize,
        info: usize,
        ttl: Option<u64>,
    },
    /// The application takes somebody out.
    Kick(usize),
    /// Its connection breaks. Of what was written to it, so much arrived, and so much earlier than
    /// what is lost the doubt began. The end may be noticed late: what is written until then is
    /// lost.
    Cut {
        client: usize,
        arrived: Option<Index>,
        earlier: u64,
        unnoticed: bool,
    },
    /// Its end is noticed, if it wasn't.
    Notice(usize),
    /// A client comes back for its session.
    Resume(usize),
    /// Replies are taken, and so many slices of two subscribers.
    Deliver(usize),
    Pass(u64),
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let step = prop_oneof![
        6 => (client(), 0..IDS.len(), 0..INFOS.len())
            .prop_map(|(client, id, info)| Step::Join { client, id, info }),
        2 => client().prop_map(Step::Leave),
        1 => (0..IDS.len(), 0..INFOS.len(), prop::option::of(prop::sample::select(vec![50, 400])))
            .prop_map(|(id, info, ttl)| Step::Put { id, info, ttl }),
        1 => (0..IDS.len()).prop_map(Step::Kick),
        3 => (client(), any::<Option<Index>>(), 0..150_u64, prop::bool::weighted(0.3)).prop_map(
            |(client, arrived, earlier, unnoticed)| Step::Cut { client, arrived, earlier, unnoticed }
        ),
        2 => client().prop_map(Step::Notice),
        4 => client().prop_map(Step::Resume),
        5 => (0..4_usize).prop_map(Step::Deliver),
        2 => prop::sample::select(vec![0, 1, 20, 100, 299, 301, 1600]).prop_map(Step::Pass),
        2 => Just(Step::Expire),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_comes_back_sees_who_is_there(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.settle();
        world.disperse();
    }
}

#[test]
fn most_sessions_are_resumed() {
    // else the property above would say little
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut resumed, mut refused, mut news) = (0, 0, 0);
    for _ in 0..300 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        resumed += world.resumed;
        refused += world.refused;
        news += world.news;
    }
    assert!(resumed > 250 && refused > 5 && news > 100, "{resumed}, {refused}, {news}");
}

#[test]
fn a_journal_is_given_back_in_a_quiet_stream() {
    let mut world = World::new();
    world.connect(0);
    for info in 0..500 {
        world.step(&Step::Join { client: 0, id: 0, info: info % 3 });
    }
    world.deliver(usize::MAX);
    let noted = |world: &World| format!("{:#?}", world.shard).matches("event: ").count();
    assert_eq!(noted(&world), 500);
    while let Some(due) = world.shard.poll_timeout() {
        assert!(due > world.now, "it stays due");
        world.now = due;
        world.shard.handle_timeout(world.now);
    }
    assert_eq!(noted(&world), 0);
    world.settle();
}

#[test]
fn whoever_is_back_stays_until_it_leaves() {
    let mut world = World::new();
    world.step(&Step::Join { client: 0, id: 0, info: 0 });
    world.step(&Step::Join { client: 0, id: 0, info: 0 });
    world.cut(0, None, 0, false);
    assert!(world.shard.poll_timeout().is_some());
    world.resume(0);
    let later = world.now + PRESENCE_TTL.max(SESSION_TTL);
    let due = world.shard.poll_timeout();
    assert!(world.resumed == 1 && due.is_none_or(|due| due > later), "neither it nor its record");
    world.pass(PRESENCE_TTL.max(SESSION_TTL));
    assert_eq!(world.shard.totals().records, 1);
    world.step(&Step::Leave(0));
    assert_eq!(world.shard.totals().records, 0);
    world.disperse();
}

#[test]
fn a_record_that_ran_out_is_not_resumed() {
    let mut world = World::new();
    for client in [0, 0, 1] {
        world.step(&Step::Join { client, id: 0, info: 0 });
    }
    world.cut(0, None, 0, false);
    world.pass(PRESENCE_TTL);
    assert_eq!(world.shard.totals().records, 0);
    world.step(&Step::Join { client: 1, id: 1, info: 0 });
    world.resume(0);
    world.step(&Step::Leave(0));
    assert_eq!((world.resumed, world.shard.totals().records), (1, 1), "the other's is not its");
    world.settle();
    world.disperse();
}

#[test]
fn who_was_taken_out_meanwhile_is_not_present_when_back() {
    let mut world = World::new();
    for client in [0, 0] {
        world.step(&Step::Join { client, id: 0, info: 0 });
    }
    world.cut(0, None, 0, false);
    world.step(&Step::Kick(0));
    world.step(&Step::Put { id: 1, info: 0, ttl: None }); // perhaps in the same place
    world.resume(0);
    world.step(&Step::Leave(0));
    assert_eq!((world.resumed, world.shard.totals().records), (1, 1), "the other's is not its");
    world.step(&Step::Join { client: 0, id: 0, info: 0 });
    assert_eq!(world.shard.totals().records, 2);
    world.settle();
    world.disperse();
}

#[test]
fn news_that_did_not_arrive_is_told_again() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    world.deliver(usize::MAX);
    world.cut(0, None, 0, false);
    world.step(&Step::Join { client: 1, id: 0, info: 0 });
    world.deliver(usize::MAX);
    world.pass(Duration::from_millis(200));
    world.resume(0);
    let session = world.clients[0].connection.take().unwrap();
    assert!(matches!(*world.written[session as usize], [(ServerMessage::Missed { .. }, _)]));
    let margin = Duration::ZERO;
    world.clients[0].earlier = Some(Earlier { session, arrived: 0, margin, noticed: false });
    world.resume(0);
    assert_eq!(world.resumed, 2);
    world.settle();
    world.disperse();
}

struct World {
    shard: Shard<u32>,
    start: Instant,
    now: Instant,
    clients: [Client; CLIENTS],
    sessions: u32,
    /// By recipient: what was written to it, and when.
    written: Vec<Vec<(ServerMessage, Instant)>>,
    resumed: usize,
    refused: usize,
    news: usize,
}

#[derive(Default)]
struct Client {
    connection: Option<u32>,
    /// The session it had last, of which it may want to take over what it followed.
    earlier: Option<Earlier>,
    /// How much of what was written to it has been taken in.
    taken: usize,
    view: Option<MemberList>,
    /// Whether it may be told what it knows.
    was_in_doubt: bool,
}

#[derive(Clone, Copy)]
struct Earlier {
    session: u32,
    /// How much of what was written to it arrived.
    arrived: usize,
    /// How much earlier than what is lost the doubt began.
    margin: Duration,
    /// The broker has noticed the end of its connection.
    noticed: bool,
}

fn stream() -> StreamName {
    "room".into()
}

impl World {
    fn new() -> Self {
        let start = Clock::new().now();
        let settings = Settings {
            resume: ResumeSettings { ttl: SESSION_TTL, max_unacked: Duration::from_millis(500) },
            ..without_history(PRESENCE_TTL)
        };
        Self {
            shard: Shard::new(settings, start),
            start,
            now: start,
            clients: Default::default(),
            sessions: 0,
            written: Vec::new(),
            resumed: 0,
            refused: 0,
            news: 0,
        }
    }

    /// Clients have one of two names for the subscription, so there are two groups.
    fn key(client: usize, session: u32) -> SubscriberKey {
        let identifier = Identifier::from(if client.is_multiple_of(2) { "\"a\"" } else { "\"b\"" });
        let session = SessionId::from_bits(session.into());
        SubscriberKey { session, group: GroupKey::new(action_cable::CODEC, identifier) }
    }

    fn new_session(&mut self) -> u32 {
        self.sessions += 1;
        self.written.push(Vec::new());
        self.sessions - 1
    }

    fn command(&mut self, client: usize, command: StreamCommand) {
        let recipient = self.clients[client].connection.expect("a connection");
        let key = Self::key(client, recipient);
        self.shard.handle(
            &stream(),
            Input::Command { key, recipient, command, reference: None },
            self.now,
        );
    }

    fn connect(&mut self, client: usize) {
        let connection = Some(self.new_session());
        self.notice(client);
        self.clients[client] = Client { connection, ..Client::default() };
        self.command(client, subscribe(None));
        self.command(client, StreamCommand::List(Listing::Members));
    }

    /// The end of an earlier connection is noticed, if it wasn't.
    fn notice(&mut self, client: usize) {
        let Some(earlier) = &mut self.clients[client].earlier else { return };
        if std::mem::replace(&mut earlier.noticed, true) {
            return;
        }
        let Earlier { session, arrived, margin, .. } = *earlier;
        self.deliver(0);
        let lost = self.written[session as usize].get(arrived).map(|(_, at)| *at);
        let unacked_since = lost.map(|at| at.checked_sub(margin).unwrap_or(self.start));
        self.clients[client].was_in_doubt |= unacked_since.is_some();
        let end = End { unacked_since, grant: Some(Grant::OPEN), ..End::at(self.now) };
        let key = Self::key(client, session);
        self.shard.handle(&stream(), Input::Ended { key, end }, self.now);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join { client, id, info } => {
                if self.clients[client].connection.is_none() {
                    return self.connect(client);
                }
                let join = Join {
                    id: PresenceId::from(IDS[id]),
                    info: INFOS[info].into(),
                    extra: extra(info),
                };
                self.command(client, StreamCommand::Join(join));
            }
            Step::Leave(client) => {
                if self.clients[client].connection.is_some() {
                    self.command(client, StreamCommand::Leave(None));
                }
            }
            Step::Put { id, info, ttl } => {
                let join = Join {
                    id: PresenceId::from(IDS[id]),
                    info: INFOS[info].into(),
                    extra: extra(info),
                };
                let put = Put { join, ttl: ttl.map(Duration::from_millis) };
                let placed = self.shard.put(&stream(), put, self.now);
                self.shard.open(placed).expect("room");
            }
            Step::Kick(id) => {
                let gone = self.shard.kick(&stream(), &IDS[id].into(), self.now);
                self.shard.open(gone);
                assert_eq!(self.shard.commit(|_| ()).member(&stream(), &IDS[id].into()), None);
            }
            Step::Cut { client, arrived, earlier, unnoticed } => {
                self.cut(client, arrived, earlier, unnoticed);
            }
            Step::Notice(client) => self.notice(client),
            Step::Resume(client) => self.resume(client),
            Step::Deliver(slices) => self.deliver(slices),
            Step::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Expire => {
                self.shard.handle_timeout(self.now);
                assert!(self.shard.poll_timeout().is_none_or(|due| due > self.now));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step(&Step::Expire);
    }

    fn cut(&mut self, client: usize, arrived: Option<Index>, earlier: u64, unnoticed: bool) {
        let Some(session) = self.clients[client].connection.take() else { return };
        let written = self.written[session as usize].len();
        let arrived = arrived.map_or(written, |arrived| arrived.index(written + 1));
        self.take_in(client, session, arrived);
        let margin = Duration::from_millis(earlier);
        let earlier = Earlier { session, arrived, margin, noticed: false };
        self.clients[client].earlier = Some(earlier);
        if !unnoticed {
            self.notice(client);
        }
    }

    fn resume(&mut self, client: usize) {
        if self.clients[client].connection.is_some() {
            return;
        }
        self.notice(client);
        let Some(earlier) = self.clients[client].earlier.take() else { return };
        let session = self.new_session();
        let (from, to) = (Self::key(client, earlier.session), SessionId::from_bits(session.into()));
        let there = self.shard.commit(|_| ()).members(&stream());
        self.shard.take_counts();
        let resumed = self.shard.resume(&stream(), &from, (to, session), self.now);
        let resumed = self.shard.open(resumed);
        let counts = self.shard.take_counts();
        assert!(counts.joins.is_empty() && counts.leaves.is_empty() && counts.updates.is_empty());
        assert_eq!(self.shard.commit(|_| ()).members(&stream()), there, "a resume is no event");
        self.deliver(0);
        if resumed {
            self.resumed += 1;
            let state = &mut self.clients[client];
            (state.connection, state.taken) = (Some(session), 0);
        } else {
            self.refused += 1;
            self.clients[client].view = None;
            self.connect(client);
        }
    }

    fn deliver(&mut self, slices: usize) {
        while let Some(Delivery { recipient, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            let messages = messages.into_iter().map(|message| (message, self.now));
            self.written[recipient as usize].extend(messages);
        }
        for _ in 0..slices {
            let Some(FanOut { messages, recipients, .. }) =
                self.shard.commit(|_| ()).poll_fan_out(2, self.now)
            else {
                break;
            };
            for (recipient, has) in recipients {
                let rest = messages[has..].iter().map(|message| (message.clone(), self.now));
                self.written[recipient as usize].extend(rest);
            }
        }
    }

    /// A client takes in what was written to its connection, up to a message.
    fn take_in(&mut self, client: usize, session: u32, up_to: usize) {
        let state = &mut self.clients[client];
        let strict = !state.was_in_doubt;
        let fresh = self.written[session as usize].iter().take(up_to).skip(state.taken);
        for (message, _) in fresh {
            match message {
                ServerMessage::PresenceList(list) => state.view = Some(list.to_vec()),
                ServerMessage::Presence(change) => {
                    if let Some(view) = &mut state.view {
                        apply(view, &change.id, (&change.member, &change.extra), strict);
                    }
                }
                ServerMessage::Missed { id, change, extra } => {
                    self.news += 1;
                    if let Some(view) = &mut state.view {
                        apply(view, id, (change, extra), strict);
                    }
                }
                _ => {}
            }
        }
        state.taken = up_to.max(state.taken);
    }

    /// Everything arrives, and everyone sees who is there.
    fn settle(&mut self) {
        self.deliver(usize::MAX);
        let there = self.shard.commit(|_| ()).members(&stream());
        for client in 0..CLIENTS {
            let Some(session) = self.clients[client].connection else { continue };
            self.take_in(client, session, usize::MAX);
            let state = &self.clients[client];
            let Some(view) = &state.view else { continue };
            if state.was_in_doubt {
                let sorted = |list: &MemberList| {
                    let mut list = list.clone();
                    list.sort_by(|a, b| a.id.cmp(&b.id));
                    list
                };
                assert_eq!(sorted(view), sorted(&there), "client {client}");
            } else {
                assert_eq!(view, &**there, "client {client}");
            }
        }
    }

    fn disperse(&mut self) {
        (0..IDS.len()).for_each(|id| self.step(&Step::Kick(id)));
        for client in 0..CLIENTS {
            self.cut(client, None, 0, false);
            self.notice(client);
        }
        self.now += SESSION_TTL.max(PRESENCE_TTL);
        self.shard.handle_timeout(self.now);
        self.deliver(usize::MAX);
        assert_eq!(self.shard.totals(), Totals::default());
        assert_eq!(self.shard.poll_timeout(), None);
    }
}

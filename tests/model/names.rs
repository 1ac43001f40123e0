//! Who is named by their joins: a message without a name gets that of the last join before it that succeeded,
//! however slow the shards and the application are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use broker::auth::{Client, Streams};
use broker::clock::Clock;
use broker::session::{Action, Question, Session, Ticket, Verdict};
use broker::shard::{Input, Outcome, Settings, Shard, Ticket as ShardTicket};
use broker::types::{
    ClientCommand, Identifier, Join, JoinRequest, Limits, PresenceId, Request, SessionId,
    StreamCommand, StreamName, SubscribeOptions, Target, Watch,
};
use proptest::prelude::*;

use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

/// The last one is full.
const ROOMS: [&str; 4] = ["a", "b", "c", "full"];
const NAMES: [&str; 3] = ["ann", "bob", "cem"];

#[derive(Clone, Copy, Debug)]
enum Said {
    Join { room: usize, name: usize },
    Leave { room: usize },
    Nameless,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(Said),
    /// The application answers a question.
    Answer(usize),
    /// A shard follows a command, or answers a question.
    Follow(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let room = || 0..ROOMS.len();
    let said = prop_oneof![
        4 => (room(), 0..NAMES.len()).prop_map(|(room, name)| Said::Join { room, name }),
        1 => room().prop_map(|room| Said::Leave { room }),
        2 => Just(Said::Nameless),
    ];
    prop_oneof![
        4 => said.prop_map(Step::Say),
        2 => any::<usize>().prop_map(Step::Answer),
        3 => room().prop_map(Step::Follow),
    ]
}

fn request(said: Said) -> Option<Request<'static>> {
    let command = match said {
        Said::Join { room, name } => ClientCommand::Subscribe {
            identifier: ROOMS[room].into(),
            target: Target::Public(ROOMS[room].into()),
            history: None,
            join: Some(Ok(JoinRequest { id: Some(NAMES[name].into()), info: "1".into() })),
            watch: Watch::Members,
            options: SubscribeOptions::default(),
        },
        Said::Leave { room } => ClientCommand::Leave { identifier: ROOMS[room].into(), id: None },
        Said::Nameless => return None,
    };
    Some(Request::unnamed(Ok(command)))
}

/// A room's record of the client.
#[derive(Clone, Default)]
struct Record(Option<PresenceId>);

impl Record {
    /// Returns whether the join succeeds.
    fn join(&mut self, room: &str, id: &PresenceId) -> bool {
        let fits = room != "full" && self.0.as_ref().is_none_or(|held| held == id);
        if fits {
            self.0 = Some(id.clone());
        }
        fits
    }
}

/// What waits in a shard's queue.
enum Queued {
    Command(StreamCommand),
    Identify(Ticket),
}

#[derive(Default)]
struct Rooms {
    records: BTreeMap<String, Record>,
    queues: BTreeMap<String, VecDeque<Queued>>,
    lookups: Vec<Ticket>,
}

impl Rooms {
    fn act(&mut self, action: Action) {
        match action {
            Action::Forward { stream, command, .. } => {
                self.queue(stream.as_str()).push_back(Queued::Command(command));
            }
            Action::Ask { ticket, question: Question::PresentAs { stream, identifier, .. } } => {
                assert_eq!(identifier, Identifier::from(stream.as_str()));
                self.queue(stream.as_str()).push_back(Queued::Identify(ticket));
            }
            Action::Ask { ticket, question: Question::MemberData { .. } } => {
                self.lookups.push(ticket);
            }
            Action::Ask { question: Question::Applied, .. } => panic!("no limit is near"),
            Action::Ask { question: Question::Call(_) | Question::CallAgain(_), .. } => {
                panic!("there is no application")
            }
            Action::Refuse { .. }
            | Action::Answer { .. }
            | Action::Follow(_)
            | Action::Wait
            | Action::Nothing(_) => {}
        }
    }

    fn queue(&mut self, room: &str) -> &mut VecDeque<Queued> {
        self.queues.entry(room.to_owned()).or_default()
    }

    fn follow(&mut self, room: &str) -> Option<(Ticket, Verdict)> {
        let input = self.queue(room).pop_front()?;
        let record = self.records.entry(room.to_owned()).or_default();
        match input {
            Queued::Command(StreamCommand::Leave(_)) => record.0 = None,
            Queued::Command(command) => {
                if let Some(join) = command.join() {
                    record.join(room, &join.id);
                }
            }
            Queued::Identify(ticket) => {
                return Some((ticket, Verdict::PresentAs(record.0.clone())));
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_join_that_succeeded_names_its_client(
        asks in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let session = Session::new(SessionId::from_bits(1), &Client::default());
        let mut session = session.asking(asks).keeping_names(true);
        let (limits, streams) = (Limits::default(), Streams::default());
        let (mut records, mut name) = (BTreeMap::<&str, Record>::new(), None::<PresenceId>);
        let (mut expected, mut named) = (Vec::new(), Vec::new());
        let (mut rooms, mut unread) = (Rooms::default(), VecDeque::new());
        let rest = (0..400).flat_map(|n| [Step::Answer(0), Step::Follow(n % ROOMS.len())]);
        for step in steps.into_iter().chain(rest) {
            let verdict = match step {
                Step::Say(said) => {
                    match said {
                        Said::Join { room, name: as_whom } => {
                            let id = PresenceId::from(NAMES[as_whom]);
                            if records.entry(ROOMS[room]).or_default().join(ROOMS[room], &id) {
                                name = Some(id);
                            }
                        }
                        Said::Leave { room } => drop(records.remove(ROOMS[room])),
                        Said::Nameless => expected.push(name.clone()),
                    }
                    unread.push_back(said);
                    None
                }
                Step::Answer(_) if rooms.lookups.is_empty() => None,
                Step::Answer(which) => {
                    let at = which % rooms.lookups.len();
                    Some((rooms.lookups.remove(at), Verdict::MemberData(None)))
                }
                Step::Follow(room) => rooms.follow(ROOMS[room]),
            };
            if let Some((ticket, verdict)) = verdict {
                session.answer(ticket, verdict);
            }
            loop {
                while let Some((action, _)) = session.poll_action(&limits, &streams) {
                    rooms.act(action);
                }
                let next = unread.pop_front_if(|said| match said {
                    Said::Nameless => !session.is_naming(),
                    Said::Join { .. } | Said::Leave { .. } => !session.is_full(),
                });
                let Some(said) = next else { break };
                match request(said) {
                    Some(request) => rooms.act(session.handle(request, &limits, &streams)),
                    None => named.push(session.presence_id().cloned()),
                }
            }
        }
        prop_assert!(unread.is_empty() && !session.is_asking(), "all is done");
        prop_assert_eq!(named, expected);
        prop_assert_eq!(session.presence_id(), name.as_ref());
    }

    #[test]
    fn what_names_nobody_asks_nothing(steps in prop::collection::vec(step(), 0..30)) {
        let mut session = Session::new(SessionId::from_bits(1), &Client::default());
        for step in steps {
            let Step::Say(said) = step else { continue };
            let Some(request) = request(said) else { continue };
            session.handle(request, &Limits::default(), &Streams::default());
            prop_assert!(!session.is_asking() && !session.is_naming());
            prop_assert_eq!(session.presence_id(), None);
        }
    }
}

#[test]
fn a_shard_says_under_which_id_a_subscription_is_present() {
    let now = Clock::new().now();
    let settings = Settings { max_members: 1, ..without_history(Duration::from_secs(1)) };
    let (mut shard, room) = (Shard::new(settings, now), StreamName::from("room"));
    let mut present = |who: u8, command: Option<StreamCommand>| {
        if let Some(command) = command {
            let input =
                Input::Command { key: key(who), recipient: 0_u32, command, reference: None };
            shard.handle(&room, input, now);
        }
        shard.handle(&room, Input::Identify { key: key(who), ticket: ShardTicket(7) }, now);
        let (ticket, outcome) = shard.commit(|_| ()).poll_outcome().expect("an outcome");
        assert_eq!(ticket, ShardTicket(7));
        let Outcome::Present(id) = outcome else { panic!("{outcome:?}") };
        id.map(|id| id.as_str().to_owned())
    };
    let join = |id: &str| Join { id: id.into(), info: "1".into(), extra: None };
    let subscribe = |id: &str| subscribe(Some(join(id)));
    assert_eq!(present(1, None), None, "there is no stream");
    assert_eq!(present(1, Some(subscribe("ann"))).as_deref(), Some("ann"));
    assert_eq!(present(1, Some(StreamCommand::Join(join("bob")))).as_deref(), Some("ann"));
    assert_eq!(present(2, None), None, "it hasn't subscribed");
    assert_eq!(present(2, Some(subscribe("bob"))), None, "the room is full");
    assert_eq!(present(2, Some(StreamCommand::Join(join("ann")))).as_deref(), Some("ann"));
    assert_eq!(present(1, Some(StreamCommand::Leave(None))), None);
}

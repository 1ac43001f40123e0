//! Questions with any order of answers: commands about a subscription keep their order, and those about others
//! don't wait. Which join exceeds the limit depends only on the order of the client's commands, and no lookup
//! holds up the connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker::auth::{Client, Streams};
use broker::session::{Action, Question, Session, Ticket, Verdict};
use broker::types::{
    ClientCommand, Identifier, Join, JoinRequest, Limits, Listing, Request, SessionId,
    StreamCommand, SubscribeOptions, Target, Watch, Whisper,
};
use proptest::prelude::*;

const IDENTIFIERS: [&str; 4] = ["a", "b", "c", "d"];

/// What a client says about one of its subscriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Subscribe,
    SubscribeAndJoin,
    Unsubscribe,
    Join,
    Update,
    Leave,
    Whisper,
    List,
}

#[derive(Clone, Debug)]
enum Step {
    Say(usize, Said),
    /// One of the questions that are out is answered.
    Answer(usize),
    /// A shard follows something.
    Follow(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![
        2 => Just(Said::Subscribe),
        4 => Just(Said::SubscribeAndJoin),
        2 => Just(Said::Unsubscribe),
        4 => Just(Said::Join),
        1 => Just(Said::Update),
        3 => Just(Said::Leave),
        2 => Just(Said::Whisper),
        1 => Just(Said::List),
    ];
    prop_oneof![
        6 => (0..IDENTIFIERS.len(), said).prop_map(|(which, said)| Step::Say(which, said)),
        3 => any::<usize>().prop_map(Step::Answer),
        3 => (0..SHARDS).prop_map(Step::Follow),
    ]
}

/// A command; joins have a number by which they are known.
fn command(which: usize, said: Said, number: usize) -> Request<'static> {
    let identifier = IDENTIFIERS[which].into();
    let join = || JoinRequest { id: Some("ann".into()), info: number.to_string().into() };
    let subscribe = |join: Option<JoinRequest>| ClientCommand::Subscribe {
        identifier: IDENTIFIERS[which].into(),
        target: Target::Public(format!("stream-{which}").into()),
        history: None,
        join: join.map(Ok),
        watch: Watch::Members,
        options: SubscribeOptions::default(),
    };
    Request::unnamed(Ok(match said {
        Said::Subscribe => subscribe(None),
        Said::SubscribeAndJoin => subscribe(Some(join())),
        Said::Unsubscribe => ClientCommand::Unsubscribe { identifier },
        Said::Join => ClientCommand::Join { identifier, join: join() },
        Said::Update => ClientCommand::Update { identifier, join: join() },
        Said::Leave => ClientCommand::Leave { identifier, id: None },
        Said::Whisper => {
            let whisper = Whisper { event: None, data: number.to_string().into() };
            ClientCommand::Whisper { identifier, whisper, author: None }
        }
        Said::List => ClientCommand::Presence { identifier, listing: Listing::Members },
    }))
}

fn session(asks: bool) -> Session {
    Session::new(SessionId::from_bits(1), &Client::default()).asking(asks)
}

/// What an application says of a join.
fn extra(number: &str) -> Verdict {
    Verdict::MemberData(Some(Box::new(format!("{{\"of\":{number}}}").into())))
}

/// What is done about each subscription.
type Done = BTreeMap<String, Vec<Action>>;

/// A session that asks, and all it did.
struct Asking {
    session: Session,
    limits: Limits,
    out: Vec<(Ticket, Question)>,
}

impl Asking {
    fn new(limits: Limits) -> Self {
        Self { session: session(true), limits, out: Vec::new() }
    }

    fn say(&mut self, request: Request<'_>) -> Vec<Action> {
        let action = self.session.handle(request, &self.limits, &Streams::default());
        self.act([action])
    }

    fn answer(&mut self, at: usize, verdict: Verdict) -> Vec<Action> {
        let (ticket, _) = self.out.remove(at);
        self.session.answer(ticket, verdict);
        self.act([])
    }

    /// Notes what is asked, and gives what else is done.
    fn act(&mut self, first: impl IntoIterator<Item = Action>) -> Vec<Action> {
        let mut actions: Vec<Action> = first.into_iter().collect();
        while let Some((action, _)) = self.session.poll_action(&self.limits, &Streams::default()) {
            actions.push(action);
        }
        let mut done = Vec::new();
        for action in actions {
            match action {
                Action::Ask { ticket, question } => self.out.push((ticket, question)),
                Action::Follow(_) | Action::Wait | Action::Nothing(_) | Action::Answer { .. } => {}
                Action::Forward { .. } | Action::Refuse { .. } => done.push(action),
            }
        }
        done
    }
}

fn note(done: &mut Done, action: Action) {
    let (Action::Forward { identifier, .. } | Action::Refuse { identifier, .. }) = &action else {
        return;
    };
    done.entry(identifier.as_str().to_owned()).or_default().push(action);
}

fn join_of(action: &mut Action) -> Option<&mut Join> {
    let Action::Forward { command, .. } = action else { return None };
    command.join_mut()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_come_in_any_order(steps in prop::collection::vec(step(), 0..60)) {
        let limits = Limits { records: usize::MAX, ..Limits::default() };
        let mut asking = Asking::new(limits);
        // one that asks nothing does all at once
        let mut plain = session(false);
        let (mut expected, mut done) = (Done::new(), Done::new());
        let mut open = BTreeSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            let now = match step {
                Step::Say(which, said) => {
                    let action = plain.handle(command(which, said, number), &limits, &Streams::default());
                    note(&mut expected, action);
                    asking.say(command(which, said, number))
                }
                Step::Answer(_) if asking.out.is_empty() => continue,
                Step::Answer(which) => {
                    let at = which % asking.out.len();
                    asking.answer(at, extra("1"))
                }
                Step::Follow(_) => continue,
            };
            for action in now {
                note(&mut done, action);
            }
            open.clear();
            for (_, question) in &asking.out {
                let Question::MemberData { stream, .. } = question else { panic!("{question:?}") };
                prop_assert!(open.insert(stream.clone()), "one subscription asks twice at a time");
            }
            prop_assert_eq!(asking.session.is_asking(), !asking.out.is_empty());
            check(&asking, &done, &expected)?;
        }
        while !asking.out.is_empty() {
            let now = asking.answer(0, extra("1"));
            for action in now {
                note(&mut done, action);
            }
        }
        check(&asking, &done, &expected)?;
        prop_assert!(!asking.session.is_asking());
    }
}

/// Each subscription is where it should be: at the first join that has no answer, or at the end.
fn check(asking: &Asking, done: &Done, expected: &Done) -> Result<(), TestCaseError> {
    for (which, identifier) in IDENTIFIERS.into_iter().enumerate() {
        let all = expected.get(identifier).map_or(&[][..], Vec::as_slice);
        let done = done.get(identifier).map_or(&[][..], Vec::as_slice);
        let stream = format!("stream-{which}").as_str().into();
        let is_open = asking.out.iter().any(|(_, question)| match question {
            Question::MemberData { stream: of, .. } => *of == stream,
            Question::PresentAs { .. }
            | Question::Call(_)
            | Question::CallAgain(_)
            | Question::Applied => false,
        });
        let rest = all.get(done.len()..).unwrap_or_default();
        match rest.first() {
            None => prop_assert!(!is_open),
            Some(Action::Forward { command, .. }) => {
                prop_assert!(is_open && command.join().is_some(), "{:?} waits", command);
            }
            Some(other) => prop_assert!(false, "{:?} waits", other),
        }
        for (done, expected) in done.iter().zip(all) {
            let mut done = done.clone();
            if let Some(join) = join_of(&mut done) {
                prop_assert!(join.extra.take().is_some(), "it has its answer");
            }
            prop_assert_eq!(&done, expected);
        }
    }
    Ok(())
}

const SHARDS: usize = 2;

/// What streams do about records, which all of them count.
#[derive(Default)]
struct Records {
    held: BTreeSet<Identifier>,
    /// For each join by its number, whether there was room.
    joins: BTreeMap<String, bool>,
}

impl Records {
    fn follow(&mut self, identifier: Identifier, command: &StreamCommand, max: usize) {
        if let Some(join) = command.join() {
            let fits = self.held.contains(&identifier) || self.held.len() < max;
            self.joins.insert(join.info.as_str().to_owned(), fits);
            if fits {
                self.held.insert(identifier);
            }
            return;
        }
        match command {
            StreamCommand::Unsubscribe | StreamCommand::Leave(_) => {
                self.held.retain(|held| *held != identifier);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn which_join_is_one_too_many_is_up_to_the_client(
        max in 1usize..4,
        asks in any::<bool>(),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let limits = Limits { records: max, ..Limits::default() };
        let mut asking = Asking::new(limits);
        asking.session = session(asks);
        let mut plain = session(false);
        let (mut expected, mut records) = (Records::default(), Records::default());
        let mut unread = VecDeque::new();
        let mut shards: [VecDeque<(Identifier, StreamCommand)>; SHARDS] = Default::default();
        let rest = (0..400).map(|_| Step::Answer(0));
        for (number, step) in steps.into_iter().chain(rest).enumerate() {
            let mut forwarded = Vec::new();
            match step {
                Step::Say(which, said) => {
                    let no_limit = Limits { records: usize::MAX, ..limits };
                    let action = plain.handle(command(which, said, number), &no_limit, &Streams::default());
                    if let Action::Forward { identifier, command, .. } = action {
                        expected.follow(identifier, &command, max);
                    }
                    unread.push_back(command(which, said, number));
                }
                Step::Answer(which) if !asking.out.is_empty() => {
                    let at = which % asking.out.len();
                    let verdict = match asking.out[at].1 {
                        Question::MemberData { .. } => extra("1"),
                        Question::PresentAs { .. } => panic!("nobody is named by it"),
                        Question::Call(_) | Question::CallAgain(_) => panic!("there is no application"),
                        Question::Applied => {
                            for (identifier, command) in shards.iter_mut().flat_map(|it| it.drain(..)) {
                                records.follow(identifier, &command, max);
                            }
                            Verdict::Applied
                        }
                    };
                    forwarded = asking.answer(at, verdict);
                }
                Step::Answer(_) => {}
                Step::Follow(shard) => {
                    if let Some((identifier, command)) = shards[shard].pop_front() {
                        records.follow(identifier, &command, max);
                    }
                }
            }
            while !asking.session.is_full()
                && let Some(request) = unread.pop_front()
            {
                forwarded.extend(asking.say(request));
            }
            let follows = asking.out.iter().any(|(_, question)| *question == Question::Applied);
            prop_assert!(follows || !asking.session.is_full(), "a lookup holds up the connection");
            for action in forwarded {
                let Action::Forward { identifier, stream, command, .. } = action else { continue };
                let shard = usize::from(stream.as_str().ends_with(['1', '3']));
                shards[shard].push_back((identifier, command));
            }
        }
        prop_assert!(unread.is_empty() && !asking.session.is_asking(), "all is done");
        for (identifier, command) in shards.into_iter().flatten() {
            records.follow(identifier, &command, max);
        }
        prop_assert_eq!(records.joins, expected.joins);
        prop_assert_eq!(records.held, expected.held);
    }
}

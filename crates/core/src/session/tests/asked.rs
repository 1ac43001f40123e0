//! A session that asks the application about who joins.

use super::*;

fn asking() -> Session {
    session(PresenceIdPolicy::Any).asking(true)
}

fn subscribe(session: &mut Session, identifier: &str, join: Option<&str>) -> Action {
    let mut command = following(join.map(|id| as_whom(Some(id))));
    if let ClientCommand::Subscribe { identifier: name, target, .. } = &mut command {
        *name = identifier.to_owned().into();
        *target = Target::Public(identifier.into());
    }
    ask(session, command)
}

fn whisper(session: &mut Session, identifier: &str, data: &str) -> Action {
    let whisper = Whisper { event: None, data: data.into() };
    let identifier = identifier.to_owned().into();
    ask(session, ClientCommand::Whisper { identifier, whisper, author: None })
}

fn leave(session: &mut Session, identifier: &str) -> Action {
    let identifier = identifier.to_owned().into();
    ask(session, ClientCommand::Leave { identifier, id: None })
}

fn unsubscribe(session: &mut Session, identifier: &str) -> Action {
    ask(session, ClientCommand::Unsubscribe { identifier: identifier.to_owned().into() })
}

#[track_caller]
fn ticket(action: &Action) -> Ticket {
    let Action::Ask { ticket, .. } = action else { panic!("{action:?}") };
    *ticket
}

/// What an application says.
fn role(name: &str) -> Verdict {
    Verdict::MemberData(Some(Box::new(format!("{{\"role\":\"{name}\"}}").into())))
}

fn poll(session: &mut Session) -> Vec<String> {
    poll_within(session, &Limits::default())
}

/// What is done next, in short.
fn poll_within(session: &mut Session, limits: &Limits) -> Vec<String> {
    let next = || Some(short(session.poll_action(limits, &Streams::default())?.0));
    std::iter::from_fn(next).collect()
}

fn short(action: Action) -> String {
    match action {
        Action::Forward { identifier, command, .. } => {
            let extra = command.join().map(|join| join.extra.as_deref().map(RawJson::as_str));
            let extra =
                extra.map_or_else(String::new, |extra| format!(" {}", extra.unwrap_or("-")));
            let name = format!("{command:?}");
            let name = name.split(|it: char| !it.is_alphabetic()).next().unwrap_or_default();
            format!("{identifier} {name}{extra}")
        }
        Action::Refuse { identifier, message, .. } => format!("{identifier} {message:?}"),
        Action::Ask { question, .. } => format!("{question:?}"),
        Action::Answer { .. } | Action::Follow(_) | Action::Wait | Action::Nothing(_) => {
            format!("{action:?}")
        }
    }
}

#[test]
fn what_comes_behind_a_question_waits_for_its_answer() {
    let mut ann = asking();
    let first = subscribe(&mut ann, "a", Some("ann"));
    let question = Question::MemberData { stream: "a".into(), id: "ann".into() };
    assert_eq!(first, Action::Ask { ticket: ticket(&first), question });
    assert_eq!(whisper(&mut ann, "a", "1"), Action::Wait);
    assert_eq!(leave(&mut ann, "a"), Action::Wait);
    assert_eq!(unsubscribe(&mut ann, "a"), Action::Wait);
    assert_eq!(leave(&mut ann, "a"), Action::Wait);
    let bad =
        BadCommand { kind: CommandKind::Join, identifier: Some("a".into()), reason: "bad".into() };
    let bad = ann.handle(Request::unnamed(Err(bad)), &Limits::default(), &Streams::default());
    assert_eq!(bad, Action::Wait, "that is about it, too");
    assert_eq!(poll(&mut ann), [""; 0]);
    assert_eq!(
        ask(&mut ann, ClientCommand::Ping),
        Action::Answer { kind: CommandKind::Ping, message: ConnectionMessage::Pong }
    );
    ann.answer(ticket(&first), role("admin"));
    let done = [
        r#"a Subscribe {"role":"admin"}"#,
        "a Whisper",
        "a Leave",
        "a Unsubscribe",
        "a NotSubscribed",
        "a NotSubscribed",
    ];
    assert_eq!(poll(&mut ann), done);
    assert!(!ann.is_asking(), "nothing is left of it");
}

#[test]
fn another_subscription_is_not_held_up() {
    let mut ann = asking();
    let first = subscribe(&mut ann, "a", Some("ann"));
    let second = subscribe(&mut ann, "b", Some("ann"));
    assert_ne!(ticket(&first), ticket(&second), "both are asked together");
    assert_eq!(short(subscribe(&mut ann, "c", None)), "c Subscribe");
    assert_eq!(short(whisper(&mut ann, "c", "1")), "c Whisper");
    assert_eq!(whisper(&mut ann, "b", "2"), Action::Wait);
    ann.answer(ticket(&second), role("b"));
    assert_eq!(poll(&mut ann), [r#"b Subscribe {"role":"b"}"#, "b Whisper"]);
    assert_eq!(short(whisper(&mut ann, "b", "3")), "b Whisper");
    assert_eq!(whisper(&mut ann, "a", "4"), Action::Wait);
    ann.answer(ticket(&second), role("late"));
    assert_eq!(poll(&mut ann), [""; 0], "it has had its answer");
    ann.answer(ticket(&first), Verdict::MemberData(None));
    assert_eq!(poll(&mut ann), ["a Subscribe -", "a Whisper"]);
}

#[test]
fn a_second_join_asks_when_it_is_its_turn() {
    let mut ann = asking();
    let first = subscribe(&mut ann, "i", Some("ann"));
    assert_eq!(join(&mut ann, "bob"), Action::Wait);
    assert_eq!(whisper(&mut ann, "i", "1"), Action::Wait);
    ann.answer(ticket(&first), role("a"));
    let next = ann.poll_action(&Limits::default(), &Streams::default()).unwrap().0;
    assert_eq!(short(next), r#"i Subscribe {"role":"a"}"#);
    let (next, _) = ann.poll_action(&Limits::default(), &Streams::default()).unwrap();
    let second = ticket(&next);
    assert_eq!(poll(&mut ann), [""; 0]);
    ann.answer(second, role("b"));
    assert_eq!(poll(&mut ann), [r#"i Join {"role":"b"}"#, "i Whisper"]);
}

#[test]
fn the_reference_comes_back_with_what_it_is_of() {
    let mut ann = asking();
    let reference =
        |text: &str| Some(Arc::new(Reference { subscription: None, request: Some(text.into()) }));
    let mut say = |name: &str, command| {
        let request = Request { reference: reference(name), command: Ok(command) };
        ann.handle(request, &Limits::default(), &Streams::default())
    };
    let first = say("1", following(Some(as_whom(Some("ann")))));
    say("2", ClientCommand::Leave { identifier: "i".into(), id: None });
    ann.answer(ticket(&first), role("a"));
    for name in ["1", "2"] {
        let due = ann.poll_action(&Limits::default(), &Streams::default());
        assert_eq!(due.unwrap().1, reference(name));
    }
}

#[test]
fn so_much_waits_and_no_more() {
    let fill = |ann: &mut Session, more: &mut dyn FnMut(&mut Session, usize)| {
        (1..1000).find(|number| {
            more(ann, *number);
            ann.is_full()
        })
    };
    let mut ann = asking();
    let questions = fill(&mut ann, &mut |ann, number| {
        ticket(&subscribe(ann, &number.to_string(), Some("ann")));
    });
    assert_eq!(questions, Some(32));
    for (length, commands) in [(1, 128), (1 << 10, 64), (1 << 16, 1)] {
        let mut ann = asking();
        let first = subscribe(&mut ann, "a", Some("ann"));
        let data = "1".repeat(length);
        let waiting = fill(&mut ann, &mut |ann, _| {
            assert_eq!(whisper(ann, "a", &data), Action::Wait);
        });
        assert_eq!(waiting, Some(commands), "of {length} bytes");
        ann.answer(ticket(&first), role("a"));
        assert_eq!(poll(&mut ann).len(), 1 + commands);
        assert!(!ann.is_full() && !ann.is_asking());
    }
}

#[test]
fn what_has_ended_goes_on_without_answers() {
    let mut ann = asking();
    subscribe(&mut ann, "a", Some("ann"));
    whisper(&mut ann, "a", "1");
    let again =
        ask(&mut ann, ClientCommand::Join { identifier: "a".into(), join: as_whom(Some("ann")) });
    assert_eq!(again, Action::Wait);
    let second = subscribe(&mut ann, "b", Some("ann"));
    let mut ended = ann.end();
    assert!(!ann.is_asking() && ann.subscriptions().is_empty());
    assert!(matches!(subscribe(&mut ann, "a", None), Action::Forward { .. }), "it begins anew");
    ended.answer(ticket(&second), role("b"));
    assert_eq!(poll(&mut ended), [r#"b Subscribe {"role":"b"}"#]);
    ended.stop_asking();
    assert_eq!(poll(&mut ended), ["a Subscribe -", "a Whisper", "a Join -"]);
    assert!(!ended.is_asking());
    assert_eq!(ended.subscriptions().len(), 2);
}

#[test]
fn a_join_that_may_be_one_too_many_goes_alone() {
    let limits = Limits { records: 1, ..Limits::default() };
    let mut ann = asking();
    let say =
        |ann: &mut Session, command| ann.handle(request(command), &limits, &Streams::default());
    let join = |identifier: &'static str| ClientCommand::Join {
        identifier: identifier.into(),
        join: as_whom(Some("ann")),
    };
    let first = subscribe(&mut ann, "a", Some("ann"));
    leave(&mut ann, "a");
    assert_eq!(short(subscribe(&mut ann, "b", None)), "b Subscribe");
    assert_eq!(say(&mut ann, join("b")), Action::Wait, "for what came before");
    assert_eq!(leave(&mut ann, "a"), Action::Wait);
    assert_eq!(poll_within(&mut ann, &limits), [""; 0]);
    assert!(!ann.is_full(), "an answer may take its time");
    let next = |ann: &mut Session| ann.poll_action(&limits, &Streams::default()).unwrap().0;
    ann.answer(ticket(&first), role("a"));
    assert_eq!(short(next(&mut ann)), r#"a Subscribe {"role":"a"}"#);
    assert_eq!(short(next(&mut ann)), "a Leave");
    let who = next(&mut ann);
    assert_eq!(poll_within(&mut ann, &limits), [""; 0]);
    ann.answer(ticket(&who), role("b"));
    let before = next(&mut ann);
    assert_eq!(short(before.clone()), "Applied");
    assert!(ann.is_full(), "nothing comes after it");
    assert_eq!(poll_within(&mut ann, &limits), [""; 0]);
    ann.answer(ticket(&before), Verdict::Applied);
    assert_eq!(short(next(&mut ann)), r#"b Join {"role":"b"}"#);
    let itself = next(&mut ann);
    assert_eq!(short(itself.clone()), "Applied");
    assert_eq!(poll_within(&mut ann, &limits), [""; 0]);
    assert!(ann.is_full());
    ann.answer(ticket(&itself), Verdict::Applied);
    assert_eq!(poll_within(&mut ann, &limits), ["a Leave"]);
    assert!(!ann.is_full() && !ann.is_asking());
}

#[test]
fn a_join_that_may_be_one_too_many_is_asked_about_while_others_go_on() {
    let limits = Limits { records: 1, subscriptions: 4, ..Limits::default() };
    let mut ann = asking();
    let say =
        |ann: &mut Session, command| ann.handle(request(command), &limits, &Streams::default());
    let named = |identifier: &'static str, join: Option<&str>| {
        let mut command = following(join.map(|id| as_whom(Some(id))));
        if let ClientCommand::Subscribe { identifier: name, target, .. } = &mut command {
            *name = identifier.into();
            *target = Target::Public(identifier.into());
        }
        command
    };
    let unsubscribe =
        |identifier: &'static str| ClientCommand::Unsubscribe { identifier: identifier.into() };
    for room in ["a", "b"] {
        assert_eq!(short(say(&mut ann, named(room, None))), format!("{room} Subscribe"));
    }
    let who = say(&mut ann, named("c", Some("ann")));
    let question = Question::MemberData { stream: "c".into(), id: "ann".into() };
    assert_eq!(who, Action::Ask { ticket: ticket(&who), question });
    assert_eq!(short(whisper(&mut ann, "a", "1")), "a Whisper");
    assert_eq!(short(say(&mut ann, named("d", None))), "d Subscribe");
    assert_eq!(say(&mut ann, unsubscribe("a")), Action::Wait, "a record may go with it");
    assert_eq!(say(&mut ann, named("e", None)), Action::Wait, "for room");
    assert_eq!(short(whisper(&mut ann, "b", "2")), "b Whisper");
    assert_eq!(poll_within(&mut ann, &limits), [""; 0]);
    assert!(!ann.is_full());
    ann.answer(ticket(&who), role("c"));
    let next = |ann: &mut Session| ann.poll_action(&limits, &Streams::default()).unwrap().0;
    let before = next(&mut ann);
    ann.answer(ticket(&before), Verdict::Applied);
    assert_eq!(short(next(&mut ann)), r#"c Subscribe {"role":"c"}"#);
    let itself = next(&mut ann);
    ann.answer(ticket(&itself), Verdict::Applied);
    assert_eq!(poll_within(&mut ann, &limits), ["a Unsubscribe", "e Subscribe"]);
    assert!(!ann.is_asking());
}

//! What a session does about commands, one by one; `tests/model/session.rs` has them all together.

use std::borrow::Cow;
use std::sync::Arc;

use super::refusals::error;
use super::*;
use crate::auth::{Client, PresenceIdPolicy, Rights, Streams};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, ConnectionMessage, Head, JoinRequest, Limit, Limits,
    Listing, PresenceId, RawJson, Reference, Request, ServerMessage, SessionId, StreamCommand,
    SubscribeOptions, Target, Watch, Whisper,
};

mod asked;
mod calling;
mod naming;

const SID: SessionId = SessionId::from_bits(7);

fn session(presence_ids: PresenceIdPolicy) -> Session {
    Session::new(SID, &Client { identifier: None, presence_ids })
}

fn ask(session: &mut Session, command: ClientCommand<'_>) -> Action {
    session.handle(request(command), &Limits::default(), &Streams::default())
}

fn request(command: ClientCommand<'_>) -> Request<'_> {
    Request::unnamed(Ok(command))
}

fn following(join: Option<JoinRequest>) -> ClientCommand<'static> {
    ClientCommand::Subscribe {
        identifier: "i".into(),
        target: Target::Public("room".into()),
        history: None,
        join: join.map(Ok),
        watch: Watch::Members,
        options: SubscribeOptions::default(),
    }
}

fn as_whom(id: Option<&str>) -> JoinRequest {
    JoinRequest { id: id.map(PresenceId::from), info: "null".into() }
}

fn subscribe(session: &mut Session, join: Option<&str>) -> Action {
    ask(session, following(join.map(|id| as_whom(Some(id)))))
}

fn join(session: &mut Session, id: &str) -> Action {
    let join = as_whom(Some(id));
    ask(session, ClientCommand::Join { identifier: "i".into(), join })
}

fn refused(action: &Action) -> Option<&str> {
    let Action::Forward { command, .. } = action else { return None };
    if let StreamCommand::RefusePresence(_, reason) = command {
        return Some(reason);
    }
    let StreamCommand::Subscribe(subscribe) = command else { return None };
    subscribe.join.as_ref()?.as_ref().err().map(|reason| &**reason)
}

#[test]
fn nobody_joins_as_somebody_else() {
    let mut ann = session(PresenceIdPolicy::Only("ann".into()));
    assert_eq!(refused(&subscribe(&mut ann, Some("ann"))), None);
    assert_eq!(refused(&join(&mut ann, "ann")), None);
    let other = Some("the presence id is not the one of the token");
    for id in ["bob", "Ann", "ann ", "a\u{308}nn"] {
        assert_eq!(refused(&join(&mut ann, id)), other, "{id}");
        assert_eq!(refused(&subscribe(&mut ann, Some(id))), other, "{id}");
    }
    assert_eq!(refused(&join(&mut ann, "")), Some("the presence id is empty"));
    let mut nobody = session(PresenceIdPolicy::None);
    let none = Some("there is no token that gives a presence id");
    assert_eq!(refused(&subscribe(&mut nobody, Some("ann"))), none);
    assert_eq!(refused(&join(&mut nobody, "ann")), none);
}

#[test]
fn who_speaks_under_a_name_has_to_be_present() {
    let say = |session: &mut Session, author: Option<&str>| {
        let (identifier, author) = (Cow::from("i"), author.map(PresenceId::from));
        let whisper = Whisper { event: None, data: "1".into() };
        let publish = ClientCommand::Publish {
            identifier: identifier.clone(),
            data: "1".into(),
            at: 0,
            author: author.clone(),
        };
        let is_named = author.is_some();
        let said = [publish, ClientCommand::Whisper { identifier, whisper, author }];
        let said = said.map(|command| match ask(session, command) {
            Action::Forward {
                command:
                    StreamCommand::Publish { members_only, .. }
                    | StreamCommand::Whisper { members_only, .. },
                ..
            } => {
                assert_eq!(members_only, is_named, "its stream knows who is present");
                None
            }
            Action::Answer { message: ConnectionMessage::Error { reason, .. }, .. } => {
                Some(reason.into_owned())
            }
            Action::Forward { .. }
            | Action::Answer { .. }
            | Action::Follow(_)
            | Action::Refuse { .. }
            | Action::Ask { .. }
            | Action::Wait
            | Action::Nothing(_) => panic!("no answer to somebody who speaks"),
        });
        assert_eq!(said[0], said[1], "both are speaking");
        said.into_iter().flatten().next()
    };
    let mut ann = session(PresenceIdPolicy::Any);
    let first = Some("only who has joined may say something here: join first".to_owned());
    assert_eq!(say(&mut ann, Some("ann")), first);
    subscribe(&mut ann, None);
    assert_eq!(say(&mut ann, None), None);
    join(&mut ann, "ann");
    for name in ["ann", "anybody"] {
        assert_eq!(say(&mut ann, Some(name)), None, "{name}");
    }
    assert_eq!(say(&mut ann, Some("")).unwrap(), "the presence id is empty");
    assert!(say(&mut ann, Some(&"a".repeat(129))).unwrap().contains("129 characters"));
    assert_eq!(ann.take_exceeded(), Some(Limit::PresenceIdLength));

    let mut bound = session(PresenceIdPolicy::Only("ann".into()));
    subscribe(&mut bound, Some("ann"));
    assert_eq!(say(&mut bound, Some("ann")), None);
    let other = "the name is not the one of the token";
    assert_eq!(say(&mut bound, Some("bob")).unwrap(), other);
    let mut nobody = session(PresenceIdPolicy::None);
    subscribe(&mut nobody, Some("ann"));
    assert_eq!(say(&mut nobody, Some("ann")), first);
}

#[test]
fn what_could_be_moved_is_taken_over() {
    let mut ann = session(PresenceIdPolicy::Any);
    subscribe(&mut ann, Some("ann"));
    let other = ClientCommand::Subscribe {
        identifier: "j".into(),
        target: Target::Public("room".into()),
        history: None,
        join: None,
        watch: Watch::Members,
        options: SubscribeOptions::default(),
    };
    ask(&mut ann, other);
    let parked = ann.end();
    assert!(ann.subscriptions().is_empty());
    ann.take_over(parked, [false, true]);
    let held: Vec<_> = ann.subscriptions().iter().map(|it| it.identifier.as_str()).collect();
    assert_eq!(held, ["j"]);
}

#[test]
fn each_of_many_long_identifiers_is_found() {
    let mut ann = session(PresenceIdPolicy::Any);
    let long = "a".repeat(4000);
    let identifiers: Vec<String> = (0..1000).map(|number| format!("{long}{number}")).collect();
    for identifier in &identifiers {
        let mut command = following(None);
        if let ClientCommand::Subscribe { identifier: name, target, .. } = &mut command {
            *name = identifier.as_str().into();
            *target = Target::Public(identifier.trim_start_matches('a').into());
        }
        assert!(matches!(ask(&mut ann, command), Action::Forward { .. }));
    }
    for (left, identifier) in identifiers.iter().enumerate() {
        let leave = || ClientCommand::Leave { identifier: identifier.as_str().into(), id: None };
        let Action::Forward { stream, .. } = ask(&mut ann, leave()) else { panic!("it stands") };
        assert_eq!(stream.as_str(), left.to_string());
        ask(&mut ann, ClientCommand::Unsubscribe { identifier: identifier.as_str().into() });
        assert!(matches!(ask(&mut ann, leave()), Action::Refuse { .. }));
        let (len, capacity) = (ann.subscriptions.len(), ann.subscriptions.capacity());
        assert!(len >= capacity / 4, "room for {capacity} is held by {len}");
    }
}

#[test]
fn rights_are_those_of_the_subscription() {
    let streams = Streams { public: false, ..Streams::default() };
    let mut visitor = session(PresenceIdPolicy::Any);
    let action = visitor.handle(request(following(None)), &Limits::default(), &streams);
    assert!(matches!(action, Action::Refuse { message: ServerMessage::Rejected(_), .. }));
    let watch = Rights { join: false, whisper: false };
    visitor.subscriptions.push(Subscription::new("i".into(), "room".into(), Watch::Members, watch));
    assert_eq!(refused(&join(&mut visitor, "ann")), Some("this subscription may not join"));
    let whisper = ClientCommand::Whisper {
        identifier: "i".into(),
        whisper: Whisper { event: None, data: "1".into() },
        author: None,
    };
    let action = ask(&mut visitor, whisper);
    assert_eq!(action, error(CommandKind::Whisper, "this subscription may not whisper"));
    let list = ClientCommand::Presence { identifier: "i".into(), listing: Listing::Members };
    assert!(matches!(ask(&mut visitor, list), Action::Forward { .. }));
}

/// The Phoenix codec names requests, and joins by subscribing.
mod named {
    use super::*;

    fn reference(subscription: Option<&str>, request: &str) -> Reference {
        Reference { subscription: subscription.map(Into::into), request: Some(request.into()) }
    }

    fn say(
        session: &mut Session,
        (subscription, request): (Option<&str>, &str),
        command: ClientCommand<'_>,
    ) -> Action {
        let reference = Some(Arc::new(reference(subscription, request)));
        let request = Request { reference, command: Ok(command) };
        session.handle(request, &Limits::default(), &Streams::default())
    }

    fn ends(action: &Action) -> Option<&Reference> {
        let Action::Forward { command, .. } = action else { panic!("{action:?}") };
        let StreamCommand::Subscribe(subscribe) = command else { panic!("{command:?}") };
        subscribe.options.ends.as_deref()
    }

    fn leave() -> ClientCommand<'static> {
        ClientCommand::Leave { identifier: "i".into(), id: None }
    }

    #[test]
    fn following_anew_ends_the_earlier_subscription() {
        let mut session = session(PresenceIdPolicy::Any);
        let first = say(&mut session, (Some("1"), "1"), following(None));
        assert_eq!(ends(&first), None);
        let again = say(&mut session, (Some("1"), "2"), following(None));
        assert_eq!(ends(&again), None, "the same subscription");
        let mut counting = following(None);
        if let ClientCommand::Subscribe { watch, .. } = &mut counting {
            *watch = Watch::Occupancy;
        }
        let second = say(&mut session, (Some("3"), "3"), counting);
        assert_eq!(ends(&second), Some(&reference(Some("1"), "2")));
        assert!(matches!(second, Action::Forward { watch: Watch::Occupancy, .. }));
        assert_eq!(session.subscriptions().len(), 1);
    }

    #[test]
    fn what_is_about_an_earlier_subscription_is_not_followed() {
        let mut session = session(PresenceIdPolicy::Any);
        say(&mut session, (Some("1"), "1"), following(None));
        say(&mut session, (Some("2"), "2"), following(None));
        let late = say(&mut session, (Some("1"), "3"), leave());
        assert!(matches!(late, Action::Refuse { message: ServerMessage::NotSubscribed, .. }));
        let unsubscribe = || ClientCommand::Unsubscribe { identifier: "i".into() };
        let late = say(&mut session, (Some("1"), "4"), unsubscribe());
        assert!(matches!(late, Action::Refuse { message: ServerMessage::Done, .. }));
        for now in [Some("2"), None] {
            let action = say(&mut session, (now, "5"), leave());
            assert!(matches!(action, Action::Forward { .. }), "{action:?}");
        }
        assert!(matches!(
            say(&mut session, (Some("2"), "6"), unsubscribe()),
            Action::Forward { command: StreamCommand::Unsubscribe, .. }
        ));
    }

    #[test]
    fn a_subscription_without_a_name_is_never_another_one() {
        let mut session = session(PresenceIdPolicy::Any);
        say(&mut session, (None, "1"), following(None));
        assert!(matches!(say(&mut session, (Some("1"), "2"), leave()), Action::Forward { .. }));
        let again = say(&mut session, (Some("3"), "3"), following(None));
        assert_eq!(ends(&again), None, "whose end could be taken for that of any");
    }

    #[test]
    fn who_only_subscribes_joins_as_who_they_are() {
        let joins = |session: &mut Session| {
            let action = say(session, (Some("1"), "1"), following(Some(as_whom(None))));
            if let Action::Refuse { message: ServerMessage::Rejected(reason), .. } = action {
                return Err(reason.into_owned());
            }
            let Action::Forward { command, .. } = action else { panic!("{action:?}") };
            let StreamCommand::Subscribe(subscribe) = command else { panic!("{command:?}") };
            Ok(subscribe.join.map(|join| join.unwrap().id))
        };
        let ann = PresenceId::from("ann");
        for who in [PresenceIdPolicy::Default(ann.clone()), PresenceIdPolicy::Only(ann.clone())] {
            assert_eq!(joins(&mut session(who)), Ok(Some(ann.clone())));
        }
        for who in [PresenceIdPolicy::Any, PresenceIdPolicy::None] {
            assert_eq!(joins(&mut session(who)), Ok(None), "it watches");
        }
        let mut long = session(PresenceIdPolicy::Default("a".repeat(129).into()));
        assert!(joins(&mut long).unwrap_err().contains("129 characters"));
        assert!(long.subscriptions().is_empty(), "a join that fails leaves nothing");
    }

    #[test]
    fn who_may_only_watch_does() {
        let mut ann = session(PresenceIdPolicy::Only("ann".into()));
        let rights = Rights { join: false, whisper: false };
        ann.subscriptions.push(Subscription::new(
            "i".into(),
            "room".into(),
            Watch::Members,
            rights,
        ));
        let action = say(&mut ann, (Some("1"), "1"), following(Some(as_whom(None))));
        let Action::Forward { command, .. } = action else { panic!("{action:?}") };
        let StreamCommand::Subscribe(subscribe) = command else { panic!("{command:?}") };
        assert_eq!(subscribe.join, None);
    }
}

#[test]
fn what_is_too_much_is_refused_where_a_client_looks() {
    let refused = |kind, reference: Option<Reference>| {
        let (reference, identifier) = (reference.map(Arc::new), Some(Cow::from("i")));
        refuse_excess(&Head { reference, kind, identifier })
    };
    // without an answer that they know, clients of Action Cable ask again; Phoenix' do when refused
    let action = refused(CommandKind::Subscribe, None);
    assert!(matches!(action, Action::Answer { message: ConnectionMessage::Error { .. }, .. }));
    let named = || Some(Reference { subscription: None, request: Some("1".into()) });
    let action = refused(CommandKind::Subscribe, named());
    assert!(matches!(action, Action::Refuse { message: ServerMessage::Rejected(_), .. }));
    for kind in [CommandKind::Whisper, CommandKind::Join, CommandKind::Leave] {
        let action = refused(kind, named());
        assert!(matches!(action, Action::Refuse { message: ServerMessage::Refused(_), .. }));
    }
}

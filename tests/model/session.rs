//! A session and any commands: it holds the right subscriptions, keeps to the limits, and has one action per
//! command.

use std::borrow::Cow;
use std::collections::BTreeMap;

use broker::auth::{Client, Streams};
use broker::session::{Action, Session, Subscription};
use broker::types::{
    BadCommand, ClientCommand, CommandKind, ConnectionMessage, HistoryRequest, Join, JoinRequest,
    Limit, Limits, Listing, Request, ServerMessage, SessionId, StreamCommand, SubscribeOptions,
    Target, Watch, Whisper,
};
use proptest::prelude::*;
use proptest::sample::select;
use strum::VariantArray as _;

const LIMITS: Limits = Limits {
    presence_id_length: 3,
    reserved_presence_ids: &[],
    info_size: 4,
    stream_name_size: 5,
    identifier_size: 6,
    subscriptions: 3,
    records: usize::MAX, // tests/model/tickets.rs has fewer
    pace: None,
};

type Command = Result<ClientCommand<'static>, BadCommand<'static>>;

/// What a client holds: by the identifier the stream.
type Held = BTreeMap<String, String>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_holds_what_it_should(commands in prop::collection::vec(command(), 0..40)) {
        let mut session = Session::new(SessionId::from_bits(1), &Client::default());
        let mut held = Held::new();
        for (command, same) in commands {
            let action = session.handle(Request::unnamed(command), &LIMITS, &Streams::default());
            let exceeded = session.take_exceeded();
            let expected = exceeds(&held, &same);
            check(&mut held, same, action)?;
            prop_assert_eq!(exceeded, expected);
            prop_assert_eq!(session.take_exceeded(), None, "it is told once");
            prop_assert!(held.len() <= LIMITS.subscriptions);
        }
        let ended = session.end();
        let number = ended.subscriptions().len();
        let ended: BTreeMap<String, String> = ended
            .streams()
            .map(|(Subscription { identifier, .. }, stream)| {
                (identifier.as_str().to_owned(), stream.as_str().to_owned())
            })
            .collect();
        prop_assert_eq!(ended.len(), number, "an identifier is held twice");
        prop_assert_eq!(ended, held);
        prop_assert!(session.end().subscriptions().is_empty());
    }
}

/// A command, twice: a session takes one.
fn command() -> impl Strategy<Value = (Command, Command)> {
    // of one, five, six and seven bytes
    let identifier = select(vec!["a", "b", "c", "d", "\"é\"", "123456", "1234567"]);
    let target = select(vec![
        Target::Public("x".into()),
        Target::Public("y".into()),
        Target::Public("12345".into()),
        Target::Public("123456".into()),
        Target::Signed("x".into()),
        Target::Turbo("x".into()),
        Target::CableReady("x".into()),
        Target::Channel("Chat".into()),
        Target::Invalid("why".into()),
    ]);
    let join = (select(vec!["", "a", "éèê", "1234"]), select(vec!["null", "[12]", "[123]"]))
        .prop_map(|(id, info)| JoinRequest { id: Some(id.into()), info: info.into() });
    let history = Just(HistoryRequest { since: Some(1), positions: Vec::new(), joint: None });
    let with_join = prop_oneof![
        Just(None),
        Just(Some(Err(Cow::Borrowed("no id")))),
        join.clone().prop_map(|join| Some(Ok(join))),
    ];
    let subscribe = (identifier.clone(), target, prop::option::of(history.clone()), with_join);
    let subscribe = subscribe.prop_map(|(identifier, target, history, join)| {
        let identifier = identifier.into();
        let (watch, options) = (Watch::Members, SubscribeOptions::default());
        Ok(ClientCommand::Subscribe { identifier, target, history, join, watch, options })
    });
    let join = (identifier.clone(), join, prop::bool::ANY).prop_map(|(identifier, join, again)| {
        let identifier = identifier.into();
        Ok(if again {
            ClientCommand::Update { identifier, join }
        } else {
            ClientCommand::Join { identifier, join }
        })
    });
    let presence = (identifier.clone(), select(vec![Listing::Members, Listing::Count]));
    let presence = presence.prop_map(|(identifier, listing)| {
        Ok(ClientCommand::Presence { identifier: identifier.into(), listing })
    });
    let history = (identifier.clone(), history).prop_map(|(identifier, request)| {
        Ok(ClientCommand::History { identifier: identifier.into(), request })
    });
    let other = identifier.clone().prop_flat_map(|identifier| {
        let identifier = Cow::Borrowed(identifier);
        select(vec![0, 1, 2, 3, 4, 5, 6]).prop_map(move |number| {
            let identifier = identifier.clone();
            Ok(match number {
                0 => ClientCommand::Unsubscribe { identifier },
                1 => ClientCommand::Leave { identifier, id: None },
                2 => ClientCommand::Whisper { identifier, whisper: whisper(), author: None },
                6 => ClientCommand::Publish { identifier, data: "1".into(), at: 7, author: None },
                3 => ClientCommand::Perform { identifier, data: Some("{}".into()) },
                4 => ClientCommand::Ping,
                _ => ClientCommand::Pong,
            })
        })
    });
    let bad = (select(CommandKind::VARIANTS.to_vec()), prop::option::of(identifier));
    let bad = bad.prop_map(|(kind, identifier)| {
        let identifier = identifier.map(Cow::Borrowed);
        Err(BadCommand { kind, identifier, reason: "bad".into() })
    });
    prop_oneof![4 => subscribe, 2 => join, 1 => presence, 1 => history, 3 => other, 2 => bad]
        .prop_map(|command| (copy(&command), command))
}

fn whisper() -> Whisper {
    Whisper { event: None, data: "1".into() }
}

/// Commands can't be cloned, as nothing but this test would want to.
fn copy(command: &Command) -> Command {
    match command {
        Ok(ClientCommand::Subscribe { identifier, target, history, join, watch, options }) => {
            Ok(ClientCommand::Subscribe {
                watch: *watch,
                options: options.clone(),
                identifier: identifier.clone(),
                target: target.clone(),
                history: history.clone(),
                join: join.clone(),
            })
        }
        Ok(ClientCommand::Unsubscribe { identifier }) => {
            Ok(ClientCommand::Unsubscribe { identifier: identifier.clone() })
        }
        Ok(ClientCommand::Join { identifier, join }) => {
            Ok(ClientCommand::Join { identifier: identifier.clone(), join: join.clone() })
        }
        Ok(ClientCommand::Update { identifier, join }) => {
            Ok(ClientCommand::Update { identifier: identifier.clone(), join: join.clone() })
        }
        Ok(ClientCommand::Leave { identifier, id }) => {
            Ok(ClientCommand::Leave { identifier: identifier.clone(), id: id.clone() })
        }
        Ok(ClientCommand::Presence { identifier, listing }) => {
            Ok(ClientCommand::Presence { identifier: identifier.clone(), listing: *listing })
        }
        Ok(ClientCommand::History { identifier, request }) => {
            Ok(ClientCommand::History { identifier: identifier.clone(), request: request.clone() })
        }
        Ok(ClientCommand::Whisper { identifier, whisper, author }) => {
            let (identifier, whisper, author) =
                (identifier.clone(), whisper.clone(), author.clone());
            Ok(ClientCommand::Whisper { identifier, whisper, author })
        }
        Ok(ClientCommand::Publish { identifier, data, at, author }) => {
            let (identifier, data, author) = (identifier.clone(), data.clone(), author.clone());
            Ok(ClientCommand::Publish { identifier, data, at: *at, author })
        }
        Ok(ClientCommand::Perform { identifier, data }) => {
            Ok(ClientCommand::Perform { identifier: identifier.clone(), data: data.clone() })
        }
        Ok(ClientCommand::Ping) => Ok(ClientCommand::Ping),
        Ok(ClientCommand::Pong) => Ok(ClientCommand::Pong),
        Err(BadCommand { kind, identifier, reason }) => {
            Err(BadCommand { kind: *kind, identifier: identifier.clone(), reason: reason.clone() })
        }
    }
}

/// Applies a command to what is held, and checks what was done about it.
fn check(held: &mut Held, command: Command, action: Action) -> Result<(), TestCaseError> {
    let done = Done::from(action);
    let command = match command {
        Ok(command) => command,
        Err(bad) => return check_bad(held, &bad, &done),
    };
    let kind = command.kind();
    match command {
        ClientCommand::Subscribe { identifier, target, history, join, .. } => {
            let full = held.len() >= LIMITS.subscriptions;
            let is_new = !held.contains_key(&*identifier);
            match target {
                Target::Public(stream)
                    if is_new
                        && !full
                        && identifier.len() <= LIMITS.identifier_size
                        && stream.as_str().len() <= LIMITS.stream_name_size =>
                {
                    held.insert(identifier.to_string(), stream.as_str().to_owned());
                }
                _ if is_new => {
                    prop_assert_eq!(
                        done,
                        Done::refused(kind, &identifier, ServerMessage::Rejected("".into()))
                    );
                    return Ok(());
                }
                _ => {}
            }
            let Done::Forwarded(stream, name, StreamCommand::Subscribe(subscribe)) = done else {
                return Err(TestCaseError::fail(format!("{done:?}")));
            };
            prop_assert_eq!((held.get(&name), name.as_str()), (Some(&stream), &*identifier));
            prop_assert_eq!(subscribe.history, history);
            check_join(join, subscribe.join)?;
        }
        ClientCommand::Unsubscribe { identifier } => {
            let expected = held.remove(&*identifier).map_or(Done::Nothing(kind), |stream| {
                Done::Forwarded(stream, identifier.into(), StreamCommand::Unsubscribe)
            });
            prop_assert_eq!(done, expected);
        }
        ClientCommand::Join { identifier, join } | ClientCommand::Update { identifier, join } => {
            let Some(stream) = held.get(&*identifier) else {
                let answer = Done::refused(kind, &identifier, ServerMessage::NotSubscribed);
                prop_assert_eq!(done, answer);
                return Ok(());
            };
            let Done::Forwarded(to, name, command) = done else {
                return Err(TestCaseError::fail(format!("{done:?}")));
            };
            prop_assert_eq!((&to, &*name), (stream, &*identifier));
            let wish = match command {
                StreamCommand::Join(join) | StreamCommand::Update(join) => Ok(join),
                StreamCommand::RefusePresence(CommandKind::Join, reason) => Err(reason),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            check_join(Some(Ok(join)), Some(wish))?;
        }
        ClientCommand::Leave { identifier, .. } => {
            check_forwarded(held, kind, &identifier, StreamCommand::Leave(None), &done)?;
        }
        ClientCommand::Presence { identifier, listing } => {
            check_forwarded(held, kind, &identifier, StreamCommand::List(listing), &done)?;
        }
        ClientCommand::History { identifier, request } => {
            check_forwarded(held, kind, &identifier, StreamCommand::History(request), &done)?;
        }
        ClientCommand::Whisper { identifier, whisper, .. } => {
            let command = StreamCommand::Whisper { whisper, members_only: false };
            check_forwarded(held, kind, &identifier, command, &done)?;
        }
        ClientCommand::Publish { identifier, data, at, .. } => {
            let command = StreamCommand::Publish { data, at, members_only: false };
            check_forwarded(held, kind, &identifier, command, &done)?;
        }
        ClientCommand::Perform { .. } => prop_assert_eq!(done, Done::Error(kind)),
        ClientCommand::Ping => prop_assert_eq!(done, Done::Ponged),
        ClientCommand::Pong => prop_assert_eq!(done, Done::Nothing(kind)),
    }
    Ok(())
}

fn check_forwarded(
    held: &Held,
    kind: CommandKind,
    identifier: &str,
    command: StreamCommand,
    done: &Done,
) -> Result<(), TestCaseError> {
    match held.get(identifier) {
        Some(stream) => {
            let expected = Done::Forwarded(stream.clone(), identifier.to_owned(), command);
            prop_assert_eq!(done, &expected);
            Ok(())
        }
        None if matches!(kind, CommandKind::Join | CommandKind::Leave | CommandKind::Presence) => {
            prop_assert_eq!(done, &Done::refused(kind, identifier, ServerMessage::NotSubscribed));
            Ok(())
        }
        None => check_refused(kind, identifier, done),
    }
}

/// A command about a subscription that isn't held, or one that can't be read, is answered with
/// what its client waits for.
fn check_refused(kind: CommandKind, identifier: &str, done: &Done) -> Result<(), TestCaseError> {
    let answer = match kind {
        CommandKind::Subscribe => ServerMessage::Rejected(Cow::Borrowed("")),
        CommandKind::Join | CommandKind::Leave | CommandKind::Presence => {
            ServerMessage::Refused(Cow::Borrowed(""))
        }
        CommandKind::History => ServerMessage::HistoryRejected,
        CommandKind::Unsubscribe
        | CommandKind::Whisper
        | CommandKind::Publish
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => {
            prop_assert_eq!(done, &Done::Error(kind));
            return Ok(());
        }
    };
    prop_assert_eq!(done, &Done::refused(kind, identifier, answer));
    Ok(())
}

fn check_bad(held: &Held, bad: &BadCommand<'_>, done: &Done) -> Result<(), TestCaseError> {
    let Some(identifier) = &bad.identifier else {
        prop_assert_eq!(done, &Done::Error(bad.kind));
        return Ok(());
    };
    let of_presence = [CommandKind::Join, CommandKind::Leave, CommandKind::Presence];
    if of_presence.contains(&bad.kind) {
        let refuse = StreamCommand::RefusePresence(bad.kind, bad.reason.clone());
        return check_forwarded(held, bad.kind, identifier, refuse, done);
    }
    check_refused(bad.kind, identifier, done)
}

type Asked = Option<Result<JoinRequest, Cow<'static, str>>>;
type Passed = Option<Result<Join, Cow<'static, str>>>;

/// Whether a client may join so by a subscription that it holds, and if not, for which limit.
fn may_join(join: &Join) -> Result<(), Option<Limit>> {
    let characters = join.id.as_str().chars().count();
    if characters == 0 {
        Err(None)
    } else if characters > LIMITS.presence_id_length {
        Err(Some(Limit::PresenceIdLength))
    } else if join.info.as_str().len() > LIMITS.info_size {
        Err(Some(Limit::PresenceInfoSize))
    } else {
        Ok(())
    }
}

/// The limit that a command is refused for, if it is for one.
fn exceeds(held: &Held, command: &Command) -> Option<Limit> {
    match command {
        Ok(ClientCommand::Subscribe { identifier, target, join, .. }) => {
            if !held.contains_key(&**identifier) {
                if held.len() >= LIMITS.subscriptions {
                    return Some(Limit::Subscriptions);
                }
                if identifier.len() > LIMITS.identifier_size {
                    return Some(Limit::IdentifierSize);
                }
                let Target::Public(stream) = target else { return None };
                if stream.as_str().len() > LIMITS.stream_name_size {
                    return Some(Limit::StreamNameSize);
                }
            }
            let join = join.as_ref()?.as_ref().ok()?;
            let JoinRequest { id, info } = join.clone();
            let join = Join { id: id.expect("all have one"), info, extra: None };
            may_join(&join).err().flatten()
        }
        Ok(
            ClientCommand::Join { identifier, join } | ClientCommand::Update { identifier, join },
        ) if held.contains_key(&**identifier) => {
            let JoinRequest { id, info } = join.clone();
            let join = Join { id: id.expect("all have one"), info, extra: None };
            may_join(&join).err().flatten()
        }
        _ => None,
    }
}

/// A join passes as it is, or is refused with a reason if it is over a limit.
fn check_join(asked: Asked, passed: Passed) -> Result<(), TestCaseError> {
    let whole =
        |JoinRequest { id, info }| Join { id: id.expect("all have one"), info, extra: None };
    let asked = asked.map(|asked| asked.map(whole));
    match (asked, passed) {
        (Some(Ok(asked)), Some(Err(reason))) => {
            let may = may_join(&asked);
            prop_assert!(may.is_err() && !reason.is_empty(), "{:?}: {}", asked, reason);
        }
        (asked, passed) => {
            if let Some(Ok(join)) = &passed {
                prop_assert_eq!(may_join(join), Ok(()));
            }
            prop_assert_eq!(asked, passed);
        }
    }
    Ok(())
}

/// An action without the wording of reasons, but they must be there.
#[derive(Debug, PartialEq)]
enum Done {
    Forwarded(String, String, StreamCommand),
    Refused(CommandKind, String, ServerMessage),
    Error(CommandKind),
    Ponged,
    Nothing(CommandKind),
    /// For an answer, though nobody is asked.
    Waits,
    /// Something that no command asks for.
    Strange(CommandKind, ConnectionMessage),
}

impl Done {
    fn refused(kind: CommandKind, identifier: &str, message: ServerMessage) -> Self {
        Self::Refused(kind, identifier.to_owned(), message)
    }
}

impl From<Action> for Done {
    fn from(action: Action) -> Self {
        match action {
            Action::Forward { stream, identifier, command, .. } => {
                let (stream, identifier) = (stream.as_str(), identifier.as_str());
                Self::Forwarded(stream.to_owned(), identifier.to_owned(), command)
            }
            Action::Refuse { kind, identifier, message } => {
                let message = match message {
                    ServerMessage::Rejected(reason) if !reason.is_empty() => {
                        ServerMessage::Rejected(Cow::Borrowed(""))
                    }
                    ServerMessage::Refused(reason) if !reason.is_empty() => {
                        ServerMessage::Refused(Cow::Borrowed(""))
                    }
                    message => message,
                };
                Self::refused(kind, identifier.as_str(), message)
            }
            Action::Answer { kind, message } => match message {
                ConnectionMessage::Error { command, reason }
                    if command == kind && !reason.is_empty() =>
                {
                    Self::Error(kind)
                }
                ConnectionMessage::Pong if kind == CommandKind::Ping => Self::Ponged,
                message => Self::Strange(kind, message),
            },
            Action::Ask { .. } | Action::Follow(_) | Action::Wait => Self::Waits,
            Action::Nothing(kind) => Self::Nothing(kind),
        }
    }
}

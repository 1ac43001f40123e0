//! The application's channels: what it is asked, and what its answers do.

use super::*;
use crate::types::{
    About, Call, CallFailure, ChannelCommand, HistoryRequest, Origin, PresenceReply, Repeat, Reply,
    ReplyStatus, State, StateValue,
};

/// A session whose channels are the application's.
fn asking() -> Session {
    let channels = Channels::new(SID, Arc::new(Origin::default()), "{\"user\":1}", true);
    session(PresenceIdPolicy::Any).with_channels(Some(Box::new(channels)))
}

fn success() -> Reply {
    Reply { status: ReplyStatus::Success, ..Reply::default() }
}

fn follows(streams: &[&str]) -> Reply {
    let streams = streams.iter().map(ToString::to_string).collect();
    Reply { transmissions: vec!["confirmed".into()], streams, ..success() }
}

fn state(entries: &[(&str, &str)]) -> Vec<(Box<str>, StateValue)> {
    entries.iter().map(|(key, value)| ((*key).into(), StateValue::Text((*value).into()))).collect()
}

/// With a member `ann` in `room`, where it may whisper, too.
fn with_ann() -> Reply {
    let channel = state(&[("$p", "room"), ("$w", "room"), ("k", "v")]);
    let presence = PresenceReply::Join { id: "ann".into(), info: "1".into(), ttl: 0 };
    Reply { channel, presence: Some(presence), ..follows(&["room"]) }
}

fn channel(identifier: &str) -> ClientCommand<'_> {
    ClientCommand::Subscribe {
        identifier: identifier.into(),
        target: Target::Channel("Chat".into()),
        history: None,
        join: None,
        watch: Watch::Members,
        options: SubscribeOptions::default(),
    }
}

fn perform<'a>(identifier: &'a str, data: &str) -> ClientCommand<'a> {
    let data = serde_json::to_string(data).unwrap();
    ClientCommand::Perform { identifier: identifier.into(), data: Some(data.into()) }
}

fn unsubscribe(identifier: &str) -> ClientCommand<'_> {
    ClientCommand::Unsubscribe { identifier: identifier.into() }
}

/// Everything a command leads to at once.
fn say(session: &mut Session, command: ClientCommand<'_>) -> Vec<Action> {
    let first = ask(session, command);
    [first].into_iter().chain(due(session)).collect()
}

fn due(session: &mut Session) -> Vec<Action> {
    let next = || Some(session.poll_action(&Limits::default(), &Streams::default())?.0);
    std::iter::from_fn(next).collect()
}

/// The one question among the actions.
#[track_caller]
fn asked(actions: Vec<Action>) -> (Ticket, Call) {
    let is_call = |action| {
        let Action::Ask { ticket, question: Question::Call(call) } = action else { return None };
        Some((ticket, *call))
    };
    let mut calls: Vec<_> = actions.into_iter().filter_map(is_call).collect();
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

/// What an answer leads to, in short. Messages and the streams behind them are sent in one piece.
#[track_caller]
fn answer(session: &mut Session, ticket: Ticket, reply: Result<Reply, CallFailure>) -> Vec<String> {
    let speaks = reply.as_ref().is_ok_and(|reply| !reply.transmissions.is_empty());
    session.answer(ticket, Verdict::Called(reply.map(Box::new)));
    let mut all: Vec<String> = due(session).into_iter().map(short).collect();
    if speaks && all.iter().any(|action| action.contains(" Subscribe")) {
        assert_eq!(all.remove(0), "(");
        let end = all.iter().position(|action| action == ")").unwrap();
        assert!(!all.split_off(end)[1..].iter().any(|action| action.contains(" Subscribe")));
    }
    all
}

fn short(action: Action) -> String {
    match action {
        Action::Forward { stream, command, .. } => {
            let command = match command {
                StreamCommand::Subscribe(it) => {
                    let Rights { join, whisper } = it.grant.rights;
                    let rights = [join.then_some("+join"), whisper.then_some("+whisper")];
                    format!("Subscribe{}", rights.into_iter().flatten().collect::<String>())
                }
                StreamCommand::Join(join) => format!("Join {}", join.id),
                StreamCommand::Leave(id) => {
                    format!("Leave {}", id.as_ref().map_or("", PresenceId::as_str))
                }
                StreamCommand::RefusePresence(_, reason) => reason.into_owned(),
                other @ (StreamCommand::Unsubscribe
                | StreamCommand::Update(_)
                | StreamCommand::List(_)
                | StreamCommand::History(_)
                | StreamCommand::Whisper { .. }
                | StreamCommand::Publish { .. }) => {
                    let text = format!("{other:?}");
                    text.split(|it: char| !it.is_alphabetic()).next().unwrap_or_default().into()
                }
            };
            format!("{stream} {command}")
        }
        Action::Refuse { message: ServerMessage::Rejected(reason), .. } => format!("no: {reason}"),
        Action::Answer { message: ConnectionMessage::Error { reason, .. }, .. } => {
            reason.into_owned()
        }
        Action::Follow(Consequence::Transmit(messages)) => messages.join(" "),
        Action::Follow(Consequence::Cork) => "(".into(),
        Action::Follow(Consequence::Uncork) => ")".into(),
        Action::Follow(Consequence::Close(reason)) => format!("closed: {}", reason.as_ref()),
        other @ (Action::Refuse { .. }
        | Action::Answer { .. }
        | Action::Ask { .. }
        | Action::Follow(Consequence::Report(_) | Consequence::Keep)
        | Action::Wait
        | Action::Nothing(_)) => format!("{other:?}"),
    }
}

/// A session that follows a channel.
fn following_channel(reply: Reply) -> Session {
    let mut ann = asking();
    let (ticket, _) = asked(say(&mut ann, channel("i")));
    answer(&mut ann, ticket, Ok(reply));
    ann
}

#[test]
fn the_application_says_what_a_subscription_follows() {
    let mut ann = asking();
    let (ticket, call) = asked(say(&mut ann, channel("i")));
    let Call { session, first, number, identifiers, .. } = &call;
    assert_eq!((*session, *first, *number, &**identifiers), (SID, SID, 1, "{\"user\":1}"));
    let about = About::Command {
        kind: ChannelCommand::Subscribe,
        identifier: "i".into(),
        data: "".into(),
        channel: State::default(),
    };
    assert_eq!(call.about, about);
    assert!(ann.subscriptions().is_empty(), "not yet");
    let done = answer(&mut ann, ticket, Ok(follows(&["a", "b", "a"])));
    assert_eq!(done, ["confirmed", "a Subscribe", "b Subscribe"], "it is confirmed first");
    assert!(!ann.is_asking());
    let (_, call) = asked(say(&mut ann, perform("i", "{}")));
    assert_eq!(call.number, 2);
}

#[test]
fn what_is_refused_or_fails_follows_nothing() {
    let refused = |reply| {
        let mut ann = asking();
        let (ticket, _) = asked(say(&mut ann, channel("i")));
        let done = answer(&mut ann, ticket, reply);
        assert!(ann.subscriptions().is_empty() && !ann.is_asking());
        assert!(ann.take_channels().unwrap().channel("i").is_none());
        done
    };
    let failure = || Reply { status: ReplyStatus::Failure, ..follows(&["a"]) };
    assert_eq!(refused(Ok(failure())), ["confirmed"], "whatever it says");
    let silent = Reply { transmissions: Vec::new(), ..failure() };
    assert_eq!(refused(Ok(silent)), ["no: the application refuses it"]);
    let failed = ["no: the application failed: its log says why"];
    assert_eq!(refused(Ok(Reply::default())), failed);
    for failure in [CallFailure::Unreachable, CallFailure::Late, CallFailure::Broken] {
        assert_eq!(refused(Err(failure)), ["closed: server_error"]);
    }
}

#[test]
fn commands_keep_their_order_and_other_channels_go_on() {
    let mut ann = asking();
    let (first, _) = asked(say(&mut ann, channel("i")));
    assert_eq!(say(&mut ann, perform("i", "1")), [Action::Wait]);
    assert_eq!(say(&mut ann, unsubscribe("i")), [Action::Wait]);
    let (other, _) = asked(say(&mut ann, channel("j")));
    assert_eq!(answer(&mut ann, other, Ok(follows(&["b"]))), ["confirmed", "b Subscribe"]);
    ann.answer(first, Verdict::Called(Ok(Box::new(follows(&["a"])))));
    let (performed, call) = asked(due(&mut ann));
    let About::Command { kind, data, .. } = call.about else { panic!("{:?}", call.about) };
    assert_eq!((kind, &*data), (ChannelCommand::Message, "1"));
    ann.answer(performed, Verdict::Called(Ok(Box::new(success()))));
    let (last, call) = asked(due(&mut ann));
    assert!(
        matches!(call.about, About::Command { kind: ChannelCommand::Unsubscribe, .. }),
        "{:?}",
        call.about
    );
    assert_eq!(answer(&mut ann, last, Ok(success())), [""; 0]);
    assert_eq!(ann.subscriptions().len(), 1, "the other one");
}

#[test]
fn a_repeated_subscribe_is_no_second_one() {
    let mut ann = asking();
    let (ticket, _) = asked(say(&mut ann, channel("i")));
    let again = |number| [Action::Ask { ticket, question: Question::CallAgain(number) }];
    assert_eq!(say(&mut ann, channel("i")), again(2), "should the question have failed");
    assert_eq!(say(&mut ann, unsubscribe("i")), [Action::Wait]);
    assert_eq!(say(&mut ann, channel("i")), [Action::Wait], "it begins anew");
    assert_eq!(say(&mut ann, channel("i")), [Action::Nothing(CommandKind::Subscribe)]);
    answer(&mut ann, ticket, Ok(follows(&["a"])));
    let mut ann = following_channel(follows(&["a"]));
    let [Action::Forward { command: StreamCommand::Subscribe(it), .. }] =
        &say(&mut ann, channel("i"))[..]
    else {
        panic!("its stream knows whether that is confirmed again")
    };
    assert!(it.join.is_none());
    let mut ann = following_channel(follows(&[])).repeating(Repeat::Never);
    assert_eq!(say(&mut ann, channel("i")), [Action::Nothing(CommandKind::Subscribe)]);
}

#[test]
fn its_state_comes_back_and_goes_with_the_channel() {
    let mut ann = following_channel(with_ann());
    let seen = |call: &Call| match &call.about {
        About::Command { channel, .. } => channel.text("k").map(str::to_owned),
        About::Connect | About::Disconnect(_) => None,
    };
    let (ticket, call) = asked(say(&mut ann, perform("i", "1")));
    assert_eq!(seen(&call).as_deref(), Some("v"));
    let changed =
        Reply { channel: state(&[("k", "")]), connection: state(&[("c", "1")]), ..success() };
    answer(&mut ann, ticket, Ok(changed));
    let (ticket, call) = asked(say(&mut ann, unsubscribe("i")));
    assert_eq!((seen(&call), call.connection.text("c")), (None, Some("1")));
    // an answer about a channel that is over keeps nothing of it
    answer(&mut ann, ticket, Ok(Reply { channel: state(&[("k", "late")]), ..success() }));
    let (ticket, call) = asked(say(&mut ann, channel("i")));
    assert_eq!(seen(&call), None);
    answer(&mut ann, ticket, Ok(with_ann()));
    let channels = ann.take_channels().unwrap();
    assert!(channels.is_known());
    let About::Disconnect(over) = channels.disconnect(SID).about else { panic!("no end") };
    let over: Vec<_> = over.iter().map(|(it, state)| (it.as_str(), state.text("k"))).collect();
    assert_eq!(over, [("i", Some("v"))]);
}

#[test]
fn an_action_starts_and_stops_streams() {
    let mut ann = following_channel(follows(&["a", "b"]));
    let mut act = |reply: Reply| {
        let (ticket, _) = asked(say(&mut ann, perform("i", "1")));
        answer(&mut ann, ticket, Ok(reply))
    };
    let done = "Nothing(Perform)";
    let stops = |streams: &[&str]| streams.iter().map(ToString::to_string).collect();
    let some = Reply { stopped_streams: stops(&["a", "x"]), ..follows(&["b", "c"]) };
    assert_eq!(act(some), ["confirmed", "a Unsubscribe", "c Subscribe", done]);
    let all = Reply { stop_streams: true, ..follows(&["c", "d"]) };
    assert_eq!(
        act(all),
        ["confirmed", "b Unsubscribe", "d Subscribe", done],
        "one that goes on has no gap"
    );
    assert_eq!(
        act(Reply { stop_streams: true, ..success() }),
        ["c Unsubscribe", "d Unsubscribe", done]
    );
    let bad = Reply { streams: vec![String::new(), "x".repeat(2000)], ..success() };
    assert_eq!(act(bad).len(), 3);
}

#[test]
fn a_failed_action_is_no_silence() {
    let mut ann = following_channel(follows(&["a"]));
    let mut act = |reply| {
        let (ticket, _) = asked(say(&mut ann, perform("i", "1")));
        answer(&mut ann, ticket, reply)
    };
    let streams = || Reply { status: ReplyStatus::Failure, ..follows(&["b"]) };
    assert_eq!(act(Ok(streams())), ["confirmed"], "its streams are none");
    let silent = Reply { transmissions: Vec::new(), ..streams() };
    assert_eq!(act(Ok(silent)), ["the application refuses it"]);
    assert_eq!(act(Ok(Reply::default())), ["the application failed: its log says why"]);
    assert_eq!(act(Err(CallFailure::Late)), ["the application doesn't answer in time"]);
    let closed = Reply { disconnect: true, ..follows(&[]) };
    assert_eq!(act(Ok(closed)), ["confirmed", "Nothing(Perform)", "closed: application"]);
    for data in [None, Some("5".into()), Some(r#""\ud800""#.into())] {
        let bad = ClientCommand::Perform { identifier: "i".into(), data };
        assert_eq!(short(ask(&mut ann, bad)), "the data to perform is missing or not a string");
    }
    assert_eq!(short(ask(&mut ann, perform("x", "1"))), "there is no such subscription");
    assert!(matches!(subscribe(&mut ann, None), Action::Forward { .. }));
    let mut local = asking();
    subscribe(&mut local, None);
    assert!(short(ask(&mut local, perform("i", "1"))).contains("it is no channel"));
}

#[test]
fn presence_and_whispers_are_about_the_streams_it_names() {
    let mut ann = asking();
    let (ticket, _) = asked(say(&mut ann, channel("i")));
    let two = Reply { channel: state(&[("$p", "p"), ("$w", "w")]), ..with_ann() };
    let two = Reply { streams: vec!["room".into(), "w".into()], ..two };
    let done = answer(&mut ann, ticket, Ok(two));
    let subscribed = ["room Subscribe", "w Subscribe+whisper", "p Subscribe+join"];
    assert_eq!(done, [&["confirmed"], &subscribed[..], &["p Join ann"]].concat());
    assert_eq!(short(join(&mut ann, "bob")), "p Join bob", "the client's own join goes there, too");
    let (ticket, _) = asked(say(&mut ann, perform("i", "1")));
    let moved = Reply { channel: state(&[("$p", "w")]), ..with_ann() };
    let moved = Reply { streams: Vec::new(), ..moved };
    let done = answer(&mut ann, ticket, Ok(moved));
    assert_eq!(
        done,
        ["confirmed", "p Leave ", "w Join ann", "Nothing(Perform)"],
        "and not in both"
    );
    let (ticket, _) = asked(say(&mut ann, perform("i", "1")));
    let left = Reply { presence: Some(PresenceReply::Leave { id: "ann".into() }), ..success() };
    assert_eq!(answer(&mut ann, ticket, Ok(left)), ["w Leave ann", "Nothing(Perform)"]);
}

#[test]
fn presence_without_a_stream_or_a_good_id_is_reported() {
    let reported = |reply| {
        let mut ann = asking();
        let (ticket, _) = asked(say(&mut ann, channel("i")));
        answer(&mut ann, ticket, Ok(reply)).pop().unwrap()
    };
    let nowhere = Reply { channel: Vec::new(), ..with_ann() };
    assert!(reported(nowhere).contains("name it as `$p`"));
    for id in [String::new(), "x".repeat(500)] {
        let presence = PresenceReply::Join { id, info: "1".into(), ttl: 0 };
        assert!(reported(Reply { presence: Some(presence), ..with_ann() }).contains("presence id"));
    }
}

#[test]
fn what_else_a_subscribe_asks_for_follows() {
    let mut ann = asking();
    let mut command = channel("i");
    if let ClientCommand::Subscribe { history, join, .. } = &mut command {
        *history = Some(HistoryRequest::default());
        *join = Some(Ok(as_whom(Some("bob"))));
    }
    let (ticket, _) = asked(say(&mut ann, command));
    let reply = Reply { streams: vec!["room".into(), "b".into()], presence: None, ..with_ann() };
    let done = answer(&mut ann, ticket, Ok(reply));
    let subscribed = ["confirmed", "room Subscribe+join+whisper", "b Subscribe"];
    let rest = ["room History", "b History", "room Join bob"];
    assert_eq!(done, [&subscribed[..], &rest].concat());
}

#[test]
fn only_so_many_subscriptions_are_asked_about() {
    let mut ann = asking();
    let limits = Limits { subscriptions: 2, identifier_size: 4, ..Limits::default() };
    let mut subscribe = |identifier: &str| {
        let action = ann.handle(request(channel(identifier)), &limits, &Streams::default());
        (short(action), ann.take_exceeded())
    };
    let (reason, exceeded) = subscribe("a long one");
    assert!(reason.contains("too long"), "{reason}");
    assert_eq!(exceeded, Some(Limit::IdentifierSize));
    subscribe("a");
    subscribe("b");
    let (reason, exceeded) = subscribe("c");
    assert!(reason.contains("at most 2 subscriptions"), "{reason}");
    assert_eq!(exceeded, Some(Limit::Subscriptions));
}

#[test]
fn a_session_that_is_resumed_keeps_its_channels() {
    let mut ann = following_channel(with_ann()).by_application();
    let (ticket, _) = asked(say(&mut ann, channel("j")));
    answer(&mut ann, ticket, Ok(follows(&["a"])));
    ann.channels_mut().unwrap().disconnect_early(SID);
    assert!(ann.channels_mut().unwrap().is_told());
    let ended = ann.end();
    assert!(!ann.has_channels());
    let next = SessionId::from_bits(8);
    let mut resumed = Session::new(next, &Client::default()).as_bearer();
    let owner = ended.identity();
    assert!(owner.may_be_resumed_by(resumed.identity()));
    resumed.take_over(ended, [true, false]);
    assert_eq!(resumed.identity(), owner);
    assert!(!resumed.channels_mut().unwrap().is_told(), "it goes on");
    let (_, call) = asked(say(&mut resumed, perform("i", "1")));
    assert_eq!((call.session, call.first, call.number), (next, SID, 3));
    let mut channels = resumed.take_channels().unwrap();
    assert!(channels.channel("i").is_some() && channels.channel("j").is_none());
    assert_eq!(channels.number(), 4);
    let foreign = Session::new(SID, &Client::default()).identity();
    assert!(!foreign.may_be_resumed_by(crate::types::Identity::BEARER), "it has nothing to show");
}

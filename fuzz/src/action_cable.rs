//! A client's Action Cable frames, one a line, through the decoder, a session, and back out.
//!
//! Decoded requests equal a second parser's. Identifiers are JSON strings in canonical form. Every answer
//! is one frame of JSON about the same identifier.

use std::sync::Arc;
use std::time::Duration;

use broker::auth::{Client, Keys, Streams};
use broker::protocol::action_cable;
use broker::protocol::websocket::frame_boundary;
use broker::protocol::{decode, encode, encode_connection};
use broker::session::Action;
use broker::types::{
    BadCommand, CachedList, ClientCommand, GroupKey, Identifier, Join, JoinRequest, Limits, Member,
    Publication, ServerMessage, StreamCommand, Target,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::frames;

pub fn run(data: &[u8]) {
    let keys = Keys::new(["s3Krit"]);
    let streams = Streams { turbo: keys.clone(), cable_ready: keys, ..frames::open_streams() };
    frames::run(data, &Client::default(), |frame, session, limits| {
        let request = decode(action_cable::CODEC, frame, None, Duration::default);
        match &request.command {
            Ok(command) => check_command(frame, command),
            Err(bad) => check_bad(frame, bad),
        }
        check_action(session.handle(request, limits, &streams), limits);
    });
}

fn check_command(frame: &str, command: &ClientCommand<'_>) {
    let json: Option<Value> = serde_json::from_str(frame).ok(); // deep nesting is no fault
    if let Some(json) = &json {
        assert_eq!(json["command"], command.kind().as_ref());
    }
    let identifier = match command {
        ClientCommand::Subscribe { identifier, target, join, .. } => {
            check_target(identifier, target);
            if let Some(Ok(join)) = join {
                check_join(join);
            }
            identifier
        }
        ClientCommand::Join { identifier, join } => {
            check_join(join);
            identifier
        }
        ClientCommand::Whisper { identifier, whisper, .. } => {
            assert!(serde_json::from_str::<&RawValue>(whisper.data.as_str()).is_ok());
            identifier
        }
        ClientCommand::Update { .. } | ClientCommand::Publish { .. } => {
            panic!("there is no such frame")
        }
        ClientCommand::Unsubscribe { identifier }
        | ClientCommand::Leave { identifier, .. }
        | ClientCommand::Presence { identifier, .. }
        | ClientCommand::History { identifier, .. }
        | ClientCommand::Perform { identifier, .. } => identifier,
        ClientCommand::Ping | ClientCommand::Pong => return,
    };
    let text = check_token(identifier);
    if let Some(json) = &json {
        assert_eq!(json["identifier"], text);
    }
}

fn check_bad(frame: &str, bad: &BadCommand<'_>) {
    assert!(!bad.reason.is_empty());
    if let Some(identifier) = &bad.identifier {
        let text = check_token(identifier);
        if let Ok(json) = serde_json::from_str::<Value>(frame) {
            assert_eq!(json["identifier"], text);
            assert_eq!(json["command"], bad.kind.as_ref());
        }
    }
}

/// An identifier is a JSON string, spelled as `serde_json` does; the string.
fn check_token(token: &str) -> String {
    let text: String = serde_json::from_str(token).expect("a JSON string");
    assert_eq!(serde_json::to_string(&text).ok().as_deref(), Some(token));
    text
}

fn check_target(identifier: &str, target: &Target) {
    let text: String = serde_json::from_str(identifier).expect("a JSON string");
    let json = serde_json::from_str::<Value>(&text);
    match (target, json) {
        (Target::Public(stream), Ok(json)) => {
            assert!(!stream.as_str().is_empty());
            assert_eq!(json["channel"], "$pubsub");
            assert_eq!(json["stream_name"], stream.as_str());
        }
        (Target::Signed(name), Ok(json)) => {
            assert_eq!(json["channel"], "$pubsub");
            assert_eq!(json["signed_stream_name"], name.as_str());
        }
        (Target::Turbo(name), Ok(json)) => {
            assert_eq!(json["channel"], "Turbo::StreamsChannel");
            assert_eq!(json["signed_stream_name"], name.as_str());
        }
        (Target::CableReady(name), Ok(json)) => {
            assert_eq!(json["channel"], "CableReady::Stream");
            assert_eq!(json["identifier"], name.as_str());
        }
        (Target::Channel(channel), Ok(json)) => assert_eq!(json["channel"], channel.as_str()),
        (Target::Invalid(reason), _) => assert!(!reason.is_empty()),
        (Target::SignedFor { .. }, _) => panic!("an identifier has one name or the other"),
        (_, Err(_)) => {} // it is deeply nested, or has a number that is too large to read
    }
}

/// Everybody gets the info in a list, so everybody must be able to read it.
fn check_join(join: &JoinRequest) {
    assert!(join.id.is_some());
    if let Err(error) = serde_json::from_str::<Value>(join.info.as_str()) {
        assert!(error.to_string().contains("number out of range"), "{error}: {}", join.info);
    }
}

fn check_action(action: Action, limits: &Limits) {
    match action {
        Action::Forward { stream, identifier, command, .. } => {
            assert!(stream.as_str().len() <= limits.stream_name_size);
            assert!(!stream.as_str().is_empty());
            match command {
                StreamCommand::Subscribe(subscribe) => {
                    check_frame(&identifier, &ServerMessage::Confirmed);
                    match subscribe.join {
                        Some(Ok(join)) => check_list(&identifier, join, limits),
                        Some(Err(reason)) => {
                            check_frame(&identifier, &ServerMessage::Refused(reason));
                        }
                        None => {}
                    }
                }
                StreamCommand::Join(join) => check_list(&identifier, join, limits),
                StreamCommand::Whisper { whisper, members_only: false } => {
                    let (data, labels, at) = (whisper.data.clone(), None, 0);
                    let publication =
                        Publication { stream, data: data.clone(), labels, at, position: None };
                    for message in [
                        ServerMessage::Whisper(whisper),
                        ServerMessage::Publication(Arc::new(publication)),
                    ] {
                        let told = check_frame(&identifier, &message);
                        assert_eq!(told.as_deref(), Some(data.as_str()), "as it came");
                    }
                }
                StreamCommand::RefusePresence(_, reason) => {
                    check_frame(&identifier, &ServerMessage::Refused(reason));
                }
                StreamCommand::Update(_)
                | StreamCommand::Whisper { .. }
                | StreamCommand::Publish { .. } => panic!("no frame asks for it"),
                StreamCommand::Unsubscribe
                | StreamCommand::Leave(_)
                | StreamCommand::List(_)
                | StreamCommand::History(_) => {}
            }
        }
        Action::Refuse { identifier, message, .. } => {
            check_frame(&identifier, &message);
        }
        Action::Answer { message, .. } => {
            let mut out = Vec::new();
            encode_connection(action_cable::CODEC, &message, None, &mut out);
            let json: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
            assert!(json["type"].is_string());
        }
        Action::Ask { .. } | Action::Follow(_) | Action::Wait => panic!("nobody is asked"),
        Action::Nothing(_) => {}
    }
}

fn check_list(identifier: &Identifier, join: Join, limits: &Limits) {
    assert!(!join.id.as_str().is_empty());
    assert!(join.id.as_str().chars().count() <= limits.presence_id_length);
    assert!(join.info.as_str().len() <= limits.info_size);
    let list =
        Arc::new(CachedList::new(vec![Member { id: join.id, info: join.info, extra: None }]));
    check_frame(identifier, &ServerMessage::PresenceList(list));
}

/// What a client reads of a message about a subscription.
#[derive(Deserialize)]
struct Told<'a> {
    identifier: String,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// A message is one frame of JSON with the identifier in it; its `message`.
fn check_frame(identifier: &Identifier, message: &ServerMessage) -> Option<String> {
    let mut out = Vec::new();
    let group = GroupKey::new(action_cable::CODEC, identifier.clone());
    encode(&group, message, None, &mut out);
    let told: Told<'_> = serde_json::from_str(payload(&out)).expect("readable JSON");
    assert_eq!(told.identifier, check_token(identifier.as_str()));
    told.message.map(|message| message.get().to_owned())
}

/// The payload of what must be a single frame.
pub(crate) fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame_boundary(frame, 1), frame.len(), "one frame");
    let header = match frame[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    std::str::from_utf8(&frame[header..]).expect("a text frame is UTF-8")
}

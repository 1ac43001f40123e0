//! A client's typed JSON, one frame a line, through the decoder, a session, and back out.
//!
//! Decoded requests equal a second parser's. A member is shown under the name it joined with. Every answer
//! is one frame of JSON about the same room.

use std::sync::Arc;
use std::time::Duration;

use broker::auth::Client;
use broker::protocol::typed;
use broker::protocol::typed::DEFAULT_ROOM;
use broker::protocol::{decode, encode, encode_connection};
use broker::session::Action;
use broker::types::{
    CachedList, ClientCommand, CommandKind, GroupKey, Identifier, Join, JoinRequest, Limits,
    Member, MemberChange, PresenceId, ServerMessage, StreamCommand, Target,
};
use serde_json::{Value, json};

use super::action_cable::payload;
use super::frames;

pub fn run(data: &[u8]) {
    let streams = frames::open_streams();
    frames::run(data, &Client::default(), |frame, session, limits| {
        let request = decode(typed::CODEC, frame, session.presence_id(), Duration::default);
        let head = frames::check_head(typed::CODEC, frame, &request);
        if let Ok(command) = &request.command {
            check_command(frame, command, head.kind);
        }
        check_action(session.handle(request, limits, &streams), limits);
    });
}

fn check_command(frame: &str, command: &ClientCommand<'_>, kind: CommandKind) {
    let Ok(json) = serde_json::from_str::<Value>(frame) else { return }; // deep nesting is no fault
    let (named, signed) = (&json["payload"]["room"], &json["payload"]["signed_stream_name"]);
    let room = named.as_str().unwrap_or(DEFAULT_ROOM);
    let identifier = command.identifier().expect("all are about a room");
    assert_eq!(serde_json::from_str::<String>(identifier).ok().as_deref(), Some(room));
    let user = json["payload"]["user"].as_str();
    match command {
        ClientCommand::Subscribe { target, join, .. } => {
            assert_eq!(*target, target_of(room, signed));
            match join {
                Some(Ok(JoinRequest { id, info })) => {
                    assert_eq!((kind, &json["type"]), (CommandKind::Join, &json!("presence.join")));
                    assert_eq!(id.as_ref().map(PresenceId::as_str), user);
                    let info: Value = serde_json::from_str(info.as_str()).expect("readable JSON");
                    assert_eq!(info, json!({ "name": user }));
                }
                None => assert_eq!(json["type"], "presence.list"),
                Some(Err(reason)) => panic!("{reason}"),
            }
        }
        ClientCommand::Leave { id, .. } => {
            assert_eq!((kind, &json["type"]), (CommandKind::Leave, &json!("presence.leave")));
            assert_eq!(id.as_ref().map(PresenceId::as_str), user);
        }
        ClientCommand::Unsubscribe { .. }
        | ClientCommand::Join { .. }
        | ClientCommand::Update { .. }
        | ClientCommand::Presence { .. }
        | ClientCommand::History { .. }
        | ClientCommand::Whisper { .. }
        | ClientCommand::Publish { .. }
        | ClientCommand::Perform { .. }
        | ClientCommand::Ping
        | ClientCommand::Pong => panic!("no frame asks for it"),
    }
}

/// The stream of a room, by the signed name if there is one.
pub(crate) fn target_of(room: &str, signed: &Value) -> Target {
    match signed.as_str() {
        Some(signed) => Target::SignedFor { name: room.into(), signed: signed.to_owned() },
        None => Target::Public(room.into()),
    }
}

fn check_action(action: Action, limits: &Limits) {
    match action {
        Action::Forward { stream, identifier, command, .. } => {
            assert!(!stream.as_str().is_empty());
            assert!(stream.as_str().len() <= limits.stream_name_size);
            check_frame(&identifier, &ServerMessage::Arrived);
            if let StreamCommand::Subscribe(subscribe) = command {
                match subscribe.join {
                    Some(Ok(join)) => check_member(&identifier, &join),
                    Some(Err(reason)) => check_error(&identifier, &ServerMessage::Refused(reason)),
                    None => {}
                }
            }
        }
        Action::Refuse { identifier, message, .. } => check_error(&identifier, &message),
        Action::Answer { message, .. } => {
            let mut out = Vec::new();
            encode_connection(typed::CODEC, &message, None, &mut out);
            let json: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
            assert_eq!(json["type"], "error");
            assert!(json["payload"]["message"].is_string());
        }
        Action::Ask { .. } | Action::Follow(_) | Action::Wait => panic!("nobody is asked"),
        Action::Nothing(_) => panic!("no frame asks for it"),
    }
}

/// Who joins is shown in every list and every event.
fn check_member(room: &Identifier, join: &Join) {
    let Join { id, info, extra } = join;
    let member = Member { id: id.clone(), info: info.clone(), extra: extra.clone() };
    let members = Arc::new(CachedList::new(vec![member]));
    let list = check_frame(room, &ServerMessage::PresenceList(Arc::clone(&members)));
    assert_eq!(list["payload"]["users"], json!([id.as_str()]));
    for (member, kind) in [
        (MemberChange::Joined { info: info.clone() }, "presence.online"),
        (MemberChange::Left, "presence.offline"),
    ] {
        let user = json!(id.as_str());
        let event = check_frame(room, &frames::change(join, member, None));
        assert_eq!((&event["type"], &event["payload"]["user"]), (&json!(kind), &user));
    }
}

fn check_error(room: &Identifier, message: &ServerMessage) {
    let error = check_frame(room, message);
    assert_eq!(error["type"], "error");
    assert!(error["payload"]["message"].is_string());
}

/// A message is one frame of JSON that names its room, unless it is the default one.
fn check_frame(room: &Identifier, message: &ServerMessage) -> Value {
    let mut out = Vec::new();
    encode(&GroupKey::new(typed::CODEC, room.clone()), message, None, &mut out);
    let json: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
    let name: Value = serde_json::from_str(room.as_str()).expect("a JSON string");
    let named = if name == DEFAULT_ROOM { Value::Null } else { name };
    assert_eq!(json["payload"]["room"], named);
    json
}

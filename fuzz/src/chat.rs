//! A chat client's frames, one a line, through the decoder, a session, and back out; and each line
//! of JSON as a publication and a whisper to a room.
//!
//! Decoded requests equal a second parser's. Every publication is shown as a message, and one that is a
//! message as it is. Every answer is one frame of JSON.

use std::sync::Arc;
use std::time::Duration;

use broker::auth::Client;
use broker::protocol::{chat, decode, encode, encode_connection};
use broker::session::Action;
use broker::types::{
    CachedList, ClientCommand, CommandKind, GroupKey, IdList, Identifier, Join, JoinRequest,
    Limits, Member, MemberChange, PresenceId, Publication, RawJson, ServerMessage, StreamCommand,
    Whisper,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::action_cable::payload;
use super::frames;
use super::typed::target_of;

pub fn run(data: &[u8]) {
    let streams = frames::open_streams();
    frames::run(data, &Client::default(), |frame, session, limits| {
        let presence_id = session.presence_id().cloned();
        let request = decode(chat::CODEC, frame, presence_id.as_ref(), Duration::default);
        let head = frames::check_head(chat::CODEC, frame, &request);
        if let Ok(command) = &request.command {
            check_command(frame, command, presence_id.as_ref(), head.kind);
        }
        check_action(session.handle(request, limits, &streams), limits);
        if serde_json::from_str::<&RawValue>(frame).is_ok() {
            check_data(frame);
        }
    });
}

fn check_command(
    frame: &str,
    command: &ClientCommand<'_>,
    presence_id: Option<&PresenceId>,
    kind: CommandKind,
) {
    let Ok(json) = serde_json::from_str::<Value>(frame) else { return }; // deep nesting is no fault
    let identifier = command.identifier().expect("all are about a room");
    let room = json["room"].as_str().expect("it is named");
    assert_eq!(serde_json::from_str::<String>(identifier).ok().as_deref(), Some(room));
    let unnamed = presence_id.map_or(chat::GUEST, PresenceId::as_str);
    let username = json["username"].as_str().unwrap_or(unnamed);
    match command {
        ClientCommand::Subscribe { target, join: Some(Ok(join)), .. } => {
            assert_eq!((kind, &json["type"]), (CommandKind::Join, &json!("join")));
            assert_eq!(*target, target_of(room, &json["signed_stream_name"]));
            let JoinRequest { id, info } = join;
            assert_eq!(id.as_ref().map(PresenceId::as_str), Some(username));
            let info: Value = serde_json::from_str(info.as_str()).expect("readable JSON");
            assert_eq!(info, json!({ "name": username }));
        }
        ClientCommand::Publish { data, author, .. } => {
            assert_eq!((kind, &json["type"]), (CommandKind::Publish, &json!("message")));
            assert_eq!(author.as_ref().map(PresenceId::as_str), Some(username));
            let data: Value = serde_json::from_str(data.as_str()).expect("readable JSON");
            assert_eq!(data["username"], username);
            assert_eq!(data["content"], json["content"]);
            assert_eq!(data["timestamp"], "1970-01-01T00:00:00.000Z");
        }
        ClientCommand::Whisper { whisper, author, .. } => {
            assert_eq!((kind, &json["type"]), (CommandKind::Whisper, &json!("typing")));
            assert_eq!(author.as_ref().map(PresenceId::as_str), Some(username));
            let data: Value = serde_json::from_str(whisper.data.as_str()).expect("readable JSON");
            assert_eq!(data, json!({ "username": username }));
        }
        ClientCommand::Unsubscribe { .. } => assert_eq!(json["type"], "leave"),
        ClientCommand::Subscribe { .. }
        | ClientCommand::Join { .. }
        | ClientCommand::Update { .. }
        | ClientCommand::Leave { .. }
        | ClientCommand::Presence { .. }
        | ClientCommand::History { .. }
        | ClientCommand::Perform { .. }
        | ClientCommand::Ping
        | ClientCommand::Pong => panic!("no frame asks for it"),
    }
}

fn check_action(action: Action, limits: &Limits) {
    match action {
        Action::Forward { stream, identifier, command, .. } => {
            assert!(!stream.as_str().is_empty());
            assert!(stream.as_str().len() <= limits.stream_name_size);
            match command {
                StreamCommand::Subscribe(subscribe) => match subscribe.join {
                    Some(Ok(join)) => check_member(&identifier, &join),
                    Some(Err(reason)) => {
                        check_error(&identifier, &ServerMessage::Refused(reason));
                    }
                    None => panic!("no frame asks for it"),
                },
                StreamCommand::Whisper { whisper, members_only: true } => {
                    let typing = frame_of(&identifier, &ServerMessage::Whisper(whisper));
                    assert_eq!(typing.expect("a frame")["type"], "typing");
                }
                StreamCommand::Publish { data, members_only: true, .. } => {
                    let frame = published(data.clone());
                    assert!(frame.contains(data.as_str()), "a message passes as it is");
                }
                StreamCommand::Unsubscribe => {}
                StreamCommand::Whisper { .. }
                | StreamCommand::Publish { .. }
                | StreamCommand::Join(_)
                | StreamCommand::Update(_)
                | StreamCommand::Leave(_)
                | StreamCommand::List(_)
                | StreamCommand::History(_)
                | StreamCommand::RefusePresence(..) => panic!("no frame asks for it"),
            }
        }
        Action::Refuse { identifier, message, .. } => check_error(&identifier, &message),
        Action::Answer { message, .. } => {
            let mut out = Vec::new();
            encode_connection(chat::CODEC, &message, None, &mut out);
            let json: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
            assert_eq!(json["type"], "error");
            assert!(json["message"].is_string());
        }
        Action::Ask { .. } | Action::Follow(_) | Action::Wait => panic!("nobody is asked"),
        Action::Nothing(kind) => assert_eq!(kind, CommandKind::Unsubscribe),
    }
}

/// Who joins is shown in every list and every event.
fn check_member(room: &Identifier, join: &Join) {
    let Join { id, info, extra } = join;
    let member = Member { id: id.clone(), info: info.clone(), extra: extra.clone() };
    let members = Arc::new(CachedList::new(vec![member]));
    let ids = IdList::from_iter([id.clone()]);
    let users = json!([id.as_str()]);
    let list = frame_of(room, &ServerMessage::PresenceList(Arc::clone(&members)));
    assert_eq!(list, Some(json!({ "type": "user_list", "users": users })));
    for (member, kind) in [
        (MemberChange::Joined { info: info.clone() }, "user_joined"),
        (MemberChange::Left, "user_left"),
    ] {
        let event = frame_of(room, &frames::change(join, member, Some(&ids)));
        let expected = json!({ "type": kind, "username": id.as_str(), "users": users });
        assert_eq!(event, Some(expected));
    }
}

fn check_error(room: &Identifier, message: &ServerMessage) {
    let error = frame_of(room, message).expect("a frame");
    assert_eq!(error["type"], "error");
    assert!(error["message"].is_string());
}

/// Whatever is published is a message to a chat; whatever is whispered is one who types, or nothing.
fn check_data(data: &str) {
    let frame = published(data.into());
    // what has half a surrogate pair, or nests deeply, not everyone can read
    if let Ok(shown) = serde_json::from_str::<Value>(&frame) {
        let is_text = |key: &str| shown["data"][key].is_string();
        assert!(is_text("username") && is_text("content") && is_text("timestamp"), "{shown}");
    }
    let whisper = Whisper { event: Some("typing".into()), data: data.into() };
    let room = Identifier::from("\"a\"");
    let mut out = Vec::new();
    let group = GroupKey::new(chat::CODEC, room);
    encode(&group, &ServerMessage::Whisper(whisper), None, &mut out);
    if !out.is_empty() {
        let shown = payload(&out);
        assert!(serde_json::from_str::<&RawValue>(shown).is_ok(), "{shown}");
    }
}

/// The frame of a publication; it is JSON in any case.
fn published(data: RawJson) -> String {
    let publication = Publication { stream: "a".into(), data, labels: None, at: 0, position: None };
    let mut out = Vec::new();
    let group = GroupKey::new(chat::CODEC, "\"a\"".into());
    encode(&group, &ServerMessage::Publication(Arc::new(publication)), None, &mut out);
    let frame = payload(&out);
    assert!(serde_json::from_str::<&RawValue>(frame).is_ok(), "{frame}");
    frame.to_owned()
}

fn frame_of(room: &Identifier, message: &ServerMessage) -> Option<Value> {
    let mut out = Vec::new();
    encode(&GroupKey::new(chat::CODEC, room.clone()), message, None, &mut out);
    if out.is_empty() {
        return None;
    }
    Some(serde_json::from_str(payload(&out)).expect("readable JSON"))
}

//! A client's Phoenix frames, one a line, through the decoder, a session, and back out.
//!
//! Decoded requests equal a second parser's. A meta is shown with its time of joining and its references,
//! and nothing else of the broker's. Every answer is one frame of JSON about the same topic, with the
//! references of the request.

use std::sync::Arc;
use std::time::Duration;

use broker::auth::Client;
use broker::protocol::phoenix;
use broker::protocol::{decode, decode_head, encode, encode_connection};
use broker::session::Action;
use broker::types::{
    ClientCommand, CommandKind, GroupKey, Identifier, JoinRequest, MemberChange, MemberRecords,
    PresenceChange, RawJson, Record, RecordChange, Reference, Request, ServerMessage,
    StreamCommand, Subscribe, Target, Watch, Whisper,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::action_cable::payload;
use super::frames;

/// When all frames come.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// The frame of a reply.
const REPLY: &str = "phx_reply";

pub fn run(data: &[u8]) {
    let streams = frames::open_streams();
    let client = Client::default().with_default_presence_id(Some("ann".into()));
    frames::run(data, &client, |frame, session, limits| {
        let request = decode(phoenix::CODEC, frame, session.presence_id(), || NOW);
        check_request(frame, &request);
        let reference = request.reference.clone();
        check_action(session.handle(request, limits, &streams), reference.as_deref());
    });
}

fn check_request(frame: &str, request: &Request<'_>) {
    let head = decode_head(phoenix::CODEC, frame);
    assert_eq!(head.reference, request.reference);
    let (kind, identifier) = match &request.command {
        Ok(command) => (command.kind(), command.identifier()),
        Err(bad) => {
            assert!(!bad.reason.is_empty());
            (bad.kind, bad.identifier.as_deref())
        }
    };
    assert_eq!((head.kind, head.identifier.as_deref()), (kind, identifier));
    let Ok(json) = serde_json::from_str::<Value>(frame) else { return }; // deep nesting is no fault
    let elements = json.as_array().filter(|elements| elements.len() >= 5);
    let Some([join_ref, reference, topic, event, payload, ..]) = elements.map(Vec::as_slice) else {
        assert!(request.command.is_err() && request.reference.is_none());
        return;
    };
    let Reference { subscription, request: asked } = request.reference.as_deref().expect("one");
    for (said, kept) in [(join_ref, subscription), (reference, asked)] {
        match kept {
            Some(kept) => assert_eq!(serde_json::from_str::<Value>(kept).ok().as_ref(), Some(said)),
            None => assert!(said.is_null() || request.command.is_err()),
        }
    }
    if let Some(identifier) = identifier {
        let text: String = serde_json::from_str(identifier).expect("a JSON string");
        assert_eq!(*topic, text);
        assert_eq!(serde_json::to_string(&text).ok().as_deref(), Some(identifier));
    }
    if let Ok(command) = &request.command {
        let event = event.as_str().expect("a text");
        check_command(command, topic.as_str().expect("a text"), event, payload);
    }
}

fn check_command(command: &ClientCommand<'_>, topic: &str, event: &str, payload: &Value) {
    assert!(!topic.is_empty());
    let reserved = ["phx_", "chan_reply_", "presence:", "broker:"];
    match command {
        ClientCommand::Subscribe { target, join, watch, options, .. } => {
            assert_eq!(event, "phx_join");
            let plain = topic.into();
            let expected = match payload["signed_stream_name"].as_str() {
                None => Target::Public(plain),
                Some(signed) => Target::SignedFor { name: plain, signed: signed.to_owned() },
            };
            assert_eq!(*target, expected);
            let counts = payload["presence"] == "occupancy";
            assert_eq!(*watch, if counts { Watch::Occupancy } else { Watch::Members });
            assert_eq!(options.list_before.is_none(), counts);
            let Some(Ok(join)) = join else { panic!("{join:?}") };
            check_info(join, payload);
        }
        ClientCommand::Unsubscribe { .. } => assert_eq!(event, "phx_leave"),
        ClientCommand::Join { join, .. } => {
            assert_eq!(event, "presence:track");
            check_info(join, payload);
        }
        ClientCommand::Update { join, .. } => {
            assert_eq!(event, "presence:update");
            check_info(join, payload);
        }
        ClientCommand::Leave { id, .. } => assert_eq!((event, id), ("presence:untrack", &None)),
        ClientCommand::Whisper { whisper: Whisper { event: kept, data }, author, .. } => {
            assert_eq!((kept.as_deref(), author), (Some(event), &None));
            assert!(!reserved.iter().any(|prefix| event.starts_with(prefix)), "{event}");
            assert_eq!(serde_json::from_str::<Value>(data.as_str()).ok().as_ref(), Some(payload));
        }
        ClientCommand::Ping => assert_eq!((topic, event), ("phoenix", "heartbeat")),
        ClientCommand::Presence { .. }
        | ClientCommand::History { .. }
        | ClientCommand::Publish { .. }
        | ClientCommand::Perform { .. }
        | ClientCommand::Pong => panic!("no frame asks for it"),
    }
}

/// The client's meta over when it came.
fn check_info(JoinRequest { id, info }: &JoinRequest, payload: &Value) {
    assert_eq!(*id, None);
    let mut expected = Map::from_iter([("online_at".to_owned(), json!(NOW.as_secs().to_string()))]);
    expected.extend(payload["meta"].as_object().cloned().unwrap_or_default());
    assert_eq!(object(info), Some(expected), "{info}");
}

/// Everybody gets it in a state, so everybody must be able to read it; a number that is too large to
/// read here is infinite elsewhere.
fn object(info: &RawJson) -> Option<Map<String, Value>> {
    let object = serde_json::from_str(info.as_str());
    if let Err(error) = &object {
        assert!(error.to_string().contains("number out of range"), "{error}: {info}");
    }
    object.ok()
}

fn check_action(action: Action, reference: Option<&Reference>) {
    match action {
        Action::Forward { identifier, watch, command, .. } => {
            let group = GroupKey { codec: phoenix::CODEC, watch, identifier };
            let replies = |message| check_answer(&group, &message, reference);
            match command {
                StreamCommand::Subscribe(subscribe) => {
                    let Subscribe { join, options, .. } = *subscribe;
                    replies(ServerMessage::Confirmed);
                    if let Some(ended) = &options.ends {
                        let was = ended.subscription.as_deref().expect("a name");
                        let frame = frame(&group, &ServerMessage::Ended, Some(ended));
                        let was: Value = serde_json::from_str(was).expect("readable JSON");
                        assert_eq!((&frame[0], &frame[3]), (&was, &json!("phx_close")));
                    }
                    if let (Some(join), Watch::Members) = (join, watch) {
                        let join = join.expect("what may not join is refused as a whole");
                        check_meta(&group, &join.info);
                    }
                }
                StreamCommand::Join(join) | StreamCommand::Update(join) => {
                    replies(ServerMessage::Done);
                    if watch == Watch::Members {
                        check_meta(&group, &join.info);
                    }
                }
                StreamCommand::Whisper { whisper, members_only: false } => {
                    replies(ServerMessage::Done);
                    check_whisper(&group, whisper);
                }
                StreamCommand::RefusePresence(_, reason) => {
                    replies(ServerMessage::Refused(reason));
                }
                StreamCommand::Unsubscribe | StreamCommand::Leave(_) => {
                    replies(ServerMessage::Done);
                }
                StreamCommand::Whisper { .. }
                | StreamCommand::Publish { .. }
                | StreamCommand::List(_)
                | StreamCommand::History(_) => panic!("nobody asks"),
            }
        }
        Action::Refuse { identifier, message, kind } => {
            assert_ne!(kind, CommandKind::Ping);
            let group = GroupKey::new(phoenix::CODEC, identifier);
            check_answer(&group, &message, reference);
        }
        Action::Answer { message, .. } => {
            let mut out = Vec::new();
            encode_connection(phoenix::CODEC, &message, reference, &mut out);
            let frame: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
            assert_eq!((&frame[0], &frame[2]), (&Value::Null, &json!("phoenix")));
            assert_eq!(frame[3], REPLY);
        }
        Action::Ask { .. } | Action::Follow(_) | Action::Wait => panic!("nobody is asked"),
        Action::Nothing(_) => panic!("every request is answered"),
    }
}

/// The one frame of a message.
fn frame(group: &GroupKey, message: &ServerMessage, reference: Option<&Reference>) -> Value {
    let mut out = Vec::new();
    encode(group, message, reference, &mut out);
    let frame: Value = serde_json::from_str(payload(&out)).expect("readable JSON");
    assert_eq!(frame.as_array().map(Vec::len), Some(5));
    assert_eq!(
        frame[2],
        serde_json::from_str::<Value>(group.identifier.as_str()).expect("a token")
    );
    frame
}

/// An answer has the references of its request; none is sent where nobody waits for one.
fn check_answer(group: &GroupKey, message: &ServerMessage, reference: Option<&Reference>) {
    let asked = reference.and_then(|reference| reference.request.as_deref());
    if asked.is_none() && *message == ServerMessage::Done {
        return;
    }
    let told = frame(group, message, reference);
    let asked = asked.map_or(Value::Null, |it| serde_json::from_str(it).expect("readable JSON"));
    assert_eq!(told[1], asked);
    let is_ok = matches!(message, ServerMessage::Confirmed | ServerMessage::Done);
    if told[3] == REPLY {
        assert_eq!(told[4]["status"], if is_ok { "ok" } else { "error" });
    } else {
        assert_eq!((&told[3], is_ok), (&json!("broker:error"), false));
    }
    let reason = if told[3] == REPLY { &told[4]["response"]["reason"] } else { &told[4]["reason"] };
    assert_eq!(reason.is_string(), !is_ok);
}

/// A record is shown as its info with a reference, in a state and in a diff.
fn check_meta(group: &GroupKey, info: &RawJson) {
    let Some(mut expected) = object(info) else { return };
    expected.remove("phx_ref_prev");
    expected.insert("phx_ref".to_owned(), json!("1f"));
    let record = Record { reference: 0x1f, info: info.clone() };
    let member = MemberRecords { id: "a\"".into(), records: vec![record], extra: None };
    let state = ServerMessage::PresenceRecords(Arc::new(vec![member]));
    let state = &frame(group, &state, None)[4];
    let member = MemberChange::Unchanged;
    let record = RecordChange::Added { info: info.clone() };
    let (id, reference, members) = ("a\"".into(), 0x1f, None);
    let change = PresenceChange { id, reference, record, member, extra: None, members };
    let diff = &frame(group, &ServerMessage::Presence(Arc::new(change)), None)[4];
    for members in [state, &diff["joins"]] {
        assert_eq!(*members, json!({ "a\"": { "metas": [expected] } }));
    }
    assert_eq!(diff["leaves"], json!({}));
}

/// A whisper passes as it came, in every group.
fn check_whisper(group: &GroupKey, whisper: Whisper) {
    let Whisper { event, data } = whisper.clone();
    let mut out = Vec::new();
    encode(group, &ServerMessage::Whisper(whisper), None, &mut out);
    let (_, _, topic, name, payload): (Value, Value, String, String, &RawValue) =
        serde_json::from_str(payload(&out)).expect("readable JSON");
    let identifier = Identifier::from(serde_json::to_string(&topic).expect("a string"));
    assert_eq!((&identifier, Some(&*name)), (&group.identifier, event.as_deref()));
    let data = if data.as_str() == "null" { "{}" } else { data.as_str() };
    assert_eq!(payload.get(), data, "as it came");
}

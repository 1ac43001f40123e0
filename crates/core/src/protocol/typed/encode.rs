//! Messages → frames for the client.

use super::names::{CURRENT, DEFAULT_IDENTIFIER, ERROR, MESSAGE, OFFLINE, ONLINE, SYSTEM, WHISPER};
use crate::protocol::room;
use crate::protocol::write::{string, strings, texts};
use crate::types::{
    ConnectionMessage, Identifier, MemberChange, PresenceId, RawJson, ServerMessage,
};

/// Appends a message about a room; nothing if the protocol has no frame for it.
pub(super) fn encode(room: &Identifier, message: &ServerMessage, out: &mut Vec<u8>) {
    match message {
        ServerMessage::Publication(publication) => said(out, MESSAGE, room, &publication.data),
        ServerMessage::Whisper(whisper) => said(out, WHISPER, room, &whisper.data),
        ServerMessage::Arrived => {
            payload(out, SYSTEM, Some(room), |out| {
                out.extend_from_slice(b"\"message\":\"A new connection opened\"");
            });
        }
        ServerMessage::Presence(change) => event(out, room, &change.id, &change.member),
        ServerMessage::Missed { id, change, .. } => event(out, room, id, change),
        ServerMessage::PresenceList(members) => payload(out, CURRENT, Some(room), |out| {
            out.extend_from_slice(b"\"users\":");
            strings(out, members.iter().map(|member| member.id.as_str()));
        }),
        ServerMessage::Rejected(reason) | ServerMessage::Refused(reason) => {
            error(out, Some(room), reason);
        }
        ServerMessage::NotSubscribed => {
            error(out, Some(room), "this connection has not joined the room: join it first");
        }
        ServerMessage::Confirmed
        | ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::PresenceCount(_)
        | ServerMessage::PresenceRecords(_)
        | ServerMessage::Occupancy(_)
        | ServerMessage::HistoryConfirmed
        | ServerMessage::HistoryRejected => {}
    }
}

/// Appends a message about the connection.
pub(super) fn encode_connection(message: &ConnectionMessage, out: &mut Vec<u8>) {
    if let Some(reason) = room::error(message) {
        error(out, None, reason);
    }
}

/// Appends a publication or whisper: the payload is the sender's, so the room is beside it.
fn said(out: &mut Vec<u8>, kind: &str, room: &Identifier, data: &RawJson) {
    texts(out, ["{\"type\":\"", kind, "\",\"payload\":", data.as_str()]);
    name_room(out, room);
    out.push(b'}');
}

fn event(out: &mut Vec<u8>, room: &Identifier, id: &PresenceId, change: &MemberChange) {
    let kind = match change {
        MemberChange::Joined { .. } => ONLINE,
        MemberChange::Left => OFFLINE,
        MemberChange::Updated { .. } | MemberChange::Unchanged => return,
    };
    payload(out, kind, Some(room), |out| {
        out.extend_from_slice(b"\"user\":");
        string(out, id.as_str());
    });
}

fn error(out: &mut Vec<u8>, room: Option<&Identifier>, reason: &str) {
    payload(out, ERROR, room, |out| {
        out.extend_from_slice(b"\"message\":");
        string(out, reason);
    });
}

/// Appends a frame whose payload is the fields that `fields` appends, then the room.
fn payload(
    out: &mut Vec<u8>,
    kind: &str,
    room: Option<&Identifier>,
    fields: impl FnOnce(&mut Vec<u8>),
) {
    texts(out, ["{\"type\":\"", kind, "\",\"payload\":{"]);
    fields(out);
    if let Some(room) = room {
        name_room(out, room);
    }
    out.extend_from_slice(b"}}");
}

/// Appends the room, unless it is the default.
fn name_room(out: &mut Vec<u8>, room: &Identifier) {
    if room.as_str() != DEFAULT_IDENTIFIER {
        texts(out, [",\"room\":", room.as_str()]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{
        CachedList, CloseReason, CommandKind, Label, Member, PresenceChange, Publication,
        RecordChange, SessionId, Whisper,
    };

    fn frame(room: &str, message: &ServerMessage) -> String {
        let mut out = Vec::new();
        encode(&Identifier::from(room), message, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn change(member: MemberChange) -> ServerMessage {
        let change = PresenceChange {
            id: "Al\"ice".into(),
            reference: 1,
            record: RecordChange::Added { info: "null".into() },
            member,
            extra: None,
            members: None,
        };
        ServerMessage::Presence(Arc::new(change))
    }

    #[test]
    fn frames_about_a_room() {
        let info = || r#"{"name":"Al\"ice"}"#.into();
        let publication = Publication {
            stream: "x".into(),
            data: r#"{ "n":9007199254740993 }"#.into(),
            labels: Label::new(Some("e".into()), Some("t".into())),
            at: 0,
            position: None,
        };
        let member = |id: &str| Member { id: id.into(), info: "5".into(), extra: None };
        for (message, expected) in [
            (
                ServerMessage::Arrived,
                r#"{"type":"presence.system","payload":{"message":"A new connection opened"ROOM}}"#,
            ),
            (
                change(MemberChange::Joined { info: info() }),
                r#"{"type":"presence.online","payload":{"user":"Al\"ice"ROOM}}"#,
            ),
            (
                change(MemberChange::Left),
                r#"{"type":"presence.offline","payload":{"user":"Al\"ice"ROOM}}"#,
            ),
            (change(MemberChange::Updated { info: info() }), ""),
            (change(MemberChange::Unchanged), ""),
            (
                ServerMessage::PresenceList(Arc::new(CachedList::new(vec![
                    member("b"),
                    member("a"),
                ]))),
                r#"{"type":"presence.current","payload":{"users":["b","a"]ROOM}}"#,
            ),
            (
                ServerMessage::PresenceList(Arc::default()),
                r#"{"type":"presence.current","payload":{"users":[]ROOM}}"#,
            ),
            (
                ServerMessage::Publication(Arc::new(publication)),
                r#"{"type":"message","payload":{ "n":9007199254740993 }ROOM}"#,
            ),
            (
                ServerMessage::Whisper(Whisper { event: Some("typing".into()), data: "5".into() }),
                r#"{"type":"whisper","payload":5ROOM}"#,
            ),
            (
                ServerMessage::Refused("no".into()),
                r#"{"type":"error","payload":{"message":"no"ROOM}}"#,
            ),
            (
                ServerMessage::Rejected("no".into()),
                r#"{"type":"error","payload":{"message":"no"ROOM}}"#,
            ),
            (ServerMessage::Confirmed, ""),
        ] {
            assert_eq!(frame("\"lobby\"", &message), expected.replace("ROOM", ""));
            let other = expected.replace("ROOM", r#","room":"a\"b""#);
            assert_eq!(frame(r#""a\"b""#, &message), other);
        }
        let unknown = frame("\"x\"", &ServerMessage::NotSubscribed);
        assert!(unknown.starts_with(r#"{"type":"error""#), "{unknown}");
    }

    #[test]
    fn frames_about_the_connection() {
        let frame = |message: &ConnectionMessage| {
            let mut out = Vec::new();
            encode_connection(message, &mut out);
            String::from_utf8(out).unwrap()
        };
        let error = ConnectionMessage::Error { command: CommandKind::Unknown, reason: "no".into() };
        assert_eq!(frame(&error), r#"{"type":"error","payload":{"message":"no"}}"#);
        let disconnect = |reason| ConnectionMessage::Disconnect { reason, reconnect: false };
        assert!(frame(&disconnect(CloseReason::Unauthorized)).contains("token"));
        let sid = SessionId::from_bits(1);
        for silent in [
            disconnect(CloseReason::ServerRestart { elsewhere: false }),
            ConnectionMessage::Welcome { sid, restored: vec![] },
            ConnectionMessage::Ping { timestamp: 1 },
            ConnectionMessage::Pong,
        ] {
            assert_eq!(frame(&silent), "", "{silent:?}");
        }
    }
}

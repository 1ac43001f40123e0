//! Messages → frames for the client.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::encode_message;
use super::names::TYPING;
use crate::protocol::room;
use crate::protocol::write::{append, string, strings};
use crate::types::{
    ConnectionMessage, Identifier, MemberChange, PresenceChange, PresenceId, ServerMessage, Whisper,
};

/// Appends a message about a room; nothing if the protocol has no frame for it.
pub(super) fn encode(room: &Identifier, message: &ServerMessage, out: &mut Vec<u8>) {
    match message {
        ServerMessage::Publication(publication) => {
            append(out, format_args!("{{\"type\":\"message\",\"room\":{room},\"data\":"));
            encode_message(publication, out);
            out.push(b'}');
        }
        ServerMessage::Whisper(whisper) => typing(out, whisper),
        ServerMessage::Presence(change) => event(out, change),
        ServerMessage::PresenceList(members) => {
            out.extend_from_slice(b"{\"type\":\"user_list\",\"users\":");
            strings(out, members.iter().map(|member| member.id.as_str()));
            out.push(b'}');
        }
        ServerMessage::Rejected(reason) | ServerMessage::Refused(reason) => error(out, reason),
        ServerMessage::NotSubscribed => error(out, "this connection has not joined the room"),
        ServerMessage::Confirmed
        | ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::Arrived
        | ServerMessage::Missed { .. } // a session that is resumed has another protocol
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
        error(out, reason);
    }
}

/// Appends a join or leave, with the list of members if the change has one.
fn event(out: &mut Vec<u8>, change: &PresenceChange) {
    let kind = match change.member {
        MemberChange::Joined { .. } => "user_joined",
        MemberChange::Left => "user_left",
        MemberChange::Updated { .. } | MemberChange::Unchanged => return,
    };
    append(out, format_args!("{{\"type\":\"{kind}\",\"username\":"));
    string(out, change.id.as_str());
    if let Some(members) = &change.members {
        out.extend_from_slice(b",\"users\":");
        members.encode_into(out, |members, out| {
            strings(out, members.ids.iter().map(PresenceId::as_str));
        });
    }
    out.push(b'}');
}

/// Appends a typing notice; nothing for other whispers.
fn typing(out: &mut Vec<u8>, whisper: &Whisper) {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        username: Option<&'a RawValue>,
    }
    if whisper.event.as_deref() != Some(TYPING) || !whisper.data.as_str().starts_with('{') {
        return;
    }
    let data: Option<Data<'_>> = serde_json::from_str(whisper.data.as_str()).ok();
    let username = data.and_then(|data| data.username).map(RawValue::get);
    if let Some(username) = username.filter(|username| username.starts_with('"')) {
        append(out, format_args!("{{\"type\":\"typing\",\"username\":{username}}}"));
    }
}

fn error(out: &mut Vec<u8>, reason: &str) {
    out.extend_from_slice(b"{\"type\":\"error\",\"message\":");
    string(out, reason);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{
        CachedList, CloseReason, CommandKind, IdList, Member, MemberList, PresenceId, Publication,
        RecordChange, SessionId,
    };

    fn frame(message: &ServerMessage) -> String {
        let mut out = Vec::new();
        encode(&Identifier::from(r#""gen\"eral""#), message, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn members() -> Arc<CachedList<MemberList>> {
        let member = |id: &str| Member { id: id.into(), info: "5".into(), extra: None };
        Arc::new(CachedList::new(vec![member("b\""), member("a")]))
    }

    fn ids() -> Arc<CachedList<IdList>> {
        Arc::new(CachedList::new(["b\"", "a"].map(PresenceId::from).into_iter().collect()))
    }

    fn change(member: MemberChange, members: Option<Arc<CachedList<IdList>>>) -> ServerMessage {
        let change = PresenceChange {
            id: "ann".into(),
            reference: 1,
            record: RecordChange::Added { info: "null".into() },
            member,
            extra: None,
            members,
        };
        ServerMessage::Presence(Arc::new(change))
    }

    fn whisper(event: Option<&str>, data: &str) -> ServerMessage {
        ServerMessage::Whisper(Whisper { event: event.map(Arc::from), data: data.into() })
    }

    #[test]
    fn frames_about_a_room() {
        let info = || "{}".into();
        let publication = Publication {
            stream: "x".into(),
            data: "5".into(),
            labels: None,
            at: 0,
            position: None,
        };
        for (message, expected) in [
            (ServerMessage::PresenceList(members()), r#"{"type":"user_list","users":["b\"","a"]}"#),
            (
                change(MemberChange::Joined { info: info() }, Some(ids())),
                r#"{"type":"user_joined","username":"ann","users":["b\"","a"]}"#,
            ),
            (
                change(MemberChange::Left, Some(ids())),
                r#"{"type":"user_left","username":"ann","users":["b\"","a"]}"#,
            ),
            (change(MemberChange::Left, None), r#"{"type":"user_left","username":"ann"}"#),
            (change(MemberChange::Updated { info: info() }, None), ""),
            (change(MemberChange::Unchanged, None), ""),
            (
                ServerMessage::Publication(Arc::new(publication)),
                r#"{"type":"message","room":"gen\"eral","data":{"username":"system","content":"5","timestamp":"1970-01-01T00:00:00.000Z"}}"#,
            ),
            (ServerMessage::Refused("no".into()), r#"{"type":"error","message":"no"}"#),
            (ServerMessage::Rejected("no".into()), r#"{"type":"error","message":"no"}"#),
            (ServerMessage::Confirmed, ""),
            (ServerMessage::Arrived, ""),
        ] {
            assert_eq!(frame(&message), expected);
        }
        assert!(frame(&ServerMessage::NotSubscribed).starts_with(r#"{"type":"error""#));
    }

    #[test]
    fn of_whispers_only_typing_is_shown() {
        let typing = |data: &str| frame(&whisper(Some("typing"), data));
        let shown = r#"{"type":"typing","username":"a\u0062"}"#;
        assert_eq!(typing(r#"{"more":1,"username":"a\u0062"}"#), shown);
        for data in ["5", "[\"a\"]", "{}", r#"{"username":5}"#, r#"{"username":null}"#] {
            assert_eq!(typing(data), "", "{data}");
        }
        for event in [None, Some("cursor")] {
            assert_eq!(frame(&whisper(event, r#"{"username":"a"}"#)), "");
        }
    }

    #[test]
    fn frames_about_the_connection() {
        let frame = |message: &ConnectionMessage| {
            let mut out = Vec::new();
            encode_connection(message, &mut out);
            String::from_utf8(out).unwrap()
        };
        let error = ConnectionMessage::Error { command: CommandKind::Unknown, reason: "no".into() };
        assert_eq!(frame(&error), r#"{"type":"error","message":"no"}"#);
        let disconnect = |reason| ConnectionMessage::Disconnect { reason, reconnect: false };
        assert!(frame(&disconnect(CloseReason::TokenExpired)).contains("token"));
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

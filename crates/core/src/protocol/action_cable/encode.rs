//! Messages → frames for the client.

use crate::protocol::write::{append, data, number, string, texts};
use crate::types::{
    CachedList, ConnectionMessage, Extra, Identifier, MemberChange, MemberList, PresenceId,
    RawJson, ServerMessage, StreamPosition,
};

/// Appends a message about a subscription; nothing if the protocol has no frame for it.
pub(in crate::protocol) fn encode(
    identifier: &Identifier,
    message: &ServerMessage,
    out: &mut Vec<u8>,
) {
    match message {
        ServerMessage::Confirmed => about(out, "confirm_subscription", identifier),
        ServerMessage::Rejected(_) => about(out, "reject_subscription", identifier),
        ServerMessage::HistoryConfirmed => about(out, "confirm_history", identifier),
        ServerMessage::HistoryRejected => about(out, "reject_history", identifier),
        ServerMessage::Publication(publication) => {
            let label = publication.labels.as_deref();
            let frame_type = label.and_then(|label| label.frame_type.as_deref());
            open_message(out, frame_type, identifier, &publication.data);
            if let Some(StreamPosition { epoch, offset }) = &publication.position {
                out.extend_from_slice(b",\"stream_id\":");
                string(out, publication.stream.as_str());
                texts(out, [",\"epoch\":\"", epoch.as_str(), "\",\"offset\":"]);
                number(out, offset.0);
            }
            out.push(b'}');
        }
        ServerMessage::Whisper(whisper) => {
            open_message(out, None, identifier, &whisper.data);
            out.push(b'}');
        }
        ServerMessage::Presence(_)
        | ServerMessage::Missed { .. }
        | ServerMessage::PresenceList(_)
        | ServerMessage::PresenceCount(_)
        | ServerMessage::Occupancy(_)
        | ServerMessage::Refused(_)
        | ServerMessage::NotSubscribed => {
            let start = out.len();
            open_presence(out, identifier);
            let opened = out.len();
            encode_presence(message, out);
            if out.len() == opened {
                out.truncate(start);
            } else {
                out.push(b'}');
            }
        }
        ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::Arrived
        | ServerMessage::PresenceRecords(_) => {}
    }
}

/// Appends the content of a presence frame; nothing for other messages, or for a change that others don't
/// see.
pub(in crate::protocol) fn encode_presence(message: &ServerMessage, out: &mut Vec<u8>) {
    match message {
        ServerMessage::Presence(change) => event(out, &change.id, &change.member, &change.extra),
        ServerMessage::Missed { id, change, extra } => event(out, id, change, extra),
        ServerMessage::PresenceList(members) => {
            encode_presence_info(members.len(), Some(members), out);
        }
        ServerMessage::PresenceCount(total) => encode_presence_info(*total, None, out),
        ServerMessage::Occupancy(total) => {
            append(out, format_args!("{{\"type\":\"occupancy\",\"total\":{total}}}"));
        }
        ServerMessage::Refused(reason) => refused(out, reason),
        ServerMessage::NotSubscribed => refused(out, "there is no such subscription"),
        ServerMessage::Confirmed
        | ServerMessage::Rejected(_)
        | ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::Publication(_)
        | ServerMessage::Whisper(_)
        | ServerMessage::Arrived
        | ServerMessage::PresenceRecords(_)
        | ServerMessage::HistoryConfirmed
        | ServerMessage::HistoryRejected => {}
    }
}

fn refused(out: &mut Vec<u8>, reason: &str) {
    out.extend_from_slice(b"{\"type\":\"error\",\"reason\":");
    string(out, reason);
    out.push(b'}');
}

/// Appends the number of members, and the list if it is given.
pub fn encode_presence_info(
    total: usize,
    members: Option<&CachedList<MemberList>>,
    out: &mut Vec<u8>,
) {
    append(out, format_args!("{{\"type\":\"info\",\"total\":{total}"));
    if let Some(members) = members {
        out.extend_from_slice(b",\"records\":");
        members.encode_into(out, write_members);
    }
    out.push(b'}');
}

fn write_members(members: &MemberList, out: &mut Vec<u8>) {
    out.push(b'[');
    for (number, member) in members.iter().enumerate() {
        out.extend_from_slice(if number == 0 { b"{\"id\":" } else { b",{\"id\":" });
        string(out, member.id.as_str());
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(member.info.as_str().as_bytes());
        data(out, &member.extra);
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends a message about the connection.
pub(in crate::protocol) fn encode_connection(message: &ConnectionMessage, out: &mut Vec<u8>) {
    match message {
        ConnectionMessage::Welcome { sid, restored } => {
            append(out, format_args!("{{\"type\":\"welcome\",\"sid\":\"{sid}\""));
            if !restored.is_empty() {
                out.extend_from_slice(b",\"restored\":true,\"restored_ids\":[");
                for (number, identifier) in restored.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(identifier.as_str().as_bytes());
                }
                out.push(b']');
            }
            out.push(b'}');
        }
        ConnectionMessage::Ping { timestamp } => {
            append(out, format_args!("{{\"type\":\"ping\",\"message\":{timestamp}}}"));
        }
        ConnectionMessage::Pong => out.extend_from_slice(b"{\"type\":\"pong\"}"),
        // Stock clients take a frame of a type they don't know for data. Without a `message`,
        // @anycable/core drops it; @rails/actioncable hands it to the subscriptions of the
        // identifier, fails if there is none, and nobody's identifier is the empty string.
        ConnectionMessage::Error { command, reason } => {
            out.extend_from_slice(b"{\"type\":\"error\",\"identifier\":\"\",\"command\":\"");
            out.extend_from_slice(command.as_ref().as_bytes());
            out.extend_from_slice(b"\",\"reason\":");
            string(out, reason);
            out.push(b'}');
        }
        ConnectionMessage::Disconnect { reason, reconnect } => {
            let reason = reason.as_ref();
            append(
                out,
                format_args!(
                    "{{\"type\":\"disconnect\",\"reason\":\"{reason}\",\"reconnect\":{reconnect}}}"
                ),
            );
        }
    }
}

fn open(out: &mut Vec<u8>, identifier: &Identifier) {
    out.extend_from_slice(b"{\"identifier\":");
    out.extend_from_slice(identifier.as_str().as_bytes());
}

/// Begins the frame of a publication or whisper, with a type if the application gave one.
fn open_message(
    out: &mut Vec<u8>,
    frame_type: Option<&str>,
    identifier: &Identifier,
    data: &RawJson,
) {
    open(out, identifier);
    if let Some(frame_type) = frame_type {
        out.extend_from_slice(b",\"type\":");
        string(out, frame_type);
    }
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(data.as_str().as_bytes());
}

fn about(out: &mut Vec<u8>, kind: &str, identifier: &Identifier) {
    open(out, identifier);
    append(out, format_args!(",\"type\":\"{kind}\"}}"));
}

fn open_presence(out: &mut Vec<u8>, identifier: &Identifier) {
    out.extend_from_slice(b"{\"type\":\"presence\",\"identifier\":");
    out.extend_from_slice(identifier.as_str().as_bytes());
    out.extend_from_slice(b",\"message\":");
}

/// Appends a presence event; nothing for a change that others don't see.
fn event(out: &mut Vec<u8>, id: &PresenceId, change: &MemberChange, extra: &Extra) {
    let kind = match change {
        MemberChange::Joined { .. } => "join",
        MemberChange::Updated { .. } => "update",
        MemberChange::Left => "leave",
        MemberChange::Unchanged => return,
    };
    texts(out, ["{\"type\":\"", kind, "\",\"id\":"]);
    string(out, id.as_str());
    if let Some(info) = change.info() {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info.as_str().as_bytes());
        data(out, extra);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{
        CloseReason, CommandKind, Label, LeaveCause, Member, Offset, PresenceChange, Publication,
        RecordChange, SessionId, Whisper,
    };

    fn frame(message: &ServerMessage) -> String {
        let mut out = Vec::new();
        encode(&Identifier::from(r#""{\"a\":1}""#), message, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn change(member: MemberChange) -> ServerMessage {
        let record = RecordChange::Removed { info: "null".into(), cause: LeaveCause::Left };
        let id = "u\"1".into();
        let members = None;
        let change = PresenceChange { id, reference: 1, record, member, extra: None, members };
        ServerMessage::Presence(Arc::new(change))
    }

    #[test]
    fn frames_about_a_subscription() {
        let position = StreamPosition { epoch: "6obh".into(), offset: Offset(1) };
        let publication = Publication {
            stream: "room/1".into(),
            data: r#"{ "n":9007199254740993 }"#.into(),
            labels: None,
            at: 0,
            position: Some(position),
        };
        let labels = Label::new(Some("e".into()), Some("a \"b\"".into()));
        let labelled =
            Publication { labels, position: None, data: "5".into(), ..publication.clone() };
        let members = vec![
            Member { id: "a".into(), info: "{}".into(), extra: None },
            Member { id: "b".into(), info: "null".into(), extra: None },
        ];
        let cases = [
            (
                ServerMessage::Confirmed,
                r#"{"identifier":"{\"a\":1}","type":"confirm_subscription"}"#,
            ),
            (
                ServerMessage::Publication(Arc::new(publication)),
                r#"{"identifier":"{\"a\":1}","message":{ "n":9007199254740993 },"stream_id":"room/1","epoch":"6obh","offset":1}"#,
            ),
            (
                ServerMessage::Publication(Arc::new(labelled)),
                r#"{"identifier":"{\"a\":1}","type":"a \"b\"","message":5}"#,
            ),
            (
                ServerMessage::Whisper(Whisper { event: None, data: "5".into() }),
                r#"{"identifier":"{\"a\":1}","message":5}"#,
            ),
            (
                change(MemberChange::Joined { info: "{}".into() }),
                r#"{"type":"presence","identifier":"{\"a\":1}","message":{"type":"join","id":"u\"1","info":{}}}"#,
            ),
            (
                change(MemberChange::Left),
                r#"{"type":"presence","identifier":"{\"a\":1}","message":{"type":"leave","id":"u\"1"}}"#,
            ),
            (change(MemberChange::Unchanged), ""),
            (
                ServerMessage::PresenceList(Arc::new(CachedList::new(members))),
                r#"{"type":"presence","identifier":"{\"a\":1}","message":{"type":"info","total":2,"records":[{"id":"a","info":{}},{"id":"b","info":null}]}}"#,
            ),
            (
                ServerMessage::PresenceCount(3),
                r#"{"type":"presence","identifier":"{\"a\":1}","message":{"type":"info","total":3}}"#,
            ),
            (
                ServerMessage::Refused("no".into()),
                r#"{"type":"presence","identifier":"{\"a\":1}","message":{"type":"error","reason":"no"}}"#,
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(frame(&message), expected);
        }
    }

    #[test]
    fn frames_about_the_connection() {
        let sid = SessionId::from_bits(1);
        let cases = [
            (
                ConnectionMessage::Welcome { sid, restored: vec![] },
                r#"{"type":"welcome","sid":"00000000000000000000000000000001"}"#,
            ),
            (ConnectionMessage::Ping { timestamp: 5 }, r#"{"type":"ping","message":5}"#),
            (
                ConnectionMessage::Error { command: CommandKind::Perform, reason: "no".into() },
                r#"{"type":"error","identifier":"","command":"message","reason":"no"}"#,
            ),
            (
                ConnectionMessage::Disconnect {
                    reason: CloseReason::ServerRestart { elsewhere: false },
                    reconnect: true,
                },
                r#"{"type":"disconnect","reason":"server_restart","reconnect":true}"#,
            ),
        ];
        for (message, expected) in cases {
            let mut out = Vec::new();
            encode_connection(&message, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

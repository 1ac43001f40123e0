//! Messages → events.

use std::borrow::Cow;

use super::{event, position};
use crate::protocol::action_cable;
use crate::types::{ConnectionMessage, Identifier, RawJson, ServerMessage};

/// Reconnect delay for a client that shouldn't come back, in milliseconds: the longest that all clients
/// accept. The protocol can't forbid a reconnect.
const NEVER: &[u8] = b"31536000000";

/// A comment line, which clients ignore.
const COMMENT: &[u8] = b":\n";

/// Appends a message about a subscription; nothing if the protocol has no event for it. A raw stream has
/// publications and whispers only.
pub(super) fn encode(
    identifier: &Identifier,
    message: &ServerMessage,
    raw: bool,
    out: &mut Vec<u8>,
) {
    let kind = match message {
        ServerMessage::Publication(publication) => {
            payload(out, &publication.data);
            if let Some(at) = &publication.position {
                out.extend_from_slice(b"id: ");
                position::write(out, at, &publication.stream);
                out.push(b'\n');
            }
            return;
        }
        ServerMessage::Whisper(whisper) => {
            return payload(out, &whisper.data);
        }
        ServerMessage::Confirmed => "confirm_subscription",
        ServerMessage::Rejected(_) => "reject_subscription",
        ServerMessage::HistoryConfirmed => "confirm_history",
        ServerMessage::HistoryRejected => "reject_history",
        ServerMessage::Presence(_)
        | ServerMessage::Missed { .. }
        | ServerMessage::PresenceList(_)
        | ServerMessage::PresenceCount(_)
        | ServerMessage::Occupancy(_)
        | ServerMessage::Refused(_)
        | ServerMessage::NotSubscribed => "presence",
        ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::Arrived
        | ServerMessage::PresenceRecords(_) => return,
    };
    if raw {
        return;
    }
    event::field(out, "event", kind.as_bytes());
    event::data(out, |out| {
        if kind == "presence" {
            action_cable::encode_presence(message, out);
        } else {
            action_cable::encode(identifier, message, out);
        }
    });
}

/// Appends a message about the connection.
pub(super) fn encode_connection(message: &ConnectionMessage, raw: bool, out: &mut Vec<u8>) {
    let kind = match message {
        ConnectionMessage::Ping { .. } if raw => return out.extend_from_slice(COMMENT),
        ConnectionMessage::Welcome { .. } => "welcome",
        ConnectionMessage::Ping { .. } => "ping",
        ConnectionMessage::Disconnect { .. } => "disconnect",
        // the client has said nothing, and an event of the name `error` would be taken for another
        ConnectionMessage::Error { .. } | ConnectionMessage::Pong => return,
    };
    if !raw {
        event::field(out, "event", kind.as_bytes());
        event::data(out, |out| action_cable::encode_connection(message, out));
    }
    if matches!(message, ConnectionMessage::Disconnect { reconnect: false, .. }) {
        event::field(out, "retry", NEVER);
    }
}

/// Appends a publication: a string as its text, anything else as JSON.
fn payload(out: &mut Vec<u8>, data: &RawJson) {
    let json = data.as_str();
    let text: Option<Cow<'_, str>> = match json.trim_ascii_start().as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok().map(Cow::Owned),
        _ => None,
    };
    let text = text.unwrap_or(Cow::Borrowed(json));
    event::data(out, |out| out.extend_from_slice(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::tests::Parser;
    use super::*;
    use crate::types::{
        CachedList, CloseReason, LeaveCause, Member, MemberChange, Offset, PresenceChange,
        Publication, RecordChange, SessionId, StreamPosition, Transport, Whisper,
    };

    fn events(message: &ServerMessage, raw: bool) -> String {
        let mut out = Vec::new();
        Transport::EventStream.frame(&mut out, |out| {
            encode(&Identifier::from(r#""{\"a\":1}""#), message, raw, out);
        });
        String::from_utf8(out).unwrap()
    }

    fn publication(data: &str, position: Option<StreamPosition>) -> ServerMessage {
        let (stream, labels) = ("room/1".into(), None);
        let data = data.into();
        ServerMessage::Publication(Arc::new(Publication { stream, data, labels, at: 0, position }))
    }

    fn change(member: MemberChange) -> ServerMessage {
        let record = RecordChange::Removed { info: "null".into(), cause: LeaveCause::Left };
        ServerMessage::Presence(Arc::new(PresenceChange {
            id: "u1".into(),
            reference: 1,
            record,
            member,
            extra: None,
            members: None,
        }))
    }

    #[test]
    fn events_about_a_subscription() {
        let position = StreamPosition { epoch: "6obh".into(), offset: Offset(1) };
        let members = vec![Member { id: "a".into(), info: "{}".into(), extra: None }];
        let cases = [
            (
                ServerMessage::Confirmed,
                "event: confirm_subscription\ndata: \
                 {\"identifier\":\"{\\\"a\\\":1}\",\"type\":\"confirm_subscription\"}\n\n",
            ),
            (
                change(MemberChange::Joined { info: "{\n}".into() }),
                "event: presence\ndata: {\"type\":\"join\",\"id\":\"u1\",\"info\":{\ndata: }}\n\n",
            ),
            (
                change(MemberChange::Left),
                "event: presence\ndata: {\"type\":\"leave\",\"id\":\"u1\"}\n\n",
            ),
            (
                ServerMessage::PresenceList(Arc::new(CachedList::new(members))),
                "event: presence\ndata: \
                 {\"type\":\"info\",\"total\":1,\"records\":[{\"id\":\"a\",\"info\":{}}]}\n\n",
            ),
            (
                ServerMessage::Occupancy(7),
                "event: presence\ndata: {\"type\":\"occupancy\",\"total\":7}\n\n",
            ),
            (
                ServerMessage::Refused("no".into()),
                "event: presence\ndata: {\"type\":\"error\",\"reason\":\"no\"}\n\n",
            ),
            (ServerMessage::Arrived, ""),
        ];
        for (message, expected) in cases {
            assert_eq!(events(&message, false), expected);
            assert_eq!(events(&message, true), "");
        }
        let cases = [
            (
                publication(r#"{ "n":9007199254740993 }"#, Some(position)),
                "data: { \"n\":9007199254740993 }\nid: 1/6obh/room/1\n\n",
            ),
            (publication("\"a\\n<b>\"", None), "data: a\ndata: <b>\n\n"),
            (publication("\n\"a\" ", None), "data: a\n\n"),
            (publication(r#""\ud800""#, None), "data: \"\\ud800\"\n\n"),
            (ServerMessage::Whisper(Whisper { event: None, data: "5".into() }), "data: 5\n\n"),
        ];
        for (message, expected) in cases {
            assert_eq!(events(&message, false), expected);
            assert_eq!(events(&message, true), expected);
        }
    }

    #[test]
    fn events_about_the_connection() {
        let connection = |message: ConnectionMessage| {
            [false, true].map(|raw| {
                let mut out = Vec::new();
                let body = |out: &mut _| encode_connection(&message, raw, out);
                Transport::EventStream.frame(&mut out, body);
                String::from_utf8(out).unwrap()
            })
        };
        let welcome = ConnectionMessage::Welcome { sid: SessionId::from_bits(1), restored: vec![] };
        let sid = "00000000000000000000000000000001";
        let welcomed = format!(r#"{{"type":"welcome","sid":"{sid}"}}"#);
        assert_eq!(
            connection(welcome),
            [format!("event: welcome\ndata: {welcomed}\n\n"), String::new()]
        );
        assert_eq!(
            connection(ConnectionMessage::Ping { timestamp: 5 }),
            ["event: ping\ndata: {\"type\":\"ping\",\"message\":5}\n\n", ":\n\n"]
        );
        let disconnect = |reconnect| {
            connection(ConnectionMessage::Disconnect {
                reason: CloseReason::ServerRestart { elsewhere: false },
                reconnect,
            })
        };
        let goodbye = |reconnect| {
            let reason = r#"{"type":"disconnect","reason":"server_restart","reconnect":"#;
            format!("event: disconnect\ndata: {reason}{reconnect}}}\n")
        };
        assert_eq!(disconnect(true), [format!("{}\n", goodbye(true)), String::new()]);
        assert_eq!(
            disconnect(false),
            [format!("{}retry: 31536000000\n\n", goodbye(false)), "retry: 31536000000\n\n".into()]
        );
    }

    proptest! {
        /// Whatever is published, a client gets it, and nothing beside it.
        #[test]
        fn nothing_that_is_published_is_another_event(text in "(?s).{0,40}", as_string: bool) {
            let text = &text;
            let quoted = serde_json::to_string(text).unwrap();
            let data = if as_string { quoted } else { format!("[\n{quoted}\r,5]") };
            let parsed = Parser::parse(&events(&publication(&data, None), false));
            prop_assert_eq!(parsed.len(), 1);
            let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
            let expected = if as_string { lines(text) } else { lines(&data) };
            prop_assert_eq!(&parsed[0].data, &expected);
            prop_assert_eq!((&*parsed[0].kind, &*parsed[0].id), ("message", ""));
        }
    }
}

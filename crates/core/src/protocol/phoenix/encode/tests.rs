//! What stands on the wire.

use std::sync::Arc;

use super::super::CODEC;
use super::*;
use crate::protocol::polled;
use crate::types::{
    CloseReason, CommandKind, GroupKey, Label, LeaveCause, MemberChange, MemberRecords,
    Publication, Record, SessionId, Transport, Whisper,
};

const ROOM: &str = r#""room:\"é\"""#;

fn reference(subscription: Option<&str>, request: Option<&str>) -> Reference {
    Reference { subscription: subscription.map(Into::into), request: request.map(Into::into) }
}

fn frame(message: &ServerMessage, reference: Option<&Reference>) -> String {
    let mut out = Vec::new();
    encode(&Identifier::from(ROOM), message, reference, &mut out);
    String::from_utf8(out).unwrap()
}

fn run(messages: &[ServerMessage]) -> Vec<String> {
    let group = GroupKey::new(CODEC.over(Transport::LongPolling), Identifier::from(ROOM));
    let mut out = Vec::new();
    encode_run(&Audience { group: &group, reference: None }, messages, &mut out);
    let (mut texts, mut rest) = (Vec::new(), &*out);
    while let Some((text, others)) = polled::split(rest) {
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        rest = others;
    }
    assert!(rest.is_empty());
    texts
}

fn added(id: &str, reference: u64, info: &str) -> ServerMessage {
    change(id, reference, RecordChange::Added { info: info.into() })
}

fn updated(id: &str, reference: u64, info: &str, (previous, before): (u64, &str)) -> ServerMessage {
    let (info, before) = (info.into(), before.into());
    change(id, reference, RecordChange::Updated { info, previous, before })
}

fn removed(id: &str, reference: u64, info: &str) -> ServerMessage {
    let (info, cause) = (info.into(), LeaveCause::Expired);
    change(id, reference, RecordChange::Removed { info, cause })
}

fn change(id: &str, reference: u64, record: RecordChange) -> ServerMessage {
    let (id, member) = (id.into(), MemberChange::Unchanged);
    let change = PresenceChange { id, reference, record, member, extra: None, members: None };
    ServerMessage::Presence(Arc::new(change))
}

fn publication(event: Option<&str>, data: &str) -> ServerMessage {
    ServerMessage::Publication(Arc::new(Publication {
        stream: "room".into(),
        data: data.into(),
        labels: Label::new(event.map(Into::into), Some("t".into())),
        at: 0,
        position: None,
    }))
}

fn whisper(event: Option<&str>, data: &str) -> ServerMessage {
    ServerMessage::Whisper(Whisper { event: event.map(Into::into), data: data.into() })
}

/// What a diff says, without what is around it.
fn diff(joins: &str, leaves: &str) -> String {
    format!(r#"[null,null,{ROOM},"presence_diff",{{"joins":{{{joins}}},"leaves":{{{leaves}}}}}]"#)
}

#[test]
fn answers_have_the_references_of_their_requests() {
    let ok = r#""phx_reply",{"status":"ok","response":{}}]"#;
    let no = r#""phx_reply",{"status":"error","response":{"reason":"no \"é\""}}]"#;
    let unmatched = r#""phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
    let refused = || ServerMessage::Refused("no \"é\"".into());
    let cases = [
        (ServerMessage::Confirmed, format!(r#"["1","2",{ROOM},{ok}"#)),
        (ServerMessage::Done, format!(r#"["1","2",{ROOM},{ok}"#)),
        (ServerMessage::Rejected("no \"é\"".into()), format!(r#"["1","2",{ROOM},{no}"#)),
        (refused(), format!(r#"["1","2",{ROOM},{no}"#)),
        (ServerMessage::NotSubscribed, format!(r#"[null,"2",{ROOM},{unmatched}"#)),
        (ServerMessage::Ended, format!(r#"["1","1",{ROOM},"phx_close",{{}}]"#)),
    ];
    let asked = reference(Some("\"1\""), Some("\"2\""));
    for (message, expected) in cases {
        assert_eq!(frame(&message, Some(&asked)), expected);
    }
    let nameless = reference(Some("7"), None);
    let error = format!(r#"[7,null,{ROOM},"broker:error",{{"reason":"no \"é\""}}]"#);
    assert_eq!(frame(&refused(), Some(&nameless)), error, "nobody waits for an answer");
    assert_eq!(frame(&ServerMessage::Done, Some(&nameless)), "");
    let confirmed = frame(&ServerMessage::Confirmed, Some(&reference(None, Some("\"2\""))));
    assert_eq!(confirmed, format!(r#"[null,"2",{ROOM},{ok}"#));
}

#[test]
fn what_all_are_told_has_no_reference() {
    let asked = reference(Some("\"1\""), Some("\"2\""));
    let cases = [
        (
            publication(None, "{ \"n\": 9007199254740993 }"),
            r#""message",{ "n": 9007199254740993 }"#,
        ),
        (publication(Some("new \"msg\""), "5"), r#""new \"msg\"",5"#),
        (publication(Some("phx_close"), "{}"), r#""message",{}"#),
        (publication(None, "null"), r#""message",{}"#),
        (whisper(None, "[1]"), r#""whisper",[1]"#),
        (whisper(Some("typing"), "{}"), r#""typing",{}"#),
        (whisper(Some("presence_diff"), "{}"), r#""whisper",{}"#),
        (ServerMessage::Occupancy(12), r#""occupancy",{"total":12}"#),
    ];
    for (message, expected) in cases {
        let expected = format!("[null,null,{ROOM},{expected}]");
        assert_eq!(frame(&message, Some(&asked)), expected);
    }
    let expected = diff(r#""ann":{"metas":[{"a":1,"phx_ref":"1f"}]}"#, "");
    assert_eq!(frame(&added("ann", 0x1f, r#"{"a":1}"#), Some(&asked)), expected);
}

#[test]
fn the_state_is_for_one_subscription() {
    let record = |reference, info: &str| Record { reference, info: info.into() };
    let members = vec![
        MemberRecords {
            id: "a\"".into(),
            records: vec![record(1, "{}"), record(12, r#"{"n":1}"#)],
            extra: Some(Box::new(r#"{ "user":{"n":1.0}, "metas":[] }"#.into())),
        },
        MemberRecords { id: "b".into(), records: vec![record(3, "null")], extra: None },
    ];
    let state = |members| ServerMessage::PresenceRecords(Arc::new(members));
    let asked = reference(Some("\"1\""), Some("\"2\""));
    let expected = concat!(
        r#"{"a\"":{"metas":[{"phx_ref":"1"},{"n":1,"phx_ref":"c"}],"user":{"n":1.0}},"#,
        r#""b":{"metas":[{"phx_ref":"3"}]}}"#
    );
    let expected = format!(r#"["1",null,{ROOM},"presence_state",{expected}]"#);
    assert_eq!(frame(&state(members), Some(&asked)), expected);
    let nobody = format!(r#"["1",null,{ROOM},"presence_state",{{}}]"#);
    assert_eq!(frame(&state(Vec::new()), Some(&asked)), nobody);
}

#[test]
fn an_update_is_the_new_meta_and_the_old() {
    let expected = diff(
        r#""ann":{"metas":[{"n":2,"phx_ref":"9","phx_ref_prev":"4"}]}"#,
        r#""ann":{"metas":[{"n":1,"phx_ref":"4"}]}"#,
    );
    assert_eq!(frame(&updated("ann", 9, r#"{"n":2}"#, (4, r#"{"n":1}"#)), None), expected);
}

#[test]
fn changes_in_a_row_are_one_diff() {
    let messages = [
        added("ann", 1, "null"),
        added("bob", 2, "null"),
        added("ann", 3, "null"),
        ServerMessage::Arrived,
        updated("bob", 4, "{}", (2, "null")),
        ServerMessage::Occupancy(2),
        updated("bob", 5, "null", (4, "{}")),
        removed("ann", 1, "null"),
        removed("cem", 0, "null"),
    ];
    let joins = concat!(
        r#""ann":{"metas":[{"phx_ref":"1"},{"phx_ref":"3"}]},"bob":{"metas":["#,
        r#"{"phx_ref":"2"},{"phx_ref":"4","phx_ref_prev":"2"},{"phx_ref":"5","phx_ref_prev":"4"}]}"#
    );
    let leaves = concat!(
        r#""bob":{"metas":[{"phx_ref":"2"},{"phx_ref":"4"}]},"#,
        r#""ann":{"metas":[{"phx_ref":"1"}]},"cem":{"metas":[{"phx_ref":"0"}]}"#
    );
    assert_eq!(run(&messages), [diff(joins, leaves)]);
    assert_eq!(run(&[]), [""; 0]);
    assert_eq!(run(&[ServerMessage::Arrived, ServerMessage::Occupancy(1)]), [""; 0]);
}

#[test]
fn what_is_said_in_between_stays_in_between() {
    let messages = [added("ann", 1, "null"), publication(None, "1"), removed("ann", 1, "null")];
    let ann = r#""ann":{"metas":[{"phx_ref":"1"}]}"#;
    let message = format!(r#"[null,null,{ROOM},"message",1]"#);
    assert_eq!(run(&messages), [diff(ann, ""), message, diff("", ann)]);
}

#[test]
fn what_the_protocol_does_not_show() {
    for message in [
        ServerMessage::Arrived,
        ServerMessage::Done,
        ServerMessage::PresenceCount(1),
        ServerMessage::PresenceList(Arc::default()),
        ServerMessage::HistoryConfirmed,
        ServerMessage::HistoryRejected,
    ] {
        assert_eq!(frame(&message, None), "", "{message:?}");
    }
}

#[test]
fn frames_about_the_connection() {
    let asked = reference(Some("\"1\""), Some("\"9\""));
    let told = |message: ConnectionMessage, reference: Option<&Reference>| {
        let mut out = Vec::new();
        encode_connection(&message, reference, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        told(ConnectionMessage::Pong, Some(&asked)),
        r#"[null,"9","phoenix","phx_reply",{"status":"ok","response":{}}]"#
    );
    let error = || ConnectionMessage::Error { command: CommandKind::Unknown, reason: "no".into() };
    let expected = r#","phoenix","phx_reply",{"status":"error","response":{"reason":"no"}}]"#;
    assert_eq!(told(error(), Some(&asked)), format!("[null,\"9\"{expected}"));
    assert_eq!(told(error(), None), format!("[null,null{expected}"));
    for silent in [
        ConnectionMessage::Welcome { sid: SessionId::from_bits(1), restored: Vec::new() },
        ConnectionMessage::Ping { timestamp: 1 },
        ConnectionMessage::Disconnect {
            reason: CloseReason::ServerRestart { elsewhere: false },
            reconnect: true,
        },
    ] {
        assert_eq!(told(silent, None), "");
    }
}

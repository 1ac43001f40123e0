//! What frames ask for.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is a failure")]

use super::*;

const NOW: Duration = Duration::from_millis(1_700_000_000_999);

const ROOM: &str = r#""room:lobby""#;

fn ask(frame: &str) -> Request<'_> {
    decode(frame, || NOW)
}

fn good(frame: &str) -> ClientCommand<'_> {
    ask(frame).command.unwrap_or_else(|bad| panic!("{frame}: {bad:?}"))
}

/// A frame for the lobby.
fn frame(event: &str, payload: &str) -> String {
    format!(r#"["1","2",{ROOM},"{event}",{payload}]"#)
}

/// What joining with a payload asks for.
fn joining(payload: &str) -> (Target, Result<JoinRequest, String>, Watch, SubscribeOptions) {
    match good(&frame("phx_join", payload)) {
        ClientCommand::Subscribe { identifier, target, history, join, watch, options } => {
            assert_eq!((&*identifier, history), (ROOM, None));
            let join = join.unwrap().map_err(Cow::into_owned);
            (target, join, watch, options)
        }
        other => panic!("{other:?}"),
    }
}

fn info(payload: &str) -> String {
    let join = joining(payload).1.unwrap();
    assert_eq!(join.id, None, "the connection is who it is");
    join.info.as_str().to_owned()
}

/// Why a frame can't be followed, and what it was.
fn bad(frame: &str) -> (CommandKind, Option<String>, String) {
    let Err(BadCommand { kind, identifier, reason }) = ask(frame).command else {
        panic!("{frame}")
    };
    (kind, identifier.map(Cow::into_owned), reason.into_owned())
}

fn references(frame: &str) -> (Option<String>, Option<String>) {
    let reference = ask(frame).reference.unwrap();
    let text = |token: &Option<Box<str>>| token.as_deref().map(str::to_owned);
    (text(&reference.subscription), text(&reference.request))
}

#[test]
fn joining_a_topic_is_following_its_stream() {
    let (target, _, watch, options) = joining("{}");
    assert_eq!(target, Target::Public("room:lobby".into()));
    assert_eq!(watch, Watch::Members);
    assert_eq!((options.list_before, options.list_after), (Some(Listing::Records), None));
    assert_eq!(joining("null").0, target, "as some clients have it");
    let (_, _, watch, options) = joining(r#"{"presence":"occupancy"}"#);
    assert_eq!((watch, options.list_before), (Watch::Occupancy, None));
    for own in [r#"{"presence":true}"#, r#"{"presence":"all","token":[1]}"#] {
        assert_eq!(joining(own).2, Watch::Members, "{own}");
    }
    let (target, ..) = joining(r#"{"signed_stream_name":"abc--def"}"#);
    let signed = Target::SignedFor { name: "room:lobby".into(), signed: "abc--def".into() };
    assert_eq!(target, signed);
}

#[test]
fn a_topic_is_one_however_it_is_spelled() {
    for topic in [r#""a/\"b""#, r#""a\/\"b""#, r#""\u0061/\u0022b""#] {
        let frame = format!(r#"[null,"1",{topic},"phx_join",{{}}]"#);
        match good(&frame) {
            ClientCommand::Subscribe { identifier, target, .. } => {
                assert_eq!(identifier, r#""a/\"b""#);
                assert_eq!(target, Target::Public("a/\"b".into()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_meta_goes_over_since_when_it_is_online() {
    let cases = [
        ("{}", r#"{"online_at":"1700000000"}"#),
        (r#"{"meta":null}"#, r#"{"online_at":"1700000000"}"#),
        (r#"{"meta":{ }}"#, r#"{"online_at":"1700000000"}"#),
        (
            r#"{"meta":{ "n":9007199254740993, "a":[1.0] }}"#,
            r#"{"online_at":"1700000000","n":9007199254740993, "a":[1.0]}"#,
        ),
        (r#"{"meta":{"online_at":"5","n":1}}"#, r#"{"online_at":"5","n":1}"#),
        (r#"{"meta":{"online_at":null}}"#, r#"{"online_at":null}"#),
        (r#"{"meta":{"online\u005fat":1}}"#, r#"{"online\u005fat":1}"#),
        (
            r#"{"meta":{"a":{"online_at":1},"b":"\n"}}"#,
            r#"{"online_at":"1700000000","a":{"online_at":1},"b":"\n"}"#,
        ),
    ];
    for (payload, expected) in cases {
        assert_eq!(info(payload), expected, "{payload}");
    }
}

#[test]
fn events_about_presence() {
    let is_update = |event: &str| match good(&frame(event, r#"{"meta":{"n":1}}"#)) {
        ClientCommand::Join { identifier, join } if identifier == ROOM => (false, join),
        ClientCommand::Update { identifier, join } if identifier == ROOM => (true, join),
        other => panic!("{other:?}"),
    };
    let info = RawJson::from(r#"{"online_at":"1700000000","n":1}"#);
    let join = JoinRequest { id: None, info };
    assert_eq!(is_update("presence:track"), (false, join.clone()));
    assert_eq!(is_update("presence:update"), (true, join));
    assert_eq!(
        good(&frame("presence:untrack", "{}")),
        ClientCommand::Leave { identifier: ROOM.into(), id: None }
    );
    assert_eq!(
        good(&frame("phx_leave", "{}")),
        ClientCommand::Unsubscribe { identifier: ROOM.into() }
    );
}

#[test]
fn any_other_event_is_said_to_the_others() {
    for payload in [r#"{ "n": 9007199254740993 }"#, "null", r#""text""#, "[]"] {
        let frame = frame("new\\u005fmsg", payload);
        match good(&frame) {
            ClientCommand::Whisper { identifier, whisper, author: None } => {
                assert_eq!(identifier, ROOM);
                assert_eq!(whisper.event.as_deref(), Some("new_msg"));
                assert_eq!(whisper.data.as_str(), payload);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(good(&frame("", "{}")), ClientCommand::Whisper { .. }));
    assert!(matches!(good(&frame("heartbeat", "{}")), ClientCommand::Whisper { .. }));
}

#[test]
fn what_the_broker_says_nobody_else_does() {
    for event in [
        "phx_close",
        "phx_error",
        "phx_reply",
        "phx_anything",
        "chan_reply_5",
        "presence_state",
        "presence_diff",
        "presence:list",
        "occupancy",
        "broker:error",
    ] {
        let (kind, identifier, reason) = bad(&frame(event, "{}"));
        assert_eq!((kind, identifier.as_deref()), (CommandKind::Whisper, Some(ROOM)));
        assert!(reason.contains("another name"), "{event}: {reason}");
    }
}

#[test]
fn a_heartbeat_is_a_ping() {
    assert_eq!(good(r#"[null,"9","phoenix","heartbeat",{}]"#), ClientCommand::Ping);
    assert_eq!(good(r#"[null,"9","\u0070hoenix","heartbeat",null]"#), ClientCommand::Ping);
    for event in ["phx_join", "shout", "presence:track"] {
        let frame = format!(r#"["1","9","phoenix","{event}",{{}}]"#);
        assert!(bad(&frame).2.contains("heartbeats"), "{event}");
    }
}

#[test]
fn references_are_kept_as_they_are() {
    let frame = |join_ref: &str, reference: &str| {
        format!("[{join_ref},{reference},{ROOM},\"phx_leave\",{{}}]")
    };
    let cases = [
        ("\"1\"", "\"2\"", Some("\"1\""), Some("\"2\"")),
        ("null", "null", None, None),
        ("17", "\"é\\u0001\"", Some("17"), Some("\"é\\u0001\"")),
    ];
    for (join_ref, reference, subscription, request) in cases {
        let (subscription, request) = (subscription.map(str::to_owned), request.map(str::to_owned));
        assert_eq!(references(&frame(join_ref, reference)), (subscription, request));
    }
    let long = format!("\"{}\"", "1".repeat(63));
    for wrong in ["{}", "true", "1.5", "-1", "[]", r#""\ud800""#, &long] {
        let frame = frame("\"1\"", wrong);
        let (kind, identifier, reason) = bad(&frame);
        assert_eq!((kind, identifier.as_deref()), (CommandKind::Unsubscribe, Some(ROOM)));
        assert!(reason.contains("a reference is"), "{wrong}: {reason}");
        assert_eq!(references(&frame), (Some("\"1\"".to_owned()), None), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (frame, part) in [
        ("", "not readable"),
        ("hello", "not readable"),
        ("{}", "an array of five elements"),
        ("[]", "an array of five elements"),
        (r#"["1","1","a","phx_join"]"#, "an array of five elements"),
        (r#"["1","1","a","phx_join",{"a":"#, "not readable"),
        (r#"["1","1","a","phx_join",{}] x"#, "not readable"),
    ] {
        assert_eq!(ask(frame).reference, None, "{frame}");
        let (kind, identifier, reason) = bad(frame);
        assert_eq!((kind, identifier), (CommandKind::Unknown, None));
        assert!(reason.contains(part), "{frame}: {reason}");
    }
    for (frame, part, kind) in [
        (r#"["1","2",5,"phx_join",{}]"#, "topic is not a string", CommandKind::Subscribe),
        (r#"["1","2","\ud800","phx_join",{}]"#, "topic is not", CommandKind::Subscribe),
        (r#"["1","2","","phx_join",{}]"#, "topic is empty", CommandKind::Subscribe),
        (r#"["1","2","a",null,{}]"#, "event is not a string", CommandKind::Unknown),
    ] {
        let (what, _, reason) = bad(frame);
        assert_eq!(what, kind, "{frame}");
        assert!(reason.contains(part), "{frame}: {reason}");
        assert_eq!(references(frame), (Some("\"1\"".to_owned()), Some("\"2\"".to_owned())));
    }
    for (event, payload, part) in [
        ("phx_join", "5", "payload is not a JSON object"),
        ("phx_join", r#"{"meta":"x"}"#, "meta is not a JSON object"),
        ("phx_join", r#"{"meta":{"a":"\ud800"}}"#, "half a surrogate pair"),
        ("phx_join", r#"{"meta":{},"meta":{}}"#, "not readable"),
        ("phx_join", r#"{"signed_stream_name":5}"#, "not a string"),
        ("presence:track", r#"{"meta":[]}"#, "meta is not a JSON object"),
        ("presence:update", "[]", "payload is not a JSON object"),
    ] {
        let (_, identifier, reason) = bad(&frame(event, payload));
        assert_eq!(identifier.as_deref(), Some(ROOM), "{event}");
        assert!(reason.contains(part), "{event} {payload}: {reason}");
    }
}

#[test]
fn what_comes_after_the_payload_is_left_alone() {
    let longer = r#"["1","2","a","phx_leave",{},"more",[]]"#;
    assert!(matches!(good(longer), ClientCommand::Unsubscribe { .. }));
}

#[test]
fn the_head_is_that_of_the_whole() {
    let cases = [
        ("phx_join", CommandKind::Subscribe),
        ("phx_leave", CommandKind::Unsubscribe),
        ("presence:track", CommandKind::Join),
        ("presence:update", CommandKind::Join),
        ("presence:untrack", CommandKind::Leave),
        ("shout", CommandKind::Whisper),
    ];
    for (event, expected) in cases {
        for payload in ["{}", r#"{"meta":5}"#] {
            let frame = frame(event, payload);
            let Head { reference, kind, identifier } = decode_head(&frame);
            assert_eq!((kind, identifier.as_deref()), (expected, Some(ROOM)));
            assert_eq!(reference, ask(&frame).reference);
        }
    }
    let head = decode_head(r#"[null,"9","phoenix","heartbeat",{}]"#);
    assert_eq!((head.kind, head.identifier), (CommandKind::Ping, None));
    assert_eq!(decode_head("nonsense").kind, CommandKind::Unknown);
}

//! Frames from the client → commands.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::{DEFAULT_IDENTIFIER, DEFAULT_ROOM, JOIN, LEAVE, LIST};
use crate::protocol::read::{borrowed_string, object};
use crate::protocol::room::{self, Room};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, Head, JoinRequest, Listing, PresenceId,
    SubscribeOptions, Target, Watch,
};

/// Reads one frame.
pub(super) fn decode(text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    let (kind, payload) = open(text)?;
    let bad = |reason: Cow<'static, str>| BadCommand { kind, identifier: None, reason };
    let payload = Payload::read(payload).map_err(|reason| bad(reason.into()))?;
    let room = payload.room().map_err(|reason| bad(reason.into()))?;
    match kind {
        CommandKind::Join => {
            let id = payload.user().map_err(|reason| bad(reason.into()))?;
            Ok(follow(room, Some(room::join_as(id)), None))
        }
        CommandKind::Leave => {
            // without an id, the client means itself
            let id = payload.user.map(|_| payload.user()).transpose();
            let id = id.map_err(|reason| bad(reason.into()))?;
            Ok(ClientCommand::Leave { identifier: room.identifier, id })
        }
        // a request about a room follows it: presence is sent to followers only
        CommandKind::Presence => Ok(follow(room, None, Some(Listing::Members))),
        CommandKind::Subscribe
        | CommandKind::Unsubscribe
        | CommandKind::History
        | CommandKind::Whisper
        | CommandKind::Publish
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => Err(bad(NO_SUCH_TYPE.into())),
    }
}

/// Reads only the kind and the subscription of a command.
pub(super) fn decode_head(text: &str) -> Head<'_> {
    let (kind, identifier) = match open(text) {
        Ok((kind, payload)) => {
            let room = Payload::read(payload).ok().and_then(|payload| payload.room().ok());
            (kind, room.map(|room| room.identifier))
        }
        Err(BadCommand { kind, identifier, .. }) => (kind, identifier),
    };
    Head { reference: None, kind, identifier }
}

/// Connecting follows the default room, and is announced there.
pub(super) fn follow_default_room() -> ClientCommand<'static> {
    let room =
        Room { identifier: DEFAULT_IDENTIFIER.into(), target: Target::Public(DEFAULT_ROOM.into()) };
    follow(room, None, None)
}

const NO_SUCH_TYPE: &str =
    "there is no such type: send presence.join, presence.leave or presence.list";

/// Subscribes to a room, unless the client has.
fn follow(
    room: Room<'_>,
    join: Option<JoinRequest>,
    list_before: Option<Listing>,
) -> ClientCommand<'_> {
    // where streams aren't public, connecting alone doesn't subscribe
    let is_announced = room.identifier == DEFAULT_IDENTIFIER;
    ClientCommand::Subscribe {
        identifier: room.identifier,
        target: room.target,
        history: None,
        join: join.map(Ok),
        watch: Watch::Members,
        options: SubscribeOptions { list_before, is_announced, ..SubscribeOptions::default() },
    }
}

/// Reads a frame's type, without its payload.
fn open(text: &str) -> Result<(CommandKind, Option<&RawValue>), BadCommand<'_>> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    // serde would take an array for a struct
    if !text.trim_ascii_start().starts_with('{') {
        return Err(unknown("a frame is a JSON object: {\"type\":…,\"payload\":{…}}"));
    }
    let frame: Frame<'_> = serde_json::from_str(text)
        .map_err(|error| unknown(format!("the frame is not readable JSON: {error}")))?;
    let kind = frame.kind.ok_or_else(|| unknown("the frame has no type"))?;
    let kind = borrowed_string(kind).map_err(|_| unknown("the type is not a string"))?;
    let kind = match &*kind {
        JOIN => CommandKind::Join,
        LEAVE => CommandKind::Leave,
        LIST => CommandKind::Presence,
        _ => return Err(unknown(NO_SUCH_TYPE)),
    };
    Ok((kind, frame.payload))
}

/// The keys of a payload that the broker reads; others are ignored.
#[derive(Default, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    signed_stream_name: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    fn read(raw: Option<&'a RawValue>) -> Result<Self, String> {
        let Some(raw) = object(raw, "the payload")? else { return Ok(Self::default()) };
        serde_json::from_str(raw).map_err(|error| format!("the payload is not readable: {error}"))
    }

    fn user(&self) -> Result<PresenceId, &'static str> {
        let user = self.user.ok_or("the user is missing: {\"user\":…} in the payload")?;
        let user = borrowed_string(user).map_err(|_| "the user is not a string")?;
        if user.is_empty() { Err("the user is empty") } else { Ok((&*user).into()) }
    }

    fn room(&self) -> Result<Room<'a>, &'static str> {
        match self.room {
            Some(name) => Room::read(name, self.signed_stream_name),
            None => Ok(Room {
                identifier: DEFAULT_IDENTIFIER.into(),
                target: room::target(DEFAULT_ROOM.into(), self.signed_stream_name)?,
            }),
        }
    }
}

fn unknown(reason: impl Into<Cow<'static, str>>) -> BadCommand<'static> {
    BadCommand { kind: CommandKind::Unknown, identifier: None, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> String {
        let bad = decode(text).unwrap_err();
        assert!(!bad.reason.is_empty());
        bad.reason.into_owned()
    }

    fn public(name: &str) -> Target {
        Target::Public(name.into())
    }

    #[test]
    fn joining_follows_the_room() {
        for (payload, identifier, target) in [
            (r#"{"user":"Alice"}"#, r#""lobby""#, public("lobby")),
            (r#"{"room":null,"user":"Al\u0069ce","more":[1]}"#, r#""lobby""#, public("lobby")),
            (r#"{"user":"Alice","room":"a/b"}"#, r#""a/b""#, public("a/b")),
            (r#"{"user":"Alice","room":"\u0061\/b"}"#, r#""a/b""#, public("a/b")),
            (
                r#"{"user":"Alice","room":"a","signed_stream_name":"x--y"}"#,
                r#""a""#,
                Target::SignedFor { name: "a".into(), signed: "x--y".into() },
            ),
            (
                r#"{"user":"Alice","signed_stream_name":"x--y"}"#,
                r#""lobby""#,
                Target::SignedFor { name: "lobby".into(), signed: "x--y".into() },
            ),
        ] {
            let text = format!(r#" {{"type":"presence.join","payload":{payload}}}"#);
            let join = JoinRequest { id: Some("Alice".into()), info: r#"{"name":"Alice"}"#.into() };
            let options = SubscribeOptions {
                is_announced: identifier == "\"lobby\"",
                ..SubscribeOptions::default()
            };
            let expected = ClientCommand::Subscribe {
                identifier: identifier.into(),
                target,
                history: None,
                join: Some(Ok(join)),
                watch: Watch::Members,
                options,
            };
            assert_eq!(decode(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn listing_follows_the_room() {
        for payload in ["", r#","payload":{}"#, r#","payload":null"#] {
            let text = format!(r#"{{"type":"presence.list"{payload}}}"#);
            let ClientCommand::Subscribe { identifier, join: None, options, .. } =
                decode(&text).unwrap()
            else {
                panic!("{text}")
            };
            assert_eq!(identifier, DEFAULT_IDENTIFIER);
            assert_eq!(options.list_before, Some(Listing::Members));
        }
    }

    #[test]
    fn leaving_names_who_or_means_oneself() {
        let text = r#"{"type":"presence.leave","payload":{"user":"Bob","room":"x"}}"#;
        let leave = ClientCommand::Leave { identifier: r#""x""#.into(), id: Some("Bob".into()) };
        assert_eq!(decode(text).unwrap(), leave);
        for payload in ["", r#","payload":{}"#, r#","payload":{"user":null}"#] {
            let text = format!(r#"{{"type":"presence.leave"{payload}}}"#);
            let leave = ClientCommand::Leave { identifier: DEFAULT_IDENTIFIER.into(), id: None };
            assert_eq!(decode(&text).unwrap(), leave);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let of = |kind: &str, payload: &str| {
            reason(&format!(r#"{{"type":"presence.{kind}","payload":{payload}}}"#))
        };
        assert!(reason("nonsense").contains("JSON object"));
        assert!(reason("{").contains("not readable JSON"));
        assert!(reason("[]").contains("JSON object"));
        assert!(reason("{}").contains("no type"));
        assert!(reason(r#"{"type":5}"#).contains("not a string"));
        assert!(reason(r#"{"type":"chat.join"}"#).contains("presence.join"));
        assert!(reason(r#"{"type":"presence.join"}"#).contains("user is missing"));
        for kind in ["join", "leave"] {
            assert!(of(kind, r#"{"user":""}"#).contains("user is empty"));
            assert!(of(kind, r#"{"user":5}"#).contains("user is not a string"));
            assert!(of(kind, r#"{"user":"\ud800"}"#).contains("user is not a string"));
        }
        for kind in ["join", "leave", "list"] {
            assert!(of(kind, "[]").contains("payload is not a JSON object"));
            assert!(of(kind, r#"{"room":5}"#).contains("room is not a string"));
            assert!(of(kind, r#"{"room":""}"#).contains("room is empty"));
            assert!(of(kind, r#"{"signed_stream_name":5}"#).contains("signed stream name"));
            assert!(of(kind, r#"{"user":"a","user":"b"}"#).contains("not readable"));
        }
    }

    #[test]
    fn the_head_is_that_of_the_whole() {
        let head = |text: &str| {
            let Head { reference: None, kind, identifier } = decode_head(text) else { panic!() };
            (kind, identifier.map(Cow::into_owned))
        };
        let lobby = Some(DEFAULT_IDENTIFIER.to_owned());
        assert_eq!(head(r#"{"type":"presence.list"}"#), (CommandKind::Presence, lobby.clone()));
        assert_eq!(head(r#"{"type":"presence.join","payload":{}}"#), (CommandKind::Join, lobby));
        let room = r#"{"type":"presence.leave","payload":{"room":"x"}}"#;
        assert_eq!(head(room), (CommandKind::Leave, Some(r#""x""#.to_owned())));
        assert_eq!(head(r#"{"type":"presence.join","payload":5}"#), (CommandKind::Join, None));
        assert_eq!(head("nonsense"), (CommandKind::Unknown, None));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", payload in crate::protocol::tests::json()) {
            for text in [
                text.clone(),
                format!(r#"{{"type":"presence.join","payload":{payload}}}"#),
                format!(r#"{{"type":{payload},"payload":{{"user":{payload},"room":{payload}}}}}"#),
            ] {
                let (kind, told) = (decode_head(&text).kind, decode(&text));
                match told {
                    Ok(ClientCommand::Subscribe { join: Some(_), .. }) => {
                        prop_assert_eq!(kind, CommandKind::Join);
                    }
                    Ok(_) => prop_assert!(matches!(kind, CommandKind::Leave | CommandKind::Presence)),
                    Err(bad) => prop_assert_eq!(kind, bad.kind),
                }
            }
        }

        #[test]
        fn any_name_is_understood(user in ".{1,12}", room in ".{1,12}") {
            let frame = serde_json::json!({
                "type": "presence.join", "payload": { "user": user, "room": room },
            });
            let text = frame.to_string();
            let Ok(ClientCommand::Subscribe { identifier, target, join: Some(Ok(join)), .. }) =
                decode(&text)
            else {
                panic!("{text}")
            };
            prop_assert_eq!(identifier, serde_json::to_string(&room).unwrap());
            prop_assert_eq!(target, Target::Public(room.into()));
            let info: serde_json::Value = serde_json::from_str(join.info.as_str()).unwrap();
            prop_assert_eq!(info, serde_json::json!({ "name": user }));
            prop_assert_eq!(join.id, Some(user.into()));
        }
    }
}

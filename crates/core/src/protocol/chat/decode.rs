//! Frames from the client → commands.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message;
use super::names::{GUEST, TYPING};
use crate::protocol::plain;
use crate::protocol::read::borrowed_string;
use crate::protocol::room::{Room, join_as};
use crate::protocol::write;
use crate::types::{
    BadCommand, ClientCommand, CommandKind, Head, Listing, PresenceId, SubscribeOptions, Watch,
    Whisper,
};

/// Reads one frame of a client; `presence_id` is its default presence id.
pub(super) fn decode<'a>(
    text: &'a str,
    presence_id: Option<&PresenceId>,
    now: Duration,
) -> Result<ClientCommand<'a>, BadCommand<'a>> {
    let (kind, frame) = open(text)?;
    command(kind, &frame, presence_id, now).map_err(|reason| BadCommand {
        kind,
        identifier: None,
        reason: reason.into(),
    })
}

/// Reads only the kind and the subscription of a command.
pub(super) fn decode_head(text: &str) -> Head<'_> {
    let (kind, identifier) = match open(text) {
        Ok((kind, frame)) => (kind, frame.room().ok().map(|room| room.identifier)),
        Err(BadCommand { kind, identifier, .. }) => (kind, identifier),
    };
    Head { reference: None, kind, identifier }
}

/// Whether a frame has the default presence id because it names none.
pub(super) fn is_nameless(text: &str) -> bool {
    let is_said = |kind| kind != CommandKind::Unsubscribe;
    open(text).is_ok_and(|(kind, frame)| is_said(kind) && frame.username.is_none())
}

const NO_SUCH_TYPE: &str = "there is no such type: send join, message, typing or leave";

fn command<'a>(
    kind: CommandKind,
    frame: &Frame<'a>,
    presence_id: Option<&PresenceId>,
    now: Duration,
) -> Result<ClientCommand<'a>, &'static str> {
    let Room { identifier, target } = frame.room()?;
    match kind {
        CommandKind::Join => Ok(ClientCommand::Subscribe {
            identifier,
            target,
            history: None,
            join: Some(Ok(join_as(frame.username(presence_id)?))),
            watch: Watch::Members,
            options: SubscribeOptions {
                list_after: Some(Listing::Members),
                ..SubscribeOptions::default()
            },
        }),
        CommandKind::Publish => {
            let author = frame.username(presence_id)?;
            let content = frame.content()?;
            let data = write::json(|out| message::write(out, author.as_str(), content, now));
            let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            Ok(ClientCommand::Publish { identifier, data, at, author: Some(author) })
        }
        CommandKind::Whisper => {
            let author = frame.username(presence_id)?;
            let data = write::json(|out| {
                out.extend_from_slice(b"{\"username\":");
                write::string(out, author.as_str());
                out.push(b'}');
            });
            let whisper = Whisper { event: Some(Arc::from(TYPING)), data };
            Ok(ClientCommand::Whisper { identifier, whisper, author: Some(author) })
        }
        CommandKind::Unsubscribe => Ok(ClientCommand::Unsubscribe { identifier }),
        CommandKind::Subscribe
        | CommandKind::Leave
        | CommandKind::Presence
        | CommandKind::History
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => Err(NO_SUCH_TYPE),
    }
}

/// Reads a frame's type, without the rest.
fn open(text: &str) -> Result<(CommandKind, Frame<'_>), BadCommand<'_>> {
    // serde would take an array for a struct
    if !text.trim_ascii_start().starts_with('{') {
        return Err(unknown("a frame is a JSON object with a type"));
    }
    let frame: Frame<'_> = serde_json::from_str(text)
        .map_err(|error| unknown(format!("the frame is not readable JSON: {error}")))?;
    let kind = frame.kind.ok_or_else(|| unknown("the frame has no type"))?;
    let kind = borrowed_string(kind).map_err(|_| unknown("the type is not a string"))?;
    let kind = match &*kind {
        "join" => CommandKind::Join,
        "message" => CommandKind::Publish,
        TYPING => CommandKind::Whisper,
        "leave" => CommandKind::Unsubscribe,
        _ => return Err(unknown(NO_SUCH_TYPE)),
    };
    Ok((kind, frame))
}

/// The keys of a frame that the broker reads; others are ignored.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    signed_stream_name: Option<&'a RawValue>,
}

impl<'a> Frame<'a> {
    fn room(&self) -> Result<Room<'a>, &'static str> {
        let name = self.room.ok_or("the room is missing: name one")?;
        Room::read(name, self.signed_stream_name)
    }

    fn username(&self, presence_id: Option<&PresenceId>) -> Result<PresenceId, &'static str> {
        let Some(username) = self.username else {
            return Ok(presence_id.cloned().unwrap_or_else(|| GUEST.into()));
        };
        let username = borrowed_string(username).map_err(|_| "the username is not a string")?;
        if username.trim().is_empty() {
            return Err("the username is empty: give one, or leave it out to be a guest");
        }
        Ok((&*username).into())
    }

    /// The content as a JSON string.
    fn content(&self) -> Result<&'a str, &'static str> {
        let content = self.content.ok_or("the content is missing")?.get();
        if !content.starts_with('"') {
            return Err("the content is not a string");
        }
        if plain::objection(content).is_some() {
            return Err("the content is no text: it has half a surrogate pair");
        }
        Ok(content)
    }
}

fn unknown(reason: impl Into<Cow<'static, str>>) -> BadCommand<'static> {
    BadCommand { kind: CommandKind::Unknown, identifier: None, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{JoinRequest, Target};

    const NOW: Duration = Duration::from_millis(1);

    fn read(text: &str) -> ClientCommand<'_> {
        decode(text, None, NOW).unwrap()
    }

    fn reason(text: &str) -> String {
        let bad = decode(text, None, NOW).unwrap_err();
        assert!(!bad.reason.is_empty());
        bad.reason.into_owned()
    }

    fn joined(text: &str, presence_id: Option<&PresenceId>) -> JoinRequest {
        let ClientCommand::Subscribe { join: Some(Ok(join)), .. } =
            decode(text, presence_id, NOW).unwrap()
        else {
            panic!("{text}")
        };
        join
    }

    #[test]
    fn joining_asks_for_the_list() {
        let text = r#"{"type":"join","room":"gener\u0061l","username":"ann","more":1}"#;
        let ClientCommand::Subscribe { identifier, target, options, .. } = read(text) else {
            panic!("{text}")
        };
        assert_eq!((&*identifier, target), (r#""general""#, Target::Public("general".into())));
        let list_after = Some(Listing::Members);
        assert_eq!(options, SubscribeOptions { list_after, ..SubscribeOptions::default() });
        let join = joined(text, None);
        assert_eq!((join.id, join.info.as_str()), (Some("ann".into()), r#"{"name":"ann"}"#));
        let signed = r#"{"type":"join","room":"a","signed_stream_name":"x--y"}"#;
        let ClientCommand::Subscribe { target, .. } = read(signed) else { panic!("{signed}") };
        assert_eq!(target, Target::SignedFor { name: "a".into(), signed: "x--y".into() });
    }

    #[test]
    fn who_gives_no_name_is_called_something() {
        let nameless = r#"{"type":"join","room":"a"}"#;
        assert_eq!(joined(nameless, None).id, Some(GUEST.into()));
        let presence_id = PresenceId::from("u1");
        let join = joined(nameless, Some(&presence_id));
        assert_eq!((join.id, join.info.as_str()), (Some("u1".into()), r#"{"name":"u1"}"#));
        let named = r#"{"type":"join","room":"a","username":"ann"}"#;
        assert_eq!(joined(named, Some(&presence_id)).id, Some("ann".into()));
        let typing = r#"{"type":"typing","room":"a"}"#;
        let ClientCommand::Whisper { author, .. } =
            decode(typing, Some(&presence_id), NOW).unwrap()
        else {
            panic!("{typing}")
        };
        assert_eq!(author, Some(presence_id));
    }

    #[test]
    fn a_frame_that_needs_a_name_and_has_none_is_nameless() {
        for (kind, needs_one) in
            [("join", true), ("message", true), ("typing", true), ("leave", false), ("no", false)]
        {
            let is_nameless = |rest: &str| {
                is_nameless(&format!(
                    r#"{{"type":"{kind}","room":"a","content":"username"{rest}}}"#
                ))
            };
            assert_eq!(is_nameless(""), needs_one, "{kind}");
            assert_eq!(is_nameless(r#","username":null"#), needs_one, "{kind}");
            assert!(!is_nameless(r#","username":"ann""#), "{kind}");
            assert!(!is_nameless(r#","username":"""#), "{kind}");
        }
        assert!(!is_nameless("nonsense"));
    }

    #[test]
    fn messages_are_published() {
        let text = r#"{"type":"message","room":"a","username":"\u0061nn","content":"h\u0069"}"#;
        let data =
            r#"{"username":"ann","content":"h\u0069","timestamp":"1970-01-01T00:00:00.001Z"}"#;
        let expected = ClientCommand::Publish {
            identifier: r#""a""#.into(),
            data: data.into(),
            at: 1,
            author: Some("ann".into()),
        };
        assert_eq!(read(text), expected);
    }

    #[test]
    fn typing_is_whispered_and_leaving_is_unsubscribing() {
        let text = r#"{"type":"typing","room":"a","username":"a\"b"}"#;
        let whisper =
            Whisper { event: Some("typing".into()), data: r#"{"username":"a\"b"}"#.into() };
        let author = Some("a\"b".into());
        let identifier = r#""a""#;
        let expected = ClientCommand::Whisper { identifier: identifier.into(), whisper, author };
        assert_eq!(read(text), expected);
        let leave = ClientCommand::Unsubscribe { identifier: identifier.into() };
        assert_eq!(read(r#"{"type":"leave","room":"a"}"#), leave);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(reason("nonsense").contains("JSON object"));
        assert!(reason("[]").contains("JSON object"));
        assert!(reason("{").contains("not readable JSON"));
        assert!(reason("{}").contains("no type"));
        assert!(reason(r#"{"type":5}"#).contains("not a string"));
        assert!(reason(r#"{"type":"dance","room":"a"}"#).contains("join, message, typing"));
        for kind in ["join", "message", "typing", "leave"] {
            let of = |rest: &str| reason(&format!(r#"{{"type":"{kind}"{rest}}}"#));
            assert!(of("").contains("room is missing"));
            assert!(of(r#","room":"""#).contains("room is empty"));
            assert!(of(r#","room":5"#).contains("room is not a string"));
            assert!(of(r#","room":"a","signed_stream_name":5"#).contains("signed stream name"));
        }
        for kind in ["join", "message", "typing"] {
            let of = |name: &str| {
                reason(&format!(r#"{{"type":"{kind}","room":"a","username":{name},"content":""}}"#))
            };
            assert!(of("5").contains("username is not a string"));
            assert!(of(r#""""#).contains("username is empty"));
            assert!(of(r#""  ""#).contains("username is empty"));
        }
        let message =
            |content: &str| reason(&format!(r#"{{"type":"message","room":"a"{content}}}"#));
        assert!(message("").contains("content is missing"));
        assert!(message(r#","content":{}"#).contains("content is not a string"));
        assert!(message(r#","content":"\ud800""#).contains("surrogate"));
    }

    #[test]
    fn the_head_is_that_of_the_whole() {
        let head = |text: &str| {
            let Head { reference: None, kind, identifier } = decode_head(text) else { panic!() };
            (kind, identifier.map(Cow::into_owned))
        };
        let room = Some(r#""a""#.to_owned());
        for (kind, expected) in [
            ("join", CommandKind::Join),
            ("message", CommandKind::Publish),
            ("typing", CommandKind::Whisper),
            ("leave", CommandKind::Unsubscribe),
        ] {
            let text = format!(r#"{{"type":"{kind}","room":"a","username":""}}"#);
            assert_eq!(head(&text), (expected, room.clone()));
        }
        assert_eq!(head(r#"{"type":"join"}"#), (CommandKind::Join, None));
        assert_eq!(head("nonsense"), (CommandKind::Unknown, None));
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in "\\PC{0,60}",
            kind in "join|message|typing|leave",
            value in crate::protocol::tests::json(),
        ) {
            for text in [
                text.clone(),
                format!(r#"{{"type":"{kind}","room":{value},"username":{value},"content":{value}}}"#),
                format!(r#"{{"type":"{kind}","room":"a","username":"b","content":{value}}}"#),
            ] {
                let head = decode_head(&text);
                match decode(&text, None, NOW) {
                    Ok(command) => prop_assert_eq!(head.identifier.as_deref(), command.identifier()),
                    Err(bad) => prop_assert_eq!(head.kind, bad.kind),
                }
            }
        }

        #[test]
        fn any_message_is_understood(username in "\\S.{0,12}", room in ".{1,12}", content in ".*") {
            let frame = serde_json::json!({
                "type": "message", "room": room, "username": username, "content": content,
            });
            let text = frame.to_string();
            let ClientCommand::Publish { identifier, data, author, at } = read(&text) else {
                panic!("{text}")
            };
            prop_assert_eq!(identifier, serde_json::to_string(&room).unwrap());
            let data: serde_json::Value = serde_json::from_str(data.as_str()).unwrap();
            prop_assert_eq!(&data["username"], &username);
            prop_assert_eq!(&data["content"], &content);
            prop_assert_eq!((author, at), (Some(username.into()), 1));
        }
    }
}

//! Frames from the client → commands.
//!
//! A frame is read once into slices of itself. The identifier stays the JSON string token it is
//! on the wire; only a subscription looks inside.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::{CABLE_READY_CHANNEL, PUBSUB_CHANNEL, TURBO_CHANNEL};
use crate::protocol::plain;
use crate::protocol::read::{borrowed_string, canonical_token, object};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, Epoch, Head, HistoryRequest, JoinRequest, Listing,
    Offset, RawJson, StreamName, StreamPosition, SubscribeOptions, Target, Watch, Whisper,
};

/// Reads one frame.
pub(super) fn decode(text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    let (kind, frame) = open(text)?;
    if kind == CommandKind::Ping {
        return Ok(ClientCommand::Ping);
    }
    if kind == CommandKind::Pong {
        return Ok(ClientCommand::Pong);
    }
    let Some(identifier) = frame.identifier() else {
        let reason = "the identifier is missing or not a string".into();
        return Err(BadCommand { kind, identifier: None, reason });
    };
    about_subscription(kind, identifier, &frame)
}

/// Reads only the kind and the subscription of a command.
pub(super) fn decode_head(text: &str) -> Head<'_> {
    let (kind, identifier) = match open(text) {
        Ok((kind, frame)) => (kind, frame.identifier()),
        Err(BadCommand { kind, identifier, .. }) => (kind, identifier),
    };
    Head { reference: None, kind, identifier }
}

/// Reads a frame's command, without the rest.
fn open(text: &str) -> Result<(CommandKind, Frame<'_>), BadCommand<'_>> {
    // serde would take an array for a struct
    if !text.trim_ascii_start().starts_with('{') {
        return Err(unknown("a frame is a JSON object with a command"));
    }
    let frame: Frame<'_> = serde_json::from_str(text)
        .map_err(|error| unknown(format!("the frame is not readable JSON: {error}")))?;
    let Some(command) = frame.command else {
        return Err(unknown("the frame has no command"));
    };
    let command: Cow<'_, str> = borrowed_string(command)
        .map_err(|error| unknown(format!("the command is not a string: {error}")))?;
    let kind = match &*command {
        "subscribe" => CommandKind::Subscribe,
        "unsubscribe" => CommandKind::Unsubscribe,
        "join" => CommandKind::Join,
        "leave" => CommandKind::Leave,
        "presence" => CommandKind::Presence,
        "history" => CommandKind::History,
        "whisper" => CommandKind::Whisper,
        "message" => CommandKind::Perform,
        "ping" => CommandKind::Ping,
        "pong" => CommandKind::Pong,
        _ => return Err(unknown("there is no such command")),
    };
    Ok((kind, frame))
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    command: Option<&'a RawValue>,
    #[serde(borrow)]
    identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
}

impl<'a> Frame<'a> {
    fn identifier(&self) -> Option<Cow<'a, str>> {
        self.identifier.and_then(|raw| canonical_token(raw.get()))
    }
}

fn about_subscription<'a>(
    kind: CommandKind,
    identifier: Cow<'a, str>,
    frame: &Frame<'a>,
) -> Result<ClientCommand<'a>, BadCommand<'a>> {
    let result = match kind {
        CommandKind::Subscribe => {
            let (target, watch) = target(&identifier);
            return Ok(ClientCommand::Subscribe {
                target,
                identifier,
                watch,
                options: SubscribeOptions::default(),
                // a request that can't be read is one that can't be fulfilled
                history: frame.history.map(|raw| history(raw).unwrap_or_default()),
                join: frame.presence.map(|raw| join(Some(raw)).map_err(Cow::Owned)),
            });
        }
        CommandKind::Unsubscribe => return Ok(ClientCommand::Unsubscribe { identifier }),
        CommandKind::Leave => return Ok(ClientCommand::Leave { identifier, id: None }),
        CommandKind::Perform => {
            let data = frame.data.map(|raw| Cow::Borrowed(raw.get()));
            return Ok(ClientCommand::Perform { identifier, data });
        }
        CommandKind::Join => join(frame.presence).map(Arguments::Join),
        CommandKind::Presence => list(frame.data).map(Arguments::List),
        CommandKind::History => match frame.history {
            Some(raw) => history(raw).map(Arguments::History),
            None => Err("the history request is missing".to_owned()),
        },
        CommandKind::Whisper => match frame.data {
            Some(raw) => Ok(Arguments::Whisper(RawJson::from(raw.get()))),
            None => Err("the data to whisper is missing".to_owned()),
        },
        CommandKind::Publish | CommandKind::Ping | CommandKind::Pong | CommandKind::Unknown => {
            Err("this command is about no subscription".to_owned())
        }
    };
    match result {
        Ok(Arguments::Join(join)) => Ok(ClientCommand::Join { identifier, join }),
        Ok(Arguments::List(listing)) => Ok(ClientCommand::Presence { identifier, listing }),
        Ok(Arguments::History(request)) => Ok(ClientCommand::History { identifier, request }),
        Ok(Arguments::Whisper(data)) => {
            let whisper = Whisper { event: None, data };
            Ok(ClientCommand::Whisper { identifier, whisper, author: None })
        }
        Err(reason) => {
            Err(BadCommand { kind, identifier: Some(identifier), reason: Cow::Owned(reason) })
        }
    }
}

enum Arguments {
    Join(JoinRequest),
    List(Listing),
    History(HistoryRequest),
    Whisper(RawJson),
}

fn unknown(reason: impl Into<Cow<'static, str>>) -> BadCommand<'static> {
    BadCommand { kind: CommandKind::Unknown, identifier: None, reason: reason.into() }
}

/// The parameters in an identifier, which is JSON within a JSON string.
pub fn target(token: &str) -> (Target, Watch) {
    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(borrow)]
        channel: Option<Cow<'a, str>>,
        #[serde(borrow)]
        stream_name: Option<Cow<'a, str>>,
        #[serde(borrow)]
        signed_stream_name: Option<Cow<'a, str>>,
        #[serde(borrow)]
        identifier: Option<&'a RawValue>,
        #[serde(borrow)]
        presence: Option<&'a RawValue>,
    }
    let invalid = |reason| (Target::Invalid(reason), Watch::Members);
    let text: String = match serde_json::from_str(token) {
        Ok(text) => text,
        Err(error) => return invalid(error.to_string()),
    };
    if !text.trim_ascii_start().starts_with('{') {
        return invalid("the identifier is not a JSON object".to_owned());
    }
    let inner: Inner<'_> = match serde_json::from_str(&text) {
        Ok(inner) => inner,
        Err(error) => return invalid(error.to_string()),
    };
    let watch = match inner.presence.map(RawValue::get) {
        Some("\"occupancy\"") => Watch::Occupancy,
        Some(_) | None => Watch::Members, // an application's own parameter
    };
    let target = match (inner.channel.as_deref(), inner.signed_stream_name, inner.stream_name) {
        (Some(PUBSUB_CHANNEL), Some(signed), _) => Target::Signed(signed.into_owned()),
        (Some(PUBSUB_CHANNEL), None, Some(name)) if !name.is_empty() => {
            Target::Public(StreamName::from(&*name))
        }
        (Some(PUBSUB_CHANNEL), None, _) => {
            Target::Invalid("the identifier names no stream".to_owned())
        }
        (Some(TURBO_CHANNEL), Some(signed), _) => Target::Turbo(signed.into_owned()),
        (Some(CABLE_READY_CHANNEL), _, _) => match inner.identifier.map(borrowed_string) {
            Some(Ok(signed)) => Target::CableReady(signed.into_owned()),
            Some(Err(_)) | None => Target::Invalid("the identifier names no stream".to_owned()),
        },
        (Some(channel), _, _) => Target::Channel(channel.to_owned()),
        (None, _, _) => Target::Invalid("the identifier names no channel".to_owned()),
    };
    (target, watch)
}

fn join(raw: Option<&RawValue>) -> Result<JoinRequest, String> {
    #[derive(Deserialize)]
    struct Arguments<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        info: Option<&'a RawValue>,
    }
    let raw = object(raw, "presence")?.ok_or("presence is missing: {\"id\":…,\"info\":…}")?;
    let arguments: Arguments<'_> =
        serde_json::from_str(raw).map_err(|error| format!("presence is not readable: {error}"))?;
    let id = arguments.id.ok_or("the presence id is missing")?;
    let id = borrowed_string(id).map_err(|_| "the presence id is not a string")?;
    let info = arguments.info.map_or("null", RawValue::get);
    if let Some(objection) = plain::objection(info) {
        return Err(format!("the presence info {objection}"));
    }
    Ok(JoinRequest { id: Some((&*id).into()), info: info.into() })
}

fn list(raw: Option<&RawValue>) -> Result<Listing, String> {
    #[derive(Deserialize)]
    struct Arguments {
        return_records: Option<bool>,
    }
    let Some(raw) = object(raw, "data")? else { return Ok(Listing::Members) };
    let arguments: Arguments =
        serde_json::from_str(raw).map_err(|error| format!("data is not readable: {error}"))?;
    let records = arguments.return_records.unwrap_or(true);
    Ok(if records { Listing::Members } else { Listing::Count })
}

fn history(raw: &RawValue) -> Result<HistoryRequest, String> {
    #[derive(Deserialize)]
    struct Arguments {
        since: Option<f64>,
        #[serde(default)]
        streams: serde_json::Map<String, serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Place {
        epoch: String,
        offset: u64,
    }
    let unreadable = |error: serde_json::Error| format!("history is not readable: {error}");
    let raw = object(Some(raw), "history")?.ok_or("history is missing")?;
    let arguments: Arguments = serde_json::from_str(raw).map_err(unreadable)?;
    let positions = arguments.streams.into_iter().map(|(stream, place)| {
        let place: Place = serde_json::from_value(place).map_err(unreadable)?;
        let epoch = Epoch::from(place.epoch.as_str());
        Ok((StreamName::from(stream), StreamPosition { epoch, offset: Offset(place.offset) }))
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let since = arguments.since.map(|seconds| seconds as u64);
    Ok(HistoryRequest { since, positions: positions.collect::<Result<_, String>>()?, joint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = r#""{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}""#;

    fn bad(text: &str) -> (CommandKind, Option<String>, String) {
        let BadCommand { kind, identifier, reason } = decode(text).unwrap_err();
        (kind, identifier.map(Cow::into_owned), reason.into_owned())
    }

    #[test]
    fn the_head_is_that_of_the_whole() {
        let identifier = Some(Cow::Borrowed(ROOM));
        let head = |kind, identifier| Head { reference: None, kind, identifier };
        let frame = |rest: &str| format!(r#"{{"command":"join","identifier":{ROOM}{rest}}}"#);
        for rest in ["", r#","presence":{"id":"u1"}"#, r#","presence":5"#] {
            assert_eq!(decode_head(&frame(rest)), head(CommandKind::Join, identifier.clone()));
        }
        assert_eq!(decode_head(r#"{"command":"ping"}"#), head(CommandKind::Ping, None));
        assert_eq!(decode_head(r#"{"command":"join"}"#), head(CommandKind::Join, None));
        assert_eq!(decode_head("nonsense"), head(CommandKind::Unknown, None));
    }

    #[test]
    fn a_subscription_names_its_stream() {
        let text = format!(
            r#"{{"command":"subscribe","identifier":{ROOM},"presence":{{"id":"u1","info":{{"n":1.0}}}}}}"#
        );
        let ClientCommand::Subscribe { identifier, target, history, join, .. } =
            decode(&text).unwrap()
        else {
            panic!("not a subscribe")
        };
        assert_eq!(identifier, ROOM);
        assert_eq!(target, Target::Public("room/1".into()));
        assert_eq!(history, None);
        let join = join.unwrap().unwrap();
        assert_eq!((join.id, join.info.as_str()), (Some("u1".into()), r#"{"n":1.0}"#));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(bad("nonsense").0, CommandKind::Unknown);
        assert_eq!(bad("[]").0, CommandKind::Unknown);
        assert!(bad(r#"{"command":"dance"}"#).2.contains("no such command"));
        assert!(bad(r#"{"command":5}"#).2.contains("not a string"));
        assert!(bad("{}").2.contains("no command"));
        assert!(bad(r#"{"command":"join"}"#).2.contains("identifier"));
        assert!(bad(r#"{"command":"join","identifier":{}}"#).2.contains("identifier"));
        let join =
            |presence: &str| bad(&format!(r#"{{"command":"join","identifier":{ROOM}{presence}}}"#));
        assert_eq!(join("").1.unwrap(), ROOM);
        assert!(join(r#","presence":5"#).2.contains("not a JSON object"));
        assert!(join(r#","presence":{"id":5}"#).2.contains("not a string"));
        assert!(join(r#","presence":{}"#).2.contains("missing"));
        let (kind, identifier, _) =
            bad(&format!(r#"{{"command":"presence","identifier":{ROOM},"data":[1]}}"#));
        assert_eq!((kind, identifier.unwrap().as_str()), (CommandKind::Presence, ROOM));
    }

    #[test]
    fn identifiers_that_lead_nowhere() {
        let target_of = |inner: &str| target(&serde_json::to_string(inner).unwrap()).0;
        for inner in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"channel":"$pubsub"}"#,
            r#"{"channel":"$pubsub","stream_name":""}"#,
            r#"{"channel":"$pubsub","stream_name":5}"#,
            r#"{"channel":5}"#,
        ] {
            assert!(matches!(target_of(inner), Target::Invalid(_)), "{inner}");
        }
        assert_eq!(
            target_of(r#"{"channel":"ChatChannel"}"#),
            Target::Channel("ChatChannel".into())
        );
        let signed = r#"{"channel":"$pubsub","signed_stream_name":"abc--def"}"#;
        assert_eq!(target_of(signed), Target::Signed("abc--def".into()));
    }

    #[test]
    fn lists_may_be_counts() {
        let records = |data: &str| {
            let text = format!(r#"{{"command":"presence","identifier":{ROOM}{data}}}"#);
            matches!(decode(&text), Ok(ClientCommand::Presence { listing: Listing::Members, .. }))
        };
        assert!(records("") && records(r#","data":{}"#) && records(r#","data":null"#));
        assert!(!records(r#","data":{"return_records":false}"#));
    }

    #[test]
    fn history_requests_carry_positions() {
        let text = format!(
            r#"{{"command":"history","identifier":{ROOM},"history":{{"since":5,"streams":{{"a":{{"epoch":"e","offset":3}}}}}}}}"#
        );
        let Ok(ClientCommand::History { request, .. }) = decode(&text) else { panic!("{text}") };
        assert_eq!(request.since, Some(5));
        assert_eq!(request.positions.len(), 1);
    }
}

//! Frames from the client → commands.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{DEFAULT_IDENTIFIER, DEFAULT_ROOM, JOIN, LEAVE, LIST};
use crate::protocol::read::{borrowed_string, canonical_token, object};
use crate::protocol::write;
use crate::types::{
    Arrival, BadCommand, ClientCommand, CommandKind, Head, JoinRequest, Listing, PresenceId,
    RawJson, StreamName, Target, Watch,
};

/// Reads one frame.
pub fn decode(text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    let (kind, payload) = open(text)?;
    let bad = |reason: Cow<'static, str>| BadCommand { kind, identifier: None, reason };
    let payload = Payload::read(payload).map_err(|reason| bad(reason.into()))?;
    let room = payload.room().map_err(|reason| bad(reason.into()))?;
    match kind {
        CommandKind::Join => {
            let id = payload.user().map_err(|reason| bad(reason.into()))?;
            let join = JoinRequest { info: info(&id), id: Some(id) };
            Ok(follow(room, Some(join), None))
        }
        CommandKind::Leave => {
            let id = payload.user().map_err(|reason| bad(reason.into()))?;
            Ok(ClientCommand::Leave { identifier: room.identifier, id: Some(id) })
        }
        // naming a room is following it: only who follows it is told who is there
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

/// Reads of a frame only what it takes to refuse it.
pub fn decode_head(text: &str) -> Head<'_> {
    let (kind, identifier) = match open(text) {
        Ok((kind, payload)) => {
            let room = Payload::read(payload).ok().and_then(|payload| payload.room().ok());
            (kind, room.map(|room| room.identifier))
        }
        Err(BadCommand { kind, identifier, .. }) => (kind, identifier),
    };
    Head { reference: None, kind, identifier }
}

/// Opening a socket is following the default room, and everyone there is told.
pub fn follow_default_room() -> ClientCommand<'static> {
    let room = Room {
        identifier: DEFAULT_IDENTIFIER.into(),
        target: Target::Public(DEFAULT_ROOM.into()),
    };
    follow(room, None, None)
}

const NO_SUCH_TYPE: &str =
    "there is no such type: send presence.join, presence.leave or presence.list";

/// A room as its subscription names it, and what it leads to.
struct Room<'a> {
    identifier: Cow<'a, str>,
    target: Target,
}

/// Follows a room, unless it is followed already.
fn follow(
    room: Room<'_>,
    join: Option<JoinRequest>,
    list_before: Option<Listing>,
) -> ClientCommand<'_> {
    // those who come without opening a socket there come for a reason that is told
    let is_announced = room.identifier == DEFAULT_IDENTIFIER;
    ClientCommand::Subscribe {
        identifier: room.identifier,
        target: room.target,
        history: None,
        join: join.map(Ok),
        watch: Watch::Members,
        arrival: Arrival { list_before, is_announced, ..Arrival::default() },
    }
}

/// Reads which type a frame has, and leaves its payload to be read.
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

/// What a payload can say; other keys are left alone.
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
        let (identifier, name) = match self.room {
            None => (DEFAULT_IDENTIFIER.into(), StreamName::from(DEFAULT_ROOM)),
            Some(raw) => {
                let token = canonical_token(raw.get()).ok_or("the room is not a string")?;
                let name = borrowed_string(raw).map_err(|_| "the room is not a string")?;
                if name.is_empty() {
                    return Err("the room is empty: name one, or none for the default room");
                }
                (token, StreamName::from(&*name))
            }
        };
        let target = match self.signed_stream_name {
            None => Target::Public(name),
            Some(signed) => {
                let signed = borrowed_string(signed);
                let signed = signed.map_err(|_| "the signed stream name is not a string")?;
                Target::SignedAs { signed: signed.into_owned(), name }
            }
        };
        Ok(Room { identifier, target })
    }
}

/// What others see of somebody who has nothing but a name.
fn info(user: &PresenceId) -> RawJson {
    let mut info = b"{\"name\":".to_vec();
    write::string(&mut info, user.as_str());
    info.push(b'}');
    String::from_utf8(info).map_or_else(|_| RawJson::from("null"), RawJson::from)
}

fn unknown(reason: impl Into<Cow<'static, str>>) -> BadCommand<'static> {
    BadCommand { kind: CommandKind::Unknown, identifier: None, reason: reason.into() }
}

//! Frames from the client → requests.
//!
//! A frame is read once into slices of itself. Topics and references stay the JSON tokens they are
//! on the wire.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::names::{HEARTBEAT_TOPIC, is_reserved};
use crate::protocol::plain;
use crate::protocol::read::{borrowed_string, canonical_token, object};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, Head, JoinRequest, Listing, RawJson, Reference,
    Request, StreamName, SubscribeOptions, Target, Watch, Whisper,
};

/// Maximum length of a reference, in bytes of its token. Clients number their requests; one reference is
/// kept per subscription.
const LONGEST_REFERENCE: usize = 64;

/// Reads one frame, received at a time since the Unix epoch.
pub(super) fn decode(text: &str, now: impl FnOnce() -> Duration) -> Request<'_> {
    let (Head { reference, kind, identifier }, opened) = open(text);
    let command = match (opened, identifier) {
        (Ok(Opened { event: Event::Heartbeat, .. }), _) => Ok(ClientCommand::Ping),
        (Ok(opened), Some(identifier)) => about_topic(opened, identifier, now),
        (Ok(_), None) => Err(bad(kind, None, "the topic is not a string")),
        (Err(reason), identifier) => Err(bad(kind, identifier, reason)),
    };
    Request { reference, command }
}

/// Reads only the kind and the subscription of a command.
pub(super) fn decode_head(text: &str) -> Head<'_> {
    open(text).0
}

/// A frame whose payload isn't read yet.
struct Opened<'a> {
    event: Event<'a>,
    topic: Cow<'a, str>,
    payload: &'a RawValue,
}

/// Kind of a request.
enum Event<'a> {
    Heartbeat,
    Join,
    Leave,
    Track,
    Update,
    Untrack,
    /// A message of the application's clients to the others of a topic.
    Other(Cow<'a, str>),
}

impl<'a> Event<'a> {
    fn of(name: Cow<'a, str>) -> Self {
        match &*name {
            "phx_join" => Self::Join,
            "phx_leave" => Self::Leave,
            "presence:track" => Self::Track,
            "presence:update" => Self::Update,
            "presence:untrack" => Self::Untrack,
            _ => Self::Other(name),
        }
    }

    const fn kind(&self) -> CommandKind {
        match self {
            Self::Heartbeat => CommandKind::Ping,
            Self::Join => CommandKind::Subscribe,
            Self::Leave => CommandKind::Unsubscribe,
            Self::Track | Self::Update => CommandKind::Join,
            Self::Untrack => CommandKind::Leave,
            Self::Other(_) => CommandKind::Whisper,
        }
    }
}

/// Reads a frame's kind, or why it is invalid, without its payload.
fn open(text: &str) -> (Head<'_>, Result<Opened<'_>, Cow<'static, str>>) {
    let frame: Frame<'_> = match serde_json::from_str(text) {
        Ok(frame) => frame,
        Err(error) => {
            let head = Head { reference: None, kind: CommandKind::Unknown, identifier: None };
            return (head, Err(format!("the frame is not readable: {error}").into()));
        }
    };
    let (subscription, request) = (reference(frame.join_ref), reference(frame.reference));
    let is_referred = subscription.is_some() && request.is_some();
    let (subscription, request) = (subscription.flatten(), request.flatten());
    let (event, topic) = (borrowed_string(frame.event), borrowed_string(frame.topic));
    let event = event.map(Event::of);
    let kind = event.as_ref().map_or(CommandKind::Unknown, Event::kind);
    let identifier = canonical_token(frame.topic.get());
    let head = |kind, identifier| {
        let reference = Some(Arc::new(Reference { subscription, request }));
        Head { reference, kind, identifier }
    };
    let payload = frame.payload;
    let opened = match (event, topic, identifier.as_deref()) {
        _ if !is_referred => {
            Err(format!("a reference is a string of up to {LONGEST_REFERENCE} bytes, or null"))
        }
        (Ok(Event::Other(event)), Ok(topic), Some(HEARTBEAT_TOPIC)) if event == "heartbeat" => {
            let opened = Opened { event: Event::Heartbeat, topic, payload };
            return (head(CommandKind::Ping, None), Ok(opened));
        }
        (_, _, Some(HEARTBEAT_TOPIC)) => {
            Err("the topic \"phoenix\" is for heartbeats: use another one".to_owned())
        }
        (_, _, Some("\"\"")) => Err("the topic is empty: name one".to_owned()),
        (Ok(event), Ok(topic), Some(_)) => Ok(Opened { event, topic, payload }),
        (Err(error), _, _) => Err(format!("the event is not a string: {error}")),
        (_, Err(error), _) => Err(format!("the topic is not a string: {error}")),
        (_, _, None) => Err("the topic is not a string".to_owned()),
    };
    (head(kind, identifier), opened.map_err(Cow::Owned))
}

const FIVE_ELEMENTS: &str = "an array of five elements: [join_ref, ref, topic, event, payload]";

/// The five elements of a frame.
struct Frame<'a> {
    join_ref: &'a RawValue,
    reference: &'a RawValue,
    topic: &'a RawValue,
    event: &'a RawValue,
    payload: &'a RawValue,
}

impl<'de> Deserialize<'de> for Frame<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Frame<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FIVE_ELEMENTS)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut next = || {
                    let element = seq.next_element::<&RawValue>()?;
                    element.ok_or_else(|| {
                        A::Error::custom(format_args!("it has to be {FIVE_ELEMENTS}"))
                    })
                };
                let frame = Frame {
                    join_ref: next()?,
                    reference: next()?,
                    topic: next()?,
                    event: next()?,
                    payload: next()?,
                };
                // Phoenix leaves alone what comes after them
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(frame)
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

/// A reference as its token, if it is one: none, a string, or a number that counts.
///
/// Phoenix takes any JSON for one. The clients there are (for JavaScript, Swift, Kotlin, Elixir) send
/// strings; a number costs nothing.
#[expect(clippy::option_option, reason = "no reference is a good one")]
fn reference(raw: &RawValue) -> Option<Option<Box<str>>> {
    let token = raw.get();
    if token == "null" {
        return Some(None);
    }
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
    let is_good = is_number || token.starts_with('"') && plain::objection(token).is_none();
    (is_good && token.len() <= LONGEST_REFERENCE).then(|| Some(token.into()))
}

fn about_topic<'a>(
    Opened { event, topic, payload }: Opened<'a>,
    identifier: Cow<'a, str>,
    now: impl FnOnce() -> Duration,
) -> Result<ClientCommand<'a>, BadCommand<'a>> {
    let kind = event.kind();
    let command = match event {
        Event::Join => {
            return match Joining::read(payload, &topic, now) {
                Ok(Joining { target, join, watch }) => Ok(ClientCommand::Subscribe {
                    identifier,
                    target,
                    history: None,
                    join: Some(Ok(join)),
                    watch,
                    options: SubscribeOptions {
                        list_before: (watch == Watch::Members).then_some(Listing::Records),
                        ..SubscribeOptions::default()
                    },
                }),
                Err(reason) => Err(bad(kind, Some(identifier), reason)),
            };
        }
        Event::Leave => return Ok(ClientCommand::Unsubscribe { identifier }),
        Event::Untrack => return Ok(ClientCommand::Leave { identifier, id: None }),
        Event::Other(event) if !is_reserved(&event) => {
            let whisper = Whisper { event: Some((&*event).into()), data: payload.get().into() };
            return Ok(ClientCommand::Whisper { identifier, whisper, author: None });
        }
        Event::Track => tracking(payload, now).map(|join| (join, false)),
        Event::Update => tracking(payload, now).map(|join| (join, true)),
        Event::Heartbeat | Event::Other(_) => {
            Err("this event is not for clients to send: give it another name".to_owned())
        }
    };
    match command {
        Ok((join, false)) => Ok(ClientCommand::Join { identifier, join }),
        Ok((join, true)) => Ok(ClientCommand::Update { identifier, join }),
        Err(reason) => Err(bad(kind, Some(identifier), reason)),
    }
}

fn bad(
    kind: CommandKind,
    identifier: Option<Cow<'_, str>>,
    reason: impl Into<Cow<'static, str>>,
) -> BadCommand<'_> {
    BadCommand { kind, identifier, reason: reason.into() }
}

/// The keys of a payload that the broker reads; others are the application's.
#[derive(Default, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    signed_stream_name: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, String> {
        let Some(raw) = object(Some(raw), "the payload")? else { return Ok(Self::default()) };
        serde_json::from_str(raw).map_err(|error| format!("the payload is not readable: {error}"))
    }
}

/// The payload of a `phx_join`.
struct Joining {
    target: Target,
    join: JoinRequest,
    watch: Watch,
}

impl Joining {
    fn read(
        payload: &RawValue,
        topic: &str,
        now: impl FnOnce() -> Duration,
    ) -> Result<Self, String> {
        let Payload { meta, signed_stream_name, presence } = Payload::read(payload)?;
        let name = StreamName::from(topic);
        let target = match signed_stream_name {
            None => Target::Public(name),
            Some(signed) => {
                let signed = borrowed_string(signed);
                let signed = signed.map_err(|_| "the signed_stream_name is not a string")?;
                Target::SignedFor { name, signed: signed.into_owned() }
            }
        };
        let watch = match presence.map(RawValue::get) {
            Some("\"occupancy\"") => Watch::Occupancy,
            Some(_) | None => Watch::Members, // an application's own parameter
        };
        Ok(Self { target, join: present(meta, now)?, watch })
    }
}

fn tracking(payload: &RawValue, now: impl FnOnce() -> Duration) -> Result<JoinRequest, String> {
    present(Payload::read(payload)?.meta, now)
}

/// A join under the connection's presence id. The client's meta is merged over `online_at`, the key of
/// Phoenix's own examples.
fn present(meta: Option<&RawValue>, now: impl FnOnce() -> Duration) -> Result<JoinRequest, String> {
    let meta = object(meta, "the meta")?.unwrap_or("{}");
    if let Some(objection) = plain::objection(meta) {
        return Err(format!("the meta {objection}"));
    }
    let inside = meta.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.unwrap_or_default().trim_ascii();
    let info = if says_since_when(meta) {
        RawJson::from(meta)
    } else {
        let separator = if inside.is_empty() { "" } else { "," };
        let now = now().as_secs();
        format!("{{\"online_at\":\"{now}\"{separator}{inside}}}").into()
    };
    Ok(JoinRequest { id: None, info })
}

/// Whether a client's meta has an `online_at`.
fn says_since_when(meta: &str) -> bool {
    #[derive(Default)]
    struct Present(bool);

    impl<'de> Deserialize<'de> for Present {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(deserializer).map(|_| Self(true))
        }
    }

    #[derive(Deserialize)]
    struct Keys {
        #[serde(default)]
        online_at: Present,
    }

    // an escape could spell anything; what has the key twice is not readable
    (meta.contains("online_at") || meta.contains('\\'))
        && serde_json::from_str::<Keys>(meta).map_or(true, |keys| keys.online_at.0)
}

#[cfg(test)]
mod tests;

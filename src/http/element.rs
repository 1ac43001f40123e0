//! Elements of a publish request's body, parsed and checked.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::action_cable;
use crate::types::{Label, Labels, PresenceId, RawJson, SessionId, StreamName};

/// One element of a publish request.
#[derive(Debug, PartialEq, Eq)]
pub enum Element {
    /// A publication.
    Publish {
        /// The stream; never empty.
        stream: StreamName,
        /// The payload for subscribers.
        data: RawJson,
        /// Event name and broadcast type, if given.
        labels: Labels,
        /// Session that doesn't get it live.
        except: Option<SessionId>,
        /// Whether it is delivered live only, without history.
        is_transient: bool,
    },
    /// A remote disconnect.
    Disconnect(Disconnect),
}

/// Whose connections to close.
#[derive(Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Token identifiers; this or the presence id is set.
    pub identifier: Option<String>,
    /// Presence id from tokens or handshakes; never empty.
    pub presence_id: Option<PresenceId>,
    /// Whether the clients may reconnect.
    pub reconnect: bool,
}

/// Parses a body. An error is a message for the publisher's developer.
pub fn decode(body: &[u8], max_stream_name: usize) -> Result<Vec<Element>, String> {
    let unreadable = |error: serde_json::Error| format!("the body is not readable JSON: {error}");
    if body.trim_ascii_start().first() != Some(&b'[') {
        let element: &RawValue = serde_json::from_slice(body).map_err(unreadable)?;
        return Ok(vec![parse_element(element, max_stream_name)?]);
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
    let elements = elements.into_iter().enumerate().map(|(number, element)| {
        parse_element(element, max_stream_name)
            .map_err(|error| format!("element {number}: {error}"))
    });
    elements.collect()
}

fn parse_element(element: &RawValue, max_stream_name: usize) -> Result<Element, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        command: Option<&'a RawValue>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        #[serde(borrow)]
        stream: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        meta: Option<&'a RawValue>,
    }
    if !element.get().starts_with('{') {
        return Err("a publication is a JSON object: {\"stream\":…,\"data\":…}".to_owned());
    }
    let fields: Fields<'_> =
        serde_json::from_str(element.get()).map_err(|error| error.to_string())?;
    match text("command", fields.command, A_STRING)?.as_deref() {
        Some("disconnect") => return parse_disconnect(fields.payload).map(Element::Disconnect),
        Some(other) => {
            return Err(format!("unknown command {other:?}: the only one is disconnect"));
        }
        None => {}
    }
    let stream = text("stream", fields.stream, A_STRING)?.ok_or("`stream` is missing")?;
    if stream.is_empty() {
        return Err("`stream` is empty".to_owned());
    }
    if stream.len() > max_stream_name {
        return Err(format!(
            "`stream` has {} bytes, at most {max_stream_name} are allowed",
            stream.len()
        ));
    }
    let data =
        text("data", fields.data, r#"it as a string of JSON, such as "{\"text\":\"hello\"}""#)?;
    let data = data.ok_or("`data` is missing: a string, usually of JSON")?;
    let Meta { labels, except, is_transient } = parse_meta(fields.meta)?;
    let (stream, data) = (StreamName::from(&*stream), payload(&data));
    Ok(Element::Publish { stream, data, labels, except, is_transient })
}

/// Valid JSON passes unchanged; any other text becomes a JSON string.
fn payload(data: &str) -> RawJson {
    if serde_json::from_str::<&RawValue>(data).is_ok() {
        return RawJson::from(data);
    }
    RawJson::from(serde_json::Value::from(data).to_string())
}

/// Fields of a publication besides its payload.
#[derive(Default)]
struct Meta {
    labels: Labels,
    except: Option<SessionId>,
    is_transient: bool,
}

fn parse_meta(meta: Option<&RawValue>) -> Result<Meta, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        exclude_socket: Option<&'a RawValue>,
        #[serde(borrow)]
        event: Option<&'a RawValue>,
        #[serde(borrow)]
        broadcast_type: Option<&'a RawValue>,
        #[serde(borrow)]
        transient: Option<&'a RawValue>,
    }
    let Some(fields) = object::<Fields<'_>>("meta", meta)? else { return Ok(Meta::default()) };
    let name = |field, value| -> Result<Option<Arc<str>>, String> {
        Ok(text(field, value, A_STRING)?.filter(|name| !name.is_empty()).map(Arc::from))
    };
    let event = name("meta.event", fields.event)?;
    let frame_type = name("meta.broadcast_type", fields.broadcast_type)?;
    if let Some(taken) = frame_type.as_deref().filter(|name| action_cable::is_frame_type(name)) {
        return Err(format!(
            "`meta.broadcast_type` is {taken:?}, the type of a frame that means something else to \
             clients: take another name"
        ));
    }
    let except = text("meta.exclude_socket", fields.exclude_socket, A_STRING)?;
    Ok(Meta {
        labels: Label::new(event, frame_type),
        // an unknown sid excludes nobody
        except: except.and_then(|sid| SessionId::parse(&sid)),
        is_transient: flag("meta.transient", fields.transient)?,
    })
}

fn parse_disconnect(payload: Option<&RawValue>) -> Result<Disconnect, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        identifier: Option<&'a RawValue>,
        #[serde(borrow)]
        presence_id: Option<&'a RawValue>,
        #[serde(borrow)]
        reconnect: Option<&'a RawValue>,
    }
    let fields = object::<Fields<'_>>("payload", payload)?.ok_or("`payload` is missing")?;
    let identifier = text(
        "payload.identifier",
        fields.identifier,
        r#"it as a string of JSON, such as "{\"user\":42}""#,
    )?;
    let presence_id = text("payload.presence_id", fields.presence_id, A_STRING)?;
    if presence_id.as_deref() == Some("") {
        return Err("`payload.presence_id` is empty".to_owned());
    }
    if identifier.is_none() && presence_id.is_none() {
        return Err("`payload.identifier` is missing, or `payload.presence_id`".to_owned());
    }
    let presence_id = presence_id.as_deref().map(PresenceId::from);
    let reconnect = flag("payload.reconnect", fields.reconnect)?;
    Ok(Disconnect { identifier, presence_id, reconnect })
}

const A_STRING: &str = "a string";

/// A field's text, if present. `wanted` completes the error for other types.
fn text(field: &str, value: Option<&RawValue>, wanted: &str) -> Result<Option<String>, String> {
    let Some(value) = value else { return Ok(None) };
    if !value.get().starts_with('"') {
        return Err(unlike(field, value, wanted));
    }
    serde_json::from_str(value.get()).map(Some).map_err(|error| format!("`{field}`: {error}"))
}

fn flag(field: &str, value: Option<&RawValue>) -> Result<bool, String> {
    match value {
        None => Ok(false),
        Some(value) => {
            serde_json::from_str(value.get()).map_err(|_| unlike(field, value, "true or false"))
        }
    }
}

fn object<'a, T: Deserialize<'a>>(
    field: &str,
    value: Option<&'a RawValue>,
) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    if !value.get().starts_with('{') {
        return Err(unlike(field, value, "an object"));
    }
    serde_json::from_str(value.get()).map(Some).map_err(|error| format!("`{field}`: {error}"))
}

/// Error for a field of the wrong type: its type, and what to send instead.
fn unlike(field: &str, value: &RawValue, wanted: &str) -> String {
    let kind = match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    };
    format!("`{field}` is {kind}: send {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(body: &str) -> Result<Vec<Element>, String> {
        decode(body.as_bytes(), 20)
    }

    #[test]
    fn one_or_many() {
        let element = |data: &str| {
            let (stream, data) = ("a".into(), data.into());
            Element::Publish { stream, data, labels: None, except: None, is_transient: false }
        };
        assert_eq!(
            published(r#"{"stream":"a","data":"{ \"n\":1.0 }"}"#),
            Ok(vec![element(r#"{ "n":1.0 }"#)])
        );
        assert_eq!(
            published(r#" [{"stream":"a","data":"1"},{"stream":"a","data":"hello"}] "#),
            Ok(vec![element("1"), element(r#""hello""#)])
        );
        assert_eq!(published("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |meta: &str| format!(r#"{{"stream":"a","data":"1","meta":{{{meta}}}}}"#);
        let ending = |payload: &str| format!(r#"{{"command":"disconnect","payload":{payload}}}"#);
        for (body, reason) in [
            ("", "not readable JSON"),
            ("5", "JSON object"),
            ("[[]]", "element 0"),
            (r#"{"data":"1"}"#, "`stream` is missing"),
            (r#"{"stream":"","data":"1"}"#, "`stream` is empty"),
            (r#"{"stream":"aaaaaaaaaaaaaaaaaaaaa","data":"1"}"#, "21 bytes"),
            ("\u{C}{\"stream\":\"a\",\"data\":\"1\"}", "not readable JSON"), // no space of JSON's
            (r#"{"stream":"a"}"#, "`data` is missing"),
            (
                r#"{"stream":"a","data":{"n":1}}"#,
                r#"`data` is an object: send it as a string of JSON, such as "{\"text\":\"hello\"}""#,
            ),
            (r#"{"stream":"a","data":[]}"#, "`data` is an array: send it as a string of JSON"),
            (r#"{"stream":"a","data":true}"#, "`data` is a boolean: send it as a string of JSON"),
            (r#"{"stream":"a","data":"\ud800"}"#, "`data`: "),
            (r#"{"stream":5,"data":"1"}"#, "`stream` is a number: send a string"),
            (r#"{"stream":"a","stream":"b","data":"1"}"#, "duplicate field `stream`"),
            (r#"{"command":{}}"#, "`command` is an object: send a string"),
            (r#"{"stream":"a","data":"1","meta":7}"#, "`meta` is a number: send an object"),
            (&with(r#""event":1"#), "`meta.event` is a number: send a string"),
            (&with(r#""event":"a","event":"b""#), "`meta`: duplicate field `event`"),
            (&with(r#""exclude_socket":[]"#), "`meta.exclude_socket` is an array: send a string"),
            (&with(r#""transient":"yes""#), "`meta.transient` is a string: send true or false"),
            (&with(r#""broadcast_type":{}"#), "`meta.broadcast_type` is an object: send a string"),
            (&with(r#""broadcast_type":"ping""#), "take another name"),
            (r#"[{"stream":"a","data":"1"},{"stream":5}]"#, "element 1"),
            (r#"{"command":"dance"}"#, "unknown command"),
            (r#"{"command":"disconnect"}"#, "`payload` is missing"),
            (
                r#"{"command":"disconnect","payload":["a"]}"#,
                "`payload` is an array: send an object",
            ),
            (&ending("{}"), "`payload.identifier` is missing, or `payload.presence_id`"),
            (&ending(r#"{"presence_id":""}"#), "`payload.presence_id` is empty"),
            (&ending(r#"{"presence_id":42}"#), "`payload.presence_id` is a number: send a string"),
            (
                &ending(r#"{"identifier":{"user":42}}"#),
                r#"`payload.identifier` is an object: send it as a string of JSON, such as "{\"user\":42}""#,
            ),
            (
                &ending(r#"{"identifier":"a","reconnect":1}"#),
                "`payload.reconnect` is a number: send true or false",
            ),
        ] {
            let error = published(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn a_remote_disconnect_names_whose() {
        let disconnect = |identifier: &str, reconnect| {
            let identifier = Some(identifier.to_owned());
            Ok(vec![Element::Disconnect(Disconnect { identifier, presence_id: None, reconnect })])
        };
        let parsed = |rest: &str| {
            let payload = format!(r#"{{"identifier":"{{\"user\":1}}"{rest}}}"#);
            published(&format!(r#"{{"command":"disconnect","payload":{payload}}}"#))
        };
        assert_eq!(parsed(""), disconnect(r#"{"user":1}"#, false));
        assert_eq!(parsed(r#","reconnect":true"#), disconnect(r#"{"user":1}"#, true));
        let body = r#"{"command":"disconnect","payload":{"presence_id":"42"}}"#;
        let presence_id = Some("42".into());
        let of = Disconnect { identifier: None, presence_id, reconnect: false };
        assert_eq!(published(body), Ok(vec![Element::Disconnect(of)]));
    }

    #[test]
    fn the_excluded_socket() {
        let sid = SessionId::from_bits(7);
        let body = format!(r#"{{"stream":"a","data":"1","meta":{{"exclude_socket":"{sid}"}}}}"#);
        let [Element::Publish { except, .. }] = &published(&body).unwrap()[..] else { panic!() };
        assert_eq!(*except, Some(sid));
    }

    #[test]
    fn how_clients_are_to_take_it() {
        let labels = |meta: &str| {
            let body = format!(r#"{{"stream":"a","data":"1","meta":{meta}}}"#);
            let [Element::Publish { labels, is_transient, .. }] = &published(&body).unwrap()[..]
            else {
                panic!()
            };
            (labels.clone(), *is_transient)
        };
        let is = |event: Option<&str>, frame_type: Option<&str>| {
            Label::new(event.map(Into::into), frame_type.map(Into::into))
        };
        for (meta, expected) in [
            ("null", (None, false)),
            ("{}", (None, false)),
            (r#"{"event":"","broadcast_type":"","transient":false}"#, (None, false)),
            (r#"{"event":null,"broadcast_type":null,"transient":null}"#, (None, false)),
            (r#"{"event":"e","other":[1]}"#, (is(Some("e"), None), false)),
            (r#"{"broadcast_type":"t","transient":true}"#, (is(None, Some("t")), true)),
            (r#"{"broadcast_type":"t","event":"e"}"#, (is(Some("e"), Some("t")), false)),
        ] {
            assert_eq!(labels(meta), expected, "{meta}");
        }
    }
}

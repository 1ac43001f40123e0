//! JSON → replies. Read liberally: the contract's servers leave defaults out, those in other languages write `null`,
//! `""` or the names that protobuf's own JSON has.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::types::{PresenceReply, RawJson, Reply, ReplyStatus, StateValue};

/// Reads an answer, or says what is wrong with it.
pub(in super::super) fn read(bytes: &[u8]) -> Result<Box<Reply>, String> {
    let answer: Answer<'_> = object(bytes)?;
    let env = answer.env.filter(|raw| !is_default(raw.get()));
    let env: EnvAnswer<'_> =
        env.map_or_else(|| Ok(EnvAnswer::default()), |raw| object(raw.get().as_bytes()))?;
    Ok(Box::new(Reply {
        status: status(answer.status)?,
        identifiers: field("identifiers", answer.identifiers)?,
        transmissions: texts("transmissions", answer.transmissions)?,
        error: field("error_msg", answer.error_msg)?,
        connection: state("cstate", env.cstate)?,
        channel: state("istate", env.istate)?,
        disconnect: field("disconnect", answer.disconnect)?,
        stop_streams: field("stop_streams", answer.stop_streams)?,
        stopped_streams: texts("stopped_streams", answer.stopped_streams)?,
        streams: texts("streams", answer.streams)?,
        presence: presence(answer.presence)?,
    }))
}

/// What the application wants of presence. `kind` is `join` or `leave`.
pub(in super::super) fn presence_reply(
    kind: &str,
    id: String,
    info: &str,
    ttl: u32,
) -> Result<Option<PresenceReply>, String> {
    match kind {
        "" => Ok(None),
        "join" => {
            let info = if info.is_empty() { "{}" } else { info };
            let valid: Result<IgnoredAny, _> = serde_json::from_str(info);
            valid.map_err(|_| "its presence.info isn't JSON".to_owned())?;
            Ok(Some(PresenceReply::Join { id, info: RawJson::from(info), ttl }))
        }
        "leave" => Ok(Some(PresenceReply::Leave { id })),
        _ => Err(format!("its presence.type is {kind:?}, neither join nor leave")),
    }
}

/// The fields of all answers, unread.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    identifiers: Option<&'a RawValue>,
    #[serde(borrow)]
    transmissions: Option<&'a RawValue>,
    #[serde(borrow, alias = "errorMsg")]
    error_msg: Option<&'a RawValue>,
    #[serde(borrow)]
    env: Option<&'a RawValue>,
    #[serde(borrow)]
    disconnect: Option<&'a RawValue>,
    #[serde(borrow, alias = "stopStreams")]
    stop_streams: Option<&'a RawValue>,
    #[serde(borrow, alias = "stoppedStreams")]
    stopped_streams: Option<&'a RawValue>,
    #[serde(borrow)]
    streams: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EnvAnswer<'a> {
    #[serde(borrow)]
    cstate: Option<&'a RawValue>,
    #[serde(borrow)]
    istate: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Presence<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
}

/// An object; serde would take an array, too.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("it isn't a JSON object".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| format!("it isn't readable JSON: {error}"))
}

/// `null` and `""` are the default of any field.
fn is_default(raw: &str) -> bool {
    matches!(raw, "null" | "\"\"")
}

fn field<T: DeserializeOwned + Default>(name: &str, raw: Option<&RawValue>) -> Result<T, String> {
    match raw.map(RawValue::get) {
        None => Ok(T::default()),
        Some(raw) if is_default(raw) => Ok(T::default()),
        Some(raw) => {
            serde_json::from_str(raw).map_err(|error| format!("its {name} can't be read: {error}"))
        }
    }
}

/// Texts, without those that are `null`.
fn texts(name: &str, raw: Option<&RawValue>) -> Result<Vec<String>, String> {
    let texts: Vec<Option<String>> = field(name, raw)?;
    Ok(texts.into_iter().flatten().collect())
}

/// A status as a number, its name, or a number in quotes.
fn status(raw: Option<&RawValue>) -> Result<ReplyStatus, String> {
    match raw.map_or("0", RawValue::get).trim_matches('"') {
        "" | "null" | "0" | "ERROR" => Ok(ReplyStatus::Error),
        "1" | "SUCCESS" => Ok(ReplyStatus::Success),
        "2" | "FAILURE" => Ok(ReplyStatus::Failure),
        _ => Err("its status is none of 0 (ERROR), 1 (SUCCESS) and 2 (FAILURE)".to_owned()),
    }
}

fn state(name: &str, raw: Option<&RawValue>) -> Result<Vec<(Box<str>, StateValue)>, String> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| !is_default(raw)) else {
        return Ok(Vec::new());
    };
    let unreadable = |error| format!("its env.{name} can't be read: {error}");
    let entries: BTreeMap<Box<str>, &RawValue> = serde_json::from_str(raw).map_err(unreadable)?;
    let value = |raw: &str| -> Result<StateValue, serde_json::Error> {
        if raw == "null" {
            return Ok(StateValue::Text(Box::default()));
        }
        if raw.starts_with('"') {
            return Ok(StateValue::Text(serde_json::from_str(raw)?));
        }
        Ok(StateValue::Json(RawJson::from(raw)))
    };
    let entries = entries.into_iter().map(|(key, raw)| Ok((key, value(raw.get())?)));
    entries.collect::<Result<_, serde_json::Error>>().map_err(unreadable)
}

fn presence(raw: Option<&RawValue>) -> Result<Option<PresenceReply>, String> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| !is_default(raw)) else {
        return Ok(None);
    };
    let presence: Presence<'_> = object(raw.as_bytes())?;
    let kind: String = field("presence.type", presence.kind)?;
    let id = field("presence.id", presence.id)?;
    let ttl = field("presence.ttl", presence.ttl)?;
    // text with JSON in it, as the contract has it, or the JSON itself
    let info = match presence.info.map(RawValue::get) {
        Some(raw) if raw.starts_with('"') => field("presence.info", presence.info)?,
        Some("null") | None => String::new(),
        Some(raw) => raw.to_owned(),
    };
    presence_reply(&kind, id, &info, ttl)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(text: &str) -> Reply {
        *read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_absent_null_or_empty_is_the_default() {
        for text in [
            "{}",
            r#"{"status":0}"#,
            r#"{"status":null,"identifiers":null,"transmissions":null,"error_msg":null,"env":null,
               "disconnect":null,"stop_streams":null,"streams":null,"stopped_streams":null,"presence":null}"#,
            r#"{"status":"","identifiers":"","transmissions":"","error_msg":"","env":"",
               "disconnect":"","stop_streams":"","streams":"","stopped_streams":"","presence":""}"#,
            r#"{"env":{"cstate":null,"istate":""},"presence":{},"transmissions":[null],"unknown":[1]}"#,
            r#"{"presence":{"type":null,"id":null,"info":null,"ttl":null}}"#,
        ] {
            assert_eq!(reply(text), Reply::default(), "{text}");
        }
    }

    #[test]
    fn all_of_an_answer_is_read_in_either_spelling() {
        let expected = Reply {
            status: ReplyStatus::Success,
            identifiers: "i".into(),
            transmissions: vec!["{\"type\":\"ping\"}".into(), "b".into()],
            error: "e".into(),
            connection: vec![("a".into(), StateValue::Text("1".into()))],
            channel: vec![
                ("x".into(), StateValue::Json("{\"n\": 9007199254740993}".into())),
                ("y".into(), StateValue::Text("".into())),
            ],
            disconnect: true,
            stop_streams: true,
            stopped_streams: vec!["s".into()],
            streams: vec!["t".into()],
            presence: Some(PresenceReply::Join {
                id: "u".into(),
                info: "{\"name\":\"é\"}".into(),
                ttl: 7,
            }),
        };
        for (status, [error, stop, stopped]) in [
            ("1", ["error_msg", "stop_streams", "stopped_streams"]),
            ("\"SUCCESS\"", ["errorMsg", "stopStreams", "stoppedStreams"]),
        ] {
            let text = format!(
                r#"{{"status":{status},"identifiers":"i","transmissions":["{{\"type\":\"ping\"}}","b"],"{error}":"e",
                "env":{{"cstate":{{"a":"1"}},"istate":{{"y":null,"x":{{"n": 9007199254740993}}}}}},"disconnect":true,
                "{stop}":true,"{stopped}":["s"],"streams":["t"],
                "presence":{{"type":"join","id":"u","info":"{{\"name\":\"\u00e9\"}}","ttl":7}}}}"#
            );
            assert_eq!(reply(&text), expected);
        }
        let direct = r#"{"status":2,"presence":{"type":"join","id":"u","info":{"a": 1}}}"#;
        let expected = PresenceReply::Join { id: "u".into(), info: "{\"a\": 1}".into(), ttl: 0 };
        assert_eq!(reply(direct).presence, Some(expected));
        let leave = r#"{"status":"FAILURE","presence":{"type":"leave","id":"u"}}"#;
        assert_eq!(reply(leave).presence, Some(PresenceReply::Leave { id: "u".into() }));
        assert_eq!(
            (reply(direct).status, reply(leave).status),
            (ReplyStatus::Failure, ReplyStatus::Failure)
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (text, why) in [
            ("", "isn't a JSON object"),
            ("null", "isn't a JSON object"),
            ("[1]", "isn't a JSON object"),
            ("<html>", "isn't a JSON object"),
            ("{\"status\":1", "isn't readable JSON"),
            ("{\"status\":3}", "status is none of"),
            ("{\"status\":true}", "status is none of"),
            ("{\"transmissions\":\"a\"}", "its transmissions can't be read"),
            ("{\"transmissions\":[{}]}", "its transmissions can't be read"),
            ("{\"disconnect\":1}", "its disconnect can't be read"),
            ("{\"env\":{\"cstate\":[]}}", "env.cstate can't be read"),
            ("{\"presence\":{\"type\":\"stay\"}}", "neither join nor leave"),
            ("{\"presence\":{\"type\":\"join\",\"info\":\"{\"}}", "info isn't JSON"),
            ("{\"presence\":{\"ttl\":-1}}", "presence.ttl can't be read"),
        ] {
            let said = read(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(read(b"{\"identifiers\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            field in prop::sample::select(vec!["status", "env", "presence", "streams", "transmissions", "disconnect"]),
            value in "[\\[\\]{}\":,a-z0-9 \\\\-]{0,24}",
        ) {
            drop(read(format!("{{\"{field}\":{value}}}").as_bytes()));
            drop(read(value.as_bytes()));
        }
    }
}

//! Calls → messages, messages → replies.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;

use super::super::json;
use super::proto::{
    CommandMessage, CommandResponse, ConnectionRequest, ConnectionResponse, DisconnectRequest,
    DisconnectResponse, Env, EnvResponse, PresenceResponse, Status,
};
use crate::types::{About, Call, Reply, ReplyStatus, State, StateValue};

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Connect,
    Command,
    Disconnect,
}

/// The message of a call, with its prefix; `None` if it is larger than `max`.
pub(super) fn write(call: &Call, max: usize) -> Option<Bytes> {
    let identifiers = || call.identifiers.as_ref().to_owned();
    match &call.about {
        About::Connect => framed(&ConnectionRequest { env: Some(env(call, BTreeMap::new())) }, max),
        About::Command { kind, identifier, data, channel } => framed(
            &CommandMessage {
                command: json::name(*kind).to_owned(),
                identifier: json::token_text(identifier).into_owned(),
                connection_identifiers: identifiers(),
                data: data.as_ref().to_owned(),
                env: Some(env(call, entries(channel))),
            },
            max,
        ),
        About::Disconnect(subscriptions) => {
            let text = |identifier| json::token_text(identifier).into_owned();
            let states = subscriptions.iter().filter(|(_, state)| !state.entries().is_empty());
            let states = states.map(|(id, state)| (text(id), json::state_text(state))).collect();
            let subscriptions = subscriptions.iter().map(|(identifier, _)| text(identifier));
            let subscriptions = subscriptions.collect();
            let env = Some(env(call, states));
            framed(&DisconnectRequest { identifiers: identifiers(), subscriptions, env }, max)
        }
    }
}

/// The method of a call.
pub(super) const fn method(about: &About) -> Method {
    match about {
        About::Connect => Method::Connect,
        About::Command { .. } => Method::Command,
        About::Disconnect(_) => Method::Disconnect,
    }
}

/// Reads an answer with its prefix, or says what is wrong with it.
pub(super) fn read(method: Method, bytes: &[u8]) -> Result<Box<Reply>, String> {
    let (prefix, message) = bytes.split_at_checked(PREFIX).ok_or("it is empty")?;
    let (compressed, length) = prefix.split_at_checked(1).ok_or("it is empty")?;
    if compressed != [0] {
        return Err("it is compressed, which it wasn't asked for".to_owned());
    }
    let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    if length != message.len() {
        return Err("it is cut off, or more than one message".to_owned());
    }
    let unreadable = |error: prost::DecodeError| format!("it isn't of the contract: {error}");
    let mut reply = Reply::default();
    match method {
        Method::Connect => {
            let answer = ConnectionResponse::decode(message).map_err(unreadable)?;
            reply.status = status(answer.status)?;
            reply.identifiers = answer.identifiers;
            reply.transmissions = answer.transmissions;
            reply.error = answer.error_msg;
            (reply.connection, reply.channel) = states(answer.env);
        }
        Method::Command => {
            let answer = CommandResponse::decode(message).map_err(unreadable)?;
            reply.status = status(answer.status)?;
            reply.disconnect = answer.disconnect;
            reply.stop_streams = answer.stop_streams;
            reply.streams = answer.streams;
            reply.stopped_streams = answer.stopped_streams;
            reply.transmissions = answer.transmissions;
            reply.error = answer.error_msg;
            (reply.connection, reply.channel) = states(answer.env);
            if let Some(PresenceResponse { r#type, id, info, ttl }) = answer.presence {
                reply.presence = json::presence_reply(&r#type, id, &info, ttl)?;
            }
        }
        Method::Disconnect => {
            let answer = DisconnectResponse::decode(message).map_err(unreadable)?;
            reply.status = status(answer.status)?;
            reply.error = answer.error_msg;
        }
    }
    Ok(Box::new(reply))
}

fn framed(message: &impl Message, max: usize) -> Option<Bytes> {
    let length = message.encoded_len();
    let told = u32::try_from(length).ok().filter(|_| length <= max)?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(told);
    message.encode(&mut bytes).ok()?;
    Some(bytes.freeze())
}

fn env(call: &Call, istate: BTreeMap<String, String>) -> Env {
    let headers = call.origin.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()));
    let url = call.origin.url.as_ref().to_owned();
    Env { url, headers: headers.collect(), cstate: entries(&call.connection), istate }
}

/// A state; JSON is sent as its text.
fn entries(state: &State) -> BTreeMap<String, String> {
    let text = |value: &StateValue| match value {
        StateValue::Text(text) => text.as_ref().to_owned(),
        StateValue::Json(json) => json.as_str().to_owned(),
    };
    state.entries().iter().map(|(key, value)| (key.as_ref().to_owned(), text(value))).collect()
}

type Changes = Vec<(Box<str>, StateValue)>;

fn states(env: Option<EnvResponse>) -> (Changes, Changes) {
    let EnvResponse { cstate, istate } = env.unwrap_or_default();
    let changes = |entries: BTreeMap<String, String>| {
        let entries = entries.into_iter();
        entries.map(|(key, value)| (key.into(), StateValue::Text(value.into()))).collect()
    };
    (changes(cstate), changes(istate))
}

fn status(number: i32) -> Result<ReplyStatus, String> {
    match Status::try_from(number) {
        Ok(Status::Error) => Ok(ReplyStatus::Error),
        Ok(Status::Success) => Ok(ReplyStatus::Success),
        Ok(Status::Failure) => Ok(ReplyStatus::Failure),
        Err(_) => Err("its status is none of 0 (ERROR), 1 (SUCCESS) and 2 (FAILURE)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, why) in [
            (&[][..], "empty"),
            (&[1, 0, 0, 0, 0], "compressed"),
            (&[0, 0, 0, 0, 1], "cut off"),
            (&[0, 0, 0, 0, 0, 0], "more than one"),
            (&[0, 0, 0, 0, 2, 8, 3], "status is none of"),
            (&[0, 0, 0, 0, 1, 8], "isn't of the contract"),
            (&[0, 0, 0, 0, 8, 74, 6, 10, 4, b's', b't', b'a', b'y'], "neither join nor leave"),
        ] {
            let said = read(Method::Command, bytes).unwrap_err();
            assert!(said.contains(why), "{bytes:?}: {said}");
        }
        let none = read(Method::Command, &[0; 5]).unwrap();
        assert_eq!(*none, Reply::default());
        let unknown = read(Method::Disconnect, &[0, 0, 0, 0, 4, 8, 1, 0x50, 1]).unwrap();
        assert_eq!(unknown.status, ReplyStatus::Success);
    }

    proptest! {
        #[test]
        fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for method in [Method::Connect, Method::Command, Method::Disconnect] {
                drop(read(method, &bytes));
                let mut framed = vec![0, 0, 0, 0, u8::try_from(bytes.len()).unwrap()];
                framed.extend_from_slice(&bytes);
                drop(read(method, &framed));
            }
        }
    }
}

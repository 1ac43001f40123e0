//! Calls → JSON. A field with its default is left out, and there is none beyond the contract's: its servers
//! refuse unknown ones.

use std::borrow::Cow;

use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::types::{About, Call, ChannelCommand, Identifier, State, StateValue};

/// Size of most calls: with the cookie of a Rails session, and some state.
const USUAL: usize = 1024;

/// The body of a call.
pub(in super::super) fn write(call: &Call) -> String {
    let origin = &call.origin;
    let env = Env {
        url: &origin.url,
        headers: &origin.headers,
        cstate: Entries(&call.connection),
        istate: Istate::None,
    };
    let written = match &call.about {
        About::Connect => text(&ConnectionRequest { env }),
        About::Command { kind, identifier, data, channel } => text(&CommandMessage {
            command: name(*kind),
            identifier: Token(identifier),
            connection_identifiers: &call.identifiers,
            data,
            env: Env { istate: Istate::Of(channel), ..env },
        }),
        About::Disconnect(subscriptions) => text(&DisconnectRequest {
            identifiers: &call.identifiers,
            subscriptions: subscriptions.iter().map(|(identifier, _)| Token(identifier)).collect(),
            env: Env { istate: Istate::Each(subscriptions), ..env },
        }),
    };
    written.unwrap_or_default() // texts and maps of texts: can't fail
}

fn text(message: &impl Serialize) -> Option<String> {
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, message).ok()?;
    String::from_utf8(bytes).ok()
}

/// The contract's name of a command.
pub(in super::super) const fn name(kind: ChannelCommand) -> &'static str {
    match kind {
        ChannelCommand::Subscribe => "subscribe",
        ChannelCommand::Unsubscribe => "unsubscribe",
        ChannelCommand::Message => "message",
    }
}

/// The text of an identifier, which is a JSON string token.
pub(in super::super) fn token_text(identifier: &Identifier) -> Cow<'_, str> {
    let token = identifier.as_str();
    serde_json::from_str(token).map_or(Cow::Borrowed(token), |text: String| Cow::Owned(text))
}

/// A state as JSON.
pub(in super::super) fn state_text(state: &State) -> String {
    serde_json::to_string(&Entries(state)).unwrap_or_default()
}

#[derive(Serialize)]
struct ConnectionRequest<'a> {
    env: Env<'a>,
}

#[derive(Serialize)]
struct CommandMessage<'a> {
    command: &'static str,
    identifier: Token<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    connection_identifiers: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    data: &'a str,
    env: Env<'a>,
}

#[derive(Serialize)]
struct DisconnectRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    identifiers: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<Token<'a>>,
    env: Env<'a>,
}

#[derive(Serialize)]
struct Env<'a> {
    url: &'a str,
    #[serde(serialize_with = "headers", skip_serializing_if = "<[_]>::is_empty")]
    headers: &'a [(Box<str>, Box<str>)],
    #[serde(skip_serializing_if = "Entries::is_empty")]
    cstate: Entries<'a>,
    #[serde(skip_serializing_if = "Istate::is_empty")]
    istate: Istate<'a>,
}

fn headers<S: Serializer>(
    headers: &&[(Box<str>, Box<str>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

/// An identifier: a JSON string token, which stays as it is.
struct Token<'a>(&'a Identifier);

impl Serialize for Token<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let token = self.0.as_str();
        match serde_json::from_str::<&RawValue>(token) {
            Ok(raw) if token.starts_with('"') => raw.serialize(serializer),
            Ok(_) | Err(_) => serializer.serialize_str(token),
        }
    }
}

/// A state, as a map.
struct Entries<'a>(&'a State);

impl Entries<'_> {
    fn is_empty(&self) -> bool {
        self.0.entries().is_empty()
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.entries().len()))?;
        for (key, value) in self.0.entries() {
            match value {
                StateValue::Text(text) => map.serialize_entry(key, text)?,
                StateValue::Json(json) => {
                    let raw: &RawValue =
                        serde_json::from_str(json.as_str()).map_err(S::Error::custom)?;
                    map.serialize_entry(key, raw)?;
                }
            }
        }
        map.end()
    }
}

/// The state of channels.
enum Istate<'a> {
    None,
    /// That of the one channel that is asked about.
    Of(&'a State),
    /// By identifier, each as JSON text.
    Each(&'a [(Identifier, State)]),
}

impl Istate<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Of(state) => state.entries().is_empty(),
            Self::Each(each) => each.iter().all(|(_, state)| state.entries().is_empty()),
        }
    }
}

impl Serialize for Istate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.collect_map::<&str, &str, _>([]),
            Self::Of(state) => Entries(state).serialize(serializer),
            Self::Each(each) => {
                let each = each.iter().filter(|(_, state)| !state.entries().is_empty());
                serializer.collect_map(each.map(|(id, state)| (token_text(id), state_text(state))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{Origin, SessionId};

    fn state(entries: &[(&str, &str)]) -> State {
        let mut state = State::default();
        state.merge(entries.iter().map(|(key, value)| {
            let value = match value.strip_prefix("json:") {
                Some(json) => StateValue::Json(json.into()),
                None => StateValue::Text((*value).into()),
            };
            ((*key).into(), value)
        }));
        state
    }

    fn call(about: About) -> Call {
        let headers =
            [("Cookie".into(), "a=\"b\"".into()), ("REMOTE_ADDR".into(), "10.0.0.7".into())];
        let headers = headers.into_iter().collect();
        let session = SessionId::from_bits(1);
        Call {
            first: session,
            session,
            number: 1,
            origin: Arc::new(Origin { url: "http://h/cable?x=1".into(), headers }),
            identifiers: "".into(),
            connection: State::default(),
            about,
        }
    }

    const ENV: &str =
        r#"{"url":"http://h/cable?x=1","headers":{"Cookie":"a=\"b\"","REMOTE_ADDR":"10.0.0.7"}"#;

    #[test]
    fn defaults_are_left_out() {
        assert_eq!(write(&call(About::Connect)), format!("{{\"env\":{ENV}}}}}"));
        let bare = Call { origin: Arc::default(), ..call(About::Disconnect(Vec::new())) };
        assert_eq!(write(&bare), r#"{"env":{"url":""}}"#);
    }

    #[test]
    fn a_command_has_the_state_of_its_channel() {
        let mut call = call(About::Command {
            kind: ChannelCommand::Message,
            identifier: Identifier::from(r#""{\"channel\":\"A\"}""#),
            data: r#"{"action":"x"}"#.into(),
            channel: state(&[("$p", "room"), ("n", "json:{\"a\": 9007199254740993}")]),
        });
        call.identifiers = r#"{"user":1}"#.into();
        call.connection = state(&[("_s_", "1")]);
        let expected = format!(
            r#"{{"command":"message","identifier":"{{\"channel\":\"A\"}}","connection_identifiers":"{{\"user\":1}}","data":"{{\"action\":\"x\"}}","env":{ENV},"cstate":{{"_s_":"1"}},"istate":{{"$p":"room","n":{{"a": 9007199254740993}}}}}}}}"#
        );
        assert_eq!(write(&call), expected);
    }

    #[test]
    fn a_disconnect_has_the_states_of_all_channels_as_texts() {
        let subscription =
            |name: &str, entries: &[(&str, &str)]| (Identifier::from(name), state(entries));
        let call = call(About::Disconnect(vec![
            subscription(r#""{\"channel\":\"A\"}""#, &[("a", "1"), ("b", "json:[2]")]),
            subscription("\"B\"", &[]),
        ]));
        let expected = format!(
            r#"{{"subscriptions":["{{\"channel\":\"A\"}}","B"],"env":{ENV},"istate":{{"{{\"channel\":\"A\"}}":"{{\"a\":\"1\",\"b\":[2]}}"}}}}}}"#
        );
        assert_eq!(write(&call), expected);
    }
}

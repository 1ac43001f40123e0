//! Parameters of a request for an event stream.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::format::{CODEC, RAW};
use super::position::EventId;
use crate::protocol::action_cable::{self, PUBSUB_CHANNEL, TURBO_CHANNEL};
use crate::protocol::plain;
use crate::protocol::query::Query;
use crate::types::{
    ClientCommand, Codec, HistoryRequest, JoinRequest, Listing, PresenceId, StreamName,
    SubscribeOptions, Watch,
};

/// Parameters that name the target; the first one present counts. AnyCable's names, and those in its
/// identifiers.
const NAMES: [(&str, Names); 7] = [
    ("identifier", Names::Identifier),
    ("channel", Names::Channel),
    ("stream", Names::Pubsub("stream_name")),
    ("stream_name", Names::Pubsub("stream_name")),
    ("signed_stream", Names::Pubsub("signed_stream_name")),
    ("signed_stream_name", Names::Pubsub("signed_stream_name")),
    ("turbo_signed_stream_name", Names::Turbo),
];

/// Parameters with the client's last event, for clients that can't send a header.
const LAST_EVENT_ID: [&str; 3] = ["last-event-id", "lasteventid", "last_event_id"];

/// Kind of a target.
#[derive(Clone, Copy)]
enum Names {
    /// A whole Action Cable identifier.
    Identifier,
    /// An application's channel without parameters.
    Channel,
    /// A stream, by this key of an identifier.
    Pubsub(&'static str),
    /// A stream of Turbo's.
    Turbo,
}

/// A parsed request for an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's codec.
    pub codec: Codec,
    /// The equivalent Action Cable identifier, as a JSON string.
    identifier: String,
    watch: Watch,
    since: Option<u64>,
    last: Option<Last>,
    join: Option<JoinRequest>,
    lists: bool,
}

/// The last event the client has got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    Event(EventId),
    /// An id that isn't one of the broker's events.
    Unreadable,
}

/// A query that is invalid, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// No target is given.
    #[error("say what to follow: stream=NAME, signed_stream=NAME, channel=NAME or identifier=JSON")]
    NoStream,
    /// A value is invalid.
    #[error("{0} has to be {1}")]
    Value(&'static str, &'static str),
}

impl Asked {
    /// Reads a query, and the header of the last event's id.
    pub fn read(query: &str, last_event_id: Option<&[u8]>) -> Result<Self, BadQuery> {
        let query = &Query::parse(query);
        let (identifier, watch) = name(query)?;
        let watch = match value(query, "presence")?.as_deref() {
            None | Some("list") => watch,
            Some("occupancy") => Watch::Occupancy,
            Some(_) => return Err(BadQuery::Value("presence", "list or occupancy")),
        };
        let lists = value(query, "presence")?.as_deref() == Some("list");
        Ok(Self {
            codec: if flag(query, "raw")? { RAW } else { CODEC },
            identifier,
            watch,
            since: since(query)?,
            last: last(query, last_event_id)?,
            join: join(query)?,
            lists,
        })
    }

    /// The presence id to join under, if one is given.
    pub fn presence_id(&self) -> Option<&PresenceId> {
        self.join.as_ref()?.id.as_ref()
    }

    /// The command that it comes down to. The stream, once it is known, is the one that the id of
    /// an event means that names none.
    pub fn command(&self, stream: Option<&StreamName>) -> ClientCommand<'static> {
        let positions = match &self.last {
            Some(Last::Event(EventId { position, stream: named })) => {
                named.as_ref().or(stream).map(|stream| (stream.clone(), position.clone()))
            }
            Some(Last::Unreadable) | None => None,
        };
        // a position is more exact than a time
        let since = self.since.filter(|_| self.last.is_none());
        let history =
            HistoryRequest { since, positions: positions.into_iter().collect(), joint: None };
        let (target, _) = action_cable::target(&self.identifier);
        ClientCommand::Subscribe {
            identifier: Cow::Owned(self.identifier.clone()),
            target,
            history: (self.last.is_some() || self.since.is_some()).then_some(history),
            join: self.join.clone().map(Ok),
            watch: self.watch,
            options: SubscribeOptions {
                list_before: self.lists.then_some(Listing::Members),
                ..SubscribeOptions::default()
            },
        }
    }
}

/// The identifier of a query, as a JSON string.
fn name(query: &Query<'_>) -> Result<(String, Watch), BadQuery> {
    for (parameter, names) in NAMES {
        let value = match names {
            Names::Pubsub("signed_stream_name") | Names::Turbo => query.base64(parameter),
            Names::Identifier | Names::Channel | Names::Pubsub(_) => value(query, parameter)?,
        };
        let Some(value) = value else { continue };
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let inner = match names {
            Names::Identifier => value,
            Names::Channel => format!(r#"{{"channel":{}}}"#, text(&value)),
            Names::Pubsub(key) => {
                format!(r#"{{"channel":"{PUBSUB_CHANNEL}","{key}":{}}}"#, text(&value))
            }
            Names::Turbo => {
                format!(r#"{{"channel":"{TURBO_CHANNEL}","signed_stream_name":{}}}"#, text(&value))
            }
        };
        let identifier = text(&inner);
        let (_, watch) = action_cable::target(&identifier);
        return Ok((identifier, watch));
    }
    Err(BadQuery::NoStream)
}

fn since(query: &Query<'_>) -> Result<Option<u64>, BadQuery> {
    let Some(value) = value(query, "history_since")? else { return Ok(None) };
    let seconds: Option<f64> = value.parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
    let seconds = seconds.ok_or(BadQuery::Value("history_since", "a time in Unix seconds"))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    Ok(Some(seconds as u64))
}

/// The header counts more: a client that connects again by itself sends the address it was given, and
/// in the header what it has got since.
fn last(query: &Query<'_>, header: Option<&[u8]>) -> Result<Option<Last>, BadQuery> {
    let header = header.map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let text = match header.filter(|id| !id.is_empty()) {
        Some(id) => Some(id),
        None => LAST_EVENT_ID.iter().find_map(|name| value(query, name).transpose()).transpose()?,
    };
    let parsed = |text: String| EventId::parse(&text).map_or(Last::Unreadable, Last::Event);
    Ok(text.map(parsed))
}

fn join(query: &Query<'_>) -> Result<Option<JoinRequest>, BadQuery> {
    let id = value(query, "presence_id")?.map(PresenceId::from);
    let info = value(query, "presence_info")?;
    if id.is_none() && info.is_none() {
        return Ok(None);
    }
    let info = info.unwrap_or_else(|| "null".to_owned());
    let is_json = serde_json::from_str::<&RawValue>(&info).is_ok();
    if !is_json || plain::objection(&info).is_some() {
        return Err(BadQuery::Value("presence_info", "JSON that every client can read"));
    }
    Ok(Some(JoinRequest { id, info: info.trim_ascii().into() }))
}

fn flag(query: &Query<'_>, name: &'static str) -> Result<bool, BadQuery> {
    match value(query, name)?.as_deref() {
        None | Some("0" | "f" | "false" | "n") => Ok(false),
        Some("1" | "t" | "true" | "y") => Ok(true),
        Some(_) => Err(BadQuery::Value(name, "1 or 0")),
    }
}

/// A parameter's value; none if it is empty.
fn value(query: &Query<'_>, name: &'static str) -> Result<Option<String>, BadQuery> {
    let value = query.get(name);
    let is_replaced = |value: &str| value.contains(char::REPLACEMENT_CHARACTER);
    if value.is_some_and(is_replaced) && !query.is_utf8() {
        return Err(BadQuery::Value(name, "UTF-8"));
    }
    Ok(value.map(str::to_owned))
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is a failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Epoch, Offset, StreamPosition, Target};

    fn ask(query: &str) -> Asked {
        Asked::read(query, None).unwrap()
    }

    /// The identifier and the target that a query leads to.
    fn leads(query: &str) -> (String, Target) {
        let ClientCommand::Subscribe { identifier, target, .. } = ask(query).command(None) else {
            panic!("not a subscribe")
        };
        (serde_json::from_str(&identifier).unwrap(), target)
    }

    fn history(asked: &Asked) -> Option<HistoryRequest> {
        match asked.command(Some(&"room".into())) {
            ClientCommand::Subscribe { history, .. } => history,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_way_to_name_a_stream() {
        let public = (
            r#"{"channel":"$pubsub","stream_name":"a/b c"}"#.to_owned(),
            Target::Public("a/b c".into()),
        );
        for query in ["stream=a/b+c", "stream_name=a%2Fb%20c", "x=1&stream=a/b%20c&stream=other"] {
            assert_eq!(leads(query), public, "{query}");
        }
        let signed = (
            r#"{"channel":"$pubsub","signed_stream_name":"a+b==--c"}"#.to_owned(),
            Target::Signed("a+b==--c".into()),
        );
        for query in ["signed_stream=a+b==--c", "signed_stream_name=a%2Bb%3D%3D--c"] {
            assert_eq!(leads(query), signed, "{query}");
        }
        assert_eq!(leads("turbo_signed_stream_name=x--y").1, Target::Turbo("x--y".into()));
        assert_eq!(leads("channel=Chat").1, Target::Channel("Chat".into()));
        let identifier =
            "%7B%22channel%22%3A%22%24pubsub%22%2C%22stream_name%22%3A%22a%2Fb+c%22%7D";
        assert_eq!(leads(&format!("stream=x&identifier={identifier}")), public);
        assert!(matches!(leads("identifier=nonsense").1, Target::Invalid(_)));
        for nothing in ["", "stream", "stream=", "raw=1", "streams=a"] {
            assert_eq!(Asked::read(nothing, None), Err(BadQuery::NoStream), "{nothing}");
        }
    }

    #[test]
    fn where_it_goes_on() {
        let position = |offset| StreamPosition { epoch: Epoch::from("e"), offset: Offset(offset) };
        let after = |stream: &str, offset| {
            Some(HistoryRequest {
                since: None,
                positions: vec![(stream.into(), position(offset))],
                joint: None,
            })
        };
        let since =
            |seconds| Some(HistoryRequest { since: Some(seconds), positions: vec![], joint: None });
        assert_eq!(history(&ask("stream=a")), None);
        assert_eq!(history(&ask("stream=a&history_since=1700000000")), since(1_700_000_000));
        assert_eq!(history(&ask("stream=a&history_since=5.9")), since(5));
        for name in ["Last-Event-ID", "lastEventId", "last_event_id"] {
            assert_eq!(history(&ask(&format!("stream=a&{name}=3%2Fe%2Fa/b"))), after("a/b", 3));
        }
        let with_header = |query: &str, header: &str| {
            history(&Asked::read(query, Some(header.as_bytes())).unwrap())
        };
        let query = "stream=a&last_event_id=3/e/a&history_since=5";
        assert_eq!(with_header(query, "4/e/a"), after("a", 4));
        assert_eq!(with_header(query, ""), after("a", 3));
        assert_eq!(with_header("stream=a", "4/e/"), after("room", 4), "the stream it follows");
        // what can't be read can't be told
        assert_eq!(with_header("stream=a&history_since=5", "x"), Some(HistoryRequest::default()));
    }

    #[test]
    fn what_it_wants_of_presence() {
        let command = |query: &str| match ask(query).command(None) {
            ClientCommand::Subscribe { join, watch, options, .. } => (join, watch, options),
            other => panic!("{other:?}"),
        };
        assert_eq!(command("stream=a"), (None, Watch::Members, SubscribeOptions::default()));
        let (join, ..) = command("stream=a&presence_id=ann+b&presence_info=%7B%22n%22:+1%7D");
        let info = "{\"n\": 1}".into();
        assert_eq!(join, Some(Ok(JoinRequest { id: Some("ann b".into()), info })));
        let (join, ..) = command("stream=a&presence_info=5");
        assert_eq!(join, Some(Ok(JoinRequest { id: None, info: "5".into() })));
        assert_eq!(command("stream=a&presence=occupancy").1, Watch::Occupancy);
        assert_eq!(command("stream=a&presence=list").2.list_before, Some(Listing::Members));
        let identifier =
            r#"identifier={"channel":"$pubsub","stream_name":"a","presence":"occupancy"}"#;
        assert_eq!(command(identifier).1, Watch::Occupancy);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (query, about) in [
            ("history_since=yesterday", "history_since"),
            ("history_since=-1", "history_since"),
            ("history_since=NaN", "history_since"),
            ("presence=all", "presence"),
            ("presence_id=a&presence_info={", "presence_info"),
            ("presence_id=a&presence_info=%22%5Cud800%22", "presence_info"),
            ("presence_id=%FF", "presence_id"),
            ("raw=maybe", "raw"),
        ] {
            match Asked::read(&format!("stream=a&{query}"), None) {
                Err(BadQuery::Value(name, _)) => assert_eq!(name, about),
                other => panic!("{query}: {other:?}"),
            }
        }
        for (value, raw) in [("1", true), ("true", true), ("0", false), ("", false)] {
            let codec = if raw { RAW } else { CODEC };
            assert_eq!(ask(&format!("stream=a&raw={value}")).codec, codec);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_understood(stream in "(?s).{1,20}", form: bool) {
            use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
            let encoded = utf8_percent_encode(&stream, NON_ALPHANUMERIC).to_string();
            let encoded = if form { encoded.replace("%20", "+") } else { encoded };
            let (identifier, target) = leads(&format!("stream={encoded}"));
            prop_assert_eq!(target, Target::Public(stream.as_str().into()));
            let identifier: serde_json::Value = serde_json::from_str(&identifier).unwrap();
            prop_assert_eq!(identifier["stream_name"].as_str(), Some(stream.as_str()));
        }

        #[test]
        fn nothing_panics(query in ".{0,60}", header in prop::collection::vec(any::<u8>(), 0..20)) {
            drop(Asked::read(&query, Some(&header)));
        }
    }
}

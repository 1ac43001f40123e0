//! A request for server-sent events: a line with its query, a line with the client's last event id, and a
//! publication.
//!
//! The decoded request subscribes to the target in the query. Any publication, to any stream, is one event
//! with the same lines, whose id leads back to its position.

use std::sync::Arc;

use broker::protocol::encode;
use broker::protocol::sse::{self, Asked};
use broker::types::{
    ClientCommand, GroupKey, HistoryRequest, Offset, Publication, ServerMessage, StreamName,
    StreamPosition, Target,
};
use serde_json::Value;
use serde_json::value::RawValue;

pub fn run(data: &[u8]) {
    let (query, rest) = line(data);
    let (last, data) = line(rest);
    let Ok(query) = std::str::from_utf8(query) else { return };
    let Ok(asked) = Asked::read(query, Some(last)) else { return };
    let stream = StreamName::from("room/1");
    let ClientCommand::Subscribe { identifier, target, history, join, .. } =
        asked.command(Some(&stream))
    else {
        panic!("nothing else can be asked for")
    };
    let identifier: String = serde_json::from_str(&identifier).expect("a JSON string");
    if let Target::Public(name) = &target {
        let inner: Value = serde_json::from_str(&identifier).expect("readable JSON");
        assert_eq!(inner["stream_name"].as_str(), Some(name.as_str()));
        check_published(name, data);
    }
    if let Some(HistoryRequest { since, positions, .. }) = history {
        assert!(positions.len() <= 1 && (since.is_none() || positions.is_empty()));
    }
    if let Some(join) = join {
        let join = join.expect("what can't be read is refused before");
        assert!(serde_json::from_str::<&RawValue>(join.info.as_str()).is_ok());
    }
}

/// The first line, and what comes behind it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n');
    end.map_or((data, &[]), |end| (&data[..end], &data[end + 1..]))
}

fn check_published(stream: &StreamName, data: &[u8]) {
    let Some(data) = super::text(data) else { return };
    if serde_json::from_str::<&RawValue>(data).is_err() {
        return;
    }
    let position = StreamPosition { epoch: "6obh".into(), offset: Offset(data.len() as u64) };
    let publication = Publication {
        stream: stream.clone(),
        data: data.into(),
        labels: None,
        at: 0,
        position: Some(position.clone()),
    };
    let message = ServerMessage::Publication(Arc::new(publication));
    let [cooked, raw] = [sse::CODEC, sse::RAW].map(|codec| {
        let mut out = Vec::new();
        let group = GroupKey::new(codec, "\"a\"".into());
        encode(&group, &message, None, &mut out);
        assert_eq!(codec.transport().boundary(&out, 1), out.len(), "it is one event");
        out
    });
    assert_eq!(cooked, raw);
    let event = std::str::from_utf8(&cooked).expect("UTF-8");
    let fields = event.strip_suffix("\n\n").expect("an end").split(['\n', '\r']);
    let (mut lines, mut id) = (Vec::new(), None);
    for field in fields {
        match field.split_once(": ") {
            Some(("data", line)) => lines.push(line),
            Some(("id", value)) => assert!(id.replace(value).is_none()),
            _ => panic!("{field:?} is no field"),
        }
    }
    let text: String = serde_json::from_str(data).unwrap_or_else(|_| data.to_owned());
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(lines.join("\n"), text);
    check_id(stream, &position, id.expect("an id"));
}

/// A client that comes back with an id goes on from there, by whichever name it follows the stream.
fn check_id(stream: &StreamName, position: &StreamPosition, id: &str) {
    assert!(id.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{id:?} is no header");
    let asked = Asked::read("signed_stream=x", Some(id.as_bytes())).expect("a stream");
    let ClientCommand::Subscribe { history, .. } = asked.command(Some(stream)) else {
        panic!("nothing else can be asked for")
    };
    let positions = vec![(stream.clone(), position.clone())];
    assert_eq!(history, Some(HistoryRequest { since: None, positions, joint: None }));
}

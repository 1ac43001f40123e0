//! Messages → texts for the client.
//!
//! A client drops a frame with the `join_ref` of an earlier subscription. So replies have that of their
//! request, and broadcasts have none.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::names::{ERROR, HEARTBEAT_TOPIC, OCCUPANCY, is_reserved};
use crate::protocol::meta;
use crate::protocol::wire_format::Audience;
use crate::protocol::write::{append, string, texts};
use crate::types::{
    ConnectionMessage, Extra, Identifier, PresenceChange, PresenceId, RawJson, RecordChange,
    RecordList, Reference, ServerMessage,
};

/// Default event of a publication.
const PUBLICATION: &str = "message";

/// Default event of a whisper.
const WHISPER: &str = "whisper";

/// Appends a message about a subscription; nothing if the protocol has no frame for it.
pub(super) fn encode(
    identifier: &Identifier,
    message: &ServerMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    let about = About::new(identifier.as_str(), reference);
    match message {
        ServerMessage::Confirmed => about.reply(out, Ok(())),
        ServerMessage::Rejected(reason) => about.reply(out, Err(reason)),
        ServerMessage::Ended => {
            // as Phoenix does, with what the subscription was made under twice
            About { request: about.subscription, ..about }.event(out, "phx_close", |out| {
                out.extend_from_slice(b"{}");
            });
        }
        ServerMessage::Done if about.request.is_some() => about.reply(out, Ok(())),
        ServerMessage::NotSubscribed => {
            About { subscription: None, ..about }.reply(out, Err("unmatched topic"));
        }
        ServerMessage::Refused(reason) if about.request.is_some() => {
            about.reply(out, Err(reason));
        }
        ServerMessage::Refused(reason) => {
            about.event(out, ERROR, |out| write_reason(out, reason));
        }
        ServerMessage::Publication(publication) => {
            let event = publication.labels.as_deref().and_then(|label| label.event.as_deref());
            broadcast(
                identifier,
                event.unwrap_or(PUBLICATION),
                PUBLICATION,
                &publication.data,
                out,
            );
        }
        ServerMessage::Whisper(whisper) => {
            let event = whisper.event.as_deref().unwrap_or(WHISPER);
            broadcast(identifier, event, WHISPER, &whisper.data, out);
        }
        ServerMessage::Presence(change) => write_diff(identifier, &[&**change], out),
        ServerMessage::PresenceRecords(members) => {
            About { request: None, ..about }
                .event(out, "presence_state", |out| write_state(out, members));
        }
        ServerMessage::Occupancy(total) => {
            About::all(identifier)
                .event(out, OCCUPANCY, |out| append(out, format_args!("{{\"total\":{total}}}")));
        }
        ServerMessage::Done
        | ServerMessage::Arrived
        | ServerMessage::Missed { .. }
        | ServerMessage::PresenceList(_)
        | ServerMessage::PresenceCount(_)
        | ServerMessage::HistoryConfirmed
        | ServerMessage::HistoryRejected => {}
    }
}

/// Appends consecutive messages for subscribers that watch members, each framed: events of presence that
/// follow upon each other as one.
pub(super) fn encode_run(to: &Audience<'_>, messages: &[ServerMessage], out: &mut Vec<u8>) {
    let Audience { group, reference } = *to;
    let mut changes: Vec<&PresenceChange> = Vec::new();
    let write_diff = |changes: &[&PresenceChange], out: &mut Vec<u8>| {
        group.codec.transport().frame(out, |out| write_diff(&group.identifier, changes, out));
    };
    for message in messages {
        match message {
            ServerMessage::Presence(change) => changes.push(change),
            // messages without a frame don't separate the events
            ServerMessage::Occupancy(_) | ServerMessage::Arrived => {}
            ServerMessage::Confirmed
            | ServerMessage::Rejected(_)
            | ServerMessage::Ended
            | ServerMessage::Done
            | ServerMessage::NotSubscribed
            | ServerMessage::Publication(_)
            | ServerMessage::Whisper(_)
            | ServerMessage::Missed { .. }
            | ServerMessage::PresenceList(_)
            | ServerMessage::PresenceCount(_)
            | ServerMessage::PresenceRecords(_)
            | ServerMessage::Refused(_)
            | ServerMessage::HistoryConfirmed
            | ServerMessage::HistoryRejected => {
                write_diff(&changes, out);
                changes.clear();
                to.frame(message, out, |out| encode(&group.identifier, message, reference, out));
            }
        }
    }
    write_diff(&changes, out);
}

/// Appends a message about the connection; nothing if the protocol has no frame for it.
pub(super) fn encode_connection(
    message: &ConnectionMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    // no channel listens there
    let about = About { subscription: None, ..About::new(HEARTBEAT_TOPIC, reference) };
    match message {
        ConnectionMessage::Pong => about.reply(out, Ok(())),
        ConnectionMessage::Error { reason, .. } => about.reply(out, Err(reason)),
        ConnectionMessage::Welcome { .. }
        | ConnectionMessage::Ping { .. }
        | ConnectionMessage::Disconnect { .. } => {}
    }
}

/// The head of a frame: topic and references.
#[derive(Clone, Copy)]
struct About<'a> {
    subscription: Option<&'a str>,
    request: Option<&'a str>,
    topic: &'a str,
}

impl<'a> About<'a> {
    fn new(topic: &'a str, reference: Option<&'a Reference>) -> Self {
        Self {
            subscription: reference.and_then(|reference| reference.subscription.as_deref()),
            request: reference.and_then(|reference| reference.request.as_deref()),
            topic,
        }
    }

    /// About a topic, to all who follow it.
    fn all(identifier: &'a Identifier) -> Self {
        Self { subscription: None, request: None, topic: identifier.as_str() }
    }

    /// Appends a message whose payload `body` appends. The event's name needs no escapes.
    fn event(self, out: &mut Vec<u8>, event: &str, body: impl FnOnce(&mut Vec<u8>)) {
        self.open(out);
        texts(out, ["\"", event, "\","]);
        body(out);
        out.push(b']');
    }

    fn open(self, out: &mut Vec<u8>) {
        let Self { subscription, request, topic } = self;
        let token = |token: Option<&'a str>| token.unwrap_or("null");
        texts(out, ["[", token(subscription), ",", token(request), ",", topic, ","]);
    }

    fn reply(self, out: &mut Vec<u8>, outcome: Result<(), &str>) {
        self.event(out, "phx_reply", |out| match outcome {
            Ok(()) => out.extend_from_slice(b"{\"status\":\"ok\",\"response\":{}}"),
            Err(reason) => {
                out.extend_from_slice(b"{\"status\":\"error\",\"response\":");
                write_reason(out, reason);
                out.push(b'}');
            }
        });
    }
}

fn write_reason(out: &mut Vec<u8>, reason: &str) {
    out.extend_from_slice(b"{\"reason\":");
    string(out, reason);
    out.push(b'}');
}

/// Appends a broadcast, under an event that isn't reserved.
fn broadcast(
    identifier: &Identifier,
    event: &str,
    otherwise: &str,
    data: &RawJson,
    out: &mut Vec<u8>,
) {
    let event = if is_reserved(event) { otherwise } else { event };
    About::all(identifier).open(out);
    string(out, event);
    out.push(b',');
    // a client that logs looks into the payload
    let data = if data.as_str() == "null" { "{}" } else { data.as_str() };
    out.extend_from_slice(data.as_bytes());
    out.push(b']');
}

fn write_state(out: &mut Vec<u8>, members: &RecordList) {
    let records = members.iter().map(|member| {
        let records = member.records.iter();
        let metas = records.map(|record| Meta {
            info: &record.info,
            reference: record.reference,
            previous: None,
        });
        (&member.id, (metas, &member.extra))
    });
    write_members(out, records);
}

/// Appends consecutive changes as one frame; nothing if there are none.
///
/// A client adds all joins before it removes the leaves, by their references (`phoenix/presence.js`,
/// `syncDiff`). So a record that came and went may be in both, and a member is never absent in the middle
/// of an update.
fn write_diff<'a>(identifier: &Identifier, changes: &[&'a PresenceChange], out: &mut Vec<u8>) {
    if changes.is_empty() {
        return;
    }
    let (mut joins, mut leaves) = (Side::default(), Side::default());
    for PresenceChange { id, reference, record, extra, .. } in changes.iter().copied() {
        let reference = *reference;
        let add = |side: &mut Side<'a>, meta| {
            let (metas, said) = side.entry(id).or_insert_with(|| (Vec::new(), extra));
            metas.push(meta);
            *said = extra; // the newest, as a client takes what comes for all there is
        };
        match record {
            RecordChange::Added { info } => {
                add(&mut joins, Meta { info, reference, previous: None });
            }
            RecordChange::Updated { info, previous, before } => {
                add(&mut joins, Meta { info, reference, previous: Some(*previous) });
                let meta = Meta { info: before, reference: *previous, previous: None };
                add(&mut leaves, meta);
            }
            RecordChange::Removed { info, .. } => {
                add(&mut leaves, Meta { info, reference, previous: None });
            }
        }
    }
    About::all(identifier).event(out, "presence_diff", |out| {
        out.extend_from_slice(b"{\"joins\":");
        write_members(out, joins);
        out.extend_from_slice(b",\"leaves\":");
        write_members(out, leaves);
        out.push(b'}');
    });
}

/// Members with their added or removed records, in order of their first one, and the application's data.
type Side<'a> = IndexMap<&'a PresenceId, (Vec<Meta<'a>>, &'a Extra), RandomState>;

/// A record, present or removed.
struct Meta<'a> {
    info: &'a RawJson,
    reference: u64,
    previous: Option<u64>,
}

fn write_members<'a, M>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = (&'a PresenceId, (M, &'a Extra))>,
) where
    M: IntoIterator<Item = Meta<'a>>,
{
    out.push(b'{');
    for (number, (id, (metas, extra))) in members.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, id.as_str());
        out.extend_from_slice(b":{\"metas\":[");
        for (number, Meta { info, reference, previous }) in metas.into_iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            meta::write(out, info, reference, previous);
        }
        out.push(b']');
        meta::write_extra(out, extra);
        out.push(b'}');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;

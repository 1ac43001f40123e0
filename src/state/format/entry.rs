//! Single entries: a change, or a mark.

use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::log::Change;
use crate::protocol;
use crate::types::{
    Epoch, Grant, Identifier, Identity, Label, Offset, Position, PresenceId, Publication, RawJson,
    Rights, SessionId, StreamName, Watch,
};

/// What a file consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A stream changed.
    Change(Change),
    /// All streams have been written since the file began: nothing before it counts any more.
    Complete {
        /// When the newest publication of a stream that isn't there was made, in milliseconds of
        /// the Unix epoch.
        forgotten: u64,
    },
    /// The broker that wrote the file kept no publications: what was published meanwhile is in no
    /// history, and has no position.
    WithoutHistory,
    /// The broker stopped in good order; nothing follows.
    Closed,
}

/// What an entry is. The numbers are on disk: a new kind gets a new one, and a new [`VERSION`].
mod tag {
    pub(super) const BEGAN: u8 = 1;
    pub(super) const FORGOTTEN: u8 = 2;
    pub(super) const PUBLISHED: u8 = 3;
    pub(super) const SUBSCRIBED: u8 = 4;
    pub(super) const UNSUBSCRIBED: u8 = 5;
    pub(super) const JOINED: u8 = 6;
    pub(super) const LEFT: u8 = 7;
    pub(super) const RESUMED: u8 = 8;
    pub(super) const GONE: u8 = 9;
    pub(super) const PUBLISHED_AS: u8 = 10;
    pub(super) const SUBSCRIBED_TO: u8 = 11;
    pub(super) const PUT: u8 = 12;
    pub(super) const WITHDRAWN: u8 = 13;
    pub(super) const JOINED_WITH: u8 = 14;
    pub(super) const JOURNAL_TRUNCATED: u8 = 15;
    pub(super) const PUBLISHED_WITH: u8 = 16;
    pub(super) const COMPLETE: u8 = 128;
    pub(super) const CLOSED: u8 = 129;
    pub(super) const WITHOUT_HISTORY: u8 = 130;
}

const JOIN: u8 = 1;
const WHISPER: u8 = 2;

pub(super) fn encode(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Began { stream, epoch, head, lost } => {
            begin(tag::BEGAN, stream, out);
            text(epoch.as_str(), out);
            number(head.0, out);
            number(*lost, out);
        }
        Change::Forgotten { stream, lost } => {
            begin(tag::FORGOTTEN, stream, out);
            number(*lost, out);
        }
        Change::Published(publication) => encode_publication(publication, out),
        Change::Subscribed { stream, session, codec, watch, identifier, grant } => {
            let tag = match watch {
                Watch::Members => tag::SUBSCRIBED,
                Watch::Occupancy => tag::SUBSCRIBED_TO,
            };
            begin(tag, stream, out);
            id(*session, out);
            out.push(codec.number());
            text(identifier.as_str(), out);
            let Grant { rights: Rights { join, whisper }, identity } = grant;
            out.push(u8::from(*join) * JOIN + u8::from(*whisper) * WHISPER);
            out.extend(identity.identifier.to_le_bytes());
            out.extend(identity.presence_id.to_le_bytes());
        }
        Change::Unsubscribed { stream, session, identifier } => {
            begin(tag::UNSUBSCRIBED, stream, out);
            id(*session, out);
            text(identifier.as_str(), out);
        }
        Change::Joined { stream, session, identifier, id: member, info, extra } => {
            begin(if extra.is_some() { tag::JOINED_WITH } else { tag::JOINED }, stream, out);
            id(*session, out);
            text(identifier.as_str(), out);
            text(member.as_str(), out);
            text(info.as_str(), out);
            if let Some(extra) = extra {
                text(extra.as_str(), out);
            }
        }
        Change::Left { stream, session, identifier } => {
            begin(tag::LEFT, stream, out);
            id(*session, out);
            text(identifier.as_str(), out);
        }
        Change::Resumed { stream, identifier, from, to } => {
            begin(tag::RESUMED, stream, out);
            text(identifier.as_str(), out);
            id(*from, out);
            id(*to, out);
        }
        Change::Gone { stream, id } => {
            begin(tag::GONE, stream, out);
            text(id.as_str(), out);
        }
        Change::JournalTruncated { stream } => begin(tag::JOURNAL_TRUNCATED, stream, out),
        Change::Put { stream, id, info, extra, until } => {
            begin(tag::PUT, stream, out);
            text(id.as_str(), out);
            text(info.as_str(), out);
            text(extra.as_ref().map_or("", |extra| extra.as_str()), out);
            match until {
                None => out.push(0),
                Some(until) => {
                    out.push(1);
                    number(*until, out);
                }
            }
        }
        Change::Withdrawn { stream, id } => {
            begin(tag::WITHDRAWN, stream, out);
            text(id.as_str(), out);
        }
    }
}

fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    let label = publication.labels.as_deref();
    let event = label.and_then(|label| label.event.as_deref());
    let frame_type = label.and_then(|label| label.frame_type.as_deref());
    let tag = match (event, frame_type) {
        (None, None) => tag::PUBLISHED,
        (Some(_), None) => tag::PUBLISHED_AS,
        (_, Some(_)) => tag::PUBLISHED_WITH,
    };
    begin(tag, &publication.stream, out);
    number(publication.at, out);
    match &publication.position {
        None => out.push(0),
        Some(Position { epoch, offset }) => {
            out.push(1);
            text(epoch.as_str(), out);
            number(offset.0, out);
        }
    }
    match (event, frame_type) {
        (None, None) => {}
        (Some(event), None) => text(event, out),
        (event, Some(frame_type)) => {
            text(event.unwrap_or_default(), out);
            text(frame_type, out);
        }
    }
    text(publication.data.as_str(), out);
}

pub(super) fn encode_complete(forgotten: u64, out: &mut Vec<u8>) {
    out.push(tag::COMPLETE);
    number(forgotten, out);
}

pub(super) fn encode_without_history(out: &mut Vec<u8>) {
    out.push(tag::WITHOUT_HISTORY);
}

pub(super) fn encode_closed(out: &mut Vec<u8>) {
    out.push(tag::CLOSED);
}

fn begin(tag: u8, stream: &StreamName, out: &mut Vec<u8>) {
    out.push(tag);
    text(stream.as_str(), out);
}

fn text(text: &str, out: &mut Vec<u8>) {
    number(text.len() as u64, out);
    out.extend(text.as_bytes());
}

fn id(id: SessionId, out: &mut Vec<u8>) {
    out.extend(id.to_bits().to_le_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The entries of a frame, if all of them are good.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<Entry>> {
    let mut fields = Fields(payload);
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        if entries.last() == Some(&Entry::Closed) {
            return None;
        }
        entries.push(entry(&mut fields)?);
    }
    Some(entries)
}

fn entry(fields: &mut Fields<'_>) -> Option<Entry> {
    let [kind] = fields.array()?;
    match kind {
        tag::COMPLETE => return Some(Entry::Complete { forgotten: fields.number()? }),
        tag::WITHOUT_HISTORY => return Some(Entry::WithoutHistory),
        tag::CLOSED => return Some(Entry::Closed),
        _ => {}
    }
    let stream = StreamName::from(fields.text().filter(|name| !name.is_empty())?);
    Some(Entry::Change(match kind {
        tag::BEGAN => {
            let (epoch, head) = (fields.epoch()?, Offset(fields.number()?));
            Change::Began { stream, epoch, head, lost: fields.number()? }
        }
        tag::FORGOTTEN => Change::Forgotten { stream, lost: fields.number()? },
        tag::PUBLISHED | tag::PUBLISHED_AS | tag::PUBLISHED_WITH => {
            let at = fields.number()?;
            let position = match fields.array()? {
                [0] => None,
                [1] => Some(Position { epoch: fields.epoch()?, offset: Offset(fields.number()?) }),
                _ => return None,
            };
            let event = match kind {
                tag::PUBLISHED => None,
                _ => Some(fields.text()?).filter(|event| !event.is_empty()),
            };
            let frame_type = match kind {
                tag::PUBLISHED_WITH => Some(fields.text()?),
                _ => None,
            };
            let labels = Label::new(event.map(Into::into), frame_type.map(Into::into));
            let data = fields.json()?;
            Change::Published(Arc::new(Publication { stream, data, labels, at, position }))
        }
        tag::SUBSCRIBED | tag::SUBSCRIBED_TO => Change::Subscribed {
            stream,
            session: fields.id()?,
            codec: {
                let [number] = fields.array()?;
                protocol::codec(number)?
            },
            watch: match kind {
                tag::SUBSCRIBED_TO => Watch::Occupancy,
                _ => Watch::Members,
            },
            identifier: fields.identifier()?,
            grant: Grant {
                rights: match fields.array()? {
                    [bits] if bits & !(JOIN | WHISPER) == 0 => {
                        Rights { join: bits & JOIN != 0, whisper: bits & WHISPER != 0 }
                    }
                    _ => return None,
                },
                identity: Identity {
                    identifier: u64::from_le_bytes(fields.array()?),
                    presence_id: u64::from_le_bytes(fields.array()?),
                },
            },
        },
        tag::UNSUBSCRIBED => {
            let (session, identifier) = (fields.id()?, fields.identifier()?);
            Change::Unsubscribed { stream, session, identifier }
        }
        tag::JOINED | tag::JOINED_WITH => {
            let (session, identifier) = (fields.id()?, fields.identifier()?);
            let (id, info) = (fields.presence_id()?, fields.json()?);
            let extra = if kind == tag::JOINED { None } else { Some(fields.object()?.into()) };
            Change::Joined { stream, session, identifier, id, info, extra }
        }
        tag::LEFT => {
            let (session, identifier) = (fields.id()?, fields.identifier()?);
            Change::Left { stream, session, identifier }
        }
        tag::RESUMED => {
            let identifier = fields.identifier()?;
            Change::Resumed { stream, identifier, from: fields.id()?, to: fields.id()? }
        }
        tag::GONE => Change::Gone { stream, id: fields.presence_id()? },
        tag::JOURNAL_TRUNCATED => Change::JournalTruncated { stream },
        tag::PUT => {
            let (id, info) = (fields.presence_id()?, fields.json()?);
            let extra = if fields.0.first() == Some(&0) {
                fields.text().map(|_| None)?
            } else {
                Some(fields.object()?.into())
            };
            let until = match fields.array()? {
                [0] => None,
                [1] => Some(fields.number()?),
                _ => return None,
            };
            Change::Put { stream, id, info, extra, until }
        }
        tag::WITHDRAWN => Change::Withdrawn { stream, id: fields.presence_id()? },
        _ => return None,
    }))
}

/// What is left of a payload.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn id(&mut self) -> Option<SessionId> {
        Some(SessionId::from_bits(u128::from_le_bytes(self.array()?)))
    }

    /// Part of a JSON string as it is, so nothing that would need an escape.
    fn epoch(&mut self) -> Option<Epoch> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        self.text().filter(|text| !text.is_empty() && text.bytes().all(plain)).map(Epoch::from)
    }

    /// A JSON string token in the spelling of `serde_json`.
    fn identifier(&mut self) -> Option<Identifier> {
        let token = self.text()?;
        let text: String = serde_json::from_str(token).ok()?;
        (serde_json::to_string(&text).ok()? == token).then(|| Identifier::from(token))
    }

    fn presence_id(&mut self) -> Option<PresenceId> {
        self.text().filter(|id| !id.is_empty()).map(PresenceId::from)
    }

    /// A JSON object from its first byte to its last.
    fn object(&mut self) -> Option<RawJson> {
        self.json().filter(|json| json.as_str().starts_with('{') && json.as_str().ends_with('}'))
    }

    fn json(&mut self) -> Option<RawJson> {
        let text = self.text()?;
        serde_json::from_str::<IgnoredAny>(text).is_ok().then(|| RawJson::from(text))
    }
}

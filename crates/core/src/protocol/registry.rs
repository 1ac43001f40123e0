//! The registry of protocols: a row each, and the lookup of a codec's wire format.

use std::fmt;
use std::time::Duration;

use super::handshake::ReadOffer;
use super::{action_cable, chat, encode, phoenix, sse, typed};
use crate::types::{
    ClientCommand, Codec, CommandKind, ConnectionMessage, GroupKey, Head, PresenceId, Reference,
    Request, ServerMessage, Transport,
};

/// All protocols. A new one takes its folder and its row here.
pub static PROTOCOLS: &[&Protocol] = &[
    &action_cable::PROTOCOL,
    &phoenix::PROTOCOL,
    &typed::PROTOCOL,
    &chat::PROTOCOL,
    &sse::PROTOCOL,
];

/// A protocol of clients: a row of [`PROTOCOLS`].
pub struct Protocol {
    /// Its name in `--protocols` and logs.
    pub name: &'static str,
    /// Its default path.
    pub path: &'static str,
    /// Transports over which it is served, each with its path below the protocol's.
    pub transports: &'static [(Transport, &'static str)],
    /// Number and capabilities of its clients' codec. The transport comes with the connection.
    pub codec: Codec,
    /// Further codecs of the same format, for clients that ask for them.
    pub variants: &'static [Codec],
    /// Payloads ↔ neutral messages.
    pub format: &'static dyn WireFormat,
    /// Reader of the handshake, if clients ask for anything in it.
    pub handshake: Option<ReadOffer>,
    /// Whether unauthorized clients are refused by the status of the handshake. Otherwise the handshake
    /// succeeds, and a message says why the connection is closed.
    pub refuses_by_status: bool,
    /// Presence ids that its clients can't handle.
    pub reserved_presence_ids: &'static [&'static str],
}

/// The client that a message comes from, as far as wire formats need it.
pub struct Sender<'a> {
    /// Its presence id, if it has one.
    pub presence_id: Option<&'a PresenceId>,
    /// The time since the Unix epoch.
    pub now: &'a dyn Fn() -> Duration,
}

/// The subscribers that a message goes to.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// Their group.
    pub group: &'a GroupKey,
    /// The request that the message answers, if it answers one.
    pub reference: Option<&'a Reference>,
}

/// Payloads ↔ neutral messages, without what a transport puts around a payload.
pub trait WireFormat: Sync {
    /// Reads a text message.
    fn decode<'a>(&self, text: &'a str, sender: &Sender<'_>) -> Request<'a>;

    /// Reads only the command's kind and subscription: enough to refuse a client that is too fast.
    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        let _ = text;
        Head { reference: None, kind: CommandKind::Unknown, identifier: None }
    }

    /// The command that connecting implies, if any.
    fn decode_connecting(&self) -> Option<ClientCommand<'static>> {
        None
    }

    /// Appends the payload of a message about a subscription; nothing if the protocol has none for it.
    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>);

    /// Appends consecutive messages, each framed for the group's transport. Only called for codecs that
    /// [merge events](Codec::merges_events).
    fn encode_run(&self, to: &Audience<'_>, messages: &[ServerMessage], out: &mut Vec<u8>) {
        for message in messages {
            encode(to.group, message, to.reference, out);
        }
    }

    /// Appends the payload of a message about the connection; nothing if the protocol has none for it.
    fn encode_connection(
        &self,
        codec: Codec,
        message: &ConnectionMessage,
        reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        let _ = (codec, message, reference, out);
    }
}

impl Protocol {
    /// A protocol over WebSockets at its path, whose clients ask for nothing in the handshake.
    pub(super) const fn plain(
        name: &'static str,
        path: &'static str,
        codec: Codec,
        format: &'static dyn WireFormat,
    ) -> Self {
        Self {
            name,
            path,
            transports: &[(Transport::WebSocket, "")],
            codec,
            variants: &[],
            format,
            handshake: None,
            refuses_by_status: false,
            reserved_presence_ids: &[],
        }
    }

    /// Its codecs, over any transport.
    fn codecs(&self) -> impl Iterator<Item = Codec> {
        [self.codec].into_iter().chain(self.variants.iter().copied())
    }
}

impl fmt::Debug for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("presence_id", &self.presence_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Protocol {}

/// The codec of a number from a file on disk.
pub fn codec(number: u8) -> Option<Codec> {
    codecs().find(|codec| codec.number() == number)
}

/// The codecs whose clients can resume a session.
pub fn resumable() -> impl Iterator<Item = Codec> {
    codecs().filter(|codec| codec.resumes())
}

fn codecs() -> impl Iterator<Item = Codec> {
    PROTOCOLS.iter().flat_map(|protocol| protocol.codecs())
}

/// The wire format of a codec.
#[inline]
pub(super) fn format(codec: Codec) -> &'static dyn WireFormat {
    let [first, ..] = &FORMATS;
    FORMATS.get(usize::from(codec.number())).map_or(*first, |format| *format)
}

/// The wire format of each number. Numbers without a codec are never looked up.
static FORMATS: [&dyn WireFormat; 256] = {
    let mut formats = [action_cable::PROTOCOL.format; 256];
    let mut rows = PROTOCOLS;
    while let [row, others @ ..] = rows {
        put(&mut formats, row.codec, row.format);
        let mut variants = row.variants;
        while let [codec, rest @ ..] = variants {
            put(&mut formats, *codec, row.format);
            variants = rest;
        }
        rows = others;
    }
    formats
};

const fn put<T: Copy>(formats: &mut [T; 256], codec: Codec, format: T) {
    let (_, from) = formats.split_at_mut(codec.number() as usize);
    if let [place, ..] = from {
        *place = format;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_is_one_codecs() {
        let numbers: Vec<u8> = codecs().map(Codec::number).collect();
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "{numbers:?}");
        for known in codecs() {
            assert_eq!(codec(known.number()), Some(known));
        }
        assert_eq!(codec(u8::MAX), None, "it is nobody's");
    }

    /// What is on disk says so.
    #[test]
    fn numbers_stay() {
        let numbers = |protocol: &Protocol| protocol.codecs().map(Codec::number).collect();
        let numbers: Vec<(&str, Vec<u8>)> =
            PROTOCOLS.iter().map(|protocol| (protocol.name, numbers(protocol))).collect();
        let expected = [
            ("action-cable", vec![0]),
            ("phoenix", vec![1]),
            ("typed", vec![2]),
            ("chat", vec![3]),
            ("sse", vec![4, 5]),
        ];
        assert_eq!(numbers.get(..expected.len()), Some(&expected[..]));
    }

    #[test]
    fn each_codec_has_its_protocols_format() {
        for protocol in PROTOCOLS {
            for codec in protocol.codecs() {
                assert!(std::ptr::addr_eq(format(codec), protocol.format), "{protocol:?}");
            }
        }
    }
}

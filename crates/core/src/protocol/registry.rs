//! The protocols that are spoken: a row each, and the way from a codec to its row.

use std::fmt;
use std::time::Duration;

use super::handshake::ReadOffer;
use super::{action_cable, chat, encode, phoenix, sse, typed};
use crate::types::{
    ClientCommand, Codec, ConnectionMessage, GroupKey, Head, PresenceId, Reference, Request,
    ServerMessage, Transport,
};

/// Every protocol. To add one takes its folder and its row here.
pub static PROTOCOLS: [&Protocol; 5] = [
    &action_cable::PROTOCOL,
    &phoenix::PROTOCOL,
    &typed::PROTOCOL,
    &chat::PROTOCOL,
    &sse::PROTOCOL,
];

/// A protocol that clients can speak.
pub struct Protocol {
    /// Its name, as in `--protocols`.
    pub name: &'static str,
    /// Where it is served unless it is told otherwise.
    pub path: &'static str,
    /// How clients connect, and where below the path.
    pub transports: &'static [(Transport, &'static str)],
    /// How clients are spoken to, whatever the transport, and what they can do.
    pub codec: Codec,
    /// How they are who have chosen another codec of the same format.
    pub variants: &'static [Codec],
    /// Payloads ↔ neutral messages.
    pub format: &'static dyn WireFormat,
    /// Finds in a handshake what the client asks for, where it may ask for anything.
    pub handshake: Option<ReadOffer>,
    /// Whether a client that may not connect is told so by the status of its handshake; others are by a
    /// message, after it.
    pub refuses_by_status: bool,
    /// Presence ids that its clients fail over.
    pub reserved_presence_ids: &'static [&'static str],
}

/// Payloads ↔ neutral messages: what a protocol is to the core.
pub trait WireFormat: Sync {
    /// Reads a text message from a client that is called something or not, received at a time since the
    /// Unix epoch.
    fn decode<'a>(
        &self,
        text: &'a str,
        called: Option<&PresenceId>,
        now: &dyn Fn() -> Duration,
    ) -> Request<'a>;

    /// Reads of a text message only which command it is and about which subscription: enough to refuse
    /// it.
    fn decode_head<'a>(&self, text: &'a str) -> Head<'a>;

    /// What a client has asked for by connecting.
    fn decode_connecting(&self) -> Option<ClientCommand<'static>> {
        None
    }

    /// Appends the payload of a message about a subscription; nothing, if the protocol doesn't show such
    /// a thing. `reference` is that of the request it answers.
    fn encode(
        &self,
        group: &GroupKey,
        message: &ServerMessage,
        reference: Option<&Reference>,
        out: &mut Vec<u8>,
    );

    /// Appends messages in a row, each framed as its group's transport has it. For protocols that make
    /// one message of several events ([`Codec::merges_events`]).
    fn encode_run(
        &self,
        group: &GroupKey,
        messages: &[ServerMessage],
        reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        for message in messages {
            encode(group, message, reference, out);
        }
    }

    /// Appends the payload of a message about the connection; nothing, if the protocol doesn't show such
    /// a thing.
    fn encode_connection(
        &self,
        codec: Codec,
        message: &ConnectionMessage,
        reference: Option<&Reference>,
        out: &mut Vec<u8>,
    );
}

impl Protocol {
    /// Its codecs, over any transport.
    fn codecs(&self) -> impl Iterator<Item = Codec> {
        [self.codec].into_iter().chain(self.variants.iter().copied())
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

/// The codec of a number, as files on disk have it.
pub fn codec(number: u8) -> Option<Codec> {
    codecs().find(|codec| codec.number() == number)
}

/// The codecs whose clients can take over an earlier session.
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

/// The wire format of each number. Those that no codec has are not asked for.
static FORMATS: [&dyn WireFormat; 256] = {
    let [first, ..] = PROTOCOLS;
    let mut formats = [first.format; 256];
    let mut rows: &[&Protocol] = &PROTOCOLS;
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

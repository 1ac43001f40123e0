//! The registry of protocols: a row each, and the lookup of a codec's wire format.

use super::row::Protocol;
use super::wire_format::WireFormat;
use super::{action_cable, chat, phoenix, sse, typed};
use crate::types::Codec;

/// All protocols. A new one takes its folder and its row here.
pub static PROTOCOLS: &[&Protocol] = &[
    &action_cable::PROTOCOL,
    &phoenix::PROTOCOL,
    &typed::PROTOCOL,
    &chat::PROTOCOL,
    &sse::PROTOCOL,
];

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

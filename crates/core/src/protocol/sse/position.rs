//! A position in a stream's history, as the id of an event: `<offset>/<epoch>/<stream>`.

use std::io::Write as _;

use crate::types::{Epoch, Offset, StreamName, StreamPosition};

/// A position, and the stream it is of; without a name, the one that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) position: StreamPosition,
    pub(super) stream: Option<StreamName>,
}

impl EventId {
    /// Reads the id of the last event a client has got, which it sends in a header.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (offset, epoch, stream) = (parts.next()?, parts.next()?, parts.next()?);
        let position =
            StreamPosition { offset: Offset(offset.parse().ok()?), epoch: Epoch::from(epoch) };
        let stream = Some(stream).filter(|stream| !stream.is_empty());
        Some(Self { position, stream: stream.map(StreamName::from) })
    }
}

/// Appends the id of an event. The stream's name is left out where clients couldn't send it back: in
/// a header there are no line breaks, many take ASCII only, and spaces at the end are cut off.
pub(super) fn write(out: &mut Vec<u8>, position: &StreamPosition, stream: &StreamName) {
    let StreamPosition { offset: Offset(offset), epoch } = position;
    let name = stream.as_str();
    let is_plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.ends_with(' ');
    let name = if is_plain { name } else { "" };
    drop(write!(out, "{offset}/{epoch}/{name}")); // a vector takes every write
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(stream: &str, offset: u64) -> String {
        let position = StreamPosition { epoch: "6obh".into(), offset: Offset(offset) };
        let mut out = Vec::new();
        write(&mut out, &position, &stream.into());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_id_tells_all_there_is_to_know() {
        assert_eq!(id("room/1", 3), "3/6obh/room/1");
        assert_eq!(id("a b", 3), "3/6obh/a b");
        for odd in ["a\nb", "a\r", "a\0", "é", "a "] {
            assert_eq!(id(odd, 3), "3/6obh/", "{odd:?}");
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in
            ["", "3", "3/6obh", "x/6obh/a", "-1/6obh/a", "/6obh/a", "99999999999999999999/a/b"]
        {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_come_back(stream in ".{1,20}", offset in any::<u64>()) {
            // as a header carries them
            let id = id(&stream, offset);
            let read = EventId::parse(id.trim_end()).unwrap();
            prop_assert_eq!(read.position, StreamPosition { epoch: "6obh".into(), offset: Offset(offset) });
            prop_assert!(read.stream.is_none_or(|name| name.as_str() == stream));
            prop_assert!(id.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
}

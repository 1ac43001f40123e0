//! The client's side of WebSocket framing (RFC 6455 section 5.2), for long-polling clients: parses
//! the broker's frames, and writes posted messages as frames.

/// First byte: the FIN bit, and opcodes of unfragmented frames with it.
const FIN: u8 = 0x80;
const TEXT: u8 = FIN | 0x1;
const BINARY: u8 = FIN | 0x2;
const CLOSE: u8 = FIN | 0x8;
const PING: u8 = FIN | 0x9;
const PONG: u8 = FIN | 0xA;

/// Second byte: the MASK bit.
const MASKED: u8 = 0x80;

/// A zero mask: only the broker reads these frames.
const NO_MASK: [u8; 4] = [0; 4];

/// A frame from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close,
    /// A frame that needs no answer.
    Other,
}

/// A frame to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    Pong,
    Close,
}

/// Splits the first frame off; `None` if it is incomplete.
pub(super) fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (&[kind, short], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match short {
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length => (usize::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let frame = match kind {
        TEXT => Frame::Text(payload),
        PING => Frame::Ping(payload),
        CLOSE => Frame::Close,
        _ => Frame::Other,
    };
    Some((frame, rest))
}

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let first = match kind {
        Kind::Text => TEXT,
        Kind::Binary => BINARY,
        Kind::Pong => PONG,
        Kind::Close => CLOSE,
    };
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | 0x7e);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(MASKED | 0x7f);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&NO_MASK);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::websocket::{self, Event, Reader};

    proptest! {
        #[test]
        fn what_the_broker_writes_is_read(texts in texts(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            for text in &texts {
                websocket::write_text(&mut bytes, |out| out.extend_from_slice(text.as_bytes()));
                websocket::write_ping(&mut bytes, b"1234");
                websocket::write_pong(&mut bytes, b"");
            }
            websocket::write_close(&mut bytes, 1001, "bye");
            let (mut read, mut rest) = (Vec::new(), &*bytes);
            while let Some((frame, behind)) = split(rest) {
                read.push(frame);
                rest = behind;
            }
            prop_assert!(rest.is_empty());
            let expected = texts.iter().flat_map(|text| {
                [Frame::Text(text.as_bytes()), Frame::Ping(b"1234"), Frame::Other]
            });
            prop_assert_eq!(read, expected.chain([Frame::Close]).collect::<Vec<_>>());
            // a part of it is no frame, and nothing is made up of it
            let mut part = &bytes[..cut.index(bytes.len())];
            let before = part.len();
            while let Some((_, behind)) = split(part) {
                prop_assert!(behind.len() < part.len());
                part = behind;
            }
            prop_assert!(part.len() <= before);
        }

        #[test]
        fn what_the_client_says_is_understood(texts in texts()) {
            let mut bytes = Vec::new();
            for text in &texts {
                write(&mut bytes, Kind::Text, text.as_bytes());
            }
            write(&mut bytes, Kind::Pong, b"1234");
            write(&mut bytes, Kind::Binary, &[0xFF; 3]);
            write(&mut bytes, Kind::Close, &1000_u16.to_be_bytes());
            let (mut said, mut others) = (Vec::new(), Vec::new());
            Reader::new().feed(&mut bytes, usize::MAX, &mut |event| {
                match event {
                    Event::Text(text) => said.push(text.to_owned()),
                    other @ (Event::Binary | Event::Ping(_) | Event::Pong(_) | Event::Close(_)) => {
                        others.push(format!("{other:?}"));
                    }
                }
                ControlFlow::Continue(())
            }).unwrap();
            prop_assert_eq!(said, texts);
            prop_assert_eq!(others, ["Pong([49, 50, 51, 52])", "Binary", "Close(Some(1000))"]);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _: Option<_> = split(&bytes);
        }
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        let lengths = prop_oneof![0..300_usize, 65_000..66_000_usize];
        prop::collection::vec(lengths.prop_map(|length| "x".repeat(length)), 0..4)
    }
}

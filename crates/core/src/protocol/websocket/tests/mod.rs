//! What the tests of the codec share: a client's frames, and a reader's events as values.

use std::ops::ControlFlow;

use super::{Event, Reader, Violation};

mod broken;
mod rules;
mod splits;
mod tungstenite;

/// First bytes of frames, whole and not.
pub(super) const TEXT: u8 = 0x81;
pub(super) const TEXT_BEGIN: u8 = 0x01;
pub(super) const BINARY: u8 = 0x82;
pub(super) const BINARY_BEGIN: u8 = 0x02;
pub(super) const MORE: u8 = 0x00;
pub(super) const END: u8 = 0x80;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8A;

/// Second bytes: with the length in them, or in 16 or 64 bits after them.
pub(super) const MASKED: u8 = 0x80;
pub(super) const MASKED_16: u8 = MASKED | 0x7E;
pub(super) const MASKED_64: u8 = MASKED | 0x7F;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An [`Event`] that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary => Self::Binary,
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(code) => Self::Close(code),
        }
    }
}

pub(super) fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

/// The masked header of a client's frame.
pub(super) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    if length <= 125 {
        out.push(MASKED | u8::try_from(length).unwrap());
    } else if let Ok(length) = u16::try_from(length) {
        out.push(MASKED_16);
        out.extend(length.to_be_bytes());
    } else {
        out.push(MASKED_64);
        out.extend(length.to_be_bytes());
    }
    out.extend(MASK);
    out
}

/// A client's frame.
pub(super) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = header(first, payload.len() as u64);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// What became of a connection.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) seen: Vec<Seen>,
    pub(super) end: Result<(), Violation>,
    pub(super) partial: bool,
}

/// Feeds the pieces to a new reader, with a sink that breaks when `breaks` says so and is resumed
/// until nothing is held.
pub(super) fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_message: usize,
    mut breaks: impl FnMut() -> bool,
) -> Outcome {
    let mut reader = Reader::new();
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| {
        seen.push(event.into());
        if breaks() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut end = Ok(());
    for piece in pieces {
        end = reader.feed(&mut piece.to_vec(), max_message, &mut sink);
        while end.is_ok() && reader.is_held() {
            end = reader.resume(max_message, &mut sink);
        }
        if end.is_err() {
            assert_eq!(reader.feed(&mut frame(TEXT, "late"), max_message, &mut sink), Ok(()));
            assert!(!reader.is_partial() && !reader.is_held());
            break;
        }
    }
    let partial = reader.is_partial();
    Outcome { seen, end, partial }
}

/// Feeds all bytes at once, with the limit that most tests have no use for.
pub(super) fn read_all(bytes: &[u8]) -> Outcome {
    read([bytes], 1 << 20, || false)
}

//! A client's frames: `[limit, breaks, 8 lengths, bytes…]`.
//!
//! For any bytes in any pieces, the reader reports the same events, keeps no more incomplete data than the
//! limit, and agrees with tungstenite.

use std::io::{self, Cursor, Read, Write};
use std::ops::ControlFlow;

use broker::protocol::websocket::{Event, Reader, Violation, frame_boundary, write_pong};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// Largest messages. Tungstenite applies the limit to control frames too, so it gets none that
/// these don't pass.
const LIMITS: [usize; 4] = [0, 20, 125, 600];
const LARGEST_CONTROL: usize = 125;

/// What a reader holds that is no payload: a header's start, a mask, lengths.
const BESIDES: usize = 40;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    seen: Vec<Seen>,
    end: Result<(), Violation>,
    partial: bool,
}

pub fn run(data: &[u8]) {
    let Some((&[limit, breaks, ref lengths @ ..], bytes)) = data.split_first_chunk::<10>() else {
        return;
    };
    let limit = LIMITS[usize::from(limit) % LIMITS.len()];
    let whole = read([bytes], limit, 0);
    assert_eq!(read(pieces(bytes, lengths), limit, 0), whole, "in pieces");
    assert_eq!(read(pieces(bytes, lengths), limit, breaks), whole, "with breaks");
    assert_eq!(read([bytes], limit, breaks), whole, "with breaks, at once");
    for event in &whole.seen {
        check_answer(event);
    }
    for at in [0, bytes.len() / 2, bytes.len()] {
        let end = frame_boundary(bytes, at);
        assert!(at <= end && end <= bytes.len());
    }
    if limit >= LARGEST_CONTROL {
        agree(bytes, limit, whole);
    }
}

/// The bytes in pieces of these lengths, over and over.
fn pieces<'a>(mut rest: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = usize::from(*lengths.next()?).max(1);
        let (piece, after) = rest.split_at(rest.len().min(length));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What a reader makes of the pieces, with a sink that breaks where `breaks` has a bit.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize, mut breaks: u8) -> Outcome {
    let (mut reader, mut seen) = (Reader::new(), Vec::new());
    let mut sink = |event: Event<'_>| {
        seen.push(match event {
            Event::Text(text) => Seen::Text(text.to_owned()),
            Event::Binary => Seen::Binary,
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Close(code) => Seen::Close(code),
        });
        breaks = breaks.rotate_left(1);
        if breaks & 1 == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut end = Ok(());
    for piece in pieces {
        end = reader.feed(&mut piece.to_vec(), limit, &mut sink);
        while end.is_ok() && reader.is_held() {
            end = reader.resume(limit, &mut sink);
        }
        if end.is_err() {
            let mut late = *b"\x81\x80mask";
            assert_eq!(reader.feed(&mut late, limit, &mut sink), Ok(()));
            assert!(!reader.is_partial() && !reader.is_held());
            break;
        }
    }
    // what it keeps shows only in what it is made of
    let kept = format!("{reader:?}").matches(", ").count();
    assert!(kept <= limit + LARGEST_CONTROL + BESIDES, "it keeps {kept} bytes");
    let closed = matches!(seen.last(), Some(Seen::Close(_)));
    assert!(!closed || !reader.is_partial(), "a close is the last event");
    Outcome { partial: reader.is_partial(), seen, end }
}

/// A ping's answer is one frame with its payload.
fn check_answer(event: &Seen) {
    let Seen::Ping(payload) = event else { return };
    let mut pong = Vec::new();
    write_pong(&mut pong, payload);
    assert_eq!(frame_boundary(&pong, 1), pong.len());
    assert_eq!(&pong[2..], payload);
}

/// How tungstenite's reading ended.
#[derive(Debug)]
enum End {
    Closed,
    /// With the last byte.
    Ran,
    Refused(Error),
    /// With a close frame whose code it doesn't allow.
    CodeRefused,
}

/// Checks our reading against tungstenite's, which waits for the end of a frame where a violation
/// shows earlier, takes lengths that aren't minimal, doesn't know close code 1014, and tells of a
/// binary message at its end. (`crates/core/src/protocol/websocket/tests/tungstenite.rs` says why.)
fn agree(bytes: &[u8], limit: usize, mut ours: Outcome) {
    let (mut their_events, their_end) = theirs(bytes, limit);
    let binary = [&mut ours.seen, &mut their_events].map(|events| {
        let all = events.len();
        events.retain(|event| *event != Seen::Binary);
        all - events.len()
    });
    if let Err(Violation::Protocol(reason)) = ours.end
        && (reason.contains("length") || reason.contains("longer"))
    {
        return assert!(their_events.starts_with(&ours.seen), "it went on where we stopped");
    }
    match their_end {
        End::Closed => assert_eq!(ours.end, Ok(())),
        End::Ran => assert!(ours.partial || ours.end.is_err() || binary[0] == binary[1]),
        End::Refused(error) => assert!(ours.end.is_err(), "{error}"),
        End::CodeRefused if ours.seen.last() == Some(&Seen::Close(Some(1014))) => {
            ours.seen.pop();
        }
        End::CodeRefused => assert!(ours.end.is_err()),
    }
    assert_eq!(ours.seen, their_events);
    assert!(binary[0] == binary[1] || binary[0] == binary[1] + 1, "{binary:?}");
}

fn theirs(bytes: &[u8], limit: usize) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
        .read_buffer_size(256);
    let received = Received(Cursor::new(bytes));
    let mut socket = WebSocket::from_raw_socket(received, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(_)) => Seen::Binary,
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(Message::Close(Some(close)))
                if close.code == CloseCode::Protocol && close.reason == "Protocol violation" =>
            {
                return (seen, End::CodeRefused);
            }
            Ok(Message::Close(close)) => {
                seen.push(Seen::Close(close.map(|close| close.code.into())));
                return (seen, End::Closed);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (seen, End::Ran);
            }
            Err(error) => return (seen, End::Refused(error)),
        });
    }
}

/// What was received; what is sent is lost.
struct Received<'a>(Cursor<&'a [u8]>);

impl Read for Received<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Received<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

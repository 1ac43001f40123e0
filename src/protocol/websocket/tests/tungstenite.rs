//! The reader against tungstenite's, which was written by others from the same RFC.
//!
//! They agree but for these, all deliberate:
//!
//! - Lengths that aren't minimal or have their highest bit set are refused here, as section 5.2
//!   demands; tungstenite takes them, those of control frames too if the frame is short enough.
//! - A close code that mustn't be sent is a violation here; tungstenite hands on a close with code
//!   1002 in its place. 1014 came to IANA's registry later; tungstenite doesn't know it.
//! - What breaks a rule is told here by the byte that proves it. Tungstenite waits for the frame,
//!   hence for ever if it never ends.
//! - Binary messages are told of at their first header here, at their end there.
//! - Tungstenite also applies the limit to control frames, so it gets one that these pass.

use std::io::{self, Cursor, Read, Write};

use ::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
};
use proptest::prelude::*;

use super::{
    super::frame::{CONTROL_TOO_LONG, LENGTH_NEGATIVE, LENGTH_NOT_MINIMAL},
    splits::nearly_valid,
    *,
};

const LIMIT: usize = 600;

/// What was received; what is sent is lost.
struct Received(Cursor<Vec<u8>>);

impl Read for Received {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Received {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How tungstenite's reading ended.
#[derive(Debug, PartialEq)]
enum End {
    /// With a close frame.
    Closed,
    /// With the last byte.
    Ran,
    Refused(String),
    /// With a close frame whose code it doesn't allow.
    CodeRefused,
}

fn theirs(bytes: &[u8]) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(256);
    let received = Received(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(received, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(payload)) => text(&payload),
            Ok(Message::Binary(_)) => Seen::Binary,
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
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
            Err(error) => return (seen, End::Refused(error.to_string())),
        });
    }
}

/// The events but for those of binary messages, and how many those are.
fn without_binary(mut seen: Vec<Seen>) -> (Vec<Seen>, usize) {
    let all = seen.len();
    seen.retain(|event| *event != Seen::Binary);
    let binary = all - seen.len();
    (seen, binary)
}

fn agree(bytes: &[u8]) {
    let ours = read([bytes], LIMIT, || false);
    let (theirs, their_end) = theirs(bytes);
    let (mut our_events, our_binary) = without_binary(ours.seen);
    let (their_events, their_binary) = without_binary(theirs);

    if matches!(ours.end, Err(LENGTH_NEGATIVE | LENGTH_NOT_MINIMAL | CONTROL_TOO_LONG)) {
        assert!(their_events.starts_with(&our_events), "{our_events:?} {their_events:?}");
        return;
    }
    match their_end {
        End::Closed => assert_eq!(ours.end, Ok(())),
        End::Ran => assert!(
            ours.partial || ours.end.is_err() || our_binary == their_binary,
            "{our_binary} {their_binary}"
        ),
        End::Refused(error) => assert!(ours.end.is_err(), "{error}"),
        End::CodeRefused => {
            if our_events.last() == Some(&Seen::Close(Some(1014))) {
                our_events.pop();
            } else {
                assert!(ours.end.is_err());
            }
        }
    }
    assert_eq!(our_events, their_events);
    assert!((their_binary..=their_binary + 1).contains(&our_binary));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn frames_are_read_alike(bytes in nearly_valid()) {
        agree(&bytes);
    }

    #[test]
    fn bytes_are_read_alike(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&bytes);
    }
}

#[test]
fn a_ping_with_a_long_length_is_read_as_far_as_it_goes() {
    let mut bytes = frame(TEXT, "before");
    bytes.extend([PING, MASKED_16, 0, 5, 0, 0, 0, 0]);
    bytes.extend(b"hello");
    agree(&bytes);
}

#[test]
fn what_we_write_a_client_reads() {
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = "x".repeat(length);
        super::super::write_text(&mut out, |out| out.extend_from_slice(payload.as_bytes()));
        expected.push(Message::text(payload));
    }
    super::super::write_ping(&mut out, b"?");
    expected.push(Message::Ping("?".into()));
    super::super::write_pong(&mut out, &[1; 125]);
    expected.push(Message::Pong(vec![1; 125].into()));
    let mut socket = WebSocket::from_raw_socket(Received(Cursor::new(out)), Role::Client, None);
    for message in expected {
        assert_eq!(socket.read().unwrap(), message);
    }
    let mut out = Vec::new();
    super::super::write_close(&mut out, 1001, "going away");
    let mut socket = WebSocket::from_raw_socket(Received(Cursor::new(out)), Role::Client, None);
    let Message::Close(Some(close)) = socket.read().unwrap() else { panic!("no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "going away"));
}

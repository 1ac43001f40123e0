//! The reader against tungstenite's, which was written by others from the same RFC.
//!
//! Both read the same bytes in the same pieces, and have to agree on the messages, on whether the
//! connection fails, and on what for: the protocol, UTF-8 or the size. They do but for these, all
//! deliberate:
//!
//! - Lengths that aren't minimal, those of control frames included, or have their highest bit set are
//!   refused here, as section 5.2 demands; tungstenite takes them.
//! - A close code that mustn't be sent is a violation here; tungstenite hands on a close with code
//!   1002 in its place. 1014 came to IANA's registry later; tungstenite doesn't know it.
//! - What breaks a rule is told here by the byte that proves it. Tungstenite waits for the frame,
//!   hence for ever if it never ends: it is given a frame's worth of bytes more, and must then refuse
//!   it, too.
//! - A frame that breaks several rules is reported by the first byte that breaks one here. Tungstenite
//!   looks at the size before all but the opcode, and at a close's reason before its code.
//! - Binary messages are reported at their first header here, at their end there.
//! - Tungstenite also applies the limit to control frames, so it gets one that these pass.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use ::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
};
use proptest::prelude::*;

use super::{
    super::frame::{
        CODE_NOT_TO_SEND, CONTROL_TOO_LONG, LENGTH_NEGATIVE, LENGTH_NOT_MINIMAL, MAX_HEADER,
    },
    broken::broken_frames,
    splits::{lengths, nearly_valid, pieces},
    *,
};

/// What was received, in pieces; what is sent is lost.
struct Received(VecDeque<Vec<u8>>);

impl Received {
    fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(pieces.into_iter().map(<[u8]>::to_vec).collect())
    }
}

impl Read for Received {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        let read = piece.as_slice().read(out)?;
        piece.drain(..read);
        if piece.is_empty() {
            self.0.pop_front();
        }
        Ok(read)
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
    Refused(Rule),
    /// With a close frame whose code it doesn't allow.
    CodeRefused,
}

/// What kind of rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Protocol,
    Utf8,
    Size,
}

impl From<Violation> for Rule {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Protocol(_) => Self::Protocol,
            Violation::InvalidText => Self::Utf8,
            Violation::TooBig => Self::Size,
        }
    }
}

fn theirs<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
        .read_buffer_size(256);
    let received = Received::new(pieces);
    let mut socket = WebSocket::from_raw_socket(received, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(payload)) => text(&payload),
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
            Err(Error::Protocol(_)) => return (seen, End::Refused(Rule::Protocol)),
            Err(Error::Utf8(_)) => return (seen, End::Refused(Rule::Utf8)),
            Err(Error::Capacity(_)) => return (seen, End::Refused(Rule::Size)),
            Err(error) => panic!("{error}"),
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

fn agree(bytes: &[u8], lengths: &[usize], limit: usize) {
    let ours = read(pieces(bytes, lengths), limit, || false);
    let (mut theirs_seen, mut their_end) = theirs(pieces(bytes, lengths), limit);
    if ours.end.is_err() && their_end == End::Ran {
        let more = vec![0; limit + MAX_HEADER];
        (theirs_seen, their_end) = theirs(pieces(bytes, lengths).chain([&*more]), limit);
    }
    let (mut our_events, our_binary) = without_binary(ours.seen);
    let (their_events, their_binary) = without_binary(theirs_seen);

    let took_more = their_events.len() > our_events.len();
    if matches!(ours.end, Err(LENGTH_NEGATIVE | LENGTH_NOT_MINIMAL))
        || (took_more && ours.end == Err(CONTROL_TOO_LONG))
    {
        assert!(their_events.starts_with(&our_events), "{our_events:?} {their_events:?}");
        return;
    }
    match (their_end, ours.end) {
        (End::Ran, Ok(())) => {
            assert!(ours.partial || our_binary == their_binary, "{our_binary} {their_binary}");
        }
        (End::CodeRefused, Ok(())) => {
            assert_eq!(our_events.pop(), Some(Seen::Close(Some(1014))));
        }
        (End::Closed, Ok(()))
        | (End::Refused(Rule::Size), Err(Violation::Protocol(_)))
        | (End::Refused(Rule::Utf8) | End::CodeRefused, Err(CODE_NOT_TO_SEND | CONTROL_TOO_LONG)) =>
            {}
        (End::Refused(rule), Err(violation)) => assert_eq!(Rule::from(violation), rule),
        (theirs, ours) => panic!("tungstenite: {theirs:?}, we: {ours:?}"),
    }
    assert_eq!(our_events, their_events);
    assert!((their_binary..=their_binary + 1).contains(&our_binary));
}

/// The second has room for what needs a length in 64 bits.
fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![Just(600), Just(66_000)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn bytes_changed_are_read_alike(
        bytes in nearly_valid(), lengths in lengths(), limit in limit(),
    ) {
        agree(&bytes, &lengths, limit);
    }

    #[test]
    fn frames_changed_are_read_alike(
        bytes in broken_frames(), lengths in lengths(), limit in limit(),
    ) {
        agree(&bytes, &lengths, limit);
    }

    #[test]
    fn any_bytes_are_read_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..64), lengths in lengths(), limit in limit(),
    ) {
        agree(&bytes, &lengths, limit);
    }
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
    let mut socket = WebSocket::from_raw_socket(Received::new([&*out]), Role::Client, None);
    for message in expected {
        assert_eq!(socket.read().unwrap(), message);
    }
    let mut out = Vec::new();
    super::super::write_close(&mut out, 1001, "going away");
    let mut socket = WebSocket::from_raw_socket(Received::new([&*out]), Role::Client, None);
    let Message::Close(Some(close)) = socket.read().unwrap() else { panic!("no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "going away"));
}

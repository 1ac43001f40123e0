//! WebSocket frames (RFC 6455), as a client reads and writes them.
//!
//! Reading is a walk over what a socket gave: a server may put one frame into many segments, or
//! thousands of frames into one. Nothing is copied; a frame that isn't complete is left to the caller.
//!
//! The mask of what is written is zero, which the protocol allows: the payload stays as it is, and
//! the server unmasks it as any other.

/// Opcodes (RFC 6455, 5.2).
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Lengths that say how long the length is.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// More than any server says at once; a longer frame is a misread one.
const LONGEST: u64 = 256 << 20;

/// One frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A piece of one, and whether it is the last.
    Piece(&'a [u8], bool),
    /// To be answered with [`pong`].
    Ping(&'a [u8]),
    Pong,
    /// The code, if there is one, and the reason.
    Close(Option<u16>, String),
}

/// What is no frame of a server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    #[error("a frame with reserved bits, though no extension was offered")]
    Reserved,
    #[error("a masked frame, which only clients send")]
    Masked,
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    #[error("a frame of {0} bytes")]
    Length(u64),
}

/// The first frame of `bytes` and what follows it, or nothing if it isn't complete.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, Breach> {
    let Some((&[first, second], after)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(Breach::Reserved);
    }
    if second & MASKED != 0 {
        return Err(Breach::Masked);
    }
    let (length, after) = match second {
        TWO_BYTES => match after.split_first_chunk::<2>() {
            Some((length, after)) => (u64::from(u16::from_be_bytes(*length)), after),
            None => return Ok(None),
        },
        EIGHT_BYTES => match after.split_first_chunk::<8>() {
            Some((length, after)) => (u64::from_be_bytes(*length), after),
            None => return Ok(None),
        },
        short => (u64::from(short), after),
    };
    let length = match usize::try_from(length) {
        Ok(fits) if length <= LONGEST => fits,
        Ok(_) | Err(_) => return Err(Breach::Length(length)),
    };
    let Some((payload, after)) = after.split_at_checked(length) else { return Ok(None) };
    let last = first & FINAL != 0;
    let frame = match first & 0x0f {
        TEXT | BINARY if last => Frame::Message(payload),
        TEXT | BINARY | CONTINUATION => Frame::Piece(payload, last),
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        CLOSE => close(payload),
        other => return Err(Breach::Kind(other)),
    };
    Ok(Some((frame, after)))
}

fn close(payload: &[u8]) -> Frame<'_> {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => Frame::Close(
            Some(u16::from_be_bytes(*code)),
            String::from_utf8_lossy(reason).into_owned(),
        ),
        None => Frame::Close(None, String::new()),
    }
}

/// A text message of a client.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(TEXT, payload)
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PONG, payload)
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, MASKED, payload.len());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A text message of a server.
pub(crate) fn served(payload: &[u8]) -> Vec<u8> {
    let mut frame = head(TEXT, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// What a client's first frame says, and how long the frame is; nothing if it isn't complete.
pub(crate) fn asked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (&[_, second], after) = bytes.split_first_chunk::<2>()?;
    let (length, after) = match second & !MASKED {
        TWO_BYTES => {
            let (length, after) = after.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), after)
        }
        EIGHT_BYTES => {
            let (length, after) = after.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), after)
        }
        short => (u64::from(short), after),
    };
    let (mask, after) = after.split_first_chunk::<4>()?;
    let (masked, rest) = after.split_at_checked(usize::try_from(length).ok()?)?;
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((payload, bytes.len() - rest.len()))
}

fn head(opcode: u8, masked: u8, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(length + 14);
    head.push(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => head.push(masked | length),
        (_, Ok(length)) => {
            head.push(masked | TWO_BYTES);
            head.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            head.push(masked | EIGHT_BYTES);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn said(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![opcode | if last { FINAL } else { 0 }];
        match payload.len() {
            short @ 0..=125 => frame.push(u8::try_from(short).unwrap()),
            middle @ 126..=65535 => {
                frame.push(126);
                frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn a_run_in_one_segment_is_walked_to_its_end() {
        let lengths = [0, 1, 125, 126, 65535, 65536];
        let mut run = Vec::new();
        for length in lengths {
            run.extend(said(TEXT, true, &vec![b'a'; length]));
        }
        let mut rest = run.as_slice();
        for length in lengths {
            let (frame, after) = next(rest).unwrap().expect("a frame");
            assert_eq!(frame, Frame::Message(&vec![b'a'; length]));
            rest = after;
        }
        assert_eq!(next(rest), Ok(None));
    }

    #[test]
    fn a_frame_cut_anywhere_is_not_read_before_it_is_whole() {
        for length in [3, 126, 70_000] {
            let whole = said(TEXT, true, &vec![b'x'; length]);
            for cut in (0..whole.len()).filter(|cut| *cut < 20 || whole.len() - cut < 20) {
                assert_eq!(next(&whole[..cut]), Ok(None), "cut at {cut} of {}", whole.len());
            }
            assert!(next(&whole).unwrap().is_some());
        }
    }

    #[test]
    fn pieces_pings_and_closes_are_told_apart() {
        let run = [
            said(TEXT, false, b"a"),
            said(PING, true, b"p"),
            said(CONTINUATION, true, b"b"),
            said(PONG, true, b""),
            said(CLOSE, true, b"\x03\xe8bye"),
            said(CLOSE, true, b""),
        ]
        .concat();
        let mut rest = run.as_slice();
        for expected in [
            Frame::Piece(b"a", false),
            Frame::Ping(b"p"),
            Frame::Piece(b"b", true),
            Frame::Pong,
            Frame::Close(Some(1000), "bye".to_owned()),
            Frame::Close(None, String::new()),
        ] {
            let (frame, after) = next(rest).unwrap().expect("a frame");
            assert_eq!(frame, expected);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn what_no_server_may_send_is_a_breach() {
        assert_eq!(next(&[0xc1, 0]), Err(Breach::Reserved));
        assert_eq!(next(&[0x81, 0x80]), Err(Breach::Masked));
        assert_eq!(next(&[0x83, 0]), Err(Breach::Kind(3)));
        let long = [&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(next(&long), Err(Breach::Length(u64::MAX)));
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        for length in [0, 1, 125, 126, 65535, 65536] {
            let payload = vec![b'a'; length];
            let frame = text(&payload);
            assert_eq!(asked(&frame), Some((payload.clone(), frame.len())));
            assert_eq!(asked(&frame[..frame.len() - 1]), None);
            let frame = served(&payload);
            assert_eq!(next(&frame), Ok(Some((Frame::Message(&payload), &[][..]))));
        }
        let masked = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2, 9];
        assert_eq!(asked(&masked), Some((b"hi".to_vec(), 8)));
    }

    #[test]
    fn what_is_written_is_masked_with_zero() {
        assert_eq!(text(b"hi"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(text(&[b'a'; 126])[..8], [0x81, 0xfe, 0, 126, 0, 0, 0, 0]);
        assert_eq!(text(&vec![b'a'; 65536])[..10], [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(pong(b"x"), [0x8a, 0x81, 0, 0, 0, 0, b'x']);
    }
}

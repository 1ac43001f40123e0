//! Frames to a client: unmasked (RFC 6455 section 5.1), never fragmented, appended to a buffer
//! that may hold others already.

use super::frame::MAX_CONTROL;

/// The last fragment of a message, or its only one.
const FIN: u8 = 0x80;
const TEXT: u8 = FIN | 0x1;
const CLOSE: u8 = FIN | 0x8;
const PING: u8 = FIN | 0x9;
const PONG: u8 = FIN | 0xA;

/// A header with the length in seven bits.
const SHORT_HEADER: usize = 2;

/// A text frame without a payload.
pub(in crate::protocol) const EMPTY_FRAME: usize = SHORT_HEADER;

/// Appends a text frame whose payload `body` appends; it must do nothing else to the buffer.
///
/// The header precedes a length that isn't known yet, so room is left for the shortest one, and a
/// payload over 125 bytes is moved by the two or eight bytes it lacks.
///
/// ```
/// let mut out = Vec::new();
/// broker_core::protocol::websocket::write_text(&mut out, |out| out.extend_from_slice(b"hi"));
/// assert_eq!(out, b"\x81\x02hi");
/// ```
#[inline]
pub fn write_text(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[TEXT, 0]);
    body(out);
    let length = out.len().saturating_sub(start + SHORT_HEADER);
    match u8::try_from(length) {
        Ok(length @ ..=125) => {
            if let Some(slot) = out.get_mut(start + 1) {
                *slot = length;
            }
        }
        Ok(126..) | Err(_) => lengthen(out, start, length),
    }
}

/// Puts a longer length behind the short header, and moves the payload to make room.
fn lengthen(out: &mut Vec<u8>, start: usize, length: usize) {
    match u16::try_from(length) {
        Ok(length) => insert_length(out, start, 126, length.to_be_bytes()),
        Err(_) => insert_length(out, start, 127, (length as u64).to_be_bytes()),
    }
}

#[inline]
fn insert_length<const N: usize>(out: &mut Vec<u8>, start: usize, marker: u8, length: [u8; N]) {
    let payload = start + SHORT_HEADER;
    let end = out.len();
    out.extend_from_slice(&[0; N]);
    out.copy_within(payload..end, payload + N);
    if let Some(header) = out.get_mut(start + 1..payload + N)
        && let Some((slot, rest)) = header.split_first_mut()
    {
        *slot = marker;
        rest.copy_from_slice(&length);
    }
}

/// Appends a ping (section 5.5.2). Of the payload, the first 125 bytes.
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, PING, &[], payload);
}

/// Appends a pong (section 5.5.3). Of the payload, which is the ping's, the first 125 bytes.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, PONG, &[], payload);
}

/// Appends a close with a code and a reason (section 5.5.1), which is cut to 123 bytes of whole
/// characters. The code must be one that may be sent (section 7.4).
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = code.to_be_bytes();
    let mut end = reason.len().min(MAX_CONTROL - code.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    write_control(out, CLOSE, &code, reason.as_bytes().get(..end).unwrap_or_default());
}

/// Appends a control frame (section 5.5), its payload in two parts, cut to what one may hold.
fn write_control(out: &mut Vec<u8>, first: u8, head: &[u8], tail: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[first, 0]);
    let payload = out.len();
    out.extend_from_slice(head);
    out.extend_from_slice(tail);
    out.truncate(payload + MAX_CONTROL);
    if let (Ok(length), Some(slot)) = (u8::try_from(out.len() - payload), out.get_mut(start + 1)) {
        *slot = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text frame after something else, as most are.
    fn text(payload: &str) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write_text(&mut out, |out| out.extend_from_slice(payload.as_bytes()));
        assert!(out.starts_with(b"before"));
        out.split_off(6)
    }

    #[test]
    fn a_text_frame_has_the_shortest_header() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (1, vec![0x81, 1]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (127, vec![0x81, 126, 0, 127]),
            (255, vec![0x81, 126, 0, 255]),
            (256, vec![0x81, 126, 1, 0]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload: String = ('a'..='z').cycle().take(length).collect();
            let frame = text(&payload);
            assert!(frame.starts_with(&header), "{length}");
            assert_eq!(&frame[header.len()..], payload.as_bytes(), "{length}");
        }
    }

    #[test]
    fn control_frames_are_cut_to_what_they_may_hold() {
        let mut out = Vec::new();
        write_ping(&mut out, b"a");
        write_pong(&mut out, b"");
        assert_eq!(out, [0x89, 1, b'a', 0x8A, 0]);
        for length in [125, 126, 300] {
            out.clear();
            write_pong(&mut out, &vec![7; length]);
            assert_eq!((&out[..2], out.len()), (&[0x8A, 125][..], 127), "{length}");
        }
    }

    #[test]
    fn a_close_has_a_code_and_whole_characters() {
        let mut out = Vec::new();
        write_close(&mut out, 1000, "");
        assert_eq!(out, [0x88, 2, 3, 0xE8]);
        out.clear();
        write_close(&mut out, 1001, &format!("{}\u{20AC}", "r".repeat(122)));
        assert_eq!((&out[..4], out.len()), (&[0x88, 124, 3, 0xE9][..], 126));
        assert!(out[4..].iter().all(|&byte| byte == b'r'));
    }
}

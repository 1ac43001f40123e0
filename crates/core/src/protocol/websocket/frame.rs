//! One frame from a client: its header, its mask, the payload of a close (RFC 6455 sections 5.2,
//! 5.3 and 5.5.1). Rules that need no other frame are checked here, on the first byte that breaks
//! them; those about the order of frames are the reader's.

use super::event::Violation;

/// The longest header: two bytes, a 64-bit length, the mask.
pub(super) const MAX_HEADER: usize = 14;

/// Largest payload of a control frame (section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// A length that isn't written in the fewest bytes.
pub(super) const LENGTH_NOT_MINIMAL: Violation =
    Violation::Protocol("payload length is not encoded minimally");

/// A 64-bit length whose most significant bit is set.
pub(super) const LENGTH_NEGATIVE: Violation =
    Violation::Protocol("payload length has its highest bit set");

/// A control frame whose length isn't in seven bits.
pub(super) const CONTROL_TOO_LONG: Violation =
    Violation::Protocol("control frame is longer than 125 bytes");

/// A close code that must not be sent, or that has no meaning.
pub(super) const CODE_NOT_TO_SEND: Violation = Violation::Protocol("close code is not one to send");

/// Kind of a frame (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Data(Data),
    Control(Control),
}

/// A frame with a message or a fragment of one (section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Continuation,
    Text,
    Binary,
}

/// A frame that may come between fragments (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn new(code: u8) -> Result<Self, Violation> {
        match code {
            0x0 => Ok(Self::Data(Data::Continuation)),
            0x1 => Ok(Self::Data(Data::Text)),
            0x2 => Ok(Self::Data(Data::Binary)),
            0x8 => Ok(Self::Control(Control::Close)),
            0x9 => Ok(Self::Control(Control::Ping)),
            0xA => Ok(Self::Control(Control::Pong)),
            _ => Err(Violation::Protocol("reserved opcode")),
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Control(_))
    }
}

/// A frame with a complete header, and the progress of its payload.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    /// Whether it ends its message.
    pub(super) fin: bool,
    /// Remaining bytes of the payload; the announced length at first.
    pub(super) left: usize,
    /// The mask, rotated so that its first byte applies to the next byte of the payload.
    mask: [u8; 4],
}

impl Frame {
    /// Reads a header; returns its length too, and `None` if it isn't complete.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Protocol("reserved bits are set"));
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::new(first & 0x0F)?;
        if opcode.is_control() && !fin {
            return Err(Violation::Protocol("control frame is fragmented"));
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("client frame is not masked"));
        }
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(CONTROL_TOO_LONG);
        }

        let (left, at) = match short {
            126 => {
                let Some(length) = chunk(bytes, 2) else { return Ok(None) };
                (long_length(u16::from_be_bytes(length).into(), 126)?, 4)
            }
            127 => {
                let Some(length) = chunk(bytes, 2) else { return Ok(None) };
                (long_length(u64::from_be_bytes(length), 1 << 16)?, 10)
            }
            short => (short.into(), 2),
        };
        let Some(mask) = chunk(bytes, at) else { return Ok(None) };
        Ok(Some((Self { opcode, fin, left, mask }, at + mask.len())))
    }

    /// Unmasks the next bytes of the payload, which must be no more than are left.
    #[inline]
    pub(super) fn unmask(&mut self, payload: &mut [u8]) {
        unmask(payload, self.mask);
        self.mask.rotate_left(payload.len() % 4);
        self.left -= payload.len();
    }
}

/// `N` bytes from `at` on, if they are there.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A length given in 16 or 64 bits, which `least` needs at least. One that no address space holds
/// is over every limit, whatever it is exactly.
fn long_length(length: u64, least: u64) -> Result<usize, Violation> {
    if length < least {
        return Err(LENGTH_NOT_MINIMAL);
    }
    if length >> 63 != 0 {
        return Err(LENGTH_NEGATIVE);
    }
    Ok(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Section 5.3, eight bytes at a time; the compiler makes wider steps of these.
#[inline]
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let half = u32::from_ne_bytes(mask);
    let whole = u64::from(half) << 32 | u64::from(half);
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    let (halves, tail) = tail.as_chunks_mut();
    for word in halves {
        *word = (u32::from_ne_bytes(*word) ^ half).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The code in a close frame's payload (sections 5.5.1 and 7.4); the reason is checked and left.
pub(super) fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::Protocol("close payload is one byte"))
        };
    };
    let code = u16::from_be_bytes(code);
    // 1004 has no meaning, 1005, 1006 and 1015 are never sent, 1016 to 2999 are for extensions and
    // later versions. 1012 to 1014 came after the RFC, by IANA's registry.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CODE_NOT_TO_SEND);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::InvalidText);
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_long_as_its_length_needs() {
        for (length, size) in [
            (0, 6),
            (1, 6),
            (125, 6),
            (126, 8),
            (127, 8),
            (65_535, 8),
            (65_536, 14),
            (1 << 40, MAX_HEADER),
        ] {
            let bytes = super::super::tests::header(0x81, length);
            assert_eq!(bytes.len(), size);
            for cut in 0..size {
                assert!(Frame::parse(&bytes[..cut]).unwrap().is_none(), "{length} cut at {cut}");
            }
            let (frame, parsed) = Frame::parse(&bytes).unwrap().unwrap();
            assert_eq!((parsed, frame.left as u64), (size, length));
            assert!(frame.fin && frame.opcode == Opcode::Data(Data::Text));
        }
    }

    #[test]
    fn unmasking_is_the_same_in_pieces_of_any_length() {
        let plain: Vec<u8> = (0..200_u8).map(|n| n.wrapping_mul(7)).collect();
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let masked: Vec<u8> =
            plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for step in 1..=plain.len() {
            let mut bytes = masked.clone();
            let mut frame =
                Frame { opcode: Opcode::Data(Data::Text), fin: true, left: plain.len(), mask };
            for piece in bytes.chunks_mut(step) {
                frame.unmask(piece);
            }
            assert_eq!((bytes, frame.left), (plain.clone(), 0), "steps of {step}");
        }
    }
}

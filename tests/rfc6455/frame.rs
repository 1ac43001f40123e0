//! A client's frames, right and wrong (RFC 6455 section 5.2).

pub(crate) const MORE: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// How a payload's length is written.
#[derive(Clone, Copy)]
enum Length {
    Minimal,
    In16Bits(u16),
    In64Bits(u64),
}

/// One frame; what is not said otherwise is as it should be.
#[derive(Clone)]
pub(crate) struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    length: Length,
    payload: Vec<u8>,
}

/// A whole frame.
pub(crate) fn frame(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
    let payload = payload.into();
    // another one for each length, so that no test rests on one
    let turn = u32::try_from(payload.len() % 31).unwrap();
    let mask = Some(0x37FA_213D_u32.rotate_left(turn).to_be_bytes());
    Frame { first: 0x80 | opcode, mask, length: Length::Minimal, payload }
}

/// A close frame with a code and a reason.
pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A message in fragments.
pub(crate) fn fragments(
    opcode: u8,
    parts: impl IntoIterator<Item = impl Into<Vec<u8>>>,
) -> Vec<Frame> {
    let mut frames: Vec<_> = parts.into_iter().map(|part| frame(MORE, part).open()).collect();
    frames.first_mut().unwrap().first = opcode;
    frames.last_mut().unwrap().first |= 0x80;
    frames
}

/// A message in fragments of so many bytes.
pub(crate) fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<Frame> {
    fragments(opcode, payload.chunks(size))
}

impl Frame {
    /// Without FIN: there is more of it.
    pub(crate) fn open(mut self) -> Self {
        self.first &= 0x7F;
        self
    }

    /// With these three reserved bits.
    pub(crate) fn reserved(mut self, bits: u8) -> Self {
        self.first |= bits << 4;
        self
    }

    pub(crate) fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    pub(crate) fn masked_by(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    /// With a length in 16 bits, whatever the payload's is.
    pub(crate) fn length_16(mut self, length: u16) -> Self {
        self.length = Length::In16Bits(length);
        self
    }

    /// With a length in 64 bits, whatever the payload's is.
    pub(crate) fn length_64(mut self, length: u64) -> Self {
        self.length = Length::In64Bits(length);
        self
    }

    /// As it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.first];
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let length = match (self.length, self.payload.len()) {
            (Length::Minimal, short @ ..126) => {
                out.push(masked | u8::try_from(short).unwrap());
                None
            }
            (Length::Minimal, long) => Some(match u16::try_from(long) {
                Ok(length) => Length::In16Bits(length),
                Err(_) => Length::In64Bits(long as u64),
            }),
            (given, _) => Some(given),
        };
        match length {
            Some(Length::In16Bits(length)) => {
                out.push(masked | 0x7E);
                out.extend(length.to_be_bytes());
            }
            Some(Length::In64Bits(length)) => {
                out.push(masked | 0x7F);
                out.extend(length.to_be_bytes());
            }
            Some(Length::Minimal) | None => {}
        }
        let mask = self.mask.unwrap_or_default();
        out.extend(self.mask.iter().flatten());
        out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }
}

/// Several frames in a row.
pub(crate) fn bytes(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

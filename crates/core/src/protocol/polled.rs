//! Messages for a client that polls, as they wait for it: each behind its length. They don't leave the
//! process in this form.

/// A length: four bytes, the highest first.
pub(super) const HEADER: usize = 4;

/// Appends a message whose payload `body` appends; it must do nothing else to the buffer.
pub(super) fn write(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    body(out);
    let payload = out.len().saturating_sub(start + HEADER);
    // no message is near that large
    let length = u32::try_from(payload).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(slot) = out.get_mut(start..start + HEADER) {
        slot.copy_from_slice(&length);
    }
}

/// The first message of some bytes and what comes behind it; `None` if it isn't there whole.
///
/// ```
/// use broker_core::protocol::polled::split;
/// assert_eq!(split(b"\0\0\0\x02hi\0"), Some((&b"hi"[..], &b"\0"[..])));
/// assert_eq!(split(b"\0\0\0\x02h"), None);
/// ```
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<HEADER>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The end of the message that byte `at` of whole messages stands in; `at` itself where one begins.
pub(super) fn boundary(messages: &[u8], at: usize) -> usize {
    let mut rest = messages;
    while messages.len() - rest.len() < at {
        let Some((_, behind)) = split(rest) else { return messages.len() };
        rest = behind;
    }
    messages.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(payloads in prop::collection::vec(".{0,9}", 0..5), cut: prop::sample::Index) {
            let mut out = Vec::new();
            let mut ends = vec![0];
            for payload in &payloads {
                write(&mut out, |out| out.extend_from_slice(payload.as_bytes()));
                ends.push(out.len());
            }
            let at = cut.index(out.len() + 1);
            let end = ends.iter().copied().find(|end| *end >= at);
            prop_assert_eq!(Some(boundary(&out, at)), end);
            let whole = ends.iter().filter(|end| **end <= at).count() - 1;
            let (mut read, mut rest) = (Vec::new(), &out[..at]);
            while let Some((payload, behind)) = split(rest) {
                read.push(payload);
                rest = behind;
            }
            let expected: Vec<_> = payloads[..whole].iter().map(String::as_bytes).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..20), at in 0..30_usize) {
            let _: Option<_> = split(&bytes);
            let _: usize = boundary(&bytes, at);
        }
    }
}

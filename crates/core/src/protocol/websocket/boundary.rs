//! Boundaries of the frames in a server's output (RFC 6455 section 5.2).

/// The end of the frame around byte `at` of `frames`; `at` itself if a frame begins there. `frames` must be
/// whole frames without masks.
///
/// ```
/// use broker_core::protocol::websocket::{frame_boundary, write_text};
/// let mut frames = Vec::new();
/// write_text(&mut frames, |out| out.extend_from_slice(b"hi"));
/// write_text(&mut frames, |out| out.extend_from_slice(&[b'.'; 200]));
/// assert_eq!([0, 1, 3, 4, 5].map(|at| frame_boundary(&frames, at)), [0, 4, 4, 4, 208]);
/// ```
pub fn frame_boundary(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let Some([_, short, rest @ ..]) = frames.get(end..) else { return frames.len() };
        let length = match (short, rest.first_chunk::<2>(), rest.first_chunk::<8>()) {
            (127, _, Some(long)) => u64::from_be_bytes(*long).saturating_add(10),
            (126, Some(long), _) => 4 + u64::from(u16::from_be_bytes(*long)),
            (short, _, _) => 2 + u64::from(*short),
        };
        end = end.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    }
    end.min(frames.len())
}

//! Bodies of posts: one message per line. A line of base64 that starts like a binary message is
//! one; everything else is text, and the client gets an error if it is malformed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, pin_mut};
use memchr::memchr;

use super::pipe::{Ended, PollClient};
use crate::outbound::Message;

/// First byte of all binary messages from clients (client: `assets/js/phoenix/serializer.js`).
const PUSH: u8 = 0;

/// Why a post failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection has ended.
    Ended,
    /// A message is over the maximum size.
    TooLarge,
    /// The body is incomplete.
    Malformed,
}

impl Fault {
    /// The status for the client.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Ended => 410,
            Self::TooLarge => 413,
            Self::Malformed => 400,
        }
    }
}

/// Passes messages on as they arrive, each as soon as the broker has room for it. At most one
/// message of the maximum size is buffered.
pub(super) async fn pass_on<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    to: &PollClient,
    is_lines: bool,
    max: usize,
) -> Result<(), Fault> {
    pin_mut!(body);
    let mut message = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|_| Fault::Malformed)?;
        while chunk.has_remaining() {
            let part = chunk.chunk();
            let end = if is_lines { memchr(b'\n', part) } else { None };
            let line = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            if message.len() + line.len() > longest(is_lines, max) {
                return Err(Fault::TooLarge);
            }
            message.extend_from_slice(line);
            let taken = line.len() + usize::from(end.is_some());
            chunk.advance(taken);
            if end.is_some() {
                say(to, &message, is_lines).await?;
                message.clear();
            }
        }
    }
    say(to, &message, is_lines).await
}

/// A line may be a binary message in base64, and may end in a carriage return.
const fn longest(is_lines: bool, max: usize) -> usize {
    if is_lines { max.div_ceil(3).saturating_mul(4).saturating_add(1) } else { max }
}

async fn say(to: &PollClient, message: &[u8], is_line: bool) -> Result<(), Fault> {
    let ended = |Ended| Fault::Ended;
    let message = message.strip_suffix(b"\r").filter(|_| is_line).unwrap_or(message);
    if message.is_empty() {
        return Ok(());
    }
    let decoded = if is_line { STANDARD.decode(message).ok() } else { None };
    let message = match decoded.filter(|bytes| bytes.first() == Some(&PUSH)) {
        Some(bytes) => Message::Binary(bytes.into()),
        None => Message::Text(Bytes::copy_from_slice(message)),
    };
    to.post(message).await.map_err(ended)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::pipe::pipe;
    use super::*;
    use crate::clock::Clock;
    use crate::outbound::Socket as _;

    /// What the broker gets of a body that comes in these parts.
    async fn posted(parts: &[&'static str], is_lines: bool) -> (Result<(), Fault>, Vec<String>) {
        let (pipe, client) = pipe(&Clock::new(), &Arc::default(), Duration::from_secs(1));
        let parts = parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes())));
        let result = pass_on(stream::iter(parts), &client, is_lines, 12).await;
        let messages = std::iter::from_fn(|| pipe.try_receive());
        let events = messages.map(|message| match message {
            Message::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Message::Binary(_) => "Binary".to_owned(),
        });
        let events = events.collect();
        (result, events)
    }

    #[tokio::test]
    async fn a_line_is_a_message_however_it_is_cut() {
        for parts in [
            &["[1]\n[2]\r\n\n[3]"][..],
            &["[1", "]\n", "[2]", "\r", "\n[3]", ""],
            &["[1]\n[2]\n[3]\n"],
        ] {
            let (result, events) = posted(parts, true).await;
            assert_eq!((result, &*events.join(" ")), (Ok(()), "[1] [2] [3]"), "{parts:?}");
        }
        assert_eq!(posted(&[], true).await, (Ok(()), vec![]));
    }

    #[tokio::test]
    async fn without_lines_it_is_one_message() {
        let (result, events) = posted(&["[1,\n", " \"\r\"]"], false).await;
        assert_eq!((result, events), (Ok(()), vec!["[1,\n \"\r\"]".to_owned()]));
    }

    #[tokio::test]
    async fn what_begins_like_a_binary_message_is_one() {
        let (result, events) = posted(&["AAEC\n[1]"], true).await;
        assert_eq!((result, &*events.join(" ")), (Ok(()), "Binary [1]"));
        let (result, events) = posted(&["[1]\n{}\nnonsense\n[2]"], true).await;
        assert_eq!((result, &*events.join(" ")), (Ok(()), "[1] {} nonsense [2]"));
    }

    #[tokio::test]
    async fn no_message_is_larger_than_allowed() {
        assert_eq!(posted(&["[23456", "789012"], false).await.0, Ok(()));
        assert_eq!(posted(&["[23456", "7890123"], false).await.0, Err(Fault::TooLarge));
        let (result, events) = posted(&["[1]\n", "[3456789", "0123456", "789"], true).await;
        assert_eq!((result, &*events.join(" ")), (Err(Fault::TooLarge), "[1]"));
    }
}

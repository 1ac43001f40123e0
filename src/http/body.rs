//! Request bodies, bounded in size and time.

use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt, pin_mut};

use super::reply::Refusal;

/// A body that takes longer is a client that has stopped.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body to its end.
pub(super) async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    max: usize,
) -> Result<Vec<u8>, Refusal> {
    let read = async {
        pin_mut!(body);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk
                .map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?;
            if bytes.len() + chunk.remaining() > max {
                return Err(Refusal::TooLarge(max));
            }
            while chunk.has_remaining() {
                let part = chunk.chunk();
                bytes.extend_from_slice(part);
                let length = part.len();
                chunk.advance(length);
            }
        }
        Ok(bytes)
    };
    tokio::time::timeout(TIMEOUT, read).await.unwrap_or(Err(Refusal::TooSlow))
}

//! Request bodies, bounded in size and time.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, pin_mut};

use super::reply::Refusal;

/// Time for a body to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body.
pub(super) type Body = BoxStream<'static, Result<Bytes, warp::Error>>;

/// A body that handlers of several routes can take.
pub(super) fn boxed<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> Body {
    body.map(|chunk| chunk.map(|mut chunk| chunk.copy_to_bytes(chunk.remaining()))).boxed()
}

/// Reads a whole body.
pub(super) async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    max: usize,
) -> Result<Vec<u8>, Refusal> {
    let read = async {
        pin_mut!(body);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk
                .map_err(|error| Refusal::Malformed(format!("the body is incomplete: {error}")))?;
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

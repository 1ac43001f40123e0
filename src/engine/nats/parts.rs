//! What is too large for one message: parts of it, in the stream beside the logs. Who wants it knows their sequence
//! numbers.

use bytes::{Bytes, BytesMut};

use super::fault::Fault;
use super::link::Link;

/// Writes bytes in parts; returns their sequence numbers.
pub(super) async fn write(link: &Link, subject: &str, bytes: &Bytes) -> Result<Vec<u64>, Fault> {
    let mut parts = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let part = rest.split_to(link.max_part().min(rest.len()));
        parts.push(link.store(subject, part, None).await?);
    }
    Ok(parts)
}

/// Reads bytes that were written in parts; `None`: a part is missing.
pub(super) async fn read(link: &Link, store: &str, parts: &[u64]) -> Result<Option<Bytes>, Fault> {
    let mut bytes = BytesMut::new();
    for part in parts {
        match link.get(store, *part).await? {
            Some(stored) => bytes.extend_from_slice(&stored.payload),
            None => return Ok(None),
        }
    }
    Ok(Some(bytes.freeze()))
}

//! The handshake's key and the answer that proves it was read (RFC 6455 sections 4.2.1 and 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Constant that is appended to the key (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`; `None` if that isn't 16 bytes in base64.
///
/// ```
/// use broker_core::protocol::websocket::accept_key;
/// assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
/// assert_eq!(accept_key(b"dGhlIHNhbXBsZQ=="), None);
/// ```
pub fn accept_key(key: &[u8]) -> Option<String> {
    let is_key = matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')));
    is_key.then(|| STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

//! Framing of payloads by transports.

use crate::types::Transport;

use super::{polled, sse, websocket};

impl Transport {
    /// Appends a message whose payload `body` appends; it must do nothing else to the buffer. Nothing is
    /// appended for an empty payload.
    #[inline]
    pub fn frame(self, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        let payload = match self {
            Self::WebSocket => {
                websocket::write_text(out, body);
                start + websocket::EMPTY_FRAME
            }
            Self::EventStream => {
                body(out);
                out.push(b'\n'); // ends the event
                start + 1
            }
            Self::LongPolling => {
                polled::write(out, body);
                start + polled::HEADER
            }
        };
        if out.len() == payload {
            out.truncate(start);
        }
    }

    /// Appends the transport's close frame with a code and a reason, if it has one.
    pub fn close(self, out: &mut Vec<u8>, code: u16, reason: &str) {
        match self {
            Self::WebSocket => websocket::write_close(out, code, reason),
            Self::EventStream | Self::LongPolling => {}
        }
    }

    /// The end of the message around byte `at` of the output; `at` itself if a message begins there.
    pub fn boundary(self, output: &[u8], at: usize) -> usize {
        match self {
            Self::WebSocket => websocket::frame_boundary(output, at),
            Self::EventStream => sse::event_boundary(output, at),
            Self::LongPolling => polled::boundary(output, at),
        }
    }

    /// Bytes without a message that keep a connection in use, for transports without a ping that the client
    /// answers.
    pub const fn keep_alive(self) -> Option<&'static [u8]> {
        match self {
            Self::EventStream => Some(sse::KEEP_ALIVE),
            Self::WebSocket | Self::LongPolling => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_payload_is_no_message() {
        let framed = |transport: Transport, payload: &[u8]| {
            let mut out = b"before".to_vec();
            transport.frame(&mut out, |out| out.extend_from_slice(payload));
            out
        };
        for transport in [Transport::WebSocket, Transport::EventStream, Transport::LongPolling] {
            assert_eq!(framed(transport, b""), b"before", "{transport:?}");
        }
        assert_eq!(framed(Transport::WebSocket, b"a"), b"before\x81\x01a");
        assert_eq!(framed(Transport::EventStream, b"data: a\n"), b"beforedata: a\n\n");
    }
}

//! A client at the far end of a pipe, over WebSocket and Action Cable.

use std::time::Duration;

use serde_json::{Value, json};

use crate::pipe::Far;

/// A frame from the broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Text(String),
    Close(u16, String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

pub(crate) struct Client {
    pub(crate) far: Far,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn new(far: Far) -> Self {
        Self { far, received: Vec::new() }
    }

    /// Every whole frame that has come; panics over anything that isn't one.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.receive(usize::MAX)
    }

    /// As [`Self::frames`], but receives only up to so many bytes.
    pub(crate) fn receive(&mut self, max: usize) -> Vec<Frame> {
        self.received.extend(self.far.receive(max));
        let (mut frames, mut rest) = (Vec::new(), self.received.as_slice());
        while let Some((frame, behind)) = parse(rest) {
            frames.push(frame);
            rest = behind;
        }
        self.received = rest.to_vec();
        frames
    }

    /// What has come of a frame that isn't whole yet.
    pub(crate) fn partial(&self) -> usize {
        self.received.len()
    }

    /// Every JSON message that has come.
    pub(crate) fn messages(&mut self) -> Vec<Value> {
        let frames = self.frames().into_iter();
        let texts = frames.filter_map(|frame| match frame {
            Frame::Text(text) => Some(serde_json::from_str(&text).expect("JSON")),
            Frame::Close(..) | Frame::Ping(_) | Frame::Pong(_) => None,
        });
        texts.collect()
    }

    /// The events of presence that have come, as `["join", "ann"]`.
    pub(crate) fn events(&mut self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let event = |message: &Value| {
            Some((text(&message["message"]["type"])?, text(&message["message"]["id"])?))
        };
        self.messages().iter().filter_map(event).collect()
    }

    pub(crate) fn command(&self, command: &str, stream: &str) {
        self.far.send(&text(&json!({"command": command, "identifier": identifier(stream)})));
    }

    pub(crate) fn join(&self, stream: &str, id: &str) {
        self.far.send(&join(stream, id));
    }

    pub(crate) fn pong(&self) {
        self.far.send(&masked(0x8A, b""));
    }

    pub(crate) fn close(&self, code: u16) {
        self.far.send(&masked(0x88, &code.to_be_bytes()));
    }
}

pub(crate) fn identifier(stream: &str) -> String {
    json!({"channel": "$pubsub", "stream_name": stream}).to_string()
}

/// A text frame from a client.
pub(crate) fn text(message: &Value) -> Vec<u8> {
    masked(0x81, message.to_string().as_bytes())
}

pub(crate) fn subscribe(stream: &str) -> Vec<u8> {
    text(&json!({"command": "subscribe", "identifier": identifier(stream)}))
}

/// A subscription that joins.
pub(crate) fn join(stream: &str, id: &str) -> Vec<u8> {
    let presence = json!({"id": id, "info": {}});
    let identifier = identifier(stream);
    text(&json!({"command": "subscribe", "identifier": identifier, "presence": presence}))
}

pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => bytes.push(length | 0x80),
        (_, Ok(length)) => {
            bytes.push(0xFE);
            bytes.extend(length.to_be_bytes());
        }
        (_, Err(_)) => panic!("no test sends that much"),
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The first frame and what comes behind it, if the frame is whole.
fn parse(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match head[1] {
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
        }
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length @ ..126 => (usize::from(length), rest),
        128.. => panic!("the broker doesn't mask"),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let payload = payload.to_vec();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let frame = match head[0] {
        0x81 => Frame::Text(text(payload)),
        0x88 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            Frame::Close(code, text(payload[2..].to_vec()))
        }
        0x89 => Frame::Ping(payload),
        0x8A => Frame::Pong(payload),
        other => panic!("{other:#x} begins no frame of the broker's: {payload:?}"),
    };
    Some((frame, rest))
}

/// Lets time pass.
pub(crate) async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Lets everything happen that can happen without time passing.
pub(crate) async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

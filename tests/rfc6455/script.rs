//! What a case says and expects, and how its text is carried.

use crate::frame::{Frame, bytes, fragmented, fragments};
use crate::wire::Heard;

/// How the text of a case goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carriage {
    /// As it is.
    Plain,
    /// As the data of a whisper, on the stream of this name.
    Whisper(String),
}

impl Carriage {
    /// The client's name for the subscription to the case's stream, as a JSON string.
    pub(crate) fn identifier(stream: &str) -> String {
        format!(r#""{{\"channel\":\"$pubsub\",\"stream_name\":\"{stream}\"}}""#)
    }

    fn around(&self) -> (String, &'static str) {
        match self {
            Self::Plain => (String::new(), ""),
            Self::Whisper(stream) => {
                let identifier = Self::identifier(stream);
                (format!(r#"{{"command":"whisper","identifier":{identifier},"data":""#), "\"}")
            }
        }
    }

    /// The text message that carries this. A NUL, which JSON has no other way for, is escaped in a
    /// whisper.
    pub(crate) fn text(&self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.parts([payload]).remove(0)
    }

    /// The fragments of a text message that carry these.
    pub(crate) fn parts(&self, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Vec<u8>> {
        let (before, after) = self.around();
        let escape = |part: &[u8]| match self {
            Self::Whisper(_) if part == [0] => b"\\u0000".to_vec(),
            Self::Plain | Self::Whisper(_) => part.to_vec(),
        };
        let mut parts: Vec<_> = parts.into_iter().map(|part| escape(part.as_ref())).collect();
        parts.first_mut().unwrap().splice(..0, before.into_bytes());
        parts.last_mut().unwrap().extend_from_slice(after.as_bytes());
        parts
    }

    /// A text message of so many bytes, as far as that can be: a whisper is longer than nothing.
    pub(crate) fn filled(&self, length: usize) -> Vec<u8> {
        let (before, after) = self.around();
        self.text("*".repeat(length.saturating_sub(before.len() + after.len())))
    }

    /// A text message of which the other subscriber hears so many bytes.
    pub(crate) fn told_in(&self, length: usize) -> Vec<u8> {
        match (self, self.text("")) {
            (Self::Plain, empty) => empty,
            (Self::Whisper(_), empty) => match self.told(&empty) {
                Heard::Text(told) => self.text("*".repeat(length - told.len())),
                Heard::Pong(_) | Heard::Close(_) | Heard::End => unreachable!("it is text"),
            },
        }
    }

    /// What the other subscriber hears of a whisper.
    pub(crate) fn told(&self, message: &[u8]) -> Heard {
        let Self::Whisper(stream) = self else { panic!("a plain message goes to no other client") };
        let (before, _) = self.around();
        let data = std::str::from_utf8(&message[before.len() - 1..message.len() - 1]).unwrap();
        let identifier = Self::identifier(stream);
        Heard::Text(format!(r#"{{"identifier":{identifier},"message":{data}}}"#))
    }
}

/// What a client does, and what it is to see.
pub(crate) enum Step {
    /// Sends bytes in one write, or in packets of so many.
    Send(Vec<u8>, Option<usize>),
    /// Ends its half of the stream.
    EndSending,
    /// Hears a pong with this payload, next.
    Pong(Vec<u8>),
    /// Learns that this text message was read, next.
    Echo(Vec<u8>),
    /// Hears nothing for a while, and the connection stays.
    Quiet,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client closes with 1000, which is answered.
    Closed,
    /// The case's own close frame is answered with this code.
    Answered(u16),
    /// The server closes with this code.
    Failed(u16),
    /// The client's stream ends without a close frame, and so does the server's.
    Dropped,
}

/// Steps, being written down.
#[derive(Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
}

/// What is played: steps, and how the connection ends.
pub(crate) struct Play {
    pub(crate) steps: Vec<Step>,
    pub(crate) ending: Ending,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends bytes in one write.
    pub(crate) fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(bytes.into(), None))
    }

    /// Sends a frame.
    pub(crate) fn send(self, frame: Frame) -> Self {
        self.together([frame])
    }

    /// Sends frames in one write.
    pub(crate) fn together(self, frames: impl AsRef<[Frame]>) -> Self {
        self.raw(bytes(frames.as_ref()))
    }

    /// Sends frames in a packet each.
    pub(crate) fn apart(self, frames: impl AsRef<[Frame]>) -> Self {
        frames.as_ref().iter().fold(self, |script, frame| {
            let bytes = frame.bytes();
            let whole = bytes.len();
            script.then(Step::Send(bytes, Some(whole)))
        })
    }

    /// Sends frames in pieces of so many bytes.
    pub(crate) fn chopped(self, size: usize, frames: impl AsRef<[Frame]>) -> Self {
        self.then(Step::Send(bytes(frames.as_ref()), Some(size)))
    }

    /// Ends the client's half of the stream.
    pub(crate) fn end_sending(self) -> Self {
        self.then(Step::EndSending)
    }

    pub(crate) fn pong(self, payload: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Pong(payload.into()))
    }

    pub(crate) fn echo(self, message: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Echo(message.into()))
    }

    pub(crate) fn quiet(self) -> Self {
        self.then(Step::Quiet)
    }

    pub(crate) fn ends(self, ending: Ending) -> Play {
        Play { steps: self.steps, ending }
    }

    pub(crate) fn closed(self) -> Play {
        self.ends(Ending::Closed)
    }

    pub(crate) fn answered(self, code: u16) -> Play {
        self.ends(Ending::Answered(code))
    }

    pub(crate) fn failed(self, code: u16) -> Play {
        self.ends(Ending::Failed(code))
    }
}

/// A case under its number, or its name.
pub(crate) struct Case {
    pub(crate) number: String,
    /// What is played in a carriage.
    pub(crate) play: Box<dyn Fn(&Carriage) -> Play + Send + Sync>,
}

pub(crate) fn case(
    number: impl Into<String>,
    play: impl Fn(&Carriage) -> Play + Send + Sync + 'static,
) -> Case {
    Case { number: number.into(), play: Box::new(play) }
}

/// A text message in fragments of one byte.
pub(crate) fn by_the_byte(message: &[u8]) -> Vec<Frame> {
    fragmented(crate::frame::TEXT, message, 1)
}

/// A text message in these fragments.
pub(crate) fn in_parts(parts: &[Vec<u8>]) -> Vec<Frame> {
    fragments(crate::frame::TEXT, parts.to_vec())
}

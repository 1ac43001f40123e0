//! Reader: frames in, events out. It checks the order of frames, joins fragments, and keeps incomplete
//! data.
//!
//! `feed` processes one frame, or the available part of one, per step. A whole frame is processed in place.
//! Otherwise a [`Progress`] is allocated with the start of a header, or with the frame and the received
//! part of its message. It is dropped at the end of the call that completes them.

use std::ops::ControlFlow::{self, Continue};

use super::event::{Event, Violation};
use super::frame::{Control, Data, Frame, Opcode, close_code};
use super::message::Message;
use super::progress::{Header, Progress};

/// Reads the frames of one client. A pointer in size, null while nothing is incomplete.
///
/// ```
/// use std::ops::ControlFlow;
/// use broker_core::protocol::websocket::{Event, Reader};
///
/// let mut reader = Reader::new();
/// let mut bytes = *b"\x81\x82mask\x05\x08";
/// reader.feed(&mut bytes, 1024, &mut |event| {
///     assert_eq!(event, Event::Text("hi"));
///     ControlFlow::Continue(())
/// })?;
/// assert!(!reader.is_partial());
/// # Ok::<(), broker_core::protocol::websocket::Violation>(())
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    progress: Option<Box<Progress>>,
}

/// Whether the sink continues, and the bytes after a step.
type Step<'b> = Result<(ControlFlow<()>, &'b mut [u8]), Violation>;

impl Reader {
    /// A reader at the start of a connection.
    pub const fn new() -> Self {
        Self { progress: None }
    }

    /// Unmasks `bytes` in place and passes each complete event to `sink`. Don't use the bytes afterwards.
    ///
    /// `max_message` bounds a message's payload in bytes, summed over its fragments. If `sink`
    /// breaks, the rest of the bytes is kept, for [`resume`](Self::resume) to go on with. More
    /// bytes fed meanwhile are put behind the kept ones, and it goes on with both; nothing but the
    /// caller bounds them, so read no further while [`is_held`](Self::is_held).
    ///
    /// After a violation or [`Event::Close`], bytes are ignored.
    #[inline]
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        max_message: usize,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        if let Some(progress) = &mut self.progress {
            if progress.ended {
                return Ok(());
            }
            if !progress.unread.is_empty() {
                progress.unread.push(bytes);
                return self.resume(max_message, sink);
            }
        }
        let rest = self.run(bytes, max_message, sink)?;
        if rest.is_empty() {
            self.settle();
        } else {
            self.progress().unread.push(rest);
        }
        Ok(())
    }

    /// Continues after a break, by the same rules.
    pub fn resume(
        &mut self,
        max_message: usize,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        let mut unread = std::mem::take(&mut progress.unread);
        let rest = self.run(unread.rest(), max_message, sink)?.len();
        if rest == 0 {
            self.settle();
        } else {
            unread.leave(rest);
            self.progress().unread = unread;
        }
        Ok(())
    }

    /// Keeps bytes back, as after a break, for [`resume`](Self::resume).
    pub fn hold(&mut self, bytes: &[u8]) {
        self.progress().unread.push(bytes);
    }

    /// Whether bytes are held for [`resume`](Self::resume).
    pub fn is_held(&self) -> bool {
        self.progress.as_deref().is_some_and(|progress| !progress.unread.is_empty())
    }

    /// Whether the processed bytes end within a frame or a message.
    pub fn is_partial(&self) -> bool {
        self.progress.as_deref().is_some_and(Progress::is_partial)
    }

    /// Takes steps until the bytes end or the sink breaks; returns the rest.
    #[inline]
    fn run<'b>(
        &mut self,
        mut bytes: &'b mut [u8],
        max_message: usize,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<&'b mut [u8], Violation> {
        while !bytes.is_empty() {
            let step = self.step(bytes, max_message, sink);
            let flow;
            (flow, bytes) = step.inspect_err(|_| self.end())?;
            if flow.is_break() {
                break;
            }
        }
        Ok(bytes)
    }

    /// Processes one frame, or the available part of it.
    #[inline]
    fn step<'b>(
        &mut self,
        bytes: &'b mut [u8],
        max_message: usize,
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Step<'b> {
        if let Some(frame) = self.progress.as_mut().and_then(|progress| progress.frame.take()) {
            return self.payload(frame, bytes, sink);
        }
        let Some((frame, bytes)) = self.header(bytes)? else { return Ok((Continue(()), &mut [])) };
        self.admit(&frame, max_message)?;
        if frame.opcode != Opcode::Data(Data::Binary) {
            return self.payload(frame, bytes, sink);
        }
        let flow = sink(Event::Binary);
        let (_, bytes) = self.payload(frame, bytes, sink)?; // which hands on nothing of it
        Ok((flow, bytes))
    }

    /// The next frame's header and the bytes after it, if it is complete.
    #[inline]
    fn header<'b>(&mut self, bytes: &'b mut [u8]) -> Header<'b> {
        if let Some(progress) = &mut self.progress
            && !progress.stub.is_empty()
        {
            return progress.stub.complete(bytes);
        }
        let Some((frame, size)) = Frame::parse(bytes)? else {
            return self.progress().stub.complete(bytes);
        };
        Ok(Some((frame, bytes.split_at_mut(size).1)))
    }

    /// Checks the order and the size of a data frame (sections 5.4 and 10.4).
    #[inline]
    fn admit(&self, frame: &Frame, max_message: usize) -> Result<(), Violation> {
        let Opcode::Data(kind) = frame.opcode else { return Ok(()) };
        let before = match (kind, self.message()) {
            (Data::Text | Data::Binary, None) => 0,
            (Data::Continuation, Some(message)) => message.len(),
            (Data::Continuation, None) => {
                return Err(Violation::Protocol("continuation of no message"));
            }
            (Data::Text | Data::Binary, Some(_)) => {
                return Err(Violation::Protocol("message begins within another"));
            }
        };
        if before.saturating_add(frame.left) > max_message {
            Err(Violation::TooBig)
        } else {
            Ok(())
        }
    }

    /// Processes the available part of a frame's payload.
    #[inline]
    fn payload<'b>(
        &mut self,
        mut frame: Frame,
        bytes: &'b mut [u8],
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Step<'b> {
        let (payload, rest) = bytes.split_at_mut(frame.left.min(bytes.len()));
        frame.unmask(payload);
        // without an incomplete message, this is the whole text
        if frame.opcode == Opcode::Data(Data::Text)
            && frame.fin
            && frame.left == 0
            && self.message().is_none()
        {
            let text = std::str::from_utf8(payload).map_err(|_| Violation::InvalidText)?;
            return Ok((sink(Event::Text(text)), rest));
        }
        let flow = match frame.opcode {
            Opcode::Data(kind) => self.data(kind, &frame, payload, sink)?,
            Opcode::Control(kind) => self.control(kind, &frame, payload, sink)?,
        };
        if frame.left > 0 {
            self.progress().frame = Some(frame);
        }
        if self.has_ended() { Ok((flow, &mut [])) } else { Ok((flow, rest)) }
    }

    /// Adds to the incomplete message, or begins one.
    fn data(
        &mut self,
        kind: Data,
        frame: &Frame,
        payload: &[u8],
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let slot = &mut self.progress().message;
        slot.get_or_insert_with(|| Message::new(kind)).push(payload)?;
        if !frame.fin || frame.left > 0 {
            return Ok(Continue(()));
        }
        match slot.take() {
            Some(Message::Text(text)) => Ok(sink(Event::Text(text.as_str()?))),
            Some(Message::Binary(_)) | None => Ok(Continue(())),
        }
    }

    /// Reports a control frame once it is whole; it may come between fragments (section 5.5).
    fn control(
        &mut self,
        kind: Control,
        frame: &Frame,
        payload: &[u8],
        sink: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        if frame.left > 0 {
            self.progress().control.extend_from_slice(payload);
            return Ok(Continue(()));
        }
        let earlier = self.progress.as_mut().map(|progress| std::mem::take(&mut progress.control));
        let mut whole = earlier.unwrap_or_default();
        let payload = if whole.is_empty() {
            payload
        } else {
            whole.extend_from_slice(payload);
            &whole
        };
        match kind {
            Control::Ping => Ok(sink(Event::Ping(payload))),
            Control::Pong => Ok(sink(Event::Pong(payload))),
            Control::Close => {
                let code = close_code(payload)?;
                self.end();
                Ok(sink(Event::Close(code)))
            }
        }
    }

    /// The incomplete message.
    #[inline]
    fn message(&self) -> Option<&Message> {
        self.progress.as_ref()?.message.as_ref()
    }

    /// The progress, allocated if needed.
    #[cold]
    fn progress(&mut self) -> &mut Progress {
        self.progress.get_or_insert_default()
    }

    /// Frees the progress if it is empty.
    #[inline]
    fn settle(&mut self) {
        if let Some(progress) = &self.progress
            && !progress.ended
            && !progress.is_partial()
        {
            self.progress = None;
        }
    }

    /// Drops all state; nothing more is reported.
    fn end(&mut self) {
        *self.progress() = Progress { ended: true, ..Progress::default() };
    }

    #[inline]
    fn has_ended(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TEXT, TEXT_BEGIN, frame};
    use super::*;

    fn feed(reader: &mut Reader, bytes: &[u8]) {
        reader.feed(&mut bytes.to_vec(), 1 << 20, &mut |_| Continue(())).unwrap();
    }

    fn capacity(reader: &Reader) -> usize {
        match reader.message() {
            Some(Message::Text(text)) => text.capacity(),
            Some(Message::Binary(_)) | None => 0,
        }
    }

    #[test]
    fn nothing_is_kept_for_what_has_come_whole() {
        let mut reader = Reader::new();
        for payload in ["", "a", &"long".repeat(100)] {
            feed(&mut reader, &frame(TEXT, payload));
            assert!(reader.progress.is_none());
        }
    }

    #[test]
    fn an_announced_length_costs_nothing_until_it_comes() {
        let mut reader = Reader::new();
        let bytes = frame(TEXT, "a".repeat(65_536));
        let (header, payload) = bytes.split_at(14);
        feed(&mut reader, header);
        assert!(reader.is_partial());
        assert_eq!(capacity(&reader), 0);
        for (before, byte) in payload.iter().enumerate().take(60_000) {
            feed(&mut reader, &[*byte]);
            assert!(capacity(&reader) <= 2 * before + 16, "after {before}");
        }
    }

    #[test]
    fn what_was_kept_is_freed_when_it_is_done() {
        let mut reader = Reader::new();
        for (first, cut) in [(TEXT, 1), (TEXT, 7), (TEXT, 20), (0x89, 9)] {
            let bytes = frame(first, "a message that comes in two parts");
            feed(&mut reader, &bytes[..cut]);
            assert!(reader.is_partial());
            feed(&mut reader, &bytes[cut..]);
            assert!(reader.progress.is_none());
        }
        feed(&mut reader, &frame(TEXT_BEGIN, "a"));
        feed(&mut reader, &frame(0x80, "b"));
        assert!(reader.progress.is_none());
    }
}

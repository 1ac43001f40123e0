//! Server-sent events: the stream that a browser's `EventSource` reads (WHATWG HTML, section 9.2), with
//! the events of AnyCable.
//!
//! Nothing comes from such a client but the request that begins the stream; what it asks for stands in
//! the request's query. `docs/EVENTS.md` lists both.

mod connecting;
mod encode;
mod event;
mod position;

pub use connecting::{Asked, BadQuery};
pub use encode::{encode, encode_connection};
pub use event::event_boundary;

use crate::types::{BadCommand, ClientCommand, CommandKind};

/// What keeps the connection in use and is no event to anyone.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Nothing can be said over a stream of events.
pub fn decode(_text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    let reason = "nothing can be said over a stream of events".into();
    Err(BadCommand { kind: CommandKind::Unknown, identifier: None, reason })
}

#[cfg(test)]
mod tests {
    /// An event as a page gets it.
    #[derive(Debug, Default)]
    pub(super) struct Event {
        pub(super) kind: String,
        pub(super) data: String,
        pub(super) id: String,
    }

    /// Reads a stream of events as a browser does (WHATWG HTML, section 9.2.6).
    #[derive(Default)]
    pub(super) struct Parser {
        kind: String,
        data: String,
        id: String,
        events: Vec<Event>,
    }

    impl Parser {
        pub(super) fn parse(text: &str) -> Vec<Event> {
            let mut parser = Self::default();
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            for line in text.split_terminator('\n') {
                parser.line(line);
            }
            parser.events
        }

        fn line(&mut self, line: &str) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => self.dispatch(),
                "event" => value.clone_into(&mut self.kind),
                "data" => self.data.extend([value, "\n"]),
                "id" if !value.contains('\0') => value.clone_into(&mut self.id),
                _ => {}
            }
        }

        fn dispatch(&mut self) {
            let (mut kind, mut data) = (String::new(), String::new());
            std::mem::swap(&mut kind, &mut self.kind);
            std::mem::swap(&mut data, &mut self.data);
            if let Some(data) = data.strip_suffix('\n') {
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                self.events.push(Event { kind, data: data.to_owned(), id: self.id.clone() });
            }
        }
    }
}

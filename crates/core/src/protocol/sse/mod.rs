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
pub use event::event_boundary;

use super::registry::{Audience, Protocol, Sender, WireFormat};
use crate::types::{
    BadCommand, Capabilities, Codec, CommandKind, ConnectionMessage, Reference, Request,
    ServerMessage, Transport,
};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(4, Capabilities::PINGS).over(Transport::EventStream);

/// Codec of clients that ask for bare publications.
pub const RAW: Codec = Codec::new(5, Capabilities::PINGS).over(Transport::EventStream);

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol {
    transports: &[(Transport::EventStream, "")],
    variants: &[RAW],
    refuses_by_status: true,
    ..Protocol::plain("sse", "/events", CODEC, &Format)
};

/// What keeps the connection in use and is no event to anyone.
pub(super) const KEEP_ALIVE: &[u8] = b":\n\n";

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, _text: &'a str, _: &Sender<'_>) -> Request<'a> {
        let reason = "nothing can be said over a stream of events".into();
        let kind = CommandKind::Unknown;
        Request::unnamed(Err(BadCommand { kind, identifier: None, reason }))
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode::encode(&to.group.identifier, message, is_raw(to.group.codec), out);
    }

    fn encode_connection(
        &self,
        codec: Codec,
        message: &ConnectionMessage,
        _reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        encode::encode_connection(message, is_raw(codec), out);
    }
}

fn is_raw(codec: Codec) -> bool {
    codec.number() == RAW.number()
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

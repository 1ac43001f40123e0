//! What the tests of events share.

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

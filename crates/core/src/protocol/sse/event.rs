//! One event as text: fields in lines. The transport ends it with an empty line.

use memchr::{memchr2, memmem};

/// End of an event; it never occurs within one.
const BLANK_LINE: &[u8] = b"\n\n";

/// A comment that keeps the connection in use.
pub(in crate::protocol) const KEEP_ALIVE: &[u8] = b":\n\n";

/// Appends a field whose value has no line breaks.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends the data that `body` appends; it must do nothing else to the buffer. Each of its lines
/// becomes a field, which the client puts together again with a line feed between them.
pub(super) fn data(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    body(out);
    if memchr2(b'\n', b'\r', out.get(start..).unwrap_or_default()).is_none() {
        out.push(b'\n');
        return;
    }
    let text = out.split_off(start);
    let mut rest = &*text;
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        let (line, behind) = rest.split_at(at);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\ndata: ");
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// The end of the event around byte `at` of `events`; `at` itself if an event begins there.
///
/// ```
/// use broker_core::protocol::sse::event_boundary;
/// let events = b"data: 1\n\ndata: 2\n\n";
/// assert_eq!([0, 1, 8, 9, 10, 18].map(|at| event_boundary(events, at)), [0, 9, 9, 9, 18, 18]);
/// ```
pub fn event_boundary(events: &[u8], at: usize) -> usize {
    let before = events.get(..at).unwrap_or(events);
    if before.is_empty() || before.ends_with(BLANK_LINE) {
        return before.len();
    }
    let from = before.len() - 1; // the first of the two line feeds may be behind us
    let rest = events.get(from..).unwrap_or_default();
    memmem::find(rest, BLANK_LINE).map_or(events.len(), |end| from + end + BLANK_LINE.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::Parser;
    use super::*;
    use crate::types::Transport;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        Transport::EventStream.frame(&mut out, |out| {
            field(out, "event", b"x");
            data(out, |out| out.extend_from_slice(text.as_bytes()));
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_a_field() {
        assert_eq!(written(""), "event: x\ndata: \n\n");
        assert_eq!(written(" a"), "event: x\ndata:  a\n\n");
        assert_eq!(
            written("a\nb\rc\r\nd\n\n"),
            "event: x\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: \n\n"
        );
    }

    proptest! {
        #[test]
        fn a_client_gets_the_lines_that_were_sent(text in "[ab:{ \\n\\r\u{e9}]{0,12}") {
            let text = &text;
            let events = Parser::parse(&written(text));
            prop_assert_eq!(events.len(), 1);
            let expected = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(&events[0].data, &expected);
            prop_assert_eq!(&events[0].kind, "x");
        }

        #[test]
        fn an_event_ends_where_the_next_begins(
            texts in prop::collection::vec("[a\\n\\r]{0,6}", 1..5),
            at in any::<prop::sample::Index>(),
        ) {
            let events: Vec<String> = texts.iter().map(|text| written(text)).collect();
            let all = events.concat();
            let at = at.index(all.len() + 1);
            let mut end = 0;
            let mut lengths = events.iter().map(String::len);
            while end < at {
                end += lengths.next().unwrap();
            }
            prop_assert_eq!(event_boundary(all.as_bytes(), at), end);
        }
    }
}

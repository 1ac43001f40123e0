//! Chat messages, from clients' and the application's publications.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::SYSTEM;
use crate::protocol::write::{append, string};
use crate::types::Publication;

/// The last time of RFC 3339, since the Unix epoch.
const END_OF_9999: Duration = Duration::from_millis(253_402_300_799_999);

/// Appends a client's message for the others. `content` is a JSON string.
pub(super) fn write(out: &mut Vec<u8>, username: &str, content: &str, at: Duration) {
    out.extend_from_slice(b"{\"username\":");
    string(out, username);
    close(out, |out| out.extend_from_slice(content.as_bytes()), at);
}

/// Appends a stream's publications as chat messages, in an array.
pub fn encode_history<'a>(
    publications: impl IntoIterator<Item = &'a Publication>,
    out: &mut Vec<u8>,
) {
    out.push(b'[');
    for (number, publication) in publications.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        encode_message(publication, out);
    }
    out.push(b']');
}

/// Appends a publication as a chat message: unchanged if it is one, otherwise as the content of one.
pub(super) fn encode_message(publication: &Publication, out: &mut Vec<u8>) {
    let data = publication.data.as_str().trim_ascii();
    let Fields { username, content, timestamp } = Fields::read(data);
    if is_string(username) && is_string(content) && is_string(timestamp) {
        out.extend_from_slice(data.as_bytes());
        return;
    }
    out.extend_from_slice(b"{\"username\":");
    match username.filter(|username| is_string(Some(username))) {
        Some(username) => out.extend_from_slice(username.get().as_bytes()),
        None => string(out, SYSTEM),
    }
    let content = content.map_or(data, RawValue::get);
    let write_content = |out: &mut Vec<u8>| {
        if content.starts_with('"') {
            out.extend_from_slice(content.as_bytes());
        } else {
            string(out, content);
        }
    };
    close(out, write_content, Duration::from_millis(publication.at));
}

/// Appends the rest of a message, behind its username.
fn close(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>), at: Duration) {
    out.extend_from_slice(b",\"content\":");
    content(out);
    out.extend_from_slice(b",\"timestamp\":\"");
    let at = UNIX_EPOCH + at.min(END_OF_9999); // humantime refuses what RFC 3339 can't say
    append(out, format_args!("{}", humantime::format_rfc3339_millis(at)));
    out.extend_from_slice(b"\"}");
}

/// The keys of a message, each in its original bytes.
#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Empty for anything but an object.
    fn read(data: &'a str) -> Self {
        let object = data.starts_with('{').then_some(data);
        object.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default()
    }
}

fn is_string(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get().starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publication a millisecond after the epoch, as chat shows it.
    fn shown(data: &str) -> String {
        let publication = Publication {
            stream: "general".into(),
            data: data.into(),
            labels: None,
            at: 1,
            position: None,
        };
        let mut out = Vec::new();
        encode_message(&publication, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_passes_as_it_is() {
        let message = r#"{ "timestamp":"now","username":"ann","content":"hi","n":1.0 }"#;
        assert_eq!(shown(message), message);
    }

    #[test]
    fn anything_else_becomes_one() {
        let at = "1970-01-01T00:00:00.001Z";
        for (data, username, content) in [
            (r#""Hi \u00e9""#, r#""system""#, r#""Hi \u00e9""#),
            ("5", r#""system""#, r#""5""#),
            (r#"["a"]"#, r#""system""#, r#""[\"a\"]""#),
            (r#"{"content":"hi"}"#, r#""system""#, r#""hi""#),
            (r#"{"username":"ann","content":"hi"}"#, r#""ann""#, r#""hi""#),
            (r#"{"username":5,"content":{"a":1}}"#, r#""system""#, r#""{\"a\":1}""#),
            (r#"{"username":"ann"}"#, r#""ann""#, r#""{\"username\":\"ann\"}""#),
            (r#"{"content":null}"#, r#""system""#, r#""{\"content\":null}""#),
            (
                r#"{"content":"a","content":"b"}"#,
                r#""system""#,
                r#""{\"content\":\"a\",\"content\":\"b\"}""#,
            ),
        ] {
            let expected =
                format!(r#"{{"username":{username},"content":{content},"timestamp":"{at}"}}"#);
            assert_eq!(shown(data), expected);
        }
    }

    #[test]
    fn a_history_is_an_array() {
        let publication = |data: &str| Publication {
            stream: "general".into(),
            data: data.into(),
            labels: None,
            at: 0,
            position: None,
        };
        let history = |publications: &[Publication]| {
            let mut out = Vec::new();
            encode_history(publications, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(history(&[]), "[]");
        let message = r#"{"username":"a","content":"b","timestamp":"c"}"#;
        let publications = [publication(message), publication(message)];
        assert_eq!(history(&publications), format!("[{message},{message}]"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_published_is_a_message(data in crate::protocol::tests::json()) {
            let shown: serde_json::Value = serde_json::from_str(&shown(&data)).unwrap();
            for key in ["username", "content", "timestamp"] {
                proptest::prop_assert!(shown[key].is_string(), "{}", shown);
            }
        }
    }
}

//! Small pieces of JSON, appended.

use std::fmt::Arguments;
use std::io::Write as _;

use crate::types::Extra;

use crate::types::RawJson;

/// Appends a text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // a string always has a JSON form, and a vector takes every write
    drop(serde_json::to_writer(out, text));
}

/// JSON of what `body` appends.
pub(super) fn json(body: impl FnOnce(&mut Vec<u8>)) -> RawJson {
    let mut out = Vec::new();
    body(&mut out);
    // whatever is appended is text
    String::from_utf8(out).map_or_else(|_| RawJson::from("null"), RawJson::from)
}

/// Appends texts as an array of JSON strings.
pub(super) fn strings<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a str>) {
    out.push(b'[');
    for (number, text) in texts.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
}

/// Appends texts one after the other, as they are.
#[inline]
pub(super) fn texts<const N: usize>(out: &mut Vec<u8>, texts: [&str; N]) {
    out.reserve(texts.iter().map(|text| text.len()).sum());
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends a number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    // a number always has a JSON form, and a vector takes every write
    drop(serde_json::to_writer(out, &number));
}

/// Appends a formatted text as it is.
pub(super) fn append(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    drop(out.write_fmt(arguments)); // a vector takes every write
}

/// Appends what the application says of a member, if it says anything, behind its info.
pub(super) fn data(out: &mut Vec<u8>, extra: &Extra) {
    if let Some(extra) = extra {
        append(out, format_args!(",\"data\":{extra}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_strings() {
        let written = |texts: &[&str]| {
            let mut out = Vec::new();
            strings(&mut out, texts.iter().copied());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&[]), "[]");
        assert_eq!(written(&["a", "\"b\n"]), r#"["a","\"b\n"]"#);
    }
}

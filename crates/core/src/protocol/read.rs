//! Small pieces of JSON, read without copying where that can be.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::value::RawValue;

/// A JSON string's text; without an escape it is a slice of the frame.
pub(super) fn borrowed_string(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str(raw.get()).map(Cow::Owned),
    }
}

/// A JSON string token in the spelling `serde_json` writes, so that equal strings are equal
/// tokens; `None` if it isn't a string.
pub(super) fn canonical_token(token: &str) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut escapes = memchr::memchr_iter(b'\\', inner);
    let mut canonical = true;
    while let Some(at) = escapes.next() {
        match inner.get(at + 1) {
            Some(b'"' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'\\') => {
                escapes.next(); // the escaped backslash itself
            }
            _ => {
                canonical = false;
                break;
            }
        }
    }
    if canonical {
        return Some(Cow::Borrowed(token));
    }
    let text: String = serde_json::from_str(token).ok()?;
    serde_json::to_string(&text).ok().map(Cow::Owned)
}

/// The text of an argument that has to be an object; `None` for one that is missing or null.
pub(super) fn object(raw: Option<&RawValue>, name: impl Display) -> Result<Option<&str>, String> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) if text.starts_with('{') => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_string_are_one() {
        for spelling in [r#""a\/b""#, r#""a/b""#, r#""\u0061/b""#, "\"a\\u002fb\""] {
            assert_eq!(canonical_token(spelling).unwrap(), r#""a/b""#, "{spelling}");
        }
        assert!(matches!(canonical_token(r#""a\\\"\n""#), Some(Cow::Borrowed(_))));
        assert_eq!(canonical_token("5"), None);
        assert_eq!(canonical_token(r#""\ud800""#), None);
    }
}

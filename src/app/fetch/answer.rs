//! The application's response.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::protocol::plain;
use crate::types::{Extra, PresenceId, RawJson};

/// Reads the application's data for the requested ids: an object with an object for each id. Data that
/// aren't an object, exceed `max` bytes or aren't portable JSON are left out.
pub(super) fn read(
    body: &[u8],
    ids: &[PresenceId],
    max: usize,
) -> Result<HashMap<PresenceId, Extra>, String> {
    let wrong = |what: &dyn std::fmt::Display| {
        format!("its answer is not a JSON object with an object for each id: {what}")
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong(&"it is no object"));
    }
    let said: HashMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    let extra = |id: &PresenceId| {
        let said = said.get(id.as_str()).map(|said| said.get())?;
        let is_good =
            said.starts_with('{') && said.len() <= max && plain::objection(said).is_none();
        is_good.then(|| Box::new(RawJson::from(said)))
    };
    Ok(ids.iter().map(|id| (id.clone(), extra(id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_taken_as_they_are() {
        let ids = ["a", "é", "none", "text", "large", "deep", "half", "more"].map(PresenceId::from);
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        let body = format!(
            r#" {{"a": {{ "n":9007199254740993 }},"\u00e9":{{}},"text":"x","large":{{"a":"{}"}},
                "deep":{{"a":{deep}}},"half":{{"a":"\ud800"}},"nobody asked":{{}}}} "#,
            "x".repeat(200)
        );
        let said = read(body.as_bytes(), &ids, 200).unwrap();
        let of = |id: &str| said[&PresenceId::from(id)].as_deref().map(RawJson::as_str);
        assert_eq!(said.len(), ids.len());
        assert_eq!((of("a"), of("é")), (Some(r#"{ "n":9007199254740993 }"#), Some("{}")));
        for id in ["none", "text", "large", "deep", "half", "more"] {
            assert_eq!(of(id), None, "{id}");
        }
    }

    #[test]
    fn nonsense_is_told() {
        for body in ["", "null", "[]", "<html>", "{\"a\":", "{\"a\":{}} x", "\u{FEFF}{}"] {
            let reason = read(body.as_bytes(), &["a".into()], 100).unwrap_err();
            assert!(reason.contains("is not a JSON object"), "{body}: {reason}");
        }
        assert!(read(b"{\"a\":\"\xff\"}", &["a".into()], 100).is_err());
    }
}

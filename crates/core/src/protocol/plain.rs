//! Checks that JSON is readable by all parsers.
//!
//! `serde_json` accepts any raw value. Other parsers refuse deep nesting (Ruby's `JSON.parse` more than 100
//! levels) and unpaired surrogates in strings. One member's info must not make a whole list unreadable.

/// Maximum depth: more than any info needs, and far below parsers' limits.
const DEEPEST: usize = 64;

/// The problem of valid JSON, if it has one.
pub fn objection(json: &str) -> Option<&'static str> {
    let (mut depth, mut bytes) = (0_usize, json.bytes().enumerate());
    let mut in_string = false;
    while let Some((at, byte)) = bytes.next() {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth -= 1,
            (true, b'\\') => {
                let escaped = unit(json, at);
                bytes.next(); // what is escaped
                match escaped {
                    Some(0xD800..0xDC00) => {
                        // its other half has to follow at once
                        if !matches!(unit(json, at + 6), Some(0xDC00..0xE000)) {
                            return Some("has half a surrogate pair");
                        }
                        bytes.nth(4 + 5);
                    }
                    Some(0xDC00..0xE000) => return Some("has half a surrogate pair"),
                    Some(_) | None => {}
                }
            }
            _ => {}
        }
        if depth > DEEPEST {
            return Some("is nested too deeply");
        }
    }
    None
}

/// The UTF-16 code unit of the escape `\uXXXX` at a place, if there is one.
fn unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_is_left_alone() {
        let deep = format!("{}{}", "[".repeat(DEEPEST), "]".repeat(DEEPEST));
        for json in [
            "null",
            r#"{"a":[1,{"b":"[[[["}]}"#,
            r#""a\\u\"\n\u00e9\\""#,
            r#""\ud83d\ude00 \uD83D\uDE00""#,
            "\"\u{1F600}\"",
            &deep,
        ] {
            assert_eq!(objection(json), None, "{json}");
        }
    }

    #[test]
    fn what_others_cannot_read_is_told() {
        let deep = format!("{}{}", "[".repeat(DEEPEST + 1), "]".repeat(DEEPEST + 1));
        assert!(objection(&deep).is_some());
        for json in
            [r#""\ud800""#, r#""\ud83dx""#, r#""\ud83d\n""#, r#""\ude00""#, r#"{"\ud83d\ud83d":1}"#]
        {
            assert!(objection(json).is_some(), "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn strings_are_refused_exactly_where_they_are_no_text(units in proptest::collection::vec(
            proptest::prop_oneof![0xD7F0..0xE010_u16, 0x20..0x7F_u16], 0..12,
        )) {
            let units: Vec<String> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{}\"", units.concat());
            let is_text = serde_json::from_str::<String>(&json).is_ok();
            proptest::prop_assert_eq!(objection(&json).is_none(), is_text);
        }
    }
}
